"""Paths: the ordered segments of a flight, made lazily from a scanspec Spec."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from scanspec.specs import Spec  # pyright: ignore[reportMissingTypeStubs]

from ..errors import BadPathError, LimitError
from ._block import FloatArray
from ._course import Course
from ._limits import AxisLimits, Estimate
from ._runs import find_runs
from ._scan import Scan, read_spec
from ._segment import Segment, Trigger
from ._stack import Level, fold
from ._sweep import check_resumable

__all__ = ["Path"]


class Path:
    """The ordered list of segments, computed on demand.

    A segment ends where scanspec has a gap or the duration of a point changes. The innermost
    dimension of the Spec is always flown through the bounds of its points, with or without
    ``Fly``; the axes of the outer dimensions stand still meanwhile. To stop at every point of a
    dimension, put repeats or a ``Static`` inside it: ``Linspace("x", 0, 1, 5) * 3`` dwells
    three frames at each of five places. Points at which nothing moves are triggered by time,
    whatever `trigger` says.

    Attributes:
        axes: names of the axes, slowest first.
        points: number of points of the whole path.
        segment_count: number of segments.
        trigger: what makes the frames of moving segments.
        period: shortest time per point in seconds.
        shape: number of frames of each dimension with axes, outermost first; repeats without
            an axis count into the dimension around them.
        snaking: whether each of these dimensions reverses every other time.
        dimensions: the axes of each of these dimensions; axes moved in step share one.
    """

    def __init__(self, scan: Scan, *, trigger: Trigger, period: float | None, curves: bool) -> None:
        self._scan = scan
        self._period = period
        self._curves = curves
        stack = fold(scan.levels)
        runs = find_runs(stack.inner, curves=curves)
        self._stack = stack
        self._course = Course(stack, runs, runs.reversed())
        self.axes = scan.axes
        self.trigger = Trigger(trigger)
        self.points = stack.points
        self.segment_count = stack.iterations * len(runs)
        self.period = float(runs.period.min())
        grid = _grid(scan.levels)
        self.shape = tuple(length for length, _, _ in grid)
        self.snaking = tuple(snaked for _, snaked, _ in grid)
        self.dimensions = tuple(axes for _, _, axes in grid)

    @classmethod
    def from_spec(
        cls,
        spec: Spec[Any] | Mapping[str, Any],
        *,
        trigger: Trigger = Trigger.POSITION,
        period: float | None = None,
    ) -> Path:
        """Make a path.

        Args:
            spec: a Spec, or the dictionary ``Spec.serialize()`` gives.
            trigger: what makes a frame while the stage moves.
            period: seconds per point, unless the Spec has a duration (``0.001 @ spec``).

        Raises:
            BadPathError: unreadable, empty, zero-length, NaN or infinite, an axis used twice,
                or a duration missing or contradicted.
        """
        return cls(read_spec(spec, period), trigger=trigger, period=period, curves=True)

    def __repr__(self) -> str:
        grid = " x ".join(
            f"{'~' if snaked else ''}{'+'.join(axes)}[{length}]"
            for length, snaked, axes in zip(self.shape, self.snaking, self.dimensions, strict=True)
        )
        return f"<Path {grid}, {self.points} points in {self.segment_count} segments>"

    def segment(self, index: int) -> Segment:
        """Segment number `index`, from 0.

        Raises:
            IndexError: there is no such segment.
        """
        if not 0 <= index < self.segment_count:
            raise IndexError(f"no segment {index} in a path of {self.segment_count}")
        iteration, run = divmod(index, len(self._course.forward))
        backward = self._stack.backward(iteration)
        runs = self._course.runs(backward)
        where = self._stack.holds(iteration)
        start = where | {a: float(v[run]) for a, v in runs.start.items()}
        stop = where | {a: float(v[run]) for a, v in runs.stop.items()}
        first, points = int(runs.first[run]), int(runs.points[run])
        bounds = midpoints = None
        if runs.curved[run]:
            bounds, midpoints = self._curve(first, points, backward, where)
        return Segment(
            index=index,
            first_point=iteration * self._stack.inner.length + first,
            points=points,
            start={a: start[a] for a in self.axes},
            stop={a: stop[a] for a in self.axes},
            period=float(runs.period[run]),
            trigger=Trigger.TIME if bounds is None and start == stop else self.trigger,
            bounds=bounds,
            midpoints=midpoints,
        )

    def first_curve(self) -> Segment | None:
        """The first segment that is not straight, if there is one."""
        curved = np.flatnonzero(self._course.forward.curved)
        return self.segment(int(curved[0])) if len(curved) else None

    def _curve(
        self, first: int, points: int, backward: bool, where: Mapping[str, float]
    ) -> tuple[dict[str, FloatArray], dict[str, FloatArray] | None]:
        """Bounds and midpoints of a curved run, the latter if not halfway between bounds."""
        level = self._stack.inner
        begin = level.length - first - points if backward else first
        frames = slice(begin, begin + points)
        turn = slice(None, None, -1 if backward else 1)
        bounds = {a: np.full(points + 1, value) for a, value in where.items()}
        middle = {a: np.full(points, value) for a, value in where.items()}
        for axis, lower in level.lower.items():
            last = level.upper[axis][begin + points - 1 : begin + points]
            bounds[axis] = np.concatenate((lower[frames], last))[turn]
            middle[axis] = level.middle[axis][frames][turn]
        halfway = all(
            np.allclose(m, (bounds[a][:-1] + bounds[a][1:]) / 2, rtol=1e-12, atol=1e-12)
            for a, m in middle.items()
        )
        bounds = {a: bounds[a] for a in self.axes}
        return bounds, None if halfway else {a: middle[a] for a in self.axes}

    def segment_of(self, point: int) -> int:
        """Number of the segment that contains path point `point`.

        Raises:
            IndexError: there is no such point.
        """
        if not 0 <= point < self.points:
            raise IndexError(f"no point {point} in a path of {self.points}")
        iteration, frame = divmod(point, self._stack.inner.length)
        runs = self._course.runs(self._stack.backward(iteration))
        run = int(np.searchsorted(runs.first, frame, side="right")) - 1
        return iteration * len(runs) + run

    def segments(self, from_point: int = 0) -> Iterator[Segment]:
        """The segments in order, from the one that contains `from_point`; none at the end."""
        first = self.segment_count if from_point == self.points else self.segment_of(from_point)
        return (self.segment(index) for index in range(first, self.segment_count))

    def setpoints(self, first: int, last: int) -> dict[str, FloatArray]:
        """Midpoints of points `first` to `last` (exclusive), axis to shape ``(n,)``.

        Raises:
            IndexError: a point is not on the path.
        """
        if not 0 <= first <= last <= self.points:
            raise IndexError(f"no points {first} to {last} in a path of {self.points}")
        values = self._stack.midpoints(first, last)
        return {axis: values[axis] for axis in self.axes}

    def extents(self) -> dict[str, tuple[float, float]]:
        """Lowest and highest bound of every axis, without run-up and run-down."""
        runs = self._course.forward
        extents = {a: (float(low.min()), float(runs.high[a].max())) for a, low in runs.low.items()}
        for level in self._stack.outer:
            for axis, values in level.middle.items():
                extents[axis] = (float(values.min()), float(values.max()))
        return {axis: extents[axis] for axis in self.axes}

    def times(self, limits: Mapping[str, AxisLimits]) -> tuple[float, float]:
        """Seconds of flying and of turning around.

        Turnaround is run-up and run-down of every sweep and the way from where one comes to
        rest to where the next begins, each axis at its limits and the slowest one counting.
        The way to the first run-up is not included.

        Raises:
            BadPathError: the limits of an axis are missing.
        """
        self._check_known(limits)
        return self._course.flying_s(), self._course.turnaround_s(limits)

    def validate(self, limits: Mapping[str, AxisLimits], *, min_period: float = 0.0) -> Estimate:
        """Check the path against what the axes and the trigger unit can do.

        Args:
            limits: limits of every axis of the path.
            min_period: shortest time between triggers in seconds.

        Raises:
            BadPathError: an axis nobody controls.
            LimitError: limits make no sense; a segment with its run-up and run-down, from its
                first or, along a curve, from any of its points, leaves an axis' travel or needs
                more velocity or acceleration than it has; or the period is too short.
        """
        self._check_known(limits)
        for axis in self.axes:
            limits[axis].check_sense(axis)
        self._check_period(min_period)
        for segment in self._representatives(limits):
            check_resumable(segment, limits)
        flying, turnaround = self.times(limits)
        return Estimate(self.points, self.segment_count, flying, turnaround)

    def _representatives(self, limits: Mapping[str, AxisLimits]) -> Iterator[Segment]:
        """The segments worth planning one by one: with all others, nothing can be wrong."""
        return (self.segment(index) for index in self._course.suspects(limits))

    def _check_known(self, limits: Mapping[str, AxisLimits]) -> None:
        unknown = [axis for axis in self.axes if axis not in limits]
        if unknown:
            raise BadPathError(
                "the path moves an axis nobody controls; "
                f"known axes are {', '.join(limits) or 'none'}",
                device=", ".join(unknown),
                remedy="correct the name in the Spec or add the axis to a motion controller",
            )

    def _check_period(self, min_period: float) -> None:
        if self.period < min_period * (1 - 1e-9):
            index = int(np.argmin(self._course.forward.period))
            raise LimitError(
                f"segment {index} has {self.period:g} s per point, "
                f"the trigger needs at least {min_period:g} s",
                device="trigger",
                remedy="use a longer period per point",
            )

    def without_curves(self) -> Path:
        """The same points with every curve cut into straight even pieces.

        Each piece is a segment with its own run-up, for motions that cannot fly curves.
        """
        return Path(self._scan, trigger=self.trigger, period=self._period, curves=False)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form, read back by :meth:`from_dict`."""
        return {
            "spec": dict(self._scan.spec.serialize()),
            "trigger": self.trigger.value,
            "period": self._period,
            "curves": self._curves,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Path:
        """Rebuild a path from :meth:`to_dict`.

        Raises:
            BadPathError: the dictionary is not one of these, or as :meth:`from_spec`.
        """
        try:
            trigger, period = Trigger(data["trigger"]), data["period"]
            spec, curves = data["spec"], bool(data["curves"])
        except (KeyError, ValueError) as error:
            raise BadPathError(
                f"not a path: {error}", remedy="pass what Path.to_dict() gave"
            ) from error
        return cls(read_spec(spec, period), trigger=trigger, period=period, curves=curves)


def _grid(levels: Sequence[Level]) -> list[tuple[int, bool, tuple[str, ...]]]:
    """Length, snaking and axes of every dimension with axes, outermost first.

    Repeats count into the dimension around them, or within them if there is none. The first
    dimension runs once and so never reverses.
    """
    grid: list[tuple[int, bool, tuple[str, ...]]] = []
    pending = 1
    for level in levels:
        if level.middle:
            grid.append((level.length * pending, level.snaked and bool(grid), tuple(level.middle)))
            pending = 1
        elif grid:
            length, snaked, axes = grid[-1]
            grid[-1] = (length * level.length, snaked, axes)
        else:
            pending *= level.length
    return grid
