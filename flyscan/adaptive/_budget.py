"""Ending in time, and within a dose."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..errors import ConfigurationError
from ._policy import Finish, LineContext, Plan, Policy, Proposal, Retune, Situation
from ._profile import Profile
from ._rows import Rows

__all__ = ["Budget"]

LATE = 1.05


@dataclass(eq=False)
class Budget(Policy):
    """Bounds the dose per pixel and in total, and the time.

    The time is that of the flight's configuration; a flight ends when it is spent, also while
    it holds. Lines get extra time only as far as all lines to come can still be flown.

    Dose is live time at nominal flux. A plan that would spend more than `pixel_dose` on a pixel
    is flown faster there; what is spent on passes flown again counts.

    Args:
        pixel: length of a pixel, user units; needed for `pixel_dose`.
        pixel_dose: seconds at nominal flux one pixel may get; None for no limit.
        total_dose: seconds at nominal flux the run may get; None for no limit.
    """

    pixel: float | None = None
    pixel_dose: float | None = None
    total_dose: float | None = None
    _line: LineContext | None = field(default=None, init=False, repr=False)
    _dose: float = field(default=0.0, init=False, repr=False)

    def __post_init__(self) -> None:
        limits = (self.pixel, self.pixel_dose, self.total_dose)
        if any(limit is not None and not limit > 0 for limit in limits):
            raise ConfigurationError(
                f"pixel {self.pixel}, dose per pixel {self.pixel_dose}, total {self.total_dose}",
                device="budget",
                remedy="give positive numbers or leave them out",
            )
        if self.pixel_dose is not None and self.pixel is None:
            raise ConfigurationError(
                "a dose per pixel needs the length of a pixel",
                device="budget",
                remedy="give pixel in user units",
            )

    def begin(self, line: LineContext) -> Plan:
        """Has no opinion on the speed, but bounds it in :meth:`review`."""
        self._line = line
        return Plan(None, "budget")

    def slowest(self) -> float:
        """Lowest speed that keeps the dose of a pixel."""
        if self.pixel is None or self.pixel_dose is None:
            return 0.0
        return self.pixel / self.pixel_dose

    def review(self, plan: Plan, line: LineContext) -> Plan:
        """The plan with its slow parts as fast as the dose asks."""
        floor = min(self.slowest(), line.v_max)
        profile = plan.profile
        if profile is None and line.velocity >= floor:
            return plan
        if profile is None:
            profile = Profile((line.start, line.stop), (floor, floor))
        elif min(profile.velocity) >= floor:
            return plan
        else:
            faster = np.maximum(profile.velocity, floor)
            profile = Profile.of(np.asarray(profile.position), faster)
        return replace(plan, profile=profile, reason=f"{plan.reason}; dose limit {floor:.3g}/s")

    def tell(self, rows: Rows) -> None:
        """Count the dose."""
        exposure = rows.exposure
        self._dose += float(np.sum(exposure[np.isfinite(exposure)]))

    def ask(self, now: Situation) -> Proposal | None:
        """Finish when the dose or the time is spent; hurry when it will not last."""
        if self.total_dose is not None and self._dose >= self.total_dose:
            return Finish(f"dose of {self._dose:.4g} s is spent, {self.total_dose:.4g} s allowed")
        line = self._line
        if now.time_left is None or line is None:
            return None
        ending = 0.0  # seconds from here until it has ended
        if not (now.held or now.at_end):
            ending = line.latency + line.block_period + now.velocity / line.acceleration
        if now.time_left <= ending:
            return Finish("the time is spent")
        if now.held or now.at_end or not line.velocity_in_flight:
            return None
        left = (line.stop - now.position) * line.direction
        needed = left / now.time_left
        if left <= 0 or now.velocity * LATE >= needed:
            return None
        speed = min(needed, line.v_max)
        return Retune(f"{now.time_left:.3g} s left for {left:.4g}", velocity=speed)

    def end(self) -> dict[str, Any]:
        """Dose so far."""
        return {"policy": "Budget", "dose_s": self._dose}
