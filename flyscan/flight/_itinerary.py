"""What to fly next: the route in order, and before it what has to be flown again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from ._route import Route
from ._segment import Segment

__all__ = ["Itinerary"]

Span = tuple[int, int]


class Itinerary:
    """The parts of a route still to fly, first things first.

    What is asked for while a part is flown takes effect when that is interrupted: by then it is
    known what rest of it is left.
    """

    def __init__(self, route: Route) -> None:
        self._route = route
        self._segments = route.segments()
        self._parts: deque[Segment] = deque()
        self._wanted: list[Callable[[], Iterable[Span]]] = []
        self._detours: list[Segment] = []
        self._endings: list[tuple[int | None, Callable[[int, int], None]]] = []

    @property
    def diverted(self) -> bool:
        """True while something has been asked for and :meth:`divert` has not been called."""
        return bool(self._wanted or self._detours or self._endings)

    def again(self, first: int, stop: int) -> None:
        """Ask for points `first` to `stop` (exclusive) once more.

        Raises:
            IndexError: the route has no such points.
        """
        if not 0 <= first < stop <= self._route.points:
            raise IndexError(f"points {first} to {stop} are not on a route of {self._route.points}")
        self._wanted.append(lambda: [(first, stop)])

    def again_later(self, spans: Callable[[], Iterable[Span]]) -> None:
        """Ask for spans of points once more that will be known when the flight is diverted."""
        self._wanted.append(spans)

    def detour(self, *segments: Segment, first: bool = False) -> None:
        """Ask for segments appended to the route, after or before those asked for already."""
        at = 0 if first else len(self._detours)
        self._detours[at:at] = segments

    def finish(self, line: int | None, waive: Callable[[int, int], None]) -> None:
        """Ask for nothing more of line `line`, or for nothing more at all.

        Args:
            line: number of the segment of the path; None for the whole route.
            waive: told of every span of points that is not flown for it: first, stop.
        """
        self._endings.append((line, waive))

    def divert(
        self, rest: Segment | None, bridge: Callable[[Segment], int] = lambda _: 0
    ) -> list[Segment]:
        """Put what was asked for before the `rest` of the part it was interrupted for.

        Args:
            rest: what is left of it.
            bridge: how many points between two spans of a segment are better flown once more
                than left out.

        Returns:
            The parts to be flown again or in addition.

        What is not to be flown any more is left out of all of it.
        """
        wanted, self._wanted = self._wanted, []
        again = self._cut((span for spans in wanted for span in spans()), bridge)
        detours, self._detours = self._detours, []
        self._parts.extendleft(reversed([*detours, *self._joined(again, rest, bridge)]))
        endings, self._endings = self._endings, []
        for line, waive in endings:
            self._drop(line, waive)
        return [part for part in (*detours, *again) if self.pending(part.index)]

    def next(self) -> Segment | None:
        """The next part, or None at the end of the route."""
        if self._parts:
            return self._parts.popleft()
        return next(self._segments, None)

    def upcoming(self) -> Segment | None:
        """The part :meth:`next` gives if nothing is asked for until then."""
        if not self._parts:
            self._parts.extend(islice(self._segments, 1))
        return self._parts[0] if self._parts else None

    def pending(self, index: int) -> bool:
        """Whether a part of segment `index` that was begun is still to be flown."""
        return any(part.index == index for part in self._parts)

    def pending_on(self, line: int) -> bool:
        """Whether a part of line `line`, or of a pass over it, is still to be flown."""
        return any(self._route.line_of(part.index) == line for part in self._parts)

    def _joined(
        self, again: list[Segment], rest: Segment | None, bridge: Callable[[Segment], int]
    ) -> list[Segment]:
        """Parts and the rest; the last part that reaches up to the rest is one with it."""
        if rest is None:
            return again
        last = again[-1] if again else None
        if last is None or last.index != rest.index:
            return [*again, rest]
        if not 0 <= rest.first_point - last.end_point <= bridge(rest):
            return [*again, rest]
        whole = self._route.segment(rest.index)
        return [*again[:-1], whole.part(last.first_point, rest.end_point)]

    def _drop(self, line: int | None, waive: Callable[[int, int], None]) -> None:
        """Leave out what belongs to a line, or everything."""
        parts, self._parts = self._parts, deque()
        for part in parts:
            if line is None or self._route.line_of(part.index) == line:
                waive(part.first_point, part.end_point)
            else:
                self._parts.append(part)
        if line is None:
            following = next(self._segments, None)
            if following is not None:
                waive(following.first_point, self._route.path.points)
            self._segments = iter(())

    def _cut(self, spans: Iterable[Span], bridge: Callable[[Segment], int]) -> list[Segment]:
        """Spans of points as parts of their segments, neighbours of one segment joined."""
        found: dict[int, list[Span]] = {}
        for index, span in self._by_segment(spans):
            found.setdefault(index, []).append(span)
        parts: list[Segment] = []
        for index, pieces in found.items():
            segment = self._route.segment(index)
            gap = bridge(segment)
            joined: list[list[int]] = []
            for first, stop in sorted(pieces):
                if joined and first - joined[-1][1] <= gap:
                    joined[-1][1] = max(joined[-1][1], stop)
                else:
                    joined.append([first, stop])
            parts += [segment.part(first, stop) for first, stop in joined]
        return parts

    def _by_segment(self, spans: Iterable[Span]) -> Iterator[tuple[int, Span]]:
        for first, stop in spans:
            while first < stop:
                index = self._route.segment_of(first)
                end = min(stop, self._route.segment(index).end_point)
                yield index, (first, end)
                first = end
