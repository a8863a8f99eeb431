"""The frames that stand for the points of a flight, in the order of the path."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..errors import ConfigurationError
from ._h5 import h5py
from ._read import frame_columns

__all__ = ["kept_frames"]


def kept_frames(
    path: str | os.PathLike[str], names: Sequence[str], flight: int = 0
) -> dict[str, npt.NDArray[np.generic]]:
    """Columns of the kept frames of one flight, sorted by point.

    Args:
        path: a run's file; it may still be being written.
        names: channels, or ``point``, ``time``, ``exposure``, ``segment``.
        flight: number of the flight in the run.

    Returns:
        Name to array of shape ``(n, *element shape)``, the same n for all.

    Raises:
        ConfigurationError: the file has no such column.
    """
    with h5py.File(path, "r", swmr=True) as file:
        columns = frame_columns(file)
        missing = [name for name in names if name not in columns]
        if missing:
            raise ConfigurationError(
                f"no column called {', '.join(missing)}",
                device=os.fspath(path),
                remedy=f"use some of {', '.join(columns)}",
            )
        length = min(len(columns[name]) for name in (*names, "keep", "point", "flight"))
        keep = columns["keep"][:length].astype(bool) & (columns["flight"][:length] == flight)
        order = np.argsort(columns["point"][:length][keep], kind="stable")
        return {name: columns[name][:length][keep][order] for name in names}
