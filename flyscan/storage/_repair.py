"""Repair of files whose writer was killed.

Such a file has its consistency flags set and an end-of-file address from before the first
frame: HDF5 opens it for SWMR reading only. The remedy is that of HDF5's own ``h5clear
--status --increment`` (which Python wheels do not ship): clear the flags and move the end
behind everything that was allocated.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import StorageError
from ._errors import storage_error
from ._h5 import h5py
from ._layout import CHUNK_BYTES
from ._lock import lock_exclusively, writer_of
from ._read import frame_columns
from ._superblock import Superblock

__all__ = ["RepairReport", "repair_file"]

_SUPERBLOCK_BYTES = 512


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What :func:`repair_file` did.

    Args:
        path: the file.
        changed: False if there was nothing to repair.
        frames: complete frames in the file; None for a file flyscan did not write.
        trimmed: incomplete frames cut off: some columns had them, others not yet.
    """

    path: str
    changed: bool
    frames: int | None
    trimmed: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)

    def __str__(self) -> str:
        done = "repaired" if self.changed else "nothing to repair"
        frames = "" if self.frames is None else f", {self.frames} complete frames"
        trimmed = f", {self.trimmed} incomplete ones cut off" if self.trimmed else ""
        return f"{self.path}: {done}{frames}{trimmed}"


def repair_file(path: str | os.PathLike[str]) -> RepairReport:
    """Make the file of a killed writer readable by everybody. Idempotent.

    Raises:
        StorageError: no such file, not HDF5, still being written, or damaged beyond this.
    """
    name = os.fspath(path)
    _require_unused(name)
    try:
        # HDF5 is told not to lock: the lock on our own descriptor guards all of this.
        with open(name, "r+b", buffering=0) as file:
            _lock(name, file.fileno())
            changed = _mend_superblock(name, file.fileno())
            frames, trimmed = _trim(name)
    except (OSError, RuntimeError) as exc:
        raise storage_error(name, "cannot be repaired", exc) from exc
    return RepairReport(name, changed or bool(trimmed), frames, trimmed)


def _mend_superblock(name: str, fd: int) -> bool:
    """Clear the flags and set the end of the file, if they are wrong."""
    try:
        block = Superblock.decode(os.pread(fd, _SUPERBLOCK_BYTES, 0))
    except ValueError as exc:
        raise StorageError(
            f"cannot be repaired: expected an HDF5 file written with SWMR, but {exc}",
            device=name,
            remedy="check the file name; restore the file from a copy",
        ) from exc
    size = os.fstat(fd).st_size
    if not block.flags and block.end_of_file <= size:
        return False
    end = max(block.end_of_file, size)
    if block.flags:
        # The last chunk may have been allocated but not written to its end.
        end += _largest_chunk(name)
    os.ftruncate(fd, end)
    os.pwrite(fd, block.repaired(end).encode(), 0)
    os.fsync(fd)
    return True


def _largest_chunk(name: str) -> int:
    """Bytes of the largest chunk in the file; what ours may have if it cannot be read yet."""
    sizes = [CHUNK_BYTES]

    def visit(_: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.chunks:
            count = 1
            for length in item.chunks:
                count *= length
            sizes.append(count * item.dtype.itemsize)

    try:
        with h5py.File(name, "r", swmr=True, locking=False) as file:
            file.visititems(visit)
    except OSError:
        # Killed before SWMR writing began: there are no frames whose chunks would matter.
        return CHUNK_BYTES
    return max(sizes)


def _trim(name: str) -> tuple[int | None, int]:
    """Cut all columns to the complete frames; returns their number and how many were cut."""
    with h5py.File(name, "r", locking=False) as file:
        lengths = {column.name: len(column) for column in frame_columns(file).values()}
    if not lengths:
        return None, 0
    shortest, longest = min(lengths.values()), max(lengths.values())
    if shortest < longest:
        with h5py.File(name, "r+", locking=False) as file:
            for column in lengths:
                file[column].resize(shortest, axis=0)
    return shortest, longest - shortest


def _require_unused(name: str) -> None:
    writer = writer_of(name)
    if writer is not None:
        raise _in_use(name, f"process {writer} has it open for writing")


def _lock(name: str, fd: int) -> None:
    try:
        lock_exclusively(fd)
    except BlockingIOError as exc:
        raise _in_use(name, "another process has it locked") from exc


def _in_use(name: str, who: str) -> StorageError:
    return StorageError(
        f"is still in use: {who}",
        device=name,
        remedy="wait until the run is over or stop that process, then repair",
    )
