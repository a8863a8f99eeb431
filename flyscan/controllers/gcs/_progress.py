"""Where a sweep under way should be by now, to notice when it is not."""

from __future__ import annotations

import numpy as np

from ...flight import Sweep

__all__ = ["Progress"]

_LAG_S = 0.25
"""How far in time the stage may be from the plan: latency, ramps the box shapes differently."""


class Progress:
    """The plan of a sweep in the time of its clock; retuned, it runs at another rate.

    A command takes effect at some moment between being sent and being confirmed. That is a
    millisecond mostly, and seconds where the connection had to be made anew, so the stage may be
    anywhere between where the plan is if it took effect at once and if it did so at last.

    Args:
        sweep: what is flown.
        now: when it was about to be started.
    """

    def __init__(self, sweep: Sweep, now: float) -> None:
        self._times, self._positions = sweep.curve()
        self._duration = sweep.duration
        self._since = now
        self._least = self._most = 0.0
        self._factor = 1.0

    def begun(self, now: float) -> None:
        """By `now` it has been started."""
        self._most += now - self._since
        self._since = now

    def retune(self, factor: float, sent: float, confirmed: float) -> None:
        """At a moment from `sent` to `confirmed` it begins to run `factor` times as fast."""
        took = confirmed - sent
        self._least = self.elapsed(sent) + took * min(factor, self._factor)
        self._most = self._elapsed_at_most(sent) + took * max(factor, self._factor)
        self._since = confirmed
        self._factor = factor

    def elapsed(self, now: float) -> float:
        """Seconds of the plan that have passed at least."""
        return self._least + (now - self._since) * self._factor

    def _elapsed_at_most(self, now: float) -> float:
        return self._most + (now - self._since) * self._factor

    def remaining(self, now: float) -> float:
        """Seconds until it should be over at the latest; negative when it is overdue."""
        return (self._duration - self.elapsed(now)) / self._factor

    def span(self, axis: str, since: float, until: float) -> tuple[float, float]:
        """Between which positions an axis should be that was asked `since` and answered `until`."""
        lag = _LAG_S * max(1.0, self._factor)
        first, last = self.elapsed(since) - lag, self._elapsed_at_most(until) + lag
        inside = self._times[(self._times > first) & (self._times < last)]
        times = np.concatenate(([first, last], inside))
        positions = np.interp(times, self._times, self._positions[axis])
        return float(positions.min()), float(positions.max())
