"""Against ``bluesky.plans.adaptive_scan``, the real one, on soft devices with a virtual clock.

The comparison, fixed before it was run:

- Error: that of a uniform line with ten rows per feature width, without noise, pooled over random
  places of the feature. It is chosen by neither side. Budget: the time of that uniform line; who
  needs more has not reached it.
- Both may choose the one knob that trades error for time (theirs `target_delta`, ours the
  accepted error or the planned time); the time counts where the error is met, interpolated
  between neighbouring settings. The peer may choose the best of three smallest steps besides.
- The peer pays 20 ms per move and the exposure per point, and no time for the distance. We pay
  one exposure per row, the look, every ramp and turn and way back, on a stage as everywhere in
  this benchmark: ten times the mean speed of the planned line, reached in 1 % of its time, turns
  of another 1 %. The loop delay is ten rows.
- Errors are pooled over many places of the feature, the peer's, which is slow to step through,
  over every third of them.
- Nothing is known before. `going_back` plans a line of three rows per feature width and may take
  as much more time as the budget has.

The quotient of times is split into flying instead of stepping, (20 ms + exposure) / exposure, and
what is left: points of the peer over rows of ours.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from bluesky.plans import adaptive_scan

from flyscan.adaptive import CurvatureSpeed, Policy, TwoPass
from flyscan.flight import FloatArray

from ._cells import POINTS_PER_WIDTH, Evaluation
from ._lines import TURN, Cell
from ._noise_free import drawn, fly
from ._picture import rms
from ._signals import Signal, signal_of

__all__ = [
    "EXPOSURES_MS", "FINEST", "MOVE_S", "UNIFORM_ROWS", "crossing", "going_back_settings",
    "our_levels", "peer_levels", "step_scan_figures", "two_pass_settings",
]  # fmt: skip

EXPOSURES_MS = (1, 10, 100)
MOVE_S = 0.02
DELTAS = tuple(float(delta) for delta in 0.1 * 0.5 ** (0.5 * np.arange(14)))
FINEST = (10, 30, 100)
WIDEST = 5.0
UNIFORM_ROWS = 10
PLANNED_ROWS = 3
ACCEPTED = tuple(float(factor) for factor in 2.83 * 0.5 ** (0.25 * np.arange(18)))
"""Local errors accepted when going back, over the rms error to be kept."""
ROWS_PER_WIDTH = (2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 10)
DELAY = 10.0
NOT_REACHED = "not reached"

Level = tuple[float, float]
"""Points or rows, and the pooled error they give."""


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


@contextmanager
def _without_stacks() -> Iterator[None]:
    """Every plan of bluesky formats the stack in case it is never iterated: 3/4 of the time."""
    limit = getattr(sys, "tracebacklimit", None)
    sys.tracebacklimit = 0
    try:
        yield
    finally:
        if limit is None:
            del sys.tracebacklimit
        else:
            sys.tracebacklimit = limit


def points_of(
    plan: Iterator[Any], detector: _Soft, value: Callable[[float], float], most: int
) -> tuple[FloatArray, FloatArray] | None:
    """Run a plan's messages; where it measured and what, in order of position.

    Gives None for a plan that has not come to an end after `most` points.
    """
    where: list[float] = []
    what: list[float] = []
    at, answer = 0.0, None
    while len(where) < most:
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
    """Points of ``adaptive_scan`` over [0, 1] or back; None past twice those of a uniform line."""
    motor, detector = _Soft("x"), _Soft("y")
    at = np.array([offset])
    ends = (1.0, 0.0) if reverse else (0.0, 1.0)
    widest = WIDEST * signal.width
    plan = adaptive_scan([detector], "y", motor, *ends, finest, widest, delta, True)
    most = round(2 * UNIFORM_ROWS / signal.width)
    with _without_stacks():
        return points_of(
            plan, detector, lambda x: float(signal.value(np.array([x]), at)[0, 0]), most
        )


def _error(signal: Signal, offset: float, x: FloatArray, y: FloatArray) -> float:
    grid = np.linspace(0.0, 1.0, round(POINTS_PER_WIDTH / signal.width) + 1)
    truth = signal.value(grid, np.array([offset]))[0]
    return float(np.mean((np.interp(grid, x, y) - truth) ** 2))


def peer_levels(
    signal: Signal, offsets: FloatArray, finest: float, *, reverse: bool
) -> Iterator[Level]:
    """Mean points and pooled error of ``adaptive_scan``, from coarse to fine.

    Ends with the first setting that does not come to an end everywhere.
    """
    for delta in DELTAS:
        square: list[float] = []
        number: list[int] = []
        for offset in offsets.tolist():
            points = peer_scan(signal, offset, finest, delta, reverse=reverse)
            if points is None:
                return
            square.append(_error(signal, offset, *points))
            number.append(len(points[0]))
        yield float(np.mean(number)), rms(np.sqrt(square))


def our_levels(
    flights: list[tuple[Callable[[], Policy], int]], signal: Signal, offsets: FloatArray, *,
    reverse: bool,
) -> Iterator[Level]:  # fmt: skip
    """Mean rows, turns and ways back included, and pooled error, from coarse to fine.

    Args:
        flights: what makes the policy, and the rows of the planned line.
        signal: what is measured.
        offsets: where its features are.
        reverse: fly from 1 to 0.
    """
    grid = np.linspace(0.0, 1.0, round(POINTS_PER_WIDTH / signal.width) + 1)
    changes: dict[str, Any] = {"start": 1.0, "stop": 0.0} if reverse else {}
    for make, rows in flights:
        extra = UNIFORM_ROWS / signal.width / rows - 1
        square: list[float] = []
        seconds: list[float] = []
        for offset in offsets.tolist():
            flown = fly(
                make(), signal, offset, rows, DELAY, turnaround=TURN, extra_time=extra, **changes
            )
            drawing = drawn(flown, grid, signal.width, counting=False)
            square.append(_error(signal, offset, grid, drawing))
            seconds.append(flown.seconds)
        yield float(np.mean(seconds)) * rows, rms(np.sqrt(square))


def crossing(levels: Iterable[Level], target: float, best: float | None = None) -> float | None:
    """Points or rows at which the error is first kept, or `best` if that is less or never."""
    before: Level | None = None
    for number, error in levels:
        if best is not None and number >= 2 * best:
            return best
        if error <= target:
            share = 1.0
            if before is not None:
                share = np.log(before[1] / target) / np.log(before[1] / error)
            found = float(number if before is None else before[0] * (number / before[0]) ** share)
            return found if best is None else min(found, best)
        before = number, error
    return best


def going_back_settings(signal: Signal, target: float) -> list[tuple[Callable[[], Policy], int]]:
    def make(error: float) -> Callable[[], Policy]:
        return lambda: CurvatureSpeed("y", signal.width, counting=False, target_error=error)

    return [(make(factor * target), round(PLANNED_ROWS / signal.width)) for factor in ACCEPTED]


def two_pass_settings(signal: Signal) -> list[tuple[Callable[[], Policy], int]]:
    """In longer and longer times; the look takes a tenth of it, and is finer the longer."""

    def make(look: float) -> Callable[[], Policy]:
        return lambda: TwoPass("y", look, counting=False)

    return [(make(10 / n * signal.width), round(n / signal.width)) for n in ROWS_PER_WIDTH]


def step_scan_figures(name: str, seeds: int) -> dict[str, Any]:
    """Time of ``adaptive_scan`` over ours for every exposure and direction, for both policies."""
    signal = signal_of(name)
    offsets = np.random.default_rng(952).uniform(*signal.offsets, seeds)
    cell = Cell(signal, UNIFORM_ROWS, 0.0)
    target = Evaluation(cell, seeds, 0, offsets=offsets).uniform_error(1.0)
    flights = {
        "going_back": going_back_settings(signal, target),
        "two_pass": two_pass_settings(signal),
    }
    found: dict[str, Any] = {kind: {} for kind in flights}
    needed: dict[str, list[float | None]] = {kind: [] for kind in flights}
    for reverse in (False, True):
        points = None
        for n in FINEST:
            levels = peer_levels(signal, offsets[::3], signal.width / n, reverse=reverse)
            points = crossing(levels, target, points)
        for kind, settings in flights.items():
            rows = crossing(our_levels(settings, signal, offsets, reverse=reverse), target)
            needed[kind].append(rows)
            for exposure in EXPOSURES_MS:
                key = f"{name}/{exposure}ms/{'reverse' if reverse else 'forward'}"
                found[kind][key] = _advantage(points, rows, exposure / 1e3)
    found["directions"] = {
        f"{name}/{kind}": None if None in pair else abs(pair[0] / pair[1] - 1)
        for kind, pair in needed.items()
    }
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
