"""Counting what the frames of a file stand for, slice by slice: files may exceed memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from ._amended import AmendedPath
from ._problem import Kind, Problem

__all__ = ["FlightTally", "tally_flights"]

SLICE = 1 << 20
_COLUMNS = ("time", "point", "segment", "flight", "keep")

Counts = npt.NDArray[np.int64]
Tally = npt.NDArray[np.int32]
Rows = Mapping[str, npt.NDArray[Any]]


class FlightTally:
    """What became of one flight's points.

    Attributes:
        number: number of the flight in the run.
        path: its path, with what decisions made of it.
        frames: frames stored.
        kept_of_point: kept frames per path index.
        stored_of_segment: frames per segment.
        kept_of_segment: kept frames per segment.
    """

    def __init__(self, number: int, path: AmendedPath) -> None:
        self.number = number
        self.path = path
        self.frames = 0
        self.kept_of_point: Tally = np.zeros(path.points, np.int32)
        self.stored_of_segment: Tally = np.zeros(path.segment_count, np.int32)
        self.kept_of_segment: Tally = np.zeros(path.segment_count, np.int32)
        self._given_up = path.given_up()
        self._last_time = -np.inf
        self._backwards: int | None = None
        self._strays: int | None = None
        self._misplaced: int | None = None
        self._unmarked: int | None = None
        self._marked: int | None = None

    def add(self, rows: Rows, first: int) -> None:
        """Count rows of this flight; `first` is the frame number of the first of them."""
        self.frames += len(rows["time"])
        self._check_times(rows["time"], first)
        point, segment, kept = rows["point"], rows["segment"].astype(np.int64), rows["keep"] == 1
        known = (point >= 0) & (point < self.path.points)
        known &= (segment >= 0) & (segment < self.path.segment_count)
        self._strays = _earliest(self._strays, ~known, first)
        if known.all():
            self._check_segments(point, segment, first)
        if "used" in rows:
            self._check_marks(rows["used"] == 1, kept, first)
        _count(self.kept_of_point, point[known & kept])
        _count(self.stored_of_segment, segment[known])
        _count(self.kept_of_segment, segment[known & kept])

    @property
    def missing(self) -> Counts:
        """Path indices without a kept frame that nobody gave up."""
        return np.flatnonzero((self.kept_of_point == 0) & ~self._given_up)

    def waived_in(self, segment: int) -> int:
        """Points of a segment that were given up."""
        first, stop = self.path.span(segment)
        return int(self._given_up[first:stop].sum())

    @property
    def waived(self) -> int:
        """Points that were given up."""
        return int(self._given_up.sum())

    def problems(self) -> Iterator[Problem]:
        """What is wrong with the frames of this flight."""
        name = f"flight {self.number}"
        for frame, text in (
            (self._backwards, "the time of frame {} is before that of the frame before"),
            (self._strays, "frame {} is of a point or segment the path does not have"),
            (self._misplaced, "frame {} is stored under a segment its point is not in"),
            (self._marked, "frame {} is marked as used, though it is flagged or superseded"),
            (self._unmarked, "frame {} is marked as not used, and nothing says why"),
        ):
            if frame is not None:
                yield Problem(Kind.DAMAGED, f"{name}: {text.format(frame)}")
        doubled = np.flatnonzero(self.kept_of_point > 1)
        if len(doubled):
            yield Problem(Kind.DAMAGED, f"{name}: {self._where(doubled)} kept more than once")
        contradicted = np.flatnonzero((self.kept_of_point > 0) & self._given_up)
        if len(contradicted):
            text = f"{name}: {self._where(contradicted)} given up, but kept"
            yield Problem(Kind.DAMAGED, text)
        missing = self.missing
        if len(missing):
            yield Problem(Kind.INCOMPLETE, f"{name}: {self._where(missing)} without a frame")

    def _where(self, points: Counts) -> str:
        """How many points, in which segments."""
        first = int(points[0])
        segment = self.path.segment_of(first)
        return (
            f"{len(points)} of {self.path.points} points, "
            f"from point {first} in segment {segment} on,"
        )

    def _check_times(self, time: npt.NDArray[np.float64], first: int) -> None:
        previous = np.concatenate(([self._last_time], time[:-1]))
        self._backwards = _earliest(self._backwards, time < previous, first)
        self._last_time = float(time[-1])

    def _check_segments(self, point: Counts, segment: Counts, first: int) -> None:
        """Each run of equal segment numbers must hold points of that segment."""
        for start, stop in _runs(segment):
            begin, end = self.path.span(int(segment[start]))
            part = point[start:stop]
            wrong = (part < begin) | (part >= end)
            self._misplaced = _earliest(self._misplaced, wrong, first + start)

    def _check_marks(
        self, used: npt.NDArray[np.bool_], kept: npt.NDArray[np.bool_], first: int
    ) -> None:
        """Only frames that were flagged or superseded may be left out, and they must be."""
        begin, end = np.searchsorted(self.path.flagged, (first, first + len(used)))
        flagged = np.zeros(len(used), np.bool_)
        flagged[self.path.flagged[begin:end] - first] = True
        self._marked = _earliest(self._marked, used & (flagged | ~kept), first)
        self._unmarked = _earliest(self._unmarked, ~used & kept & ~flagged, first)


def tally_flights(
    columns: Mapping[str, Any], frames: int, paths: Mapping[int, AmendedPath]
) -> tuple[dict[int, FlightTally], list[Problem]]:
    """Count the first `frames` frames of every flight."""
    tallies = {number: FlightTally(number, path) for number, path in paths.items()}
    problems: list[Problem] = []
    names = [*_COLUMNS, *({"used"} & columns.keys())]
    latest = -1
    for first in range(0, frames, SLICE):
        rows = {name: columns[name][first : min(first + SLICE, frames)] for name in names}
        flights = rows["flight"]
        for start, stop in _runs(flights):
            number = int(flights[start])
            if number not in tallies or number < latest:
                text = f"frame {first + start} is of flight {number}, which is not to be there"
                problems.append(Problem(Kind.DAMAGED, text))
                continue
            latest = number
            part = {name: values[start:stop] for name, values in rows.items()}
            tallies[number].add(part, first + start)
    return tallies, problems


def _count(tally: Tally, numbers: Counts) -> None:
    """Count `numbers` into a tally, touching only the part they are in."""
    if len(numbers):
        low = int(numbers.min())
        counts = np.bincount(numbers - low)
        tally[low : low + len(counts)] += counts.astype(np.int32)


def _runs(values: npt.NDArray[Any]) -> Iterator[tuple[int, int]]:
    """Where each run of equal values starts and stops."""
    borders = np.flatnonzero(np.diff(values)) + 1
    return pairwise([0, *(int(border) for border in borders), len(values)])


def _earliest(known: int | None, wrong: npt.NDArray[np.bool_], first: int) -> int | None:
    """Frame number of the first row that is wrong, if none was known before."""
    if known is not None or not wrong.any():
        return known
    return first + int(np.argmax(wrong))
