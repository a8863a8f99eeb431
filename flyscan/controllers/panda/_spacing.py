"""Where the pulses of a position compare lie when its STEP changes on the way. Pure arithmetic.

PCOMP reads STEP at the falling edge of every pulse, and only there: written while OUT is high it
moves the next pulse, written while OUT is low the one after the next (PandABlocks-FPGA,
``pcomp.vhd``). It also judges by the STEP of that moment whether the position jumped, so that one
lowered by just WIDTH, here one count, would end it at the next crossing.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass

__all__ = ["Spacing", "falls"]

#: Pulses are made this far, in counts, before the end of the line: half of what rounding does.
SHORT = 0.5


def falls(produced: int, state: str) -> int:
    """Falling edges so far, which is also the number of the next pulse whose edge reads STEP."""
    return produced - (state == "WAIT_FALLING")


@dataclass(frozen=True, slots=True)
class _Piece:
    """From pulse `index` at `position` on, pulses come every `step` counts."""

    index: int
    position: int
    step: int


class Spacing:
    """The pulses of one programmed position compare, in counts from its START.

    Args:
        step: counts between pulses, positive.
        length: counts from the first pulse to the end of the line.
        most: pulses at most.
    """

    def __init__(self, step: int, length: float, most: int) -> None:
        self._pieces = [_Piece(0, 0, step)]
        self._length = length
        self._most = most

    @property
    def changed(self) -> bool:
        """Whether the step is or was another than at first."""
        return len(self._pieces) > 1

    @property
    def pulses(self) -> int:
        """How many pulses come before the end of the line."""
        return self._count(self._pieces[-1])

    def at(self, index: int) -> int:
        """Where pulse `index` comes."""
        piece = self._pieces[bisect_right([p.index for p in self._pieces], index) - 1]
        return piece.position + (index - piece.index) * piece.step

    def writable(self, step: int, least: int, done: int) -> int | None:
        """`step`, or a count or two aside where writing it would look like a jump.

        Args:
            step: counts wanted between pulses.
            least: fewest counts allowed.
            done: pulses known to have been made.

        Returns:
            None where it changes nothing.
        """
        pending = {p.step for p in self._pieces if p.index >= done - 1}
        pending.add(self._step_before(done))
        down, up = step, step
        while down + 1 in pending:
            down -= 1
        while up + 1 in pending:
            up += 1
        found = down if down >= least else up
        return None if found == self._pieces[-1].step else found

    def _step_before(self, index: int) -> int:
        """The step by which pulse `index` was placed."""
        begun = [p.step for p in self._pieces if p.index < index]
        return begun[-1] if begun else self._pieces[0].step

    def change(self, step: int, earliest: int, latest: int) -> None:
        """Take note that `step` counts from a pulse between `earliest` and `latest` on.

        Where more than one is possible, the one is assumed that makes more pulses: a row beyond
        the end of the line is worth more than none before it.
        """
        options = [self._from(step, index) for index in range(earliest, latest + 1)]
        best = max(options, key=self._count)
        self._pieces = [p for p in self._pieces if p.index < best.index] + [best]

    def _from(self, step: int, index: int) -> _Piece:
        return _Piece(index, self.at(index), step)

    def _count(self, piece: _Piece) -> int:
        ahead = math.ceil((self._length - SHORT - piece.position) / piece.step)
        return min(self._most, piece.index + max(0, ahead))
