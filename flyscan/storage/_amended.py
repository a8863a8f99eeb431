"""What decisions made of a flight's path, read back from the record of the run."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import StorageError
from ..flight import IntArray, Path

__all__ = ["AmendedPath", "AppendedSegment", "records_by_flight"]

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AppendedSegment:
    """A segment that the path does not have: a way back, or the rest of a line.

    Args:
        index: number of the segment, after those of the path.
        first_point: path index of its first point, after those of the path.
        points: how many points it has.
        line: the segment of the path it belongs to.
        number: which pass over that line it is; 0 for the rest of the line itself.
    """

    index: int
    first_point: int
    points: int
    line: int
    number: int


class AmendedPath:
    """A path with the segments appended to it and without the points given up.

    Attributes:
        path: the path as it was planned.
        appended: what was appended, in order.
        waived: points given up, as pairs of first and stop (exclusive).
        flagged: frames nobody may use, ascending.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.points = path.points
        self.appended: list[AppendedSegment] = []
        self.waived: list[tuple[int, int]] = []
        self.flagged: IntArray = np.empty(0, np.int64)
        self._first_points: list[int] = []
        self._line = 0

    @classmethod
    def of(cls, path: Path, records: Iterable[Record]) -> AmendedPath:
        """The path after everything in the records of its flight.

        Raises:
            StorageError: a record lacks something, or does not go with those before.
        """
        amended = cls(path)
        for record in records:
            try:
                amended._take(record)
            except (KeyError, TypeError, ValueError, IndexError) as exc:
                raise _unreadable(record, f"it cannot be read: {exc!r}") from exc
        amended.flagged = np.unique(amended.flagged)
        return amended

    @property
    def segment_count(self) -> int:
        """Segments of the path and those appended."""
        return self.path.segment_count + len(self.appended)

    def span(self, segment: int) -> tuple[int, int]:
        """First point of a segment, and the one after its last."""
        beyond = segment - self.path.segment_count
        if beyond < 0:
            planned = self.path.segment(segment)
            return planned.first_point, planned.end_point
        appended = self.appended[beyond]
        return appended.first_point, appended.first_point + appended.points

    def segment_of(self, point: int) -> int:
        """Number of the segment that contains a point."""
        if point < self.path.points:
            return self.path.segment_of(point)
        return self.path.segment_count + bisect_right(self._first_points, point) - 1

    def lines(self) -> IntArray:
        """Segment of the path that each segment belongs to, shape ``(segment_count,)``."""
        own = np.arange(self.path.segment_count)
        return np.concatenate((own, np.array([a.line for a in self.appended], np.int64)))

    def given_up(self) -> npt.NDArray[np.bool_]:
        """True for points that were waived, shape ``(points,)``."""
        mask = np.zeros(self.points, np.bool_)
        for first, stop in self.waived:
            mask[first:stop] = True
        return mask

    def _take(self, record: Record) -> None:
        event = record["event"]
        if event == "began":
            self._line = int(record["line"]["segment"])
        elif event == "segment":
            self._append(record)
        elif event == "waived":
            first, stop = int(record["first"]), int(record["stop"])
            if not 0 <= first <= stop <= self.points:
                raise _unreadable(record, f"there are {self.points} points")
            self.waived.append((first, stop))
        elif event == "flagged":
            frames = np.array(record["frames"], np.int64)
            self.flagged = np.concatenate((self.flagged, frames))

    def _append(self, record: Record) -> None:
        segment = AppendedSegment(
            index=int(record["index"]),
            first_point=int(record["first_point"]),
            points=int(record["points"]),
            line=int(record.get("line", self._line)),
            number=int(record["pass"]),
        )
        if (segment.index, segment.first_point) != (self.segment_count, self.points):
            due = f"segment {self.segment_count} from point {self.points} on was due"
            raise _unreadable(record, due)
        if segment.points < 1 or not 0 <= segment.line < self.path.segment_count:
            raise _unreadable(record, "it has no points, or no line")
        self.appended.append(segment)
        self._first_points.append(segment.first_point)
        self.points += segment.points


def records_by_flight(records: Iterable[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    """The records of each flight.

    Raises:
        StorageError: a record does not say what happened in which flight.
    """
    flights: dict[int, list[dict[str, Any]]] = {}
    for record in records:
        if not isinstance(record.get("flight"), int) or not isinstance(record.get("event"), str):
            raise _unreadable(record, "it has no flight or no event")
        flights.setdefault(record["flight"], []).append(record)
    return flights


def _unreadable(record: Record, why: str) -> StorageError:
    return StorageError(
        f"record {json.dumps(dict(record))[:200]} does not make sense: {why}",
        device="tuning",
        remedy="restore the file from a copy; frames and ledger are readable all the same",
    )
