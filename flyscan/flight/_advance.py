"""How far a sweep can have come by now, told by the clock alone."""

from __future__ import annotations

import math

from ._segment import Trigger
from ._sweep import Sweep

__all__ = ["Advance"]


class Advance:
    """An upper bound of the points a straight sweep has triggered.

    A stage is never faster than its commanded speed, so it cannot be further than if it had had
    that speed from the first moment; and triggers by time have their period. No box is asked,
    which would take as long as several changes of speed.

    Args:
        sweep: what is flown.
        now: when it was about to be started, seconds of the flight's clock.
    """

    def __init__(self, sweep: Sweep, now: float) -> None:
        self._sweep = sweep
        self._since = now + sweep.lead - sweep.ramp / 2
        self._points = 0.0
        self._rate = 1.0

    def change(self, now: float, pace: float, stride: float) -> None:
        """From `now` on, speed and trigger step are these factors of what was planned."""
        timed = self._sweep.segment.trigger is Trigger.TIME
        self._points = self._made(now)
        self._since = max(now, self._since)
        self._rate = (1.0 if timed else pace) / stride

    def point(self, now: float) -> int:
        """The first point that has surely not been triggered by `now`."""
        sweep = self._sweep
        return min(sweep.segment.end_point, sweep.from_point + math.ceil(self._made(now)) + 1)

    def _made(self, now: float) -> float:
        seconds = max(0.0, now - self._since)
        return self._points + seconds * self._rate / self._sweep.segment.period
