"""The guard rail: what a policy may have, whatever it asks for.

Every bound and every refusal is stated. Numbers never leave the limits: of velocity, of
acceleration, of travel, of the trigger, of the rate of change. When data is stale the speed is
held or lowered, never raised.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import ConfigurationError
from ..flight import FloatArray
from ._policy import (
    Finish,
    Flag,
    GoBack,
    Hold,
    LineContext,
    Plan,
    Proposal,
    Resume,
    Retune,
    Situation,
)
from ._profile import Profile

__all__ = ["GuardRail", "Ruling", "bounded_retunes"]

SLACK = 1e-9


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the guard rail made of a proposal.

    Args:
        allowed: what may be done; None when it is refused.
        reasons: every bound that was applied, or why it was refused.
    """

    allowed: Proposal | None
    reasons: tuple[str, ...] = ()


def bounded_retunes(
    velocity: FloatArray, step: FloatArray, now_velocity: FloatArray, now_step: FloatArray,
    stale: FloatArray, line: LineContext, max_raise: float,
) -> tuple[FloatArray, FloatArray]:  # fmt: skip
    """Speed and step that may be commanded for proposals of any shape.

    Args:
        velocity, step: proposed; NaN where nonsense was proposed, which keeps what is flown.
        now_velocity, now_step: commanded now.
        stale: non-zero where data is too old for a raise.
        line: limits.
        max_raise: largest factor of a raise, and of a change of step either way.

    Returns:
        Speed and step within every limit. The step is 0 where limits leave none, which only
        happens if the present speed has none; the speed is kept there.
    """
    low, high = line.v_min, line.v_max
    now_v = np.clip(now_velocity, low, high)
    v = np.where(np.isfinite(velocity) & (velocity > 0), velocity, now_v)
    v = np.minimum(v, np.where(stale != 0, now_v, now_v * max_raise))
    v = np.clip(v, low, high)
    s = np.where(np.isfinite(step) & (step > 0), step, now_step)
    s = np.clip(s, now_step / max_raise, now_step * max_raise)
    if line.trigger == "position":
        # Triggers come every step / v: the speed gives way first, then the step.
        # A new step acts a trigger later than a new speed, and a stage that brakes is still fast.
        v = np.maximum(np.minimum(v, np.minimum(s, now_step) / line.min_period), low)
        s = np.clip(s, np.maximum(v, now_v) * line.min_period, v * line.max_period)
    return v, s


@dataclass(frozen=True, slots=True)
class GuardRail:
    """Limits of what policies may command.

    Args:
        low, high: travel of the fast axis, user units.
        max_raise: largest factor by which one decision may raise the speed.
        stale_after: age of the newest row in seconds above which the speed may not be raised;
            None for three loop delays and a block.
        clearance: distance to the end of the line, beyond the commit horizon, within which no
            command is given, because it would act after the end.
    """

    low: float
    high: float
    max_raise: float = 1.5
    stale_after: float | None = None
    clearance: float = 0.0

    def __post_init__(self) -> None:
        numbers = (self.low, self.high, self.max_raise, self.clearance, self.stale_after or 0.0)
        if not np.all(np.isfinite(numbers)) or not self.low < self.high or self.max_raise < 1:
            raise ConfigurationError(
                f"contradictory limits: travel {self.low} to {self.high}, "
                f"raise by {self.max_raise}, clearance {self.clearance}",
                device="guard rail",
                remedy="give low < high and a raise of at least 1",
            )

    def check_plan(self, plan: Plan, line: LineContext) -> tuple[Plan, tuple[str, ...]]:
        """A plan within the limits; a profile that cannot be bounded becomes a uniform line."""
        if plan.profile is None:
            return plan, ()
        wrong = self._profile_fault(plan.profile, line)
        if wrong is None:
            ends = (plan.profile.position[0], plan.profile.position[-1])
            if max(abs(ends[0] - line.start), abs(ends[1] - line.stop)) > 1e-6 * line.length:
                wrong = f"it covers {ends[0]:g} to {ends[1]:g}, not the line"
        if wrong is None:
            return plan, ()
        reason = f"profile refused: {wrong}; the line is flown uniformly"
        return replace(plan, profile=None, gain=1.0, reason=reason), (reason,)

    def check(self, proposal: Proposal, now: Situation, line: LineContext) -> Ruling:
        """Bound or refuse a proposal."""
        handlers: dict[type[Proposal], Callable[[], Ruling]] = {
            Retune: lambda: self._retune(proposal, now, line),
            GoBack: lambda: self._go_back(proposal, now, line),
            Hold: lambda: self._hold(proposal),
            Resume: lambda: self._resume(proposal, now),
            Flag: lambda: self._flag(proposal),
            Finish: lambda: Ruling(proposal),
        }
        handler = handlers.get(type(proposal))
        if handler is None:
            return Ruling(None, (f"refused: {type(proposal).__name__} is no proposal",))
        return handler()

    def _retune(self, proposal: Proposal, now: Situation, line: LineContext) -> Ruling:
        if not isinstance(proposal, Retune) or (
            proposal.velocity is None and proposal.step is None
        ):
            return Ruling(None, ("refused: nothing to change",))
        refusal = self._unable(proposal, now, line)
        if refusal:
            return Ruling(None, (f"refused: {refusal}",))
        stale = now.age > self._stale_after(line)
        wanted_v = now.velocity if proposal.velocity is None else proposal.velocity
        wanted_s = now.step if proposal.step is None else proposal.step
        v, s = (
            float(value[0])
            for value in bounded_retunes(
                np.array([wanted_v]),
                np.array([wanted_s]),
                np.array([now.velocity]),
                np.array([now.step]),
                np.array([float(stale)]),
                line,
                self.max_raise,
            )
        )
        if s != now.step and not line.step_in_flight:
            return Ruling(None, ("refused: the step cannot change in flight",))
        reasons: list[str] = []
        if v != wanted_v:
            why = "stale data" if stale and wanted_v > now.velocity else "limits of speed"
            reasons.append(f"speed {wanted_v:g} bounded to {v:g}: {why} or rate of change")
        if s != wanted_s:
            reasons.append(f"step {wanted_s:g} bounded to {s:g}: limits of the trigger")
        if v == now.velocity and s == now.step:
            return Ruling(None, (*reasons, "refused: nothing would change"))
        return Ruling(
            Retune(
                proposal.reason,
                None if proposal.velocity is None and v == now.velocity else v,
                None if proposal.step is None and s == now.step else s,
            ),
            tuple(reasons),
        )

    def _unable(self, proposal: Retune, now: Situation, line: LineContext) -> str:
        """Why this change cannot be made now; empty if it can."""
        for name, value in (("speed", proposal.velocity), ("step", proposal.step)):
            if value is not None and not (np.isfinite(value) and value > 0):
                return f"a {name} of {value} is nonsense"
        if proposal.velocity is not None and not line.velocity_in_flight:
            return "the speed cannot change in flight"
        if proposal.step is not None and not line.step_in_flight:
            return "the step cannot change in flight"
        if now.held:
            return "the flight holds"
        if now.at_end:
            return "the line is over"
        left = (line.stop - now.position) * line.direction
        if left <= now.velocity * line.latency + self.clearance:
            return "it would act after the end of the line"
        return ""

    def _go_back(self, proposal: Proposal, now: Situation, line: LineContext) -> Ruling:
        if not isinstance(proposal, GoBack):
            return Ruling(None, ("refused: no way back given",))
        if not line.goes_back:
            return Ruling(None, ("refused: this flight cannot go back",))
        if now.held:
            return Ruling(None, ("refused: the flight holds",))
        profile = proposal.profile
        wrong = self._profile_fault(profile, line)
        ends = (profile.position[0], profile.position[-1])
        if wrong is None and ends != (proposal.start, proposal.stop):
            wrong = f"the profile covers {ends[0]:g} to {ends[1]:g}, not the interval"
        inside = sorted((line.start, line.stop))
        if wrong is None and not inside[0] - SLACK <= min(ends) <= max(ends) <= inside[1] + SLACK:
            wrong = f"{ends[0]:g} to {ends[1]:g} leaves the line"
        if wrong is not None:
            return Ruling(None, (f"refused: {wrong}",))
        return Ruling(proposal)

    def _hold(self, proposal: Proposal) -> Ruling:
        point: Any = proposal.refly_from if isinstance(proposal, Hold) else None
        if point is not None and not isinstance(point, int):
            return Ruling(None, (f"refused: there is no point {point}",))
        return Ruling(proposal)

    def _flag(self, proposal: Proposal) -> Ruling:
        if isinstance(proposal, Flag):
            span: tuple[Any, ...] = (proposal.first, proposal.stop)
            if all(isinstance(frame, int) for frame in span) and 0 <= span[0] < span[1]:
                return Ruling(proposal)
        return Ruling(None, ("refused: there are no such frames",))

    def _resume(self, proposal: Proposal, now: Situation) -> Ruling:
        if not now.held:
            return Ruling(None, ("refused: the flight does not hold",))
        return Ruling(proposal)

    def _stale_after(self, line: LineContext) -> float:
        if self.stale_after is not None:
            return self.stale_after
        return 3 * line.latency + line.block_period + min(line.max_period, 10 * line.period)

    def _profile_fault(self, profile: Profile, line: LineContext) -> str | None:
        """Why a profile cannot be flown; None if it can."""
        slowest, fastest = min(profile.velocity), max(profile.velocity)
        top = line.v_max
        if line.trigger == "position":
            top = min(top, line.velocity * line.period / line.min_period)
        if fastest > top * (1 + 1e-6):
            return f"speed {fastest:g} above {top:g}"
        if slowest < line.v_min * (1 - 1e-6):
            return f"speed {slowest:g} below {line.v_min:g}"
        if profile.peak_acceleration > line.acceleration * (1 + 1e-3):
            return f"acceleration {profile.peak_acceleration:g} above {line.acceleration:g}"
        run = max(profile.velocity[0], profile.velocity[-1]) ** 2 / (2 * line.acceleration)
        ends = (profile.position[0], profile.position[-1])
        if min(ends) - run < self.low or max(ends) + run > self.high:
            return f"{ends[0]:g} to {ends[1]:g} with its ramps leaves travel"
        if line.profile_pieces and len(profile.position) - 1 > line.profile_pieces:
            return f"{len(profile.position) - 1} pieces, the box takes {line.profile_pieces}"
        return None
