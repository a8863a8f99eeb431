"""Rows for policies from what the file has of them.

A flight and a replay both make their rows here, from the same numbers: so they are the same to
the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ..errors import ConfigurationError
from ..flight import FloatArray, Frames, IntArray, RowFacts, values_of
from ._rows import Rows

__all__ = ["CORRECTED", "rows_in", "rows_of"]

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


def rows_in(
    frames: Frames, time: FloatArray, other: Callable[[int], bool], *, flux: bool
) -> Iterator[Rows]:
    """Frames of a steered flight as rows, cut where the segment changes.

    Args:
        frames: with the facts of their rows.
        time: as in :func:`rows_of`, for all of them.
        other: whether a segment is of another line than the policy flies.
        flux: whether the incident flux was measured.

    Raises:
        ConfigurationError: they have no facts.
    """
    facts, block = frames.facts, frames.block
    if facts is None:
        raise ConfigurationError(
            "frames carry no facts of their rows",
            device="steering",
            remedy="this is a defect of the flight; report it",
        )
    cuts: list[int] = (np.flatnonzero(np.diff(frames.segment)) + 1).tolist()
    for begin, end in pairwise((0, *cuts, len(frames))):
        part = slice(begin, end)  # copied: what a policy does to its rows is not done to the file's
        yield rows_of(
            frames.first_frame + begin,
            frames.point[part].copy(),
            time[part].copy(),
            block.exposure[part].copy(),
            RowFacts(**{name: values[part].copy() for name, values in values_of(facts).items()}),
            {name: column[part].copy() for name, column in block.columns.items()},
            flux=flux,
            other=other(int(frames.segment[begin])),
        )
