"""A set-point history: constant-acceleration segments, seen directly or through a lag."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

__all__ = ["FloatArray", "Trajectory"]

FloatArray = npt.NDArray[np.float64]

_TIME, _POSITION, _VELOCITY, _ACCELERATION, _LAG = range(5)


class Trajectory:
    """Position as a function of time; commands replace its future, never its past.

    The value *at* the time of a command still belongs to the past, so whatever has been read
    up to now stays true afterwards. With `lag` > 0 the output `y` follows the set-point `u`
    by ``lag * dy/dt = u - y``, solved exactly on each segment: ``y = u - lag u' + lag^2 u'' +
    c exp(-s/lag)``. A steady velocity v thus trails by ``v * lag`` and a stop settles
    exponentially.
    """

    def __init__(self, start: float, position: float, lag: float = 0.0) -> None:
        self._lag = lag
        self._rows = np.zeros((5, 64))
        self._rows[:2, 0] = start, position
        self._count = 1

    @property
    def last_start(self) -> float:
        """Start of the last segment, which lasts for ever."""
        return float(self._rows[_TIME, self._count - 1])

    def state(self, t: float) -> tuple[float, float]:
        """Set-point position and velocity at one time."""
        start, x, v, a, _ = self._rows[:, self._segment(t)]
        s = max(0.0, t - start)
        return float(x + s * (v + 0.5 * a * s)), float(v + a * s)

    def value(self, t: FloatArray) -> FloatArray:
        """Output at times `t`: the set-point, lagged if the trajectory has a lag."""
        rows, s = self._lookup(t)
        x, v, a, c = rows[1:]
        if not self._lag:
            return x + s * (v + 0.5 * a * s)
        tau = self._lag
        return x + s * (v + 0.5 * a * s) - tau * (v + a * (s - tau)) + c * np.exp(-s / tau)

    def velocity(self, t: FloatArray) -> FloatArray:
        """Velocity of the set-point at times `t`."""
        rows, s = self._lookup(t)
        return rows[_VELOCITY] + rows[_ACCELERATION] * s

    def standing(self, t: FloatArray) -> npt.NDArray[np.bool_]:
        """Whether the set-point rests just after `t`."""
        index = np.searchsorted(self._rows[_TIME, : self._count], t, side="right") - 1
        rows = self._rows[:, np.maximum(index, 0)]
        return (rows[_VELOCITY] == 0) & (rows[_ACCELERATION] == 0)

    def moves(self, start: float, end: float) -> list[tuple[float, float]]:
        """Intervals of uninterrupted motion that overlap ``(start, end]``."""
        first = self._segment(start)
        last = int(np.searchsorted(self._rows[_TIME, : self._count], end))
        rows = self._rows[:, first:last]
        moving = np.flatnonzero((rows[_VELOCITY] != 0) | (rows[_ACCELERATION] != 0))
        if not len(moving):
            return []
        breaks = np.flatnonzero(np.diff(moving) > 1)
        heads = moving[np.r_[0, breaks + 1]]
        tails = moving[np.r_[breaks, len(moving) - 1]] + first + 1
        times = self._rows[_TIME, : self._count]
        return [
            (float(rows[_TIME, h]), float(times[n]) if n < self._count else math.inf)
            for h, n in zip(heads, tails, strict=True)
        ]

    def replace(
        self, at: float, times: FloatArray, x: FloatArray, v: FloatArray, a: FloatArray
    ) -> None:
        """From `at` on use segments starting at `times` (first one == `at`), shape (n,) each."""
        output = float(self.value(np.asarray(at)))
        self._count = max(1, int(np.searchsorted(self._rows[_TIME, : self._count], at)))
        new = np.vstack([times, x, v, a, np.zeros_like(times)])
        if self._lag:
            new[_LAG] = self._transients(output, new)
        end = self._count + new.shape[1]
        if end > self._rows.shape[1]:
            grown = np.zeros((5, 2 * end))
            grown[:, : self._count] = self._rows[:, : self._count]
            self._rows = grown
        self._rows[:, self._count : end] = new
        self._count = end

    def _transients(self, output: float, rows: FloatArray) -> list[float]:
        """Amplitude of the exponential of each segment, by continuity of the output."""
        tau = self._lag
        t, x, v, a, _ = rows
        s = np.diff(t)
        v_end = v[:-1] + a[:-1] * s
        steady_start = x - tau * (v - tau * a)
        steady_end = x[:-1] + s * 0.5 * (v[:-1] + v_end) - tau * (v_end - tau * a[:-1])
        decay = np.exp(-s / tau).tolist()
        jump = (steady_end - steady_start[1:]).tolist()
        amplitude = output - float(steady_start[0])
        found = [amplitude]
        for factor, step in zip(decay, jump, strict=True):
            amplitude = amplitude * factor + step
            found.append(amplitude)
        return found

    def _segment(self, t: float) -> int:
        return max(0, int(np.searchsorted(self._rows[_TIME, : self._count], t)) - 1)

    def _lookup(self, t: FloatArray) -> tuple[FloatArray, FloatArray]:
        index = np.searchsorted(self._rows[_TIME, : self._count], t, side="left") - 1
        rows = self._rows[:, np.maximum(index, 0)]
        return rows, np.maximum(t - rows[_TIME], 0.0)
