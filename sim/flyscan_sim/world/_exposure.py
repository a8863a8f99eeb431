"""Integrals of rates over the history of a world, the same in whatever slices they are read."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ._trajectory import FloatArray

__all__ = ["FINE_RATE_HZ", "Exposure", "Spans"]

FINE_RATE_HZ = 10_000
"""Samples per second of the integral while something moves or switches."""

_COARSE = 2500  # fine steps between the samples of a world at rest
_CELL = 80_000  # fine steps of a cell, the piece whose samples are kept or dropped together
_KEPT = 16

Spans = Callable[[float, float], list[tuple[float, float]]]
"""Intervals overlapping ``(start, end]`` in which the rates change quickly."""


class _Cell:
    """Samples of one stretch of time; rows of `data`: time, integrals up to it, rates from it."""

    def __init__(self, channels: int, start: int, carry: FloatArray) -> None:
        self.start = start  # fine step of the first sample
        self.reached = start - 1  # last fine step looked at
        self.carry = carry  # integrals at the start
        self.count = 0
        self._channels = channels
        self._data = np.zeros((1 + 2 * channels, 256))

    @property
    def times(self) -> FloatArray:
        return self._data[0, : self.count]

    def value(self, channel: int, t: FloatArray) -> FloatArray:
        place = np.maximum(np.searchsorted(self.times, t, side="right") - 1, 0)
        since = np.maximum(t - self._data[0, place], 0.0)
        rate = self._data[1 + self._channels + channel, place]
        return self._data[1 + channel, place] + rate * since

    def values(self, t: float) -> FloatArray:
        when = np.array([t])
        return np.array([self.value(c, when)[0] for c in range(self._channels)])

    def append(self, times: FloatArray, rates: FloatArray) -> None:
        """Add samples: `times` shape (n,), `rates` shape (channels, n)."""
        old, n = self.count, self._channels
        self._reserve(old + len(times))
        self.count = old + len(times)
        self._data[0, old : self.count] = times
        self._data[1 + n :, old : self.count] = rates
        first = max(old, 1)
        if old == 0:
            self._data[1 : 1 + n, 0] = self.carry
        # one sequential sum whatever the slices, so that rounding is the same too
        steps = np.diff(self._data[0, first - 1 : self.count])
        gains = self._data[1 + n :, first - 1 : self.count - 1] * steps
        sums = np.cumsum(np.hstack([self._data[1 : 1 + n, first - 1 : first], gains]), axis=1)
        self._data[1 : 1 + n, first - 1 : self.count] = sums

    def _reserve(self, size: int) -> None:
        if size > self._data.shape[1]:
            grown = np.zeros((self._data.shape[0], 2 * size))
            grown[:, : self.count] = self._data[:, : self.count]
            self._data = grown


class Exposure:
    """Integrals of `rates` from time 0 on.

    Each rate is held from one sample to the next. Samples lie on the fine grid while `spans`
    says that something is happening and on a coarse one otherwise; as both follow from what
    has happened before them, the integral is a pure function of history. Old samples are
    dropped and computed again when asked for.

    Args:
        channels: number of rates.
        rates: rates at times of shape (n,), as shape (channels, n), 1/s.
        spans: when to sample finely.
    """

    def __init__(
        self, channels: int, rates: Callable[[FloatArray], FloatArray], spans: Spans
    ) -> None:
        self._channels = channels
        self._rates = rates
        self._spans = spans
        self._carries: list[FloatArray] = [np.zeros(channels)]
        self._cells: OrderedDict[int, _Cell] = OrderedDict()

    def integral(self, channel: int, t: FloatArray) -> FloatArray:
        """Integral of rate number `channel` from 0 to `t`, shape (n,); 0 <= t <= now."""
        steps = np.floor(t * FINE_RATE_HZ).astype(np.int64)
        steps -= steps / FINE_RATE_HZ > t  # rounding must not look ahead of `t`
        which = steps // _CELL
        found = np.zeros(t.shape)
        for index in np.unique(which).tolist():
            here = which == index
            cell = self._cell(index, int(steps[here].max()))
            found[here] = cell.value(channel, t[here])
        return found

    def _cell(self, index: int, step: int) -> _Cell:
        """Cell `index`, filled at least up to fine step `step`."""
        while len(self._carries) <= index:
            last = len(self._carries) - 1
            cell = self._cell(last, (last + 1) * _CELL - 1)
            self._carries.append(cell.values((last + 1) * _CELL / FINE_RATE_HZ))
        if index not in self._cells:
            self._cells[index] = _Cell(self._channels, index * _CELL, self._carries[index])
            if len(self._cells) > _KEPT:
                self._cells.popitem(last=False)
        self._cells.move_to_end(index)
        cell = self._cells[index]
        if step > cell.reached:
            self._extend(cell, step)
        return cell

    def _extend(self, cell: _Cell, step: int) -> None:
        low = cell.reached + 1
        steps = [np.arange(-(-low // _COARSE) * _COARSE, step + 1, _COARSE)]
        latest = step / FINE_RATE_HZ
        for begin, end in self._spans((low - 2) / FINE_RATE_HZ, latest):
            first, last = _after(begin), _after(min(end, latest))
            steps.append(np.arange(max(low, first), min(step, last) + 1))
        cell.reached = step
        chosen: npt.NDArray[np.int64] = np.unique(np.concatenate(steps))
        if len(chosen):
            times = chosen / FINE_RATE_HZ
            cell.append(times, self._rates(times))


def _after(t: float) -> int:
    """The first fine step after `t`."""
    return math.floor(t * FINE_RATE_HZ) + 1
