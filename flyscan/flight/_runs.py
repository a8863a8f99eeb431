"""The runs of a level: stretches flown without interruption, straight or curved.

They are found once, for a whole level at a time, and described by arrays with one element per
run: all lines of a grid share the one run of its innermost level.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ._block import FloatArray, IntArray
from ._stack import BoolArray, Level

__all__ = ["Runs", "find_runs"]

EVEN = 1e-9
ROUNDING = 8 * np.finfo(float).eps


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """Runs of a level in the order they are flown; all arrays have shape ``(runs,)``.

    Args:
        first: frame of the level with which each run begins.
        points: number of points.
        curved: True where the points are not even steps on a straight line.
        start: position at the first trigger, per axis.
        stop: position at the end of the last point, per axis.
        enter: distance per point at the first trigger, signed, per axis.
        leave: distance per point at the end of the last point, signed, per axis.
        low: lowest position within the run, per axis.
        high: highest position within the run, per axis.
        period: seconds per point.
    """

    first: IntArray
    points: IntArray
    curved: BoolArray
    start: Mapping[str, FloatArray]
    stop: Mapping[str, FloatArray]
    enter: Mapping[str, FloatArray]
    leave: Mapping[str, FloatArray]
    low: Mapping[str, FloatArray]
    high: Mapping[str, FloatArray]
    period: FloatArray

    def __len__(self) -> int:
        return len(self.first)

    def reversed(self) -> Runs:
        """The same runs flown backwards, the last one first."""
        total = int(self.points.sum())
        return Runs(
            first=(total - self.first - self.points)[::-1],
            points=self.points[::-1],
            curved=self.curved[::-1],
            start={a: v[::-1] for a, v in self.stop.items()},
            stop={a: v[::-1] for a, v in self.start.items()},
            enter={a: -v[::-1] for a, v in self.leave.items()},
            leave={a: -v[::-1] for a, v in self.enter.items()},
            low={a: v[::-1] for a, v in self.low.items()},
            high={a: v[::-1] for a, v in self.high.items()},
            period=self.period[::-1],
        )


def find_runs(level: Level, *, curves: bool) -> Runs:
    """Divide `level` at its gaps and where the duration of its frames changes.

    Args:
        level: the innermost level of a stack.
        curves: leave runs that are not straight and even in one piece; False cuts them into
            the longest pieces that are. A point with its midpoint off the middle of its bounds
            becomes a piece centred on the midpoint.
    """
    cut = _interruptions(level)
    curved = _curved(level, np.flatnonzero(cut))
    if not curves and curved.any():
        cut, centred = _straighten(level, cut, curved)
        curved = np.zeros(int(cut.sum()), dtype=bool)
        return _tabulate(level, np.flatnonzero(cut), curved, centred)
    return _tabulate(level, np.flatnonzero(cut), curved, np.zeros(level.length, dtype=bool))


def _interruptions(level: Level) -> BoolArray:
    """Frames with which a run begins, shape ``(length,)``."""
    cut = level.gap.copy()
    cut[0] = True
    for axis, lower in level.lower.items():
        cut[1:] |= lower[1:] != level.upper[axis][:-1]
    cut[1:] |= level.period[1:] != level.period[:-1]
    return cut


def _tabulate(level: Level, first: IntArray, curved: BoolArray, centred: BoolArray) -> Runs:
    points = np.diff(first, append=level.length)
    last = first + points - 1
    start: dict[str, FloatArray] = {}
    stop: dict[str, FloatArray] = {}
    enter: dict[str, FloatArray] = {}
    leave: dict[str, FloatArray] = {}
    low: dict[str, FloatArray] = {}
    high: dict[str, FloatArray] = {}
    for axis, middle in level.middle.items():
        lower, upper = level.lower[axis], level.upper[axis]
        shift = np.where(centred, middle - (lower + upper) / 2, 0.0)
        start[axis] = lower[first] + shift[first]
        stop[axis] = upper[last] + shift[last]
        even = (stop[axis] - start[axis]) / points
        enter[axis] = np.where(curved, 2 * (middle[first] - lower[first]), even)
        leave[axis] = np.where(curved, 2 * (upper[last] - middle[last]), even)
        ends = np.stack((lower, middle, upper)) + shift
        low[axis] = np.minimum.reduceat(ends.min(axis=0), first)
        high[axis] = np.maximum.reduceat(ends.max(axis=0), first)
    period = level.period[first]
    return Runs(first, points, curved, start, stop, enter, leave, low, high, period)


def _curved(level: Level, first: IntArray) -> BoolArray:
    """Which of the runs beginning at `first` are not even steps on a straight line."""
    points = np.diff(first, append=level.length)
    within = np.arange(level.length) - np.repeat(first, points)
    share, half = within / np.repeat(points, points), 0.5 / np.repeat(points, points)
    off = np.zeros(level.length, dtype=bool)
    for axis, lower in level.lower.items():
        start, stop = lower[first], level.upper[axis][first + points - 1]
        limit = np.repeat(_tolerance((stop - start) / points, start, stop), points)
        start, span = np.repeat(start, points), np.repeat(stop - start, points)
        off |= np.abs(lower - (start + span * share)) > limit
        off |= np.abs(level.middle[axis] - (start + span * (share + half))) > limit
    return np.logical_or.reduceat(off, first)


def _tolerance(step: FloatArray, start: FloatArray, stop: FloatArray) -> FloatArray:
    """How far a point may lie from where even division puts it."""
    return EVEN * np.abs(step) + ROUNDING * np.maximum(np.abs(start), np.abs(stop))


def _straighten(level: Level, cut: BoolArray, curved: BoolArray) -> tuple[BoolArray, BoolArray]:
    """Cut curved runs into straight even ones; also which points are not amid their bounds."""
    first = np.flatnonzero(cut)
    inside = np.repeat(curved, np.diff(first, append=level.length))
    turn = np.zeros(level.length, dtype=bool)
    uneven = np.zeros(level.length, dtype=bool)
    for axis, lower in level.lower.items():
        upper, middle = level.upper[axis], level.middle[axis]
        step = upper - lower
        limit = _tolerance(step, lower, upper)
        turn[1:] |= np.abs(np.diff(step)) > 2 * limit[1:]
        uneven |= np.abs(middle - (lower + upper) / 2) > limit
    cut = cut | (turn & inside)
    while True:  # where even steps have uneven midpoints, or change too slowly to be seen: halve
        first = np.flatnonzero(cut)
        points = np.diff(first, append=level.length)
        again = _curved(level, first) & (points > 1)
        if not again.any():
            return cut, uneven
        cut[(first + points // 2)[again]] = True
