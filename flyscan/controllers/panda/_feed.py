"""Rows of a streamed sequencer line, made piece by piece while it runs. Pure arithmetic.

A sequencer takes a table in pieces: while one runs, others wait behind it (PandABlocks-server,
"Table fields": ``<<`` gives one more, ``<<|`` the last). What was given cannot be taken back, so
a change of the step acts from the first point that has not been given yet.
"""

from __future__ import annotations

import math

import numpy as np

from ...flight import IntArray
from ._lines import SeqLine

__all__ = ["PIECE_S", "SeqFeed"]

#: Seconds of triggers in a piece.
PIECE_S = 0.1
#: Points are made this far, in counts, before the end of the line.
SHORT = 0.5


class SeqFeed:
    """Points of one sweep of a sequencer line.

    Args:
        line: positions of the whole line.
        index: its first point of the sweep.
        end: count at which the line ends.
        step: nominal counts between points, positive.
        period: nominal seconds between points.
    """

    def __init__(self, line: SeqLine, index: int, end: float, step: float, period: float) -> None:
        self.direction = line.direction
        self._planned = line.positions[index:]
        self._end = end
        self._nominal = step
        self._period = period
        self._step = step
        self._anchor: tuple[int, int] | None = None
        self.given = 0

    @property
    def changed(self) -> bool:
        """Whether the step is or was another than at first."""
        return self._anchor is not None

    @property
    def points(self) -> int:
        """How many points come before the end of the line."""
        if self._anchor is None:
            return len(self._planned)
        index, position = self._anchor
        ahead = self.direction * (self._end - position) - SHORT
        return min(len(self._planned), index + math.ceil(ahead / self._step))

    @property
    def exhausted(self) -> bool:
        """Whether every point has been given."""
        return self.given >= self.points

    @property
    def piece(self) -> int:
        """Points that come in :data:`PIECE_S` at nominal speed, at least one."""
        return math.ceil(PIECE_S / self._period * self._nominal / self._step)

    def change(self, step: float) -> None:
        """From the next point that is given on, points come every `step` counts.

        That point stays where it is, so that there is one left to end the table with.
        """
        if not self.exhausted and step != self._step:
            self._anchor = self.given, self._at(self.given, self.given + 1)[0]
            self._step = step

    def take(self, count: int) -> IntArray:
        """Positions, in counts, of the next `count` points, or of as many as are left."""
        first, self.given = self.given, min(self.points, self.given + count)
        return np.array(self._at(first, self.given), np.int64)

    def _at(self, first: int, stop: int) -> list[int]:
        if self._anchor is None:
            return self._planned[first:stop].tolist()
        index, position = self._anchor
        ahead = np.rint((np.arange(first, stop) - index) * self._step)
        return (position + self.direction * ahead).astype(np.int64).tolist()
