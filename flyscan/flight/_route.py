"""The route: a path with everything that decisions have made of it during the flight."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ._block import FloatArray
from ._path import Path
from ._segment import Segment, Trigger

__all__ = ["Route", "rest_of", "stretch_of"]

REMEMBERED = 64
"""Lines whose profile is remembered, should part of them have to be flown again."""


@dataclass(frozen=True, slots=True)
class _Appended:
    """A segment that is not of the path: part of line `line`, flown as its pass `number`."""

    segment: Segment
    line: int
    number: int


class Route:
    """The segments of a path, some with a plan of their own, and the segments appended to them.

    Appended segments come after those of the path in index and points, whenever they are flown:
    numbers, once given, never change. A segment is *elastic* when its rows are no longer where
    its points are, because speed or step was changed on the way.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.axes = path.axes
        self.points = path.points
        self._planned: OrderedDict[int, Segment] = OrderedDict()
        self._appended: list[_Appended] = []
        self._elastic: set[int] = set()

    @property
    def segment_count(self) -> int:
        """How many segments there are by now."""
        return self.path.segment_count + len(self._appended)

    def segments(self) -> Iterator[Segment]:
        """The segments of the path itself, in order."""
        return self.path.segments()

    def segment(self, index: int) -> Segment:
        """Segment number `index` as it is planned now.

        Raises:
            IndexError: there is no such segment.
        """
        beyond = index - self.path.segment_count
        if beyond >= 0:
            return self._appended[beyond].segment
        return self._planned.get(index) or self.path.segment(index)

    def whole(self, index: int) -> Segment:
        """Segment number `index` as the path has it, or as it was appended."""
        if index < self.path.segment_count:
            return self.path.segment(index)
        return self.segment(index)

    def segment_of(self, point: int) -> int:
        """Number of the segment that contains `point`.

        Raises:
            IndexError: there is no such point.
        """
        if point < self.path.points:
            return self.path.segment_of(point)
        for offset, appended in enumerate(self._appended):
            if point < appended.segment.end_point:
                return self.path.segment_count + offset
        raise IndexError(f"no point {point} in a route of {self.points}")

    def setpoints(self, first: int, last: int) -> dict[str, FloatArray]:
        """Midpoints of points `first` to `last` (exclusive), all of the path or of one segment."""
        if last <= self.path.points:
            return self.path.setpoints(first, last)
        return self.segment(self.segment_of(first)).setpoints(first, last)

    def plan(self, segment: Segment) -> None:
        """Fly a segment of the path in the way given, which has the same points."""
        self._planned[segment.index] = segment
        while len(self._planned) > REMEMBERED:
            self._planned.popitem(last=False)

    def append(self, segment: Segment, *, line: int, number: int) -> Segment:
        """Add a segment to be flown as pass `number` over line `line`.

        Returns:
            The segment with the number and the points it has got.
        """
        own = replace(segment, index=self.segment_count, first_point=self.points)
        self._appended.append(_Appended(own, line, number))
        self.points += own.points
        return own

    def line_of(self, index: int) -> int:
        """The segment of the path that a segment belongs to: itself, unless it was appended."""
        beyond = index - self.path.segment_count
        return index if beyond < 0 else self._appended[beyond].line

    def pass_of(self, index: int) -> int:
        """Which pass over its line a segment is; 0 for the line itself."""
        beyond = index - self.path.segment_count
        return 0 if beyond < 0 else self._appended[beyond].number

    def stretch(self, index: int) -> None:
        """From now on the rows of a segment are not where its points are."""
        self._elastic.add(index)

    def elastic(self, index: int) -> bool:
        """Whether rows of a segment are not where its points are."""
        return index in self._elastic


def rest_of(segment: Segment, reached: float, pace: float, stride: float) -> Segment | None:
    """What is left of a segment whose rows are no longer where its points are.

    Args:
        segment: planned.
        reached: where its last row ended, on the fast axis.
        pace: speed of what is left over the planned one.
        stride: distance between triggers by position over the planned one.

    Returns:
        A straight segment from there to the end; None if less than half a row is left, or nobody
        knows where the last one ended.
    """
    fast = segment.fast
    if fast is None or not np.isfinite(reached):
        return None
    end = segment.stop[fast]
    row = segment.step * (pace if segment.trigger is Trigger.TIME else stride)
    points = round((end - reached) / row)
    if points < 1:
        return None
    if segment.trigger is Trigger.POSITION:  # steps are what the box can make
        end = reached + points * row
    return stretch_of(segment, reached, end, points, pace)


def stretch_of(segment: Segment, begin: float, end: float, points: int, pace: float) -> Segment:
    """Points evenly spread over a stretch of a straight segment.

    Args:
        segment: gives line and trigger; with triggers by time also the period.
        begin, end: on its fast axis.
        points: how many.
        pace: speed over the planned one, with triggers by position.
    """
    low, high = (ends[segment.fast or ""] for ends in (segment.start, segment.stop))
    period = segment.period
    if segment.trigger is Trigger.POSITION:
        period *= (end - begin) / points / segment.step / pace

    def at(position: float) -> dict[str, float]:
        share = (position - low) / (high - low)
        places = {a: lo + (segment.stop[a] - lo) * share for a, lo in segment.start.items()}
        return places | {segment.fast or "": position}

    return replace(
        segment,
        points=points,
        start=at(begin),
        stop=dict(segment.stop) if end == high else at(end),
        period=period,
        bounds=None,
        midpoints=None,
        schedule=None,
    )
