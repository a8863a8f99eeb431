"""What to fly next: the path in order, and before it what has to be flown again."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from ._path import Path
from ._segment import Segment

__all__ = ["Itinerary"]


class Itinerary:
    """The parts of a path still to fly, first things first."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._segments = path.segments()
        self._parts: deque[Segment] = deque()
        self._wanted: list[tuple[int, int]] = []

    @property
    def diverted(self) -> bool:
        """True while points have been asked for again and :meth:`divert` has not been called."""
        return bool(self._wanted)

    def again(self, first: int, stop: int) -> None:
        """Ask for points `first` to `stop` (exclusive) once more.

        Raises:
            IndexError: the path has no such points.
        """
        if not 0 <= first < stop <= self._path.points:
            raise IndexError(f"points {first} to {stop} are not on a path of {self._path.points}")
        self._wanted.append((first, stop))

    def divert(self, rest: Segment | None) -> list[Segment]:
        """Put what was asked for before the `rest` of the part it was interrupted for.

        Returns:
            The parts to be flown again; one that reaches up to the rest is joined to it.
        """
        wanted, self._wanted = self._wanted, []
        again = [part for first, stop in wanted for part in self._cut(first, stop)]
        ahead = list(again)
        last = ahead[-1] if ahead else None
        if rest and last and (last.index, last.end_point) == (rest.index, rest.first_point):
            rest = self._path.segment(rest.index).part(ahead.pop().first_point, rest.end_point)
        if rest is not None:
            ahead.append(rest)
        self._parts.extendleft(reversed(ahead))
        return again

    def next(self) -> Segment | None:
        """The next part, or None at the end of the path."""
        if self._parts:
            return self._parts.popleft()
        return next(self._segments, None)

    def pending(self, index: int) -> bool:
        """Whether a part of segment `index` that was begun is still to be flown."""
        return any(part.index == index for part in self._parts)

    def _cut(self, first: int, stop: int) -> Iterator[Segment]:
        """Points `first` to `stop` as parts of their segments."""
        while first < stop:
            segment = self._path.segment(self._path.segment_of(first))
            end = min(stop, segment.end_point)
            yield segment.part(first, end)
            first = end
