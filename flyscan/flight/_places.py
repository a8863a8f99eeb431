"""Where the rows of the line under way were taken, should they have to be taken again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ._block import FloatArray
from ._frames import RowFacts

__all__ = ["Discarded", "Places"]


@dataclass(frozen=True, slots=True)
class Discarded:
    """Consecutive frames that stand for nothing any more.

    Args:
        frame: number of the first one.
        first, stop: points they stood for, stop exclusive.
        begin, end: where on the fast axis the first row began and the next one would have.
    """

    frame: int
    first: int
    stop: int
    begin: float
    end: float


class Places:
    """Begin and end of every row of one line and what was flown for it, by frame number."""

    def __init__(self) -> None:
        self.first = 0
        self._line = -1
        self._begins: list[FloatArray] = []
        self._ends: list[FloatArray] = []

    def add(self, line: int, frame: int, facts: RowFacts) -> None:
        """Rows from `frame` on came, the last of which is of `line`; earlier lines are forgotten.

        What of the block is of the line before is kept with it: it does no harm.
        """
        if line > self._line:
            self._line, self.first = line, frame
            self._begins, self._ends = [], []
        self._begins.append(facts.start)
        self._ends.append(facts.stop)

    def ends(self, first: int, stop: int) -> tuple[float, float]:
        """Where frame `first` began and where one after the last, `stop` - 1, would begin.

        A row stands for its step, however short its gate.
        """
        begins = np.concatenate(self._begins)[first - self.first : stop - self.first]
        if len(begins) == 1:
            last = np.concatenate(self._ends)[first - self.first]
        else:
            last = begins[-1] + (begins[-1] - begins[0]) / (len(begins) - 1)
        return float(begins[0]), float(last)
