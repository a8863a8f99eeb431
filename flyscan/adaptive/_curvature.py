"""Speed from local curvature alone: nothing is known before the line."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..errors import ConfigurationError
from ._policy import GoBack, LineContext, Plan, Proposal, Retune, Situation
from ._speed import SpeedPolicy, fast_look

__all__ = ["CurvatureSpeed"]

ROWS_PER_WIDTH = 1.0
WORTHWHILE = 2.0
PATIENCE = 0.5
"""Structure comes in groups, and going back once for two of them saves two turns: how long to wait
for more before turning, over the time that two turns and four ramps take."""

END_RESERVE = 0.02


@dataclass(eq=False)
class CurvatureSpeed(SpeedPolicy):
    """Flies fast, one row per narrowest feature, and goes back where there was something.

    Overshoot, then once: a stage that brakes at the first surprise shuttles under noise. The
    speed on the way back follows the curvature; the time for it is what the fast speed saves.
    Without noise rows are ``h = w (r / w)^(4/5)`` long, where ``r = sqrt(error / 0.13 |f''|)``
    would keep the error everywhere and w is the feature width: the least mean square error for
    the time, for all parts flown again together, because it needs no other part to be known
    (de Boor 1973: ``h ~ |f''|^(-2/5)``). With noise ``r`` is kept in the mean over each part.

    Args:
        target_error: accepted error in counts per second at nominal flux: about the rms over a
            line with a few features. Without noise the local error is
            ``(0.13 w^2 |f''| / error)^(1/5)`` times that, more in the sharpest places and less
            in the others.
    """

    target_error: float = 0.0
    _uniform: bool = field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (np.isfinite(self.target_error) and self.target_error > 0):
            raise ConfigurationError(
                f"target_error is {self.target_error}, expected a positive rate",
                device=type(self).__name__,
                remedy="give the error in counts per second that is good enough",
            )

    def begin(self, line: LineContext) -> Plan:
        """A fast line with ramps at both ends, if rows can be long enough for it to pay."""
        fast = min(self.fastest(line), ROWS_PER_WIDTH * self.width / line.period)
        turning = 2 * line.turnaround + 4 * fast / line.acceleration
        self._start(line, self.target_error, PATIENCE * turning * fast)
        self._uniform = True
        if not line.goes_back:
            self._plan = self.uniform("the flight cannot go back to what it notices")
        elif fast < WORTHWHILE * line.velocity:
            rows = self.width / (line.velocity * line.period)
            self._plan = self.uniform(
                f"{rows:.2g} rows per feature leave no room for a faster look"
            )
        elif line.profile_pieces == 0 and not line.velocity_in_flight:
            self._plan = self.uniform("the controller flies at one speed per line")
        else:
            self._uniform = False
            self._plan = Plan(fast_look(line, fast), f"fast look at {fast:.4g} per second")
        return self._plan

    def ask(self, now: Situation) -> Proposal | None:
        """Go back to what was noticed as long as there is time, else follow the plan."""
        if now.held or self._uniform:
            return None
        if now.at_end:
            self.watch.finish()
        while self.watch.pending:
            interval = self.watch.pending.pop(0)
            proposal = self._return_to(interval, now, self._time_left(now))
            if isinstance(proposal, GoBack):
                return proposal
            if not now.at_end and self.line.velocity_in_flight:
                self._uniform = True
                reason = "no time to go back: planned speed to the end"
                return Retune(reason, velocity=self.line.velocity)
        return self._follow(now)

    def _time_left(self, now: Situation) -> float:
        """What the line may still spend on going back."""
        line = self.line
        profile = None if self._plan is None else self._plan.profile
        fast = line.duration if profile is None else profile.duration
        budget = line.duration * (1 - END_RESERVE) + line.extra_time
        return budget - fast - self._extra_used
