"""Rows for policies from what the file has of them.

A flight and a replay both make their rows here, from the same numbers: so they are the same to
the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from ..flight import FloatArray, IntArray, RowFacts
from ._rows import Rows

__all__ = ["CORRECTED", "rows_of"]

CORRECTED = "_corrected"
"""Ends the name of a channel's column of counts corrected for dead time."""

OTHER_LINE = 1 << 20
"""Added to the pass of rows that are not of the line the policy flies."""


def rows_of(
    first: int, point: IntArray, time: FloatArray, live: FloatArray, facts: RowFacts,
    columns: Mapping[str, npt.NDArray[np.generic]], *, flux: bool, other: bool = False,
) -> Rows:  # fmt: skip
    """Rows of consecutive frames; all columns of numbers are counts, and signals as captured.

    Args:
        first: frame number of the first row.
        point: path index of every row.
        time: seconds from the epoch of the run's file to the end of the live time of every row,
            which is its column ``time`` plus its column ``exposure``.
        live: seconds the detectors counted.
        facts: what the flight has found out about every row.
        columns: everything captured, by channel. Where counts corrected for dead time are among
            it, they are those of the channel as captured, too.
        flux: whether the incident flux was measured.
        other: the rows are of another line than the policy flies; nobody may use them.
    """
    signals: dict[str, FloatArray] = {
        name: np.asarray(column, dtype=np.float64)
        for name, column in sorted(columns.items())  # a file has them in this order
        if column.ndim == 1
    }
    return Rows(
        first,
        point,
        facts.start,
        facts.stop,
        time,
        live,
        {name: signals.get(name + CORRECTED, column) for name, column in signals.items()},
        facts.i0 if flux else None,
        signals,
        facts.passes + OTHER_LINE if other else facts.passes,
        np.zeros(len(point), np.bool_) if other else None,
    )
