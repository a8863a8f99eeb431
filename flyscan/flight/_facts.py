"""Where rows began and ended, for how long the stage was there, and how much beam there was."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ._block import Block, Channel, FloatArray, IntArray
from ._frames import RowFacts
from ._segment import Segment, Trigger

__all__ = ["Facts"]


class Facts:
    """Derives :class:`RowFacts` from what a capture delivers.

    The ends of a row are the lowest and the highest position during its live time where the
    capture has channels ``AXIS_min`` and ``AXIS_max``; else they follow from the mean position,
    the live time, and the speed between neighbouring rows.

    Args:
        channels: what the capture delivers.
        i0: channel of the incident flux, in counts; None if there is none.
        nominal: counts per second of it at nominal flux; None to take the median of the first
            block.
    """

    def __init__(
        self, channels: Iterable[Channel], i0: str | None = None, nominal: float | None = None
    ) -> None:
        names = {c.name for c in channels}
        self._position = {c.axis: c.name for c in channels if c.axis is not None}
        self._ends = {
            axis: (f"{axis}_min", f"{axis}_max")
            for axis in self._position
            if {f"{axis}_min", f"{axis}_max"} <= names
        }
        self._i0 = i0
        self.nominal = nominal

    def of(self, block: Block, parts: Iterable[tuple[Segment, slice, int, int]]) -> RowFacts:
        """Facts of a block.

        Args:
            parts: segment, rows, first point and pass number of each stretch of the block, in
                order.
        """
        n = len(block)
        facts = RowFacts(
            np.full(n, np.nan),
            np.full(n, np.nan),
            np.full(n, np.nan),
            self._flux(block),
            np.zeros(n, np.int64),
        )
        for segment, part, point, number in parts:
            facts.passes[part] = number
            facts.start[part], facts.stop[part] = self._extent(segment, block, part, point)
            facts.dwell[part] = self._dwell(segment, block, part, facts)
        return facts

    def _extent(
        self, segment: Segment, block: Block, part: slice, point: int
    ) -> tuple[FloatArray, FloatArray]:
        axis = segment.fast
        if axis is None or axis not in self._position:
            nowhere = np.full(_count(part), np.nan)
            return nowhere, nowhere
        if axis in self._ends:
            low, high = (_column(block, name, part) for name in self._ends[axis])
            return (low, high) if segment.step > 0 else (high, low)
        middle = _column(block, self._position[axis], part)
        velocity = _velocity(middle, block.time_ns[part], segment, point)
        half: FloatArray = velocity * block.exposure[part] / 2
        begin: FloatArray = middle - half
        end: FloatArray = middle + half
        return begin, end

    def _dwell(self, segment: Segment, block: Block, part: slice, facts: RowFacts) -> FloatArray:
        if segment.trigger is Trigger.TIME or segment.fast is None:
            return np.full(_count(part), segment.period)
        moved = np.abs(facts.stop[part] - facts.start[part])
        with np.errstate(divide="ignore", invalid="ignore"):
            dwell: FloatArray = abs(segment.step) * block.exposure[part] / moved
        return dwell

    def _flux(self, block: Block) -> FloatArray:
        """Relative flux of every row."""
        if self._i0 is None:
            return np.full(len(block), np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            rate = np.asarray(block.columns[self._i0], float) / block.exposure
        if self.nominal is None:
            usual = float(np.nanmedian(rate)) if np.isfinite(rate).any() else 0.0
            if not usual > 0:
                return np.zeros(len(block))
            self.nominal = usual
        return rate / self.nominal


def _count(part: slice) -> int:
    return int(part.stop) - int(part.start)


def _column(block: Block, name: str, part: slice) -> FloatArray:
    return np.asarray(block.columns[name][part], np.float64)


def _velocity(position: FloatArray, time_ns: IntArray, segment: Segment, point: int) -> FloatArray:
    """Velocity between neighbouring rows; the planned one for a row alone."""
    if len(position) < 2:
        seconds, knots = segment.knots(point)
        way = knots[segment.fast or ""]
        return np.full(len(position), (way[1] - way[0]) / (seconds[1] - seconds[0]))
    velocity: FloatArray = np.diff(position) / (np.diff(time_ns) / 1e9)
    inner: FloatArray = (velocity[1:] + velocity[:-1]) / 2
    return np.concatenate((velocity[:1], inner, velocity[-1:]))
