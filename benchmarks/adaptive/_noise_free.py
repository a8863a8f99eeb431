"""Signals without noise: how much of what an oracle gains each policy gets."""

from __future__ import annotations

from typing import Any

import numpy as np

from flyscan.adaptive import (
    Budget,
    CurvatureSpeed,
    Flown,
    GuardRail,
    Policy,
    PriorSpeed,
    SimulatedLine,
    Steering,
)
from flyscan.adaptive._rows import sampled
from flyscan.flight import FloatArray

from ._cells import POINTS_PER_WIDTH, Evaluation
from ._lines import Cell, context
from ._picture import picture, rms
from ._signals import SIGNALS, Signal, signal_of

__all__ = ["RAIL", "drawn", "going_back", "known_before", "new_feature", "uniform_time"]

RAIL = GuardRail(-1.0, 2.0)
ROWS_PER_WIDTH = 10
TIMES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
CALIBRATION_SEEDS = 8


def uniform_time(cell: Cell, error: float, offsets: FloatArray) -> float:
    """Time a uniform line needs for a pooled error."""
    evaluation = Evaluation(cell, len(offsets), 0, offsets=offsets)
    levels = [evaluation.uniform_error(t) for t in TIMES]
    return float(np.exp(np.interp(-np.log(error), -np.log(levels), np.log(TIMES))))


def known_before(name: str, seeds: int) -> dict[str, float]:
    """Fractions of the oracle's gain in time for the prior line and for two passes."""
    found: dict[str, float] = {}
    cell = Cell(signal_of(name), ROWS_PER_WIDTH, 0.0)
    for key, shift in (("prior", 0.3), ("prior_shifted", 1.0)):
        evaluation = Evaluation(cell, seeds, 911, shift=shift)
        offsets, level = evaluation.offsets[-1], rms(np.sqrt(evaluation.error))
        oracle = uniform_time(cell, evaluation.oracle() * level, offsets)
        found[key] = uniform_time(cell, evaluation.prior(0)[0] * level, offsets) / oracle
        if key == "prior":
            found["oracle_gain"] = oracle
            found["two_pass"] = (
                uniform_time(cell, evaluation.two_pass()[0] * level, offsets) / oracle
            )
    return found


def drawn(flown: Flown, grid: FloatArray, width: float, *, counting: bool) -> FloatArray:
    """Picture of one line: a part flown again replaces what was there."""
    found = np.empty(0)
    for number in np.unique(flown.rows.pass_number).tolist():
        rows = flown.rows.take(flown.rows.pass_number == number)
        curve = sampled(rows, "y", counting=counting)
        if curve is None:
            continue
        one = type(curve)(curve.edges[None], curve.rate[None], curve.variance[None])
        part = picture(grid, one, width)[0]
        inside = (grid >= curve.edges[0]) & (grid <= curve.edges[-1])
        found = part if not len(found) else np.where(inside, part, found)
    return found


def fly(
    policy: Policy, signal: Signal, offset: float, rows: int, delay: float, **changes: Any
) -> Flown:
    """One line without noise."""
    at = np.array([offset])
    line = context(rows, delay, **changes)
    sample = {"y": lambda x: signal.integral(x[None], at)[0]}
    return SimulatedLine(line, sample).fly(Steering(policy, RAIL))


def going_back(name: str, delay: float, seeds: int) -> tuple[float, float]:
    """Fraction of the oracle's gain with nothing known before, and the time it took.

    The accepted error is the one that makes other, earlier lines take the planned time.
    """
    signal = signal_of(name)
    cell = Cell(signal, ROWS_PER_WIDTH, 0.0)
    rng = np.random.default_rng(921)
    offsets = rng.uniform(*signal.offsets, seeds)
    grid = np.linspace(0.0, 1.0, round(POINTS_PER_WIDTH / signal.width) + 1)

    def one(error: float, offset: float) -> Flown:
        policy = CurvatureSpeed("y", signal.width, counting=False, target_error=error)
        return fly(policy, signal, offset, cell.rows, delay, extra_time=1.0)

    low, high = -15.0, -5.0
    earlier = rng.uniform(*signal.offsets, CALIBRATION_SEEDS)
    for _ in range(7):
        middle = 0.5 * (low + high)
        took = np.mean([one(np.exp(middle), offset).seconds for offset in earlier])
        low, high = (middle, high) if took > 1.0 else (low, middle)
    square, seconds = [], []
    for offset in offsets:
        flown = one(np.exp(high), offset)
        truth = signal.value(grid, np.array([offset]))[0]
        found = drawn(flown, grid, signal.width, counting=False)
        square.append(np.mean((found - truth) ** 2))
        seconds.append(flown.seconds)
    took = float(np.mean(seconds))
    oracle = Evaluation(cell, seeds, 0, offsets=offsets)
    level = rms(np.sqrt(oracle.error))
    gain = uniform_time(cell, rms(np.sqrt(square)), offsets) / took
    return gain / uniform_time(cell, oracle.oracle() * level, offsets), took


def new_feature(delay: float, seeds: int) -> tuple[float, float]:
    """Error relative to uniform where a feature is absent from the prior, and the most time."""
    signal, rows = SIGNALS["S1"], round(ROWS_PER_WIDTH / SIGNALS["S1"].width)
    grid = np.linspace(0.0, 1.0, round(POINTS_PER_WIDTH / signal.width) + 1)
    adaptive, uniform, seconds = [], [], []
    for seed in range(seeds):
        rng = np.random.default_rng((931, seed))
        old, new = np.array([rng.uniform(0.1, 0.4)]), np.array([rng.uniform(0.5, 0.9)])

        def before(x: FloatArray, old: FloatArray = old) -> FloatArray:
            return signal.integral(x[None], old)[0]

        def after(x: FloatArray, old: FloatArray = old, new: FloatArray = new) -> FloatArray:
            return signal.integral(x[None], old)[0] + signal.integral(x[None], new)[0] - 0.05 * x

        truth = signal.value(grid, old)[0] + signal.value(grid, new)[0] - 0.05
        line = context(rows, delay, extra_time=0.25)
        steering = Steering(PriorSpeed("y", signal.width, counting=False), RAIL)
        first = 0
        for sample in (before, before, after):
            flown = SimulatedLine(line, {"y": sample}, first=first).fly(steering)
            first += len(flown.rows)
        plain = SimulatedLine(line, {"y": after}).fly(Steering(Budget(), RAIL))
        for flight, errors in ((flown, adaptive), (plain, uniform)):
            found = drawn(flight, grid, signal.width, counting=False)
            errors.append(np.mean((found - truth) ** 2))
        seconds.append(flown.seconds)
    return rms(np.sqrt(adaptive)) / rms(np.sqrt(uniform)), float(np.max(seconds))
