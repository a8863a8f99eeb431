"""The sink a flight writes to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from functools import partial

import numpy as np
import numpy.typing as npt

from ..errors import StorageError
from ..flight import FloatArray, Frames, IntArray, LedgerRow, RunFile
from ._file import RunFileWriter
from ._layout import Layout
from ._nexus import PHASES
from ._spool import Spool

__all__ = ["Hdf5Sink"]


class Hdf5Sink:
    """Writes the frames of one run to an HDF5 file that others can read meanwhile.

    Frames wait in a bounded queue and are written in batches by a thread of its own; what is
    on disk is at most `flush_interval` old. Implements :class:`flyscan.flight.Sink`.

    Args:
        flush_interval: seconds after which what was appended is made readable unasked; longer
            than from one flush that a flight asks for to the next, each costs.
        batch_bytes: from this size on a batch is written without waiting for the interval.
        queue_bytes: :meth:`append` waits while more than this is queued.
        patience: seconds to wait for the disk before giving up.
    """

    def __init__(
        self,
        *,
        flush_interval: float = 1.0,
        batch_bytes: int = 4 << 20,
        queue_bytes: int = 16 << 20,
        patience: float = 30.0,
    ) -> None:
        self._monitors: Mapping[str, str] = {}
        self._spool = Spool(
            flush_interval=flush_interval,
            batch_bytes=batch_bytes,
            queue_bytes=queue_bytes,
            patience=patience,
        )
        self._layout: Layout | None = None
        self._path = "data file"
        self._frames = 0
        self._closing: asyncio.Future[None] | None = None

    async def open(self, run: RunFile) -> str:
        """Create the file; returns its absolute path.

        Raises:
            StorageError: the directory is missing, read-only or full, the file exists, or two
                columns would have the same name.
        """
        if self._layout is not None or self._closing is not None:
            raise self._error("a sink writes one file", "use a new sink for every run")
        layout = Layout(run)
        file = await self._spool.open(partial(RunFileWriter, run, layout))
        self._layout, self._path, self._monitors = layout, file.path, run.monitors
        return file.path

    async def begin_flight(self, flight: int, path: Mapping[str, object]) -> None:
        """Note the path of the flight whose frames come next; it is on disk on return."""
        self._opened()
        self._spool.submit(lambda file: file.add_path(flight, path))
        await self._spool.flush()

    async def append(self, frames: Frames) -> None:
        """Queue frames for writing; waits while the queue is full.

        Raises:
            StorageError: an earlier write failed, the frames do not follow those before or do
                not fit the file, or the disk does not keep up.
        """
        layout = self._opened()
        if frames.first_frame != self._frames:
            raise self._error(
                f"expected frame {self._frames} next, got frame {frames.first_frame}",
                "this is a defect of the flight; report it",
            )
        layout.require_fit(frames)
        self._spool.submit(frames, len(frames) * layout.row_bytes)
        self._frames += len(frames)
        await self._spool.room()

    async def supersede(self, frames: npt.NDArray[np.int64]) -> None:
        """Clear the ``keep`` mark of frames already appended and, in a tuned run, ``used``.

        Raises:
            StorageError: there is no such frame, or an earlier write failed.
        """
        self._opened()
        if self._has("supersede", frames):
            self._spool.submit(lambda file: file.supersede(frames))

    async def flag(self, frames: npt.NDArray[np.int64]) -> None:
        """Clear the ``used`` mark of frames already appended.

        Raises:
            StorageError: the run is not tuned, there is no such frame, or an earlier write failed.
        """
        self._require_tuned()
        if self._has("flag", frames):
            self._spool.submit(lambda file: file.flag(frames))

    async def add_tuning(self, record: Mapping[str, object]) -> None:
        """Store what happened next, as a line of JSON.

        Raises:
            StorageError: the run is not tuned, the record is no JSON or lacks event or flight,
                or an earlier write failed.
        """
        self._require_tuned()
        try:
            line = json.dumps(dict(record)).encode() + b"\n"
        except (TypeError, ValueError) as exc:
            raise self._error(
                f"cannot store the record {dict(record)!r}: {exc}",
                "policies give plain numbers and texts, no arrays or objects",
            ) from exc
        if not isinstance(record.get("event"), str) or not isinstance(record.get("flight"), int):
            raise self._error(
                f"cannot store a record without event or flight: {dict(record)!r}",
                "this is a defect of the flight; report it",
            )
        self._spool.submit(line, len(line))

    async def add_ledger(self, row: LedgerRow) -> None:
        """Store one row of the ledger.

        Raises:
            StorageError: it has an unknown phase, or an earlier write failed.
        """
        self._opened()
        if unknown := row.phases.keys() - set(PHASES):
            raise self._error(
                f"the ledger has no column for the phase {', '.join(sorted(unknown))}",
                f"the phases of a segment are {', '.join(PHASES)}",
            )
        self._spool.submit(lambda file: file.add_ledger(row))

    async def add_monitor(self, name: str, time_ns: IntArray, values: FloatArray) -> None:
        """Store samples of a slow channel with their own times.

        Raises:
            StorageError: the run was opened without it, or an earlier write failed.
        """
        self._opened()
        if name not in self._monitors:
            raise self._error(
                f"has no place for monitor {name!r}, only for: {', '.join(self._monitors) or '-'}",
                "name every monitor when the run is opened: the file takes no new groups later",
            )
        self._spool.submit(lambda file: file.add_monitor(name, time_ns, values))

    async def flush(self) -> int:
        """Make everything appended so far readable by others; returns the frames on disk.

        Raises:
            StorageError: the disk is full or gone, or does not answer.
        """
        self._opened()
        await self._spool.flush()
        return self._spool.flushed

    @property
    def flushed(self) -> int:
        """Frames that other processes can read."""
        return self._spool.flushed

    async def close(self) -> None:
        """Flush and close, so that anybody can open the file. Idempotent.

        After a failed write this tries once more to store what was left: there may be space
        again.

        Raises:
            StorageError: frames were lost and no call has said so yet.
        """
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._spool.close())
        await asyncio.shield(self._closing)

    def _has(self, what: str, frames: npt.NDArray[np.int64]) -> bool:
        """Whether there are any; all of them must have been appended."""
        if not len(frames):
            return False
        first, last = int(np.min(frames)), int(np.max(frames))
        if first < 0 or last >= self._frames:
            raise self._error(
                f"cannot {what} frames {first} to {last}, there are {self._frames}",
                "this is a defect of the flight; report it",
            )
        return True

    def _require_tuned(self) -> None:
        if not self._opened().tuned:
            raise self._error(
                "has no place for decisions, since the run was opened without",
                "open the run as one that decisions may steer (RunFile.tuned)",
            )

    def _opened(self) -> Layout:
        if self._layout is None or self._closing is not None:
            raise self._error("no file is open", "open the sink first, do not use it once closed")
        self._spool.raise_failure()
        return self._layout

    def _error(self, problem: str, remedy: str) -> StorageError:
        return StorageError(problem, device=self._path, remedy=remedy)
