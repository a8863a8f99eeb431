"""Rows for policies from what the file has of them.

A flight and a replay both make their rows here, from the same numbers: so they are the same to
the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ..errors import ConfigurationError
from ..flight import FloatArray, IntArray, RowFacts
from ._rows import BoolArray, Rows

__all__ = ["CORRECTED", "rows_of"]

CORRECTED = "_corrected"
"""Ends the name of a channel's column of counts corrected for dead time."""


def rows_of(
    first: int, point: IntArray, time: FloatArray, live: FloatArray, facts: RowFacts,
    columns: Mapping[str, npt.NDArray[np.generic]], channels: Sequence[str], *,
    flux: bool, good: BoolArray | None = None,
) -> Rows:  # fmt: skip
    """Rows of consecutive frames.

    Args:
        first: frame number of the first row.
        point: path index of every row.
        time: seconds from the epoch of the run's file to the end of the live time of every row,
            which is its column ``time`` plus its column ``exposure``.
        live: seconds the detectors counted.
        facts: what the flight has found out about every row.
        columns: everything captured, by channel.
        channels: which of it are counts; taken as corrected for dead time where that is there.
            Whatever is a number per row is among the signals, as captured.
        flux: whether the incident flux was measured.
        good: False for rows nobody may use.

    Raises:
        ConfigurationError: a channel is missing.
    """
    counts: dict[str, FloatArray] = {}
    for channel in channels:
        source = columns.get(channel + CORRECTED, columns.get(channel))
        if source is None:
            raise ConfigurationError(
                f"nothing captured is called so; there are {', '.join(columns) or 'no channels'}",
                device=channel,
                remedy="name a channel the capture box delivers",
            )
        counts[channel] = _floats(source)
    signals = {
        name: _floats(column)
        for name, column in columns.items()
        if column.ndim == 1 and column.dtype.kind in "fiub"
    }
    return Rows(
        first,
        point,
        facts.start,
        facts.stop,
        time,
        live,
        counts,
        facts.i0 if flux else None,
        signals,
        facts.passes,
        good,
    )


def _floats(column: npt.NDArray[np.generic]) -> FloatArray:
    return np.asarray(column, dtype=np.float64)
