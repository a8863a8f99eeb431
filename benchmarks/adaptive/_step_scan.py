"""Against ``bluesky.plans.adaptive_scan``, the real one, on soft devices with a virtual clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from bluesky.plans import adaptive_scan

from flyscan.adaptive import TwoPass
from flyscan.flight import FloatArray

from ._cells import POINTS_PER_WIDTH
from ._lines import TURN
from ._noise_free import drawn, fly
from ._picture import rms
from ._signals import SIGNALS, Signal

__all__ = ["EXPOSURES_MS", "step_scan_figures"]

EXPOSURES_MS = (1, 10, 100)
MOVE_S = 0.02
DELTAS = (0.1, 0.05, 0.02, 0.01, 0.005, 0.0025, 0.00125)
FINEST = (30, 100)
MOST_POINTS = 20_000
PEER_SEEDS = 6
ROWS_PER_WIDTH = (3, 5, 7, 10)
NOT_REACHED = "not reached"

Reached = tuple[float, float]


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


def peer_settings(signal: Signal, offsets: FloatArray, *, reverse: bool) -> list[Reached]:
    """Points and pooled errors of ``adaptive_scan`` with several settings, where it ended."""
    found: list[Reached] = []
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
            else:
                found.append((float(np.mean(number)), rms(np.sqrt(square))))
    return found


def our_settings(signal: Signal, offsets: FloatArray, *, reverse: bool) -> list[Reached]:
    """Rows, turns included, and pooled errors of two passes in shorter and shorter times.

    The look always takes a tenth of the time: with fewer rows it is coarser.
    """
    grid = np.linspace(0.0, 1.0, round(POINTS_PER_WIDTH / signal.width) + 1)
    ends = {"start": 1.0, "stop": 0.0} if reverse else {}
    found: list[Reached] = []
    for per_width in ROWS_PER_WIDTH:
        rows, look = round(per_width / signal.width), 10 / per_width * signal.width
        square: list[float] = []
        for offset in offsets.tolist():
            policy = TwoPass("y", look, counting=False)
            flown = fly(policy, signal, offset, rows, 10.0, turnaround=TURN, **ends)
            drawing = drawn(flown, grid, signal.width, counting=False)
            square.append(_error(signal, offset, grid, drawing))
        found.append((float(rows), rms(np.sqrt(square))))
    return found


def advantage(peer: list[Reached], ours: list[Reached]) -> float | None:
    """Points of the peer over our rows at equal error, at the setting that suits it best.

    None if no setting reaches an error within the range of ours.
    """
    errors = [error for _, error in ours]
    ratios = [
        points / np.exp(np.interp(-np.log(error), -np.log(errors), np.log([n for n, _ in ours])))
        for points, error in peer
        if min(errors) <= error <= max(errors)
    ]
    return float(min(ratios)) if ratios else None


def step_scan_figures(name: str, seeds: int) -> dict[str, Any]:
    """Time of ``adaptive_scan`` over ours at equal error, split into its two causes."""
    signal = SIGNALS[name]
    offsets = np.random.default_rng(51).uniform(*signal.offsets, seeds)
    found: dict[str, Any] = {}
    errors: list[float] = []
    for direction in ("forward", "reverse"):
        reverse = direction == "reverse"
        ours = our_settings(signal, offsets, reverse=reverse)
        errors.append(ours[-1][1])
        policy = advantage(peer_settings(signal, offsets[:PEER_SEEDS], reverse=reverse), ours)
        for exposure in EXPOSURES_MS:
            seconds = exposure / 1e3
            step = (MOVE_S + seconds) / seconds
            found[f"{name}/{exposure}ms/{direction}"] = {
                "total": NOT_REACHED if policy is None else round(step * policy, 3),
                "fly_vs_step": round(step, 3),
                "policy": NOT_REACHED if policy is None else round(policy, 3),
            }
    # The error of linear interpolation falls as 1 / time^2.
    found["directions"] = abs(float(np.sqrt(errors[0] / errors[1])) - 1)
    return found
