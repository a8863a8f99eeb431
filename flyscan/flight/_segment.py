"""Segments: the uninterrupted sweeps a path is made of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property

import numpy as np

from ._block import FloatArray

__all__ = ["Segment", "Trigger"]


class Trigger(StrEnum):
    """What makes a frame: the stage crossing a position, or the passing of time."""

    POSITION = "position"
    TIME = "time"


@dataclass(frozen=True, eq=False)
class Segment:
    """One uninterrupted sweep at constant velocity, or along a curve.

    Args:
        index: number of the segment in the path, from 0.
        first_point: path index of its first point.
        points: how many points it has, at least 1.
        start: lower bound of the first point for every axis of the path, in axis units.
        stop: upper bound of the last point for every axis of the path, in axis units.
        period: seconds per point at nominal speed.
        trigger: what makes a frame.
        bounds: for a curve only, the bounds of the points: axis to float64 array of shape
            ``(points + 1,)``; None when the points divide start..stop evenly on a straight line.
        midpoints: for a curve only, where it is in the middle of each point's period: axis to
            float64 array of shape ``(points,)``; None when that is halfway between the bounds.
        schedule: for a straight segment of varying speed only, seconds from the first trigger
            to the bounds of the points, float64, shape ``(points + 1,)``, increasing from 0;
            None at constant speed.
    """

    index: int
    first_point: int
    points: int
    start: Mapping[str, float]
    stop: Mapping[str, float]
    period: float
    trigger: Trigger
    bounds: Mapping[str, FloatArray] | None = None
    midpoints: Mapping[str, FloatArray] | None = None
    schedule: FloatArray | None = None

    @property
    def curved(self) -> bool:
        """True for what is not flown at constant speed along a straight line."""
        return self.bounds is not None or self.schedule is not None

    @property
    def end_point(self) -> int:
        """Path index after the last point."""
        return self.first_point + self.points

    @cached_property
    def moving(self) -> tuple[str, ...]:
        """Axes that move during the sweep."""
        if self.bounds is None:
            return tuple(a for a in self.start if self.start[a] != self.stop[a])
        return tuple(a for a, knots in self.knots(self.first_point)[1].items() if np.ptp(knots) > 0)

    @property
    def static(self) -> bool:
        """True for a dwell: nothing moves while frames are taken."""
        return not self.moving

    @cached_property
    def fast(self) -> str | None:
        """The axis that travels farthest; triggers by position come from it. None for a dwell.

        Along a curve, travel counts there and back.
        """
        return max(self.moving, key=self._travel, default=None)

    def _travel(self, axis: str) -> float:
        if self.bounds is None:
            return abs(self.stop[axis] - self.start[axis])
        return float(np.abs(np.diff(self.bounds[axis])).sum())

    @cached_property
    def step(self) -> float:
        """Signed distance between triggers along the fast axis, in its units; 0 for a dwell.

        For a curve the mean over its points, which says nothing about a single one.
        """
        fast = self.fast
        return 0.0 if fast is None else (self.stop[fast] - self.start[fast]) / self.points

    @cached_property
    def duration(self) -> float:
        """Seconds from the first trigger to the end of the last point at nominal speed."""
        return self.points * self.period if self.schedule is None else float(self.schedule[-1])

    @cached_property
    def velocity(self) -> dict[str, float]:
        """Nominal signed velocity of every axis in units per second; the mean where it varies."""
        return {a: (self.stop[a] - self.start[a]) / self.duration for a in self.start}

    def bound(self, point: int) -> dict[str, float]:
        """Position of every axis where path point `point` begins (its trigger position).

        ``point == end_point`` gives the end of the last point.

        Raises:
            IndexError: the point is not in the segment.
        """
        i = self._offset(point)
        if self.bounds is not None:
            return {a: float(b[i]) for a, b in self.bounds.items()}
        if i == self.points:  # exactly `stop`, whatever the rounding of the division
            return dict(self.stop)
        f = i / self.points
        return {a: lo + (self.stop[a] - lo) * f for a, lo in self.start.items()}

    def setpoints(self, first: int, last: int) -> dict[str, FloatArray]:
        """Midpoints of path points `first` to `last` (exclusive), axis to shape ``(n,)``.

        Raises:
            IndexError: a point is not in the segment.
        """
        i, j = self._offset(first), self._offset(last)
        if self.midpoints is not None:
            return {a: m[i:j].copy() for a, m in self.midpoints.items()}
        if self.bounds is not None:
            return {a: (b[i:j] + b[i + 1 : j + 1]) / 2 for a, b in self.bounds.items()}
        f = (np.arange(i, j) + 0.5) / self.points
        return {a: lo + (self.stop[a] - lo) * f for a, lo in self.start.items()}

    def periods(self, first: int, last: int) -> FloatArray | float:
        """Seconds per point of path points `first` to `last` (exclusive), or of all alike.

        Raises:
            IndexError: a point is not in the segment.
        """
        i, j = self._offset(first), self._offset(last)
        return self.period if self.schedule is None else np.diff(self.schedule[i : j + 1])

    def part(self, first: int, stop: int) -> Segment:
        """Points `first` to `stop` (exclusive) as a segment of their own, of the same index.

        Raises:
            IndexError: a point is not in the segment.
        """
        i, j = self._offset(first), self._offset(stop)
        if (i, j) == (0, self.points):
            return self
        bounds, midpoints, schedule = self.bounds, self.midpoints, self.schedule
        return replace(
            self,
            first_point=first,
            points=j - i,
            start=self.bound(first),
            stop=self.bound(stop),
            bounds=None if bounds is None else {a: b[i : j + 1] for a, b in bounds.items()},
            midpoints=None if midpoints is None else {a: m[i:j] for a, m in midpoints.items()},
            schedule=None if schedule is None else schedule[i : j + 1] - schedule[i],
        )

    def knots(self, from_point: int) -> tuple[FloatArray, dict[str, FloatArray]]:
        """Vertices of the trajectory from the trigger of `from_point` to the end.

        Returns:
            Seconds since that trigger, evenly spaced unless there is a schedule, and axis to
            positions, linear in between, all of shape ``(m,)``: bounds only, or bounds and
            midpoints in turn.
        """
        i = self._offset(from_point)
        n = self.points - i
        if self.schedule is not None:
            f = np.arange(i, self.points + 1) / self.points
            straight = {a: lo + (self.stop[a] - lo) * f for a, lo in self.start.items()}
            return self.schedule[i:] - self.schedule[i], straight
        if self.bounds is None:
            first = self.bound(from_point)
            ends = {a: np.array((first[a], self.stop[a])) for a in first}
            return np.array((0.0, n * self.period)), ends
        if self.midpoints is None:
            return self.period * np.arange(n + 1.0), {a: b[i:] for a, b in self.bounds.items()}
        positions: dict[str, FloatArray] = {}
        for axis, bounds in self.bounds.items():
            knots = np.empty(2 * n + 1)
            knots[::2] = bounds[i:]
            knots[1::2] = self.midpoints[axis][i:]
            positions[axis] = knots
        return self.period / 2 * np.arange(2 * n + 1.0), positions

    def length(self, axes: Mapping[str, float] | None = None) -> float:
        """Euclidean distance start to stop, over `axes` or over all of them."""
        names = self.start if axes is None else axes
        return math.hypot(*(self.stop[a] - self.start[a] for a in names))

    def _offset(self, point: int) -> int:
        offset = point - self.first_point
        if not 0 <= offset <= self.points:
            raise IndexError(
                f"point {point} is not in segment {self.index}, "
                f"which has points {self.first_point} to {self.end_point - 1}"
            )
        return offset
