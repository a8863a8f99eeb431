"""HDF5 files as ADCore's NDFileHDF5 plugin writes them in SWMR mode. Blocking: run in a thread."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

__all__ = ["HdfFile", "has_directory"]

EPICS_EPOCH = 631152000
"""Unix time of 1990-01-01, from which EPICS counts."""

ATTRIBUTE_CHUNK = 16384
ATTRIBUTES = {
    "NDArrayUniqueId": "<i4",
    "NDArrayTimeStamp": "<f8",
    "NDArrayEpicsTSSec": "<u4",
    "NDArrayEpicsTSnSec": "<u4",
}


def has_directory(path: str, depth: int) -> bool:
    """Whether a directory exists; up to ``-depth`` missing levels are made if `depth` < 0."""
    folder = Path(path)
    missing = [part for part in (folder, *folder.parents) if not part.exists()]
    if missing and len(missing) <= -depth:
        folder.mkdir(parents=True)
    return folder.is_dir()


class HdfFile:
    """A file open for writing while others read it.

    Args:
        path: where; an existing file is replaced.
        shape: rows and columns of a frame.
        chunk: frames per chunk.

    Raises:
        OSError: it cannot be created.
    """

    def __init__(self, path: str, shape: tuple[int, int], chunk: int) -> None:
        self._file = h5py.File(path, "w", libver="latest")
        entry = self._file.create_group("entry")
        entry.attrs["NX_class"] = "NXentry"
        data = entry.create_group("data")
        data.attrs["NX_class"] = "NXdata"
        data.attrs["signal"] = "data"
        self._data = data.create_dataset(
            "data", (0, *shape), "<u2", maxshape=(None, *shape), chunks=(chunk, *shape)
        )
        group = entry.create_group("instrument/NDAttributes")
        self._attributes = {
            name: group.create_dataset(
                name, (0,), dtype, maxshape=(None,), chunks=(ATTRIBUTE_CHUNK,)
            )
            for name, dtype in ATTRIBUTES.items()
        }
        self._file.swmr_mode = True

    def append(
        self, images: NDArray[np.uint16], numbers: Sequence[int], times: Sequence[float]
    ) -> None:
        """Add frames.

        Args:
            images: shape (n, rows, columns).
            numbers: unique identifiers.
            times: Unix time at which each exposure began, s.
        """
        stamps = np.array(times) - EPICS_EPOCH
        seconds = np.floor(stamps)
        columns = {
            "NDArrayUniqueId": np.array(numbers),
            "NDArrayTimeStamp": stamps,
            "NDArrayEpicsTSSec": seconds,
            "NDArrayEpicsTSnSec": np.round((stamps - seconds) * 1e9),
        }
        first, count = len(self._data), len(images)
        self._data.resize(first + count, 0)
        self._data[first:] = images
        for name, values in columns.items():
            dataset = self._attributes[name]
            dataset.resize(first + count, 0)
            dataset[first:] = values

    def flush(self) -> None:
        """Make all frames visible to readers."""
        self._file.flush()

    def close(self) -> None:
        """Flush and close."""
        self._file.close()
