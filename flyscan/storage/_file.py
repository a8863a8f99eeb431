"""The file of one run, written by one thread with blocking calls."""

from __future__ import annotations

import contextlib
import json
import os
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence

import numpy as np

from ..errors import StorageError
from ..flight import FloatArray, Frames, IntArray, LedgerRow, RunFile
from ._appendable import Appendable
from ._errors import storage_error
from ._h5 import FORMAT, h5py
from ._layout import Layout
from ._lock import WriterLock
from ._nexus import build, iso_time, ledger_record

__all__ = ["Operation", "RunFileWriter"]

Operation = Frames | bytes | Callable[["RunFileWriter"], None]
"""Frames to append, a line of the record of decisions, or anything else to do between them."""

_ROOM = 512 << 10
"""Bytes a file without frames takes at most."""

_FAILURES = (OSError, RuntimeError, TypeError, ValueError)
"""What h5py and numpy raise for a file, a value or metadata that will not do."""


class RunFileWriter:
    """Creates the file of `run` and appends to it, readable by others after every flush.

    Not thread-safe: every call comes from the same thread.

    Args:
        run: what the file holds.
        layout: the columns of `run`.

    Raises:
        StorageError: the directory is missing, read-only or full, or the file exists.
    """

    def __init__(self, run: RunFile, layout: Layout) -> None:
        self.path = _place(run)
        self.rows = 0
        self.flushed = 0
        self._layout = layout
        self._epoch_ns = run.epoch_ns
        self._end_ns = run.epoch_ns
        try:
            # Without a chunk cache HDF5 writes exactly the appended bytes, at once: nothing is
            # written twice, and a flush has only the index and the lengths left to write.
            _make_room(self.path)
            self._file = h5py.File(self.path, "w", libver=FORMAT, rdcc_nbytes=0)
            with self._discarded_on_failure():
                self._parts = build(self._file, run, layout)
                self._file.swmr_mode = True
                self._inode = os.stat(self.path).st_ino
                self._lock = WriterLock(self.path)
        except _FAILURES as exc:
            raise storage_error(self.path, "cannot be created", exc) from exc

    def store(self, operations: deque[Operation], *, flush: bool) -> None:
        """Carry out `operations`, taking each off when it is done, then flush if asked to.

        After an error the failed operation and those behind it are left in `operations`; the
        file has the complete frames before it, readable as far as the disk still allows.

        Raises:
            StorageError: the disk is full, the file was deleted, the values do not fit.
        """
        try:
            while operations:
                self._step(operations)
            if flush:
                self.flush()
        except _FAILURES as exc:
            with contextlib.suppress(*_FAILURES, StorageError):  # `exc` is the one to report
                self.flush()
            problem = f"cannot be written beyond frame {self.flushed}"
            raise storage_error(self.path, problem, exc) from exc

    def supersede(self, frames: IntArray) -> None:
        """Clear the ``keep`` mark of `frames` and, in a tuned run, their ``used`` mark."""
        self._parts.columns["keep"].clear(frames)
        if self._layout.tuned:
            self.flag(frames)

    def flag(self, frames: IntArray) -> None:
        """Clear the ``used`` mark of `frames`."""
        self._parts.columns["used"].clear(frames)

    def add_path(self, flight: int, path: Mapping[str, object]) -> None:
        """Store the path of a flight."""
        text = np.frombuffer(json.dumps(dict(path)).encode(), np.uint8)
        parts = self._parts
        with _all_or_none(parts.path_json, parts.path_stop, parts.path_flight):
            parts.path_json.append(text)
            parts.path_stop.append(np.array([parts.path_json.rows]))
            parts.path_flight.append(np.array([flight]))

    def add_ledger(self, row: LedgerRow) -> None:
        """Store a row of the ledger."""
        parts = self._parts
        with _all_or_none(parts.missing, parts.lost, parts.ledger):
            parts.missing.append(np.array(row.missing, np.int64))
            parts.lost.append(np.array(row.lost, np.int64))
            parts.ledger.append(ledger_record(row, parts.missing.rows, parts.lost.rows))

    def add_monitor(self, name: str, time_ns: IntArray, values: FloatArray) -> None:
        """Store samples of a slow channel."""
        times, column = self._parts.monitors[name]
        with _all_or_none(times, column):
            times.append((time_ns - self._epoch_ns) / 1e9)
            column.append(values)

    def flush(self) -> None:
        """Make everything written readable by others, complete frames last."""
        self._require_present()
        for table in self._parts.tables():
            table.flush()
        if self.flushed < self.rows:
            self._parts.end_time[()] = np.bytes_(iso_time(self._end_ns))
            self._parts.end_time.flush()
        for column in self._layout.columns:
            self._parts.columns[column.name].flush()
        self.flushed = self.rows

    def close(self) -> None:
        """Close the file so that anybody can open it.

        Raises:
            StorageError: it could not be closed; what was flushed is readable all the same.
        """
        try:
            self._file.close()
        except _FAILURES as exc:
            raise storage_error(self.path, "cannot be closed cleanly", exc) from exc
        finally:
            self._lock.release()

    def _step(self, operations: deque[Operation]) -> None:
        """Append what can be appended at once, or do the one thing that comes first."""
        first = operations[0]
        if callable(first):
            first(self)
            operations.popleft()
            return
        batch: list[Frames] = []
        lines: list[bytes] = []
        for operation in operations:
            if isinstance(operation, Frames):
                batch.append(operation)
            elif isinstance(operation, bytes):
                lines.append(operation)
            else:
                break
        parts = self._parts
        with _all_or_none(parts.tuning_json, parts.tuning_stop):
            self._append_lines(lines)
            if batch:
                self._append(batch)
        for _ in range(len(batch) + len(lines)):
            operations.popleft()

    def _append_lines(self, lines: Sequence[bytes]) -> None:
        """Add to the record of decisions; readers go by where its lines end."""
        if lines:
            text, stop = self._parts.tuning_json, self._parts.tuning_stop
            ends = text.rows + np.cumsum([len(line) for line in lines])
            text.append(np.frombuffer(b"".join(lines), np.uint8))
            stop.append(ends)

    def _append(self, batch: Sequence[Frames]) -> None:
        """Write consecutive frames at once: few big calls, whatever the size of the blocks."""
        columns = self._parts.columns
        count = sum(map(len, batch))
        with _all_or_none(*columns.values()):
            for column in self._layout.columns:
                values = column.gather(batch)
                if values is None:
                    columns[column.name].extend(count)
                else:
                    columns[column.name].append(values)
        self.rows = columns["keep"].rows
        times = next((f.block.time_ns for f in reversed(batch) if len(f)), None)
        if times is not None:
            self._end_ns = int(times[-1])

    def _require_present(self) -> None:
        """A deleted file takes writes to the end, and is gone with the last of them."""
        try:
            present = os.stat(self.path).st_ino == self._inode
        except FileNotFoundError:
            present = False
        if not present:
            raise StorageError(
                f"was deleted, moved or replaced after frame {self.flushed} while it was written",
                device=self.path,
                remedy="leave data files alone until the run is over; repeat the run",
            )

    @contextlib.contextmanager
    def _discarded_on_failure(self) -> Generator[None]:
        try:
            yield
        except BaseException:
            with contextlib.suppress(*_FAILURES):  # what broke it is the error to report
                self._file.close()
                os.unlink(self.path)
            raise


def _make_room(path: str) -> None:
    """Create the file, if it does not exist and the disk has room for one without frames.

    HDF5 takes the whole process down when a disk fills up while it creates a file.

    Raises:
        OSError: it exists, or there is no room.
    """
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        os.posix_fallocate(file, 0, _ROOM)
    except OSError:
        os.unlink(path)
        raise
    finally:
        os.close(file)


@contextlib.contextmanager
def _all_or_none(*tables: Appendable) -> Generator[None]:
    """Keep tables that belong together at one length when writing to one of them fails."""
    before = [table.rows for table in tables]
    try:
        yield
    except BaseException:
        for table, rows in zip(tables, before, strict=True):
            with contextlib.suppress(*_FAILURES):  # readers go by the shortest table
                table.truncate(rows)
        raise


def _place(run: RunFile) -> str:
    """Absolute path of the new file.

    Raises:
        StorageError: the directory is missing or the file name is none.
    """
    if not run.filename or os.path.basename(run.filename) != run.filename:
        raise StorageError(
            f"{run.filename!r} is not a file name",
            device=run.directory,
            remedy="give a name without directory and extension",
        )
    if not os.path.isdir(run.directory):
        raise StorageError(
            "is not an existing directory; data files need one to go to",
            device=run.directory,
            remedy="create it or choose another directory",
        )
    return os.path.join(os.path.abspath(run.directory), f"{run.filename}.h5")
