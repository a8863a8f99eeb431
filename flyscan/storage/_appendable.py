"""A dataset that grows row by row."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ._h5 import h5py

__all__ = ["Appendable"]


class Appendable:
    """A chunked dataset that knows how many of its rows are valid.

    Args:
        dataset: empty h5py dataset whose first dimension is unlimited.
    """

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset
        self._dirty = False
        self.rows = 0

    @classmethod
    def create(
        cls,
        group: Any,
        name: str,
        dtype: npt.DTypeLike,
        chunk_shape: tuple[int, ...],
        default: float | None = None,
    ) -> Appendable:
        """Create the dataset `name`, of rows shaped ``chunk_shape[1:]``.

        With a `default`, rows may be left out by :meth:`extend`; without one, new chunks are
        not filled, which would write everything twice.
        """
        tail = chunk_shape[1:]
        return cls(
            group.create_dataset(
                name,
                shape=(0, *tail),
                maxshape=(None, *tail),
                dtype=dtype,
                chunks=chunk_shape,
                fillvalue=default,
                fill_time="never" if default is None else "ifset",
            )
        )

    @property
    def attrs(self) -> Any:
        """Attributes of the dataset."""
        return self._dataset.attrs

    def append(self, values: npt.NDArray[Any]) -> None:
        """Write `values` after the last valid row."""
        if not len(values):
            return
        # h5py's low-level calls: a third of the time of slicing, and less of it with the lock.
        start, (count, *tail) = self.rows, values.shape
        extent = (start + count, *tail)
        rows = h5py.h5s.create_simple(extent)
        rows.select_hyperslab((start, *(0 for _ in tail)), values.shape)
        self._dirty = True
        self._dataset.id.set_extent(extent)
        memory = h5py.h5s.create_simple(values.shape)
        self._dataset.id.write(memory, rows, np.ascontiguousarray(values))
        self.rows = start + count

    def extend(self, count: int) -> None:
        """Add `count` rows of the default; takes no space."""
        self._dirty = True
        self._dataset.resize(self.rows + count, axis=0)
        self.rows += count

    def clear(self, rows: npt.NDArray[np.int64]) -> None:
        """Set the given valid rows to zero, chunk by chunk however scattered they are."""
        window = self._dataset.chunks[0]
        self._dirty = True
        for index in np.unique(rows // window):
            first, stop = index * window, min((index + 1) * window, self.rows)
            values = self._dataset[first:stop]
            values[rows[(rows >= first) & (rows < stop)] - first] = 0
            self._dataset[first:stop] = values

    def truncate(self, rows: int) -> None:
        """Forget every row from `rows` on."""
        self._dataset.resize(rows, axis=0)
        self.rows = rows

    def flush(self) -> None:
        """Make what was written visible to other processes."""
        if self._dirty:
            self._dataset.flush()
            self._dirty = False
