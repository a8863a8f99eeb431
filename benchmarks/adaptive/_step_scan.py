"""Against ``bluesky.plans.adaptive_scan``, the real one, on soft devices with a virtual clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from bluesky.plans import adaptive_scan

from flyscan.adaptive import CurvatureSpeed, Policy, TwoPass
from flyscan.flight import FloatArray

from ._cells import POINTS_PER_WIDTH, Evaluation
from ._lines import TURN, Cell
from ._noise_free import drawn, fly
from ._picture import rms
from ._signals import SIGNALS, Signal

__all__ = ["EXPOSURES_MS", "step_scan_figures"]

EXPOSURES_MS = (1, 10, 100)
MOVE_S = 0.02
DELTAS = (0.1, 0.05, 0.02, 0.01, 0.005, 0.0025, 0.00125)
FINEST = (30, 100)
MOST_POINTS = 20_000
UNIFORM_ROWS = 10
ROWS_PER_WIDTH = (3, 4, 5, 6, 7, 8, 9, 10, 12, 14)
ACCEPTED = (16.0, 8.0, 4.0, 2.0, 1.0, 0.5, 0.25)
"""Local errors accepted when going back, over the rms error to be kept."""
DELAY = 10.0
NOT_REACHED = "not reached"

Make = Callable[[], Policy]
Flight = tuple[Make, int]
"""What makes the policy, and the rows of the uniform line whose time it gets."""


class _Soft:
    """A device of a plan that only exists in messages."""

    parent = None
    hints: dict[str, Any]

    def __init__(self, name: str) -> None:
        self.name = name
        self.hints = {"fields": [name]}

    def read(self) -> dict[str, Any]:
        return {}

    def describe(self) -> dict[str, Any]:
        return {}

    def trigger(self) -> None:
        return None

    def set(self, value: float) -> None:
        return None

    def read_configuration(self) -> dict[str, Any]:
        return {}

    def describe_configuration(self) -> dict[str, Any]:
        return {}


def points_of(
    plan: Iterator[Any], detector: _Soft, value: Callable[[float], float]
) -> tuple[FloatArray, FloatArray] | None:
    """Run a plan's messages; where it measured and what, in order of position.

    Gives None for a plan that does not come to an end.
    """
    where: list[float] = []
    what: list[float] = []
    at, answer = 0.0, None
    while len(where) < MOST_POINTS:
        try:
            message = plan.send(answer)  # type: ignore[attr-defined]
        except StopIteration:
            order = np.argsort(where, kind="stable")
            return np.array(where)[order], np.array(what)[order]
        answer = None
        if message.command == "set":
            at = float(message.args[0])
        elif message.command == "read":
            answer = {}
            if message.obj is detector:
                where.append(at)
                what.append(value(at))
                answer = {detector.name: {"value": what[-1], "timestamp": 0.0}}
    plan.close()  # type: ignore[attr-defined]
    return None


def peer_scan(
    signal: Signal, offset: float, finest: float, delta: float, *, reverse: bool
) -> tuple[FloatArray, FloatArray] | None:
    """Points of ``adaptive_scan`` over [0, 1] or back."""
    motor, detector = _Soft("x"), _Soft("y")
    at = np.array([offset])
    ends = (1.0, 0.0) if reverse else (0.0, 1.0)
    plan = adaptive_scan([detector], "y", motor, *ends, finest, 5 * signal.width, delta, True)
    return points_of(plan, detector, lambda x: float(signal.value(np.array([x]), at)[0, 0]))


def _error(signal: Signal, offset: float, x: FloatArray, y: FloatArray) -> float:
    grid = np.linspace(0.0, 1.0, round(POINTS_PER_WIDTH / signal.width) + 1)
    truth = signal.value(grid, np.array([offset]))[0]
    return float(np.mean((np.interp(grid, x, y) - truth) ** 2))


def peer_points(
    signal: Signal, offsets: FloatArray, target: float, *, reverse: bool
) -> float | None:
    """Fewest points, as a mean, with which ``adaptive_scan`` keeps a pooled error.

    The best of all its settings counts; None if none of them reaches the error, or if the plan
    does not come to an end.
    """
    found: list[float] = []
    for finest in FINEST:
        for delta in DELTAS:
            square: list[float] = []
            number: list[int] = []
            for offset in offsets.tolist():
                points = peer_scan(signal, offset, signal.width / finest, delta, reverse=reverse)
                if points is None:
                    break
                square.append(_error(signal, offset, *points))
                number.append(len(points[0]))
            if len(square) == len(offsets) and rms(np.sqrt(square)) <= target:
                found.append(float(np.mean(number)))
                break  # a smaller delta takes more points
    return min(found, default=None)


def _fly_all(
    flight: Flight, signal: Signal, offsets: FloatArray, *, reverse: bool
) -> tuple[float, float]:
    """Mean rows, turns and ways back included, and pooled error of one setting."""
    make, rows = flight
    grid = np.linspace(0.0, 1.0, round(POINTS_PER_WIDTH / signal.width) + 1)
    ends = {"start": 1.0, "stop": 0.0} if reverse else {}
    square: list[float] = []
    seconds: list[float] = []
    for offset in offsets.tolist():
        flown = fly(make(), signal, offset, rows, DELAY, turnaround=TURN, **ends)
        drawing = drawn(flown, grid, signal.width, counting=False)
        square.append(_error(signal, offset, grid, drawing))
        seconds.append(flown.seconds)
    return float(np.mean(seconds)) * rows, rms(np.sqrt(square))


def our_rows(
    flights: list[Flight], signal: Signal, offsets: FloatArray, target: float, *, reverse: bool
) -> float | None:
    """Fewest rows with which a policy keeps a pooled error; None if no setting does.

    Args:
        flights: settings from the cheapest to the dearest.
        signal: what is measured.
        offsets: where its features are.
        target: pooled error to be kept.
        reverse: fly from 1 to 0.
    """
    for flight in flights:
        rows, error = _fly_all(flight, signal, offsets, reverse=reverse)
        if error <= target:
            return rows
    return None


def directions_differ(flight: Flight, signal: Signal, offsets: FloatArray) -> float:
    """Relative difference of the time for equal error there and back, at one setting.

    The error of linear interpolation falls as 1 / time^2.
    """
    times = [
        rows * float(np.sqrt(error))
        for rows, error in (
            _fly_all(flight, signal, offsets, reverse=reverse) for reverse in (False, True)
        )
    ]
    return abs(times[0] / times[1] - 1)


def _going_back(signal: Signal, target: float) -> list[Flight]:
    """From a look with little to a look with much flown again."""
    rows = round(UNIFORM_ROWS / signal.width)

    def make(error: float) -> Make:
        return lambda: CurvatureSpeed("y", signal.width, counting=False, target_error=error)

    return [(make(factor * target), rows) for factor in ACCEPTED]


def _two_pass(signal: Signal) -> list[Flight]:
    """In longer and longer times; the look takes a tenth of it, and is finer the longer."""

    def make(look: float) -> Make:
        return lambda: TwoPass("y", look, counting=False)

    return [(make(10 / n * signal.width), round(n / signal.width)) for n in ROWS_PER_WIDTH]


def step_scan_figures(name: str, seeds: int) -> dict[str, Any]:
    """Time of ``adaptive_scan`` over ours at equal error, split into its two causes.

    The error is that of a uniform line with ten rows per feature width, chosen by neither.
    """
    signal = SIGNALS[name]
    offsets = np.random.default_rng(51).uniform(*signal.offsets, seeds)
    cell = Cell(signal, UNIFORM_ROWS, 0.0)
    target = Evaluation(cell, seeds, 0, offsets=offsets).uniform_error(1.0)
    found: dict[str, Any] = {}
    kinds = {"going_back": _going_back(signal, target), "two_pass": _two_pass(signal)}
    for reverse in (False, True):
        points = peer_points(signal, offsets, target, reverse=reverse)
        for kind, flights in kinds.items():
            rows = our_rows(flights, signal, offsets, target, reverse=reverse)
            for exposure in EXPOSURES_MS:
                key = f"{name}/{exposure}ms/{'reverse' if reverse else 'forward'}"
                found.setdefault(kind, {})[key] = _advantage(points, rows, exposure / 1e3)
    fixed = (
        kinds["going_back"][ACCEPTED.index(1.0)],
        kinds["two_pass"][ROWS_PER_WIDTH.index(UNIFORM_ROWS)],
    )
    found["directions"] = max(directions_differ(flight, signal, offsets) for flight in fixed)
    return found


def _advantage(points: float | None, rows: float | None, exposure: float) -> dict[str, Any]:
    """Total and its split into flying instead of stepping, and the policy."""
    step = (MOVE_S + exposure) / exposure
    if rows is None:
        return {"total": "not reached by us", "fly_vs_step": round(step, 3), "policy": None}
    if points is None:
        return {"total": NOT_REACHED, "fly_vs_step": round(step, 3), "policy": NOT_REACHED}
    policy = points / rows
    return {
        "total": round(step * policy, 3),
        "fly_vs_step": round(step, 3),
        "policy": round(policy, 3),
    }
