"""Where a sweep under way should be by now, to notice when it is not."""

from __future__ import annotations

import numpy as np

from ...flight import Sweep

__all__ = ["Progress"]

_LAG_S = 0.25
"""How far in time the stage may be from the plan: latency, ramps the box shapes differently."""


class Progress:
    """The plan of a sweep in the time of its clock; retuned, it runs at another rate.

    Args:
        sweep: what is flown.
        now: when it was started.
    """

    def __init__(self, sweep: Sweep, now: float) -> None:
        self._times, self._positions = sweep.curve()
        self._duration = sweep.duration
        self._since = now
        self._elapsed = 0.0
        self._factor = 1.0

    def retune(self, factor: float, now: float) -> None:
        """From `now` on it runs `factor` times as fast as planned."""
        self._elapsed = self.elapsed(now)
        self._since = now
        self._factor = factor

    def elapsed(self, now: float) -> float:
        """Seconds of the plan that have passed."""
        return self._elapsed + (now - self._since) * self._factor

    def remaining(self, now: float) -> float:
        """Seconds until it should be over; negative when it is overdue."""
        return (self._duration - self.elapsed(now)) / self._factor

    def span(self, axis: str, since: float, until: float) -> tuple[float, float]:
        """Between which positions an axis should be that was asked `since` and answered `until`."""
        lag = _LAG_S * max(1.0, self._factor)
        first, last = self.elapsed(since) - lag, self.elapsed(until) + lag
        inside = self._times[(self._times > first) & (self._times < last)]
        times = np.concatenate(([first, last], inside))
        positions = np.interp(times, self._times, self._positions[axis])
        return float(positions.min()), float(positions.max())
