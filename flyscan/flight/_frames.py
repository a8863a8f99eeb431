"""Frames: rows that have got their number in the run and their point on the path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ._block import Block, Channel, FloatArray, IntArray
from ._ledger import LedgerRow

__all__ = ["Frames", "RowFacts", "RunFile", "Sink"]


@dataclass(frozen=True, slots=True, eq=False)
class RowFacts:
    """What rows of uneven speed need to become an even map; arrays of shape ``(n,)``.

    Args:
        start, stop: position of the fast axis at the beginning and the end of the live time, in
            the order it was flown, axis units.
        dwell: seconds from this trigger to the next at the speed of this row.
        i0: incident flux relative to nominal; NaN where nobody measures it.
        passes: 0 for a line itself, k for the k-th time flown back over a part of it.
    """

    start: FloatArray
    stop: FloatArray
    dwell: FloatArray
    i0: FloatArray
    passes: IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """Consecutive frames of a run; what the flight hands to storage and to policies.

    Args:
        first_frame: frame number of the first row, counted from 0 through the whole run.
        flight: number of the flight in the run, from 0.
        point: path index of each frame, int64, shape ``(n,)``.
        segment: segment index of each frame, int64, shape ``(n,)``.
        block: times, exposures and columns; the monitors' joined columns are among them.
        setpoints: set-point midpoints of the axes no channel reports, axis to shape ``(n,)``.
        facts: of steered flights, what turns their rows into even maps.
    """

    first_frame: int
    flight: int
    point: IntArray
    segment: IntArray
    block: Block
    setpoints: Mapping[str, FloatArray] = field(default_factory=dict[str, FloatArray])
    facts: RowFacts | None = None

    def __len__(self) -> int:
        return len(self.block)


@dataclass(frozen=True, slots=True)
class RunFile:
    """What a sink is told when a run's file is opened.

    Args:
        directory: existing directory, absolute.
        filename: name without extension.
        channels: columns, the monitors' included.
        axes: path axes with their units.
        start: JSON-able metadata kept in the file: plan name and arguments, scan id, uid ...
        epoch_ns: Unix nanoseconds; times in the file count from it.
        monitors: name of each slow channel to its unit; its samples are kept as they come,
            beside the column joined to the rows.
        tuned: decisions may steer its flights: rows keep their facts, and the file a record.
    """

    directory: str
    filename: str
    channels: tuple[Channel, ...]
    axes: Mapping[str, str]
    start: Mapping[str, object]
    epoch_ns: int
    monitors: Mapping[str, str] = field(default_factory=dict[str, str])
    tuned: bool = False


class Sink(Protocol):
    """Where frames go. Calls come from the flight host's loop and never block it."""

    async def open(self, run: RunFile) -> str:
        """Create the file; returns its absolute path.

        Raises:
            StorageError: the directory is missing, not writable or full.
        """
        ...

    async def begin_flight(self, flight: int, path: Mapping[str, object]) -> None:
        """Note the path (`Path.to_dict`) of the flight whose frames come next."""
        ...

    async def append(self, frames: Frames) -> None:
        """Queue frames for writing; waits when the bounded queue is full.

        Raises:
            StorageError: an earlier write failed; what was flushed before stays readable.
        """
        ...

    async def supersede(self, frames: npt.NDArray[np.int64]) -> None:
        """Clear the ``keep`` mark of frames whose points are flown again, and their ``used``."""
        ...

    async def flag(self, frames: npt.NDArray[np.int64]) -> None:
        """Clear the ``used`` mark of frames of a tuned run that nobody may use.

        They still stand for their points. Note them with :meth:`add_tuning` afterwards.
        """
        ...

    async def add_tuning(self, record: Mapping[str, object]) -> None:
        """Store what happened next in a tuned run: JSON-able, with keys ``event`` and ``flight``.

        It becomes readable no later than the frames appended after it.
        """
        ...

    async def add_ledger(self, row: LedgerRow) -> None:
        """Store one row of the ledger."""
        ...

    async def add_monitor(self, name: str, time_ns: IntArray, values: FloatArray) -> None:
        """Store samples of a slow channel with their own times."""
        ...

    async def flush(self) -> int:
        """Make everything appended so far readable by others; returns the frames on disk."""
        ...

    @property
    def flushed(self) -> int:
        """Frames on disk."""
        ...

    async def close(self) -> None:
        """Flush and close cleanly. Idempotent."""
        ...
