"""Segments: the uninterrupted sweeps a path is made of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from ._block import FloatArray

__all__ = ["Segment", "Trigger"]


class Trigger(StrEnum):
    """What makes a frame: the stage crossing a position, or the passing of time."""

    POSITION = "position"
    TIME = "time"


@dataclass(frozen=True, slots=True, eq=False)
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
    """

    index: int
    first_point: int
    points: int
    start: Mapping[str, float]
    stop: Mapping[str, float]
    period: float
    trigger: Trigger
    bounds: Mapping[str, FloatArray] | None = None

    @property
    def end_point(self) -> int:
        """Path index after the last point."""
        return self.first_point + self.points

    @property
    def moving(self) -> tuple[str, ...]:
        """Axes that move during the sweep."""
        if self.bounds is not None:
            return tuple(a for a, b in self.bounds.items() if np.ptp(b) > 0)
        return tuple(a for a in self.start if self.start[a] != self.stop[a])

    @property
    def static(self) -> bool:
        """True for a dwell: nothing moves while frames are taken."""
        return not self.moving

    @property
    def fast(self) -> str | None:
        """The axis that travels farthest; triggers by position come from it. None for a dwell."""
        moving = self.moving
        if not moving:
            return None
        return max(moving, key=lambda a: abs(self.stop[a] - self.start[a]))

    @property
    def step(self) -> float:
        """Signed distance between triggers along the fast axis, in its units; 0 for a dwell."""
        fast = self.fast
        return 0.0 if fast is None else (self.stop[fast] - self.start[fast]) / self.points

    @property
    def duration(self) -> float:
        """Seconds from the first trigger to the end of the last point at nominal speed."""
        return self.points * self.period

    @property
    def velocity(self) -> dict[str, float]:
        """Nominal signed velocity of every axis in units per second; a curve's mean velocity."""
        return {a: (self.stop[a] - self.start[a]) / self.duration for a in self.start}

    def bound(self, point: int) -> dict[str, float]:
        """Position of every axis where path point `point` begins (its trigger position).

        ``point == end_point`` gives the end of the last point.
        """
        i = point - self.first_point
        if not 0 <= i <= self.points:
            raise IndexError(f"point {point} is not in segment {self.index}")
        if self.bounds is not None:
            return {a: float(b[i]) for a, b in self.bounds.items()}
        f = i / self.points
        return {a: lo + (self.stop[a] - lo) * f for a, lo in self.start.items()}

    def setpoints(self, first: int, last: int) -> dict[str, FloatArray]:
        """Midpoints of path points `first` to `last` (exclusive), axis to shape ``(n,)``."""
        i = np.arange(first - self.first_point, last - self.first_point)
        if self.bounds is not None:
            return {a: (b[i] + b[i + 1]) / 2 for a, b in self.bounds.items()}
        f = (i + 0.5) / self.points
        return {a: lo + (self.stop[a] - lo) * f for a, lo in self.start.items()}

    def length(self, axes: Mapping[str, float] | None = None) -> float:
        """Euclidean distance start to stop, over `axes` or over all of them."""
        names = self.start if axes is None else axes
        return math.hypot(*(self.stop[a] - self.start[a] for a in names))
