"""Speed from what is already known: the previous line, a coarse pass, the previous slice."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ._estimate import Sampled
from ._knowledge import Knowledge, grid_nodes
from ._plan import Planned, Task, plan_speed
from ._policy import GoBack, LineContext, Plan, Proposal, Situation
from ._profile import Profile
from ._speed import MARGIN, SpeedPolicy

__all__ = ["PriorSpeed", "learn_passes", "plan_lines"]

REFRESH = 20
SURPRISES = 2
TOLERANCE = 2.0
"""A surprise is an error this many times the worst that was planned for."""


def plan_lines(knowledge: Knowledge, task: Task) -> Planned:
    """Profiles for the lines of `knowledge`; where a place was never seen, uniform ones."""
    if not knowledge.complete:
        nothing = np.zeros_like(knowledge.curvature)
        return plan_speed(nothing, nothing, task)
    return plan_speed(knowledge.curvature, knowledge.noise, task)


def learn_passes(knowledge: Knowledge, curves: list[Sampled], width: float, shift: float) -> None:
    """Learn a line from the curve of every pass over it; later passes tell the noise.

    Args:
        knowledge: of the lines so far.
        curves: one per pass, as far as their rows have arrived.
        width: narrowest feature width.
        shift: how far features may move from line to line, in widths.
    """
    knowledge.begin(curves, shift * width)
    for curve in curves:
        knowledge.learn(curve, (shift + MARGIN) * width)


@dataclass(eq=False)
class PriorSpeed(SpeedPolicy):
    """Plans every line from the line before, and goes back where that was not enough.

    Line 0 is uniform. Later lines spend time where curvature and rate of the previous ones ask
    for it, a share of `insurance` evenly. Blocks are watched for what the prior did not hold;
    every 20th line and a line after two surprises are uniform to refresh the prior.

    Args:
        insurance: share of the time spread evenly.
        shift: how far features may move from line to line, in feature widths.
        return_on_surprise: fly parts again that the prior did not prepare for, within the extra
            time of the line.
        lines_per_slice: for a stack of slices, how many lines each has: a line is then planned
            from the same line of the previous slice.
    """

    insurance: float = 0.1
    shift: float = 0.3
    return_on_surprise: bool = True
    lines_per_slice: int | None = None
    _known: dict[int, Knowledge] = field(default_factory=dict[int, Knowledge], init=False)
    _count: int = field(default=0, init=False, repr=False)
    _surprises: int = field(default=0, init=False, repr=False)
    _grid_key: tuple[float, float] | None = field(default=None, init=False, repr=False)

    def begin(self, line: LineContext) -> Plan:
        """Plan the line from the lines told so far."""
        self._absorb()
        knowledge = self._knowledge(line)
        refresh = self._count > 0 and (self._count % REFRESH == 0 or self._surprises >= SURPRISES)
        self._count += 1
        task = self.task(line, insurance=self.insurance)
        planned = plan_lines(knowledge, task)
        self._plan = self._decide(line, knowledge, planned, refresh)
        self._start(line, self._tolerance(planned))
        self._surprises = 0
        return self._plan

    def _decide(
        self, line: LineContext, knowledge: Knowledge, planned: Planned, refresh: bool
    ) -> Plan:
        gain, error = float(planned.gain[0]), float(planned.error[0])
        if not knowledge.complete:
            return self.uniform("nothing is known about the line yet")
        if refresh:
            return self.uniform("refreshes the prior")
        if gain <= 1.0:
            return self.uniform("predicted gain below 1.1", error=error)
        if line.profile_pieces == 0 and not line.velocity_in_flight:
            return self.uniform("the controller changes speed neither on the way nor by profile")
        speed = planned.speed[0]
        others = self.other_gains(speed, knowledge.grid)
        order = slice(None, None, line.direction)
        profile = Profile.of(knowledge.grid[order], speed[order])
        if line.profile_pieces:
            profile = profile.simplified(line.profile_pieces)
        reason = f"prior of {self._count - 1} lines, predicted gain {gain:.3g} in time"
        return Plan(profile, reason, gain, error, others)

    def _tolerance(self, planned: Planned) -> float:
        return TOLERANCE * float(planned.worst[0])

    def _knowledge(self, line: LineContext) -> Knowledge:
        low, high = sorted((line.start, line.stop))
        if self._grid_key != (low, high):
            self._known.clear()
            self._grid_key = (low, high)
        slot = 0 if self.lines_per_slice is None else line.segment % self.lines_per_slice
        if slot not in self._known:
            grid = np.linspace(low, high, grid_nodes(high - low, self.width))
            self._known[slot] = Knowledge(grid)
        return self._known[slot]

    def _absorb(self) -> None:
        """Learn from the line told last."""
        if self._begun is None:
            return
        curves = self._begun.record.passes(self.channel)
        learn_passes(self._knowledge(self._begun.line), curves, self.width, self.shift)

    def ask(self, now: Situation) -> Proposal | None:
        """Go back to surprises, as far as the extra time of the line allows."""
        line, watch = self.line, self.watch
        if now.held or self._plan is None:
            return None
        if now.at_end:
            watch.finish()
        going_back = self._plan.profile is not None and self.return_on_surprise and line.goes_back
        while watch.pending and going_back:
            interval = watch.pending.pop(0)
            self._surprises += 1
            proposal = self._return_to(interval, now, line.extra_time - self._extra_used)
            if isinstance(proposal, GoBack):
                return proposal
        return self._follow(now)

    def end(self) -> dict[str, Any]:
        """What was flown and why, with the surprises."""
        return super().end() | {"surprises": self._surprises}
