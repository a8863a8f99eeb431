"""Driving a policy: guard rail, record of decisions, and the switch that turns it off.

The same object steers a flight, a simulation and a replay, so that all three decide alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..flight import values_of
from ._policy import LineContext, Plan, Policy, Proposal, Situation, proposal_from_dict
from ._rails import GuardRail
from ._rows import Rows

__all__ = ["Decision", "DecisionBook", "Steering"]


@dataclass(frozen=True, slots=True)
class Decision:
    """One proposal and what became of it; a row of the tuning stream.

    Args:
        number: counts decisions of the run from 0.
        segment: line it was made on.
        block: blocks delivered when it was made.
        cause: "plan", "block", "end", "held", "fault", or "late" for a call that took too long.
        old: speed and step before.
        proposed: the plan or proposal, JSON-able.
        applied: what may be done, JSON-able; None if refused.
        reason: why proposed, and every bound applied.
        time: seconds on the flight's clock.
        effective_point: path index from which it acts; None until the flight knows it.
        latency: seconds from block to command; None until the flight knows it.
    """

    number: int
    segment: int
    block: int
    cause: str
    old: Mapping[str, float]
    proposed: Mapping[str, Any]
    applied: Mapping[str, Any] | None
    reason: str
    time: float
    effective_point: int | None = None
    latency: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return values_of(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Decision:
        """Read back :meth:`to_dict`."""
        return cls(**data)

    @property
    def proposal(self) -> Proposal | None:
        """What to do; None for a plan, a fault or a refusal."""
        if self.applied is None or "kind" not in self.applied:
            return None
        return proposal_from_dict(self.applied)


class DecisionBook:
    """The decisions of a flight in order, and whether the policy still makes any.

    Attributes:
        decisions: all of them.
        fault: why the policy was switched off; None while it works.
    """

    def __init__(self) -> None:
        self.decisions: list[Decision] = []
        self.fault: str | None = None
        self._line: LineContext | None = None
        self._block = 0

    def began(self, line: LineContext) -> None:
        """What follows is decided on this line."""
        self._line = line

    def told(self) -> None:
        """Another block was handed over."""
        self._block += 1

    def switch_off(self, fault: str, time: float, *, cause: str = "fault") -> Decision:
        """Ask the policy no more, because it raised or, if `cause` is "late", took too long."""
        self.fault = fault
        reason = f"policy switched off, the flight goes on uniformly: {fault}"
        return self._note(cause, {}, {}, None, reason, time)

    def _note(
        self, cause: str, old: Mapping[str, float], proposed: Mapping[str, Any],
        applied: Mapping[str, Any] | None, reason: str, time: float,
    ) -> Decision:  # fmt: skip
        decision = Decision(
            number=len(self.decisions),
            segment=-1 if self._line is None else self._line.segment,
            block=self._block,
            cause=cause,
            old=old,
            proposed=proposed,
            applied=applied,
            reason=reason,
            time=time,
        )
        self.decisions.append(decision)
        return decision


class Steering(DecisionBook):
    """A policy with its guard rail.

    A policy that raises is switched off: lines are then flown uniformly and say so.

    Args:
        policy: what proposes.
        rail: what bounds.
    """

    def __init__(self, policy: Policy, rail: GuardRail) -> None:
        super().__init__()
        self.policy = policy
        self.rail = rail

    def begin(self, line: LineContext, time: float = 0.0) -> Plan:
        """Plan a line."""
        self.began(line)
        plan, bounds = Plan(None, f"uniform: policy switched off, {self.fault}"), ()
        proposed = plan
        if self.fault is None:
            try:
                proposed = self.policy.begin(line)
                plan, bounds = self.rail.check_plan(self.policy.review(proposed, line), line)
            except Exception as error:
                self.switch_off(f"{type(error).__name__}: {error}", time)
                plan = proposed = Plan(None, f"uniform: policy switched off, {self.fault}")
        old = {"velocity": line.velocity, "step": line.velocity * line.period}
        reason = "; ".join((plan.reason, *bounds))
        self._note("plan", old, proposed.to_dict(), plan.to_dict(), reason, time)
        return plan

    def tell(self, rows: Rows, time: float = 0.0) -> None:
        """Hand over a block."""
        self.told()
        if self.fault is None:
            try:
                self.policy.tell(rows)
            except Exception as error:
                self.switch_off(f"{type(error).__name__}: {error}", time)

    def ask(self, now: Situation) -> Decision | None:
        """Ask the policy; gives a decision, also when it was refused, or None."""
        if self.fault is not None or self._line is None:
            return None
        try:
            proposal = self.policy.ask(now)
            if proposal is None:
                return None
            ruling = self.rail.check(proposal, now, self._line)
            proposed = proposal.to_dict()
        except Exception as error:
            return self.switch_off(f"{type(error).__name__}: {error}", now.time)
        cause = "held" if now.held else "end" if now.at_end else "block"
        return self._note(
            cause,
            {"velocity": now.velocity, "step": now.step},
            proposed,
            None if ruling.allowed is None else ruling.allowed.to_dict(),
            "; ".join((proposal.reason, *ruling.reasons)),
            now.time,
        )

    def end(self) -> dict[str, Any]:
        """Summary of the line."""
        if self.fault is not None:
            return {"fault": self.fault}
        try:
            return self.policy.end()
        except Exception as error:
            self.switch_off(f"{type(error).__name__}: {error}", 0.0)
            return {"fault": self.fault}
