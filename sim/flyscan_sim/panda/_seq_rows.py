"""SEQ tables: rows decoded from words, fixed or streamed through an on-chip ring."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ._positions import Counts
from ._tables import Words

__all__ = ["RING_ROWS", "RowSource", "Rows", "decode"]

RING_ROWS = 4095
"""Rows the block holds ahead on the chip."""


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Columns of (n,) rows; times in prescaled units, outputs as 6-bit words."""

    repeats: Counts
    trigger: Counts
    out1: Counts
    out2: Counts
    position: Counts
    time1: Counts
    time2: Counts

    def __len__(self) -> int:
        return self.repeats.size

    def __getitem__(self, rows: slice) -> Rows:
        return Rows(
            self.repeats[rows],
            self.trigger[rows],
            self.out1[rows],
            self.out2[rows],
            self.position[rows],
            self.time1[rows],
            self.time2[rows],
        )


def decode(words: Words) -> Rows:
    """Rows of a table of four words each: control, position, time 1, time 2."""
    table = words.reshape(-1, 4).astype(np.int64)
    control = table[:, 0]
    return Rows(
        repeats=control & 0xFFFF,
        trigger=control >> 16 & 0xF,
        out1=control >> 20 & 0x3F,
        out2=control >> 26 & 0x3F,
        position=(table[:, 1] + 2**31) % 2**32 - 2**31,
        time1=table[:, 2],
        time2=table[:, 3],
    )


@dataclass(frozen=True, slots=True, eq=False)
class RowSource:
    """A table as the block has it.

    Attributes:
        buffers: a fixed table, or the streamed buffers whose rows are not all executed.
        taken: rows of the first buffer already executed.
        last: no buffer follows.
    """

    buffers: tuple[Rows, ...] = ()
    taken: int = 0
    streaming: bool = False
    last: bool = False

    def push(self, rows: Rows, *, last: bool) -> RowSource:
        return RowSource((*self.buffers, rows), self.taken, True, last)

    @property
    def ready(self) -> bool:
        return bool(self.buffers)

    def current(self) -> Rows:
        """Rows that can be executed one after the other from the present one."""
        return self.buffers[0][self.taken :]

    def advance(self, count: int) -> RowSource:
        """After `count` rows of the present buffer."""
        taken, buffers = self.taken + count, self.buffers
        if self.streaming and taken == len(buffers[0]):
            taken, buffers = 0, buffers[1:]
        return RowSource(buffers, taken, self.streaming, self.last)

    def rewound(self) -> RowSource:
        """From the first row again."""
        return RowSource(self.buffers, 0, self.streaming, self.last)

    def queued(self) -> list[int]:
        """Rows of each streamed buffer that has not gone into the ring completely."""
        if not self.streaming:
            return []
        sizes = [len(rows) for rows in self.buffers]
        ends = np.cumsum(sizes) - self.taken
        return [size for size, end in zip(sizes, ends.tolist(), strict=True) if end > RING_ROWS]
