"""Distance between triggers from the curvature of the signal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import ConfigurationError
from ._estimate import curvature_on, on_grid
from ._plan import allowed_length
from ._policy import LineContext, Plan, Proposal, Retune, Situation
from ._rows import Rows, sampled
from ._speed import RAISE, SpeedPolicy

__all__ = ["StepSize"]

WINDOW_ROWS = 32
CHANGE = 0.1


@dataclass(eq=False)
class StepSize(SpeedPolicy):
    """Smaller steps where the signal bends, larger ones where it does not.

    ``h = sqrt(error / 0.13 |f''|)``, bounded by counting noise and by one row per feature; steps
    grow by at most half per decision and shrink at once. With triggers by position the speed
    follows the step, so that every row keeps its exposure; with triggers by time speed and step
    are the same thing and the speed is set.

    Args:
        target_error: accepted local error in counts per second at nominal flux.
        keep_exposure: change the speed together with the step.
    """

    target_error: float = 0.0
    keep_exposure: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (np.isfinite(self.target_error) and self.target_error > 0):
            raise ConfigurationError(
                f"target_error is {self.target_error}, expected a positive rate",
                device=type(self).__name__,
                remedy="give the error in counts per second that is good enough",
            )

    def begin(self, line: LineContext) -> Plan:
        """Begins with the planned step; what can change decides what follows."""
        self._start(line, np.inf)
        step, speed = line.step_in_flight, line.velocity_in_flight
        if not (step if line.trigger == "position" else speed):
            what = "step" if line.trigger == "position" else "speed"
            self._plan = self.uniform(f"the {what} cannot change in flight")
        else:
            self._plan = Plan(None, "steps follow the curvature of the rows before")
        return self._plan

    def ask(self, now: Situation) -> Proposal | None:
        """The step for what comes next, from the rows just taken."""
        plan = self._plan
        if plan is None or plan.reason.startswith("uniform") or now.at_end or now.held:
            return None
        wanted = self._wanted(now)
        if wanted is None:
            return None
        wanted = min(wanted, RAISE * now.step)
        if abs(wanted / now.step - 1) < CHANGE:
            return None
        reason = f"curvature asks for rows of {wanted:.4g}"
        speed = now.velocity * wanted / now.step
        if self.line.trigger == "time":
            return Retune(reason, velocity=speed)
        follows = self.keep_exposure and self.line.velocity_in_flight
        return Retune(reason, velocity=speed if follows else None, step=wanted)

    def _wanted(self, now: Situation) -> float | None:
        record = self._under_way.record
        if not record.parts:
            return None
        parts: list[Rows] = []
        for part in reversed(record.parts):
            parts.insert(0, part)
            if sum(map(len, parts)) >= WINDOW_ROWS:
                break
        rows = Rows.joined(parts).last(WINDOW_ROWS)
        curve = sampled(rows, self.channel, counting=self.counting)
        if curve is None:
            return None
        middle = curve.middle
        bend = curvature_on(middle, curve)
        noise = on_grid(middle, curve.edges, curve.variance) / curve.length * now.step
        allowed = allowed_length(self.target_error, bend, noise, self.width)
        return float(min(allowed.min(), self.width))
