"""Channels and blocks: what a capture box delivers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import CaptureError

__all__ = ["Block", "Channel", "FloatArray", "IntArray"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

RESERVED_NAMES = frozenset({"time", "seq_num", "point", "keep", "segment", "frame"})


@dataclass(frozen=True, slots=True)
class Channel:
    """A named column of the data.

    Args:
        name: column name; never one of the names the file and Bluesky reserve.
        dtype: numpy dtype string of one element, e.g. ``"<f8"``.
        shape: shape of one row's element; ``()`` for a number.
        unit: physical unit, ``""`` for a pure number.
        source: where it comes from, e.g. ``"panda://127.0.0.1/INENC1.VAL.Mean"``.
        axis: the path axis whose position this channel reports, if it does.
        precision: digits worth showing after the decimal point.
    """

    name: str
    dtype: str = "<f8"
    shape: tuple[int, ...] = ()
    unit: str = ""
    source: str = ""
    axis: str | None = None
    precision: int = 3

    def __post_init__(self) -> None:
        if self.name in RESERVED_NAMES:
            raise CaptureError(
                f"a channel may not be called {self.name!r}",
                device=self.source,
                remedy=f"rename it; reserved names are {', '.join(sorted(RESERVED_NAMES))}",
            )

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self) | {"shape": list(self.shape)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Channel:
        """Read back :meth:`to_dict`."""
        fields: dict[str, Any] = {**data, "shape": tuple(data["shape"])}
        return cls(**fields)


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Rows of consecutive triggers, delivered together by a capture box.

    Args:
        first: number of the first row's trigger, counted from 0 since the capture was armed.
            Numbers left out between one block and the next are of triggers that made no row.
        time_ns: hardware time of each row's trigger, Unix nanoseconds, int64, shape ``(n,)``.
        exposure: live time of each row in seconds, float64, shape ``(n,)``.
        columns: channel name to array of shape ``(n, *channel.shape)``.
    """

    first: int
    time_ns: IntArray
    exposure: FloatArray
    columns: Mapping[str, npt.NDArray[np.generic]] = field(
        default_factory=dict[str, npt.NDArray[np.generic]]
    )

    def __post_init__(self) -> None:
        n = len(self.time_ns)
        lengths = {name: len(column) for name, column in self.columns.items()}
        wrong = {name: length for name, length in lengths.items() if length != n}
        if wrong or len(self.exposure) != n:
            raise CaptureError(
                f"block of {n} rows has columns of other lengths: {wrong or len(self.exposure)}",
                remedy="this is a defect of the capture binding; report it",
            )

    def __len__(self) -> int:
        return len(self.time_ns)

    @property
    def stop(self) -> int:
        """Number after the last trigger."""
        return self.first + len(self)

    def rows(self, start: int, stop: int) -> Block:
        """The rows of the triggers `start` to `stop` (exclusive), as views."""
        part = slice(max(0, start - self.first), max(0, stop - self.first))
        return Block(
            self.first + part.start,
            self.time_ns[part],
            self.exposure[part],
            {name: column[part] for name, column in self.columns.items()},
        )
