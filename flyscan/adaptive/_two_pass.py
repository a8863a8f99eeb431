"""A fast look at the line, then the same line again with what it taught."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ._estimate import dilated
from ._knowledge import Knowledge, grid_nodes
from ._line import cost_of_return
from ._plan import Planned, Task, error_model, plan_speed, time_gain
from ._policy import GoBack, LineContext, Plan, Proposal, Situation
from ._profile import Profile
from ._speed import SpeedPolicy, fast_look

__all__ = ["TwoPass", "plan_second"]

DEAREST_LOOK = 0.125
DOUBT = 2.0
"""Rows within which a look places what it saw: what it does not resolve may be aliased."""

TRUSTED = 1.1
UNRESOLVED = 2.5
"""Gain a plan must keep wherever within the doubt the curvature is; one that has to slow down all
over the doubt, because the look did not resolve the structure, must promise more."""


def plan_second(known: Knowledge, task: Task, share: float) -> Planned:
    """Second passes for lines looked at together, uniform where that is as good.

    Args:
        known: what the first pass taught.
        task: of the second pass.
        share: of the time that the second pass has.
    """
    spacing = known.grid[1] - known.grid[0]
    doubtful = dilated(known.curvature, DOUBT * task.width, spacing)
    sharp = plan_speed(known.curvature, known.noise, task)
    wide = plan_speed(doubtful, known.noise, task)
    kept = share * time_gain(
        error_model(sharp.speed, doubtful, known.noise, task), doubtful, known.noise, task
    )
    trust = (sharp.gain > 1) & (kept >= TRUSTED)
    widen = ~trust & (share * wide.gain >= UNRESOLVED)
    uniform = np.full_like(sharp.speed, task.length / task.duration)
    speed = np.where(trust[:, None], sharp.speed, np.where(widen[:, None], wide.speed, uniform))
    gain = np.where(trust, sharp.gain, np.where(widen, wide.gain, 1.0 / share)) * share
    return Planned(speed, gain, sharp.error, sharp.worst)


@dataclass(eq=False)
class TwoPass(SpeedPolicy):
    """Every line twice: one row per feature width, backwards with a profile.

    Costs about 13 % of the time where it does not pay, and says so; where the look would cost
    more than an eighth of the line, nothing is looked at and the line is uniform.

    Args:
        insurance: share of the second pass spread evenly.
    """

    insurance: float = 0.1
    _second: bool = field(default=False, init=False, repr=False)
    _declared: str | None = field(default=None, init=False, repr=False)

    def begin(self, line: LineContext) -> Plan:
        """The fast look, or a uniform line if that would be too dear."""
        self._start(line, np.inf)
        self._second, self._declared = False, None
        fast = min(self.fastest(line), self.width / line.period)
        look = fast_look(line, fast)
        price = self._time_lost(line, look)
        if not line.goes_back:
            self._plan = self.uniform("the flight cannot go back for a second pass")
        elif line.profile_pieces == 0:
            self._plan = self.uniform("the controller flies no profiles")
        elif price > DEAREST_LOOK * line.duration:
            share = price / line.duration
            self._plan = self.uniform(f"a first pass would cost {share:.0%} of the line")
        else:
            self._plan = Plan(look, f"first of two passes, {price / line.duration:.0%} of the time")
        if self._plan.profile is None:
            self._declared = self._plan.reason
        return self._plan

    def _time_lost(self, line: LineContext, look: Profile) -> float:
        """Seconds for the first pass and turning, so that the second has the rest."""
        back = Profile((line.stop, line.start), (line.velocity, line.velocity))
        turn = cost_of_return(line, line.stop, line.velocity, back, go_on=False)
        return look.duration + turn - back.duration

    def ask(self, now: Situation) -> Proposal | None:
        """At the end of the first pass, the second."""
        plan = self._plan
        if now.held or not now.at_end or self._second or plan is None or plan.profile is None:
            return self._follow(now) if not now.held else None
        self._second = True
        line = self.line
        left = line.duration - self._time_lost(line, plan.profile)
        low, high = sorted((line.start, line.stop))
        known = Knowledge(np.linspace(low, high, grid_nodes(high - low, self.width)))
        for curve in self._under_way.record.passes(self.channel):
            known.learn(curve)
        share = left / line.duration
        task = self.task(line, duration=left, insurance=self.insurance)
        planned = plan_second(known, task, share)
        gain, speed, grid = float(planned.gain[0]), planned.speed[0], known.grid
        if gain <= 1.0:
            self._declared = "uniform second pass: predicted gain too small for a first pass"
        order = slice(None, None, -line.direction)
        profile = Profile.of(grid[order], speed[order])
        if line.profile_pieces:
            profile = profile.simplified(line.profile_pieces)
        reason = self._declared or f"second pass, predicted gain {gain:.3g} in time"
        self._plan = Plan(plan.profile, reason, gain, plan.error, self.other_gains(speed, grid))
        return GoBack(reason, profile.position[0], profile.position[-1], profile)

    def end(self) -> dict[str, Any]:
        """What was flown, with the reason where it was uniform."""
        return super().end() | {"declared_uniform": self._declared}
