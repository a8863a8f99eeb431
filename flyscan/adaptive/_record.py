"""The record of a steered flight, read back from the file of its run.

The file has every call the policy got: lines begun, blocks told, questions, ends of lines. What
was in the rows of a block stands in the columns. Together they are the events that a replay
needs, and the decisions it is held against.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import FlyscanError, StorageError
from ..flight import RowFacts
from ..storage import channel_columns, frame_columns
from ._policy import LineContext, Situation
from ._rails import GuardRail
from ._replay import Asked, Began, Ended, Event, SwitchedOff, Told
from ._rows import Rows
from ._rows_of import rows_of
from ._steering import Decision

__all__ = ["RecordedFlight"]

WINDOW = 1 << 16
"""Frames read from the file at a time."""

_FIXED = ("time", "exposure", "point", "start", "stop", "dwell", "i0", "pass")
_CALLS = ("began", "told", "asked", "ended", "switched_off")


class RecordedFlight:
    """What a policy was told and asked in one flight, and what was decided.

    A file that is being written, or whose writer was killed, ends anywhere: what refers to frames
    that are not there is left out, and a last call whose answer may be missing, too.

    Args:
        file: the run's file, open as long as :meth:`events` is used.
        flight: number of the flight in the run.
        records: what happened in it (:func:`flyscan.storage.read_tuning`).

    Attributes:
        policy: class and parameters of the policy.
        rail: the limits of its proposals.
        decisions: what was decided.

    Raises:
        StorageError: the record does not begin with the flight's start, or lacks something.
    """

    def __init__(self, file: Any, flight: int, records: Sequence[Mapping[str, Any]]) -> None:
        self.flight = flight
        self._rows = _RowSource(file)
        if not records or records[0].get("event") != "started":
            raise _unreadable(flight, "it does not begin with the start of the flight")
        started = records[0]
        try:
            self.policy: dict[str, Any] = dict(started["policy"])
            self.rail = GuardRail(**started["rail"])
            there = _up_to(records, self._rows.frames)
            self._calls = [record for record in there if record["event"] in _CALLS]
            self.decisions = _decisions(there)
            told = [record for record in there if record["event"] == "told"]
            if told:
                self._rows.begin(told[0]["first"], told[-1]["stop"])
        except (FlyscanError, KeyError, TypeError, ValueError) as exc:
            raise _unreadable(flight, f"it cannot be read: {exc!r}") from exc

    def events(self) -> Iterator[Event]:
        """What happened, in order; rows are read as they are needed.

        Raises:
            StorageError: a record lacks something.
        """
        for record in self._calls:
            try:
                event = self._event(record)
            except (FlyscanError, KeyError, TypeError, ValueError) as exc:
                raise _unreadable(self.flight, f"it cannot be read: {exc!r}") from exc
            yield event

    def _event(self, record: Mapping[str, Any]) -> Event:
        match record["event"]:
            case "began":
                return Began(LineContext.from_dict(record["line"]), record["time"])
            case "told":
                other = bool(record.get("other", False))
                rows = self._rows.rows(int(record["first"]), int(record["stop"]), other=other)
                return Told(rows, record["time"])
            case "asked":
                return Asked(Situation.from_dict(record["now"]))
            case "switched_off":
                return SwitchedOff(record["fault"], record["time"])
            case _:
                return Ended(record["summary"])


class _RowSource:
    """Rows as the flight made them, from the columns of its file, a window at a time."""

    def __init__(self, file: Any) -> None:
        columns = frame_columns(file)
        self.frames = min((len(column) for column in columns.values()), default=0)
        self._fixed = {name: columns[name] for name in _FIXED if name in columns}
        self._channels = {
            name: column for name, column in channel_columns(file).items() if column.ndim == 1
        }
        self._window: dict[str, npt.NDArray[Any]] = {}
        self._columns: dict[str, npt.NDArray[Any]] = {}
        self._span = (0, 0)
        self._flux = False

    def begin(self, first: int, stop: int) -> None:
        """Only these frames will be asked for; whether any says what the flux was."""
        if "i0" in self._fixed:
            self._flux = bool(np.isfinite(self._fixed["i0"][first:stop]).any())

    def rows(self, first: int, stop: int, *, other: bool) -> Rows:
        """Frames `first` to `stop` (exclusive)."""
        if not self._span[0] <= first <= stop <= self._span[1]:
            self._read(first, max(stop, min(first + WINDOW, self.frames)))
        at = slice(first - self._span[0], stop - self._span[0])
        part = {name: values[at] for name, values in self._window.items()}
        facts = RowFacts(
            start=part["start"],
            stop=part["stop"],
            dwell=part["dwell"],
            i0=part["i0"],
            passes=part["pass"].astype(np.int64),
        )
        columns = {name: values[at] for name, values in self._columns.items()}
        time, live = part["time"] + part["exposure"], part["exposure"]
        return rows_of(
            first, part["point"], time, live, facts, columns, flux=self._flux, other=other
        )

    def _read(self, first: int, stop: int) -> None:
        self._span = (first, stop)
        self._window = {name: column[first:stop] for name, column in self._fixed.items()}
        self._columns = {name: column[first:stop] for name, column in self._channels.items()}


def _up_to(records: Sequence[Mapping[str, Any]], frames: int) -> list[Mapping[str, Any]]:
    """The records that can be replayed with so many frames."""
    there: list[Mapping[str, Any]] = []
    for record in records:
        if record["event"] == "told" and record["stop"] > frames:
            break
        there.append(record)
    # What came of the very last call may not have been stored any more.
    if there and there[-1]["event"] in ("began", "told", "asked"):
        there.pop()
    return there


def _decisions(records: Iterable[Mapping[str, Any]]) -> list[Decision]:
    """What was decided, with what became of it."""
    decisions: list[Decision] = []
    for record in records:
        if record["event"] == "decided":
            decisions.append(Decision.from_dict(record["decision"]))
        elif record["event"] == "applied":
            number = int(record["number"])
            decisions[number] = replace(
                decisions[number],
                effective_point=record["effective_point"],
                latency=record["latency"],
            )
    return decisions


def _unreadable(flight: int, why: str) -> StorageError:
    return StorageError(
        f"the record of flight {flight} cannot be replayed: {why}",
        device="tuning",
        remedy="see what `flyscan check` says of the file",
    )
