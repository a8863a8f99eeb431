"""The snake whose turnarounds are measured, and what physics asks for one of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from scanspec.specs import Fly, Linspace, Spec

from flyscan.flight import AxisLimits, Path, Sweep, Trigger, plan_sweep, rest_to_rest

from ._motors import ACCELERATION, TRANSFER_ACCELERATION

__all__ = ["PERIOD", "Lines"]

PERIOD = 1e-3
STEP = 0.64
LOW = 18.0


@dataclass(frozen=True)
class Lines:
    """`count` lines of `points` points on x, 0.64 um and 1 ms apart, on y from 18 um on."""

    count: int
    points: int

    @property
    def speed(self) -> float:
        """um/s."""
        return STEP / PERIOD

    @property
    def ramp(self) -> float:
        """Seconds to that speed."""
        return self.speed / ACCELERATION

    @property
    def spec(self) -> Spec[str]:
        """The snake."""
        slow = Linspace("y", LOW, LOW + STEP * (self.count - 1), self.count)
        fast = Linspace("x", LOW + STEP / 2, LOW + STEP * (self.points - 0.5), self.points)
        return Fly(slow * ~fast)

    def ends(self) -> Iterator[tuple[float, tuple[float, float]]]:
        """For every line where y is and where x begins and ends at constant speed."""
        low, high = LOW, LOW + STEP * self.points
        for i in range(self.count):
            yield LOW + STEP * i, (high, low) if i % 2 else (low, high)

    def turnaround(self, limits: Mapping[str, AxisLimits], *, settle: bool) -> float:
        """Seconds that velocity and acceleration ask for from a line's end to the next one's start.

        Run-down, the slower axis' way from rest to rest, run-up; with `settle` the configured
        stretch at constant speed before the first point is part of the run-up.
        """
        used = limits if settle else {a: replace(v, settle=0.0) for a, v in limits.items()}
        path = Path.from_spec(self.spec, trigger=Trigger.POSITION, period=PERIOD)
        one, two = (plan_sweep(path.segment(i), i * self.points, used) for i in (0, 1))
        return one.ramp + _way(one, two, used) + two.lead

    def at_best(self, limits: Mapping[str, AxisLimits]) -> float:
        """Seconds for the same way if the stage accelerates as hard as it can, unasked.

        The run-down and run-up are as long as planned with the configured acceleration; part of
        them is then passed at constant speed.
        """
        path = Path.from_spec(self.spec, trigger=Trigger.POSITION, period=PERIOD)
        one, two = (plan_sweep(path.segment(i), i * self.points, limits) for i in (0, 1))
        stage = TRANSFER_ACCELERATION
        hard = {a: replace(v, acceleration=stage) for a, v in limits.items()}
        ramps = (one.ramp + two.ramp) / 2 + self.speed / stage
        return ramps + _way(one, two, hard) + two.lead - two.ramp


def _way(one: Sweep, two: Sweep, limits: Mapping[str, AxisLimits]) -> float:
    """Seconds from the rest after one sweep to the rest before the next."""
    return max(
        rest_to_rest(two.origin[a] - one.target[a], limits[a].velocity, limits[a].acceleration)
        for a in limits
        if a in two.origin
    )
