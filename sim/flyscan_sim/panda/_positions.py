"""Positions over a slice of time, and the exact ticks at which they cross thresholds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ._waves import NEVER, Span, Ticks

__all__ = ["GRID_TICKS", "Counts", "Position", "constant", "wrap32"]

Counts = NDArray[np.int64]
"""Values of a position, counts within int32."""

GRID_TICKS = 2500
"""Sampling grid of the crossing search, 20 us: far below the period of any stage vibration."""

_SECTIONS = 14
"""Parts into which a round divides a bracket: three rounds resolve GRID_TICKS to the tick."""


class Position:
    """One position bus entry over one slice.

    Args:
        at: counts at any ticks of the slice, as int64 in the range of int32.
        span: the slice.
        still: the value never changes within the slice.
    """

    def __init__(self, at: Callable[[Ticks], Counts], span: Span, *, still: bool = False) -> None:
        self.at = at
        self.still = still
        self._span = span
        self._grid: tuple[Ticks, Counts] | None = None

    def value(self, tick: int) -> int:
        """Counts at one tick."""
        return int(self.at(np.array([tick], np.int64))[0])

    def samples(self) -> tuple[Ticks, Counts]:
        """The slice on the sampling grid: first tick, multiples of GRID_TICKS, last tick."""
        if self._grid is None:
            start, end = self._span.start + 1, self._span.end
            first = -(-start // GRID_TICKS) * GRID_TICKS
            inner = np.arange(first, end, GRID_TICKS, dtype=np.int64)
            ticks = np.unique(np.concatenate(([start], inner, [max(start, end)])))
            self._grid = ticks, self.at(ticks)
        return self._grid

    def window(self, first: int, last: int) -> tuple[Ticks, Counts]:
        """Samples of first <= t <= last, both ends included."""
        ticks, counts = self.samples()
        lower, upper = np.searchsorted(ticks, (first, last + 1))
        ends = np.array([t for t in (first, last) if first <= last], np.int64)
        if lower < upper and ticks[lower] == first and ticks[upper - 1] == last:
            return ticks[lower:upper], counts[lower:upper]
        values = self.at(ends)
        merged = np.concatenate((ends[:1], ticks[lower:upper], ends[1:]))
        return merged, np.concatenate((values[:1], counts[lower:upper], values[1:]))

    def first_reaching(self, levels: Counts, sign: int, first: int, last: int) -> Ticks:
        """When each of a row of levels is first reached within first <= t <= last.

        Args:
            levels: thresholds in counts, monotone in the direction of `sign`.
            sign: +1 for value >= level, -1 for value <= level.

        Returns:
            ticks (n,), NEVER where the level is not reached; not decreasing.
        """
        found = np.full(levels.size, NEVER, np.int64)
        if not levels.size or first > last:
            return found
        ticks, counts = self.window(first, last)
        highest = np.maximum.accumulate(sign * counts)
        targets = sign * levels
        index = np.searchsorted(highest, targets, side="left")
        reached = int(np.searchsorted(index, ticks.size, side="left"))
        index = index[:reached]
        upper = ticks[index]
        lower = np.where(index > 0, ticks[np.maximum(index, 1) - 1], upper - 1)
        found[:reached] = self._refine(lower, upper, targets[:reached], sign)
        return found

    def first_where(
        self, condition: Callable[[Counts], NDArray[np.bool_]], first: int, last: int
    ) -> int:
        """First tick of first <= t <= last at which `condition` of the counts holds, or NEVER."""
        if first > last:
            return NEVER
        ticks, counts = self.window(first, last)
        holds = condition(counts)
        index = int(np.argmax(holds))
        if not holds[index]:
            return NEVER
        if index == 0:
            return int(ticks[0])
        lower, upper = int(ticks[index - 1]), int(ticks[index])
        while upper - lower > 1:
            points = np.unique(np.linspace(lower, upper, 65).astype(np.int64))[1:]
            at = int(np.argmax(condition(self.at(points))))
            lower, upper = (lower if at == 0 else int(points[at - 1])), int(points[at])
        return upper

    def _refine(self, lower: Ticks, upper: Ticks, targets: Counts, sign: int) -> Ticks:
        """Narrow brackets lower < t <= upper down to the tick of the crossing."""
        lower, upper = lower.copy(), upper.copy()
        steps = np.arange(1, _SECTIONS + 1)
        while (open_ := np.flatnonzero(upper - lower > 1)).size:
            low, high = lower[open_, None], upper[open_, None]
            points = low + (high - low) * steps // _SECTIONS
            values = sign * self.at(points.reshape(-1)).reshape(points.shape)
            at = np.argmax(values >= targets[open_, None], axis=1)
            rows = np.arange(open_.size)
            upper[open_] = points[rows, at]
            lower[open_] = np.where(at > 0, points[rows, at - 1], lower[open_])
        return upper


def constant(value: int, span: Span) -> Position:
    """A position that stands still."""
    return Position(lambda ticks: np.full(ticks.shape, value, np.int64), span, still=True)


def wrap32(values: Counts) -> Counts:
    """Values cut to 32 bits, as the registers of the box are."""
    return ((values + 2**31) & 0xFFFF_FFFF) - 2**31
