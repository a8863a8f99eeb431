"""What happened in a run, as data, and doing it again.

A record is the list of calls a policy got: a line begun, rows told, a question asked, a line
ended. Replaying them gives the same decisions, or shows where they first differ; with another
policy it shows what that one would have asked for on the recorded data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan
from typing import Any, cast

from ._policy import LineContext, Policy, Situation
from ._rails import GuardRail
from ._rows import Rows
from ._steering import Decision, Steering

__all__ = [
    "Asked",
    "Began",
    "Ended",
    "Event",
    "SwitchedOff",
    "Told",
    "first_difference",
    "replay",
]


@dataclass(frozen=True, slots=True)
class Began:
    """A line was begun."""

    line: LineContext
    time: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form, as in the record of a run."""
        return {"event": "began", "line": self.line.to_dict(), "time": self.time}


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """A block was handed over."""

    rows: Rows
    time: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form: which frames; what is in their rows stands in the file."""
        return {
            "event": "told",
            "first": self.rows.first,
            "stop": self.rows.end,
            "time": self.time,
            "other": self.rows.good is not None,
        }


@dataclass(frozen=True, slots=True)
class Asked:
    """The policy was asked."""

    now: Situation

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form, as in the record of a run."""
        return {"event": "asked", "now": self.now.to_dict()}


@dataclass(frozen=True, slots=True)
class Ended:
    """The line was over.

    Args:
        summary: what the policy said then.
    """

    summary: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form, as in the record of a run."""
        return {"event": "ended", "summary": dict(self.summary)}


@dataclass(frozen=True, slots=True)
class SwitchedOff:
    """The policy took too long over a call. One that never came back is not in the record."""

    fault: str
    time: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form, as in the record of a run."""
        return {"event": "switched_off", "fault": self.fault, "time": self.time}


Event = Began | Told | Asked | Ended | SwitchedOff


def replay(events: Iterable[Event], policy: Policy, rail: GuardRail) -> list[Decision]:
    """The decisions `policy` makes on a record.

    A policy other than the recorded one is shown the rows as they were flown, not as it would
    have flown them.
    """
    steering = Steering(policy, rail)
    for event in events:
        if isinstance(event, Began):
            steering.begin(event.line, event.time)
        elif isinstance(event, Told):
            steering.tell(event.rows, event.time)
        elif isinstance(event, Asked):
            steering.ask(event.now)
        elif isinstance(event, SwitchedOff):
            steering.switch_off(event.fault, event.time, cause="late")
        else:
            steering.end()
    return steering.decisions


def first_difference(recorded: Sequence[Decision], again: Sequence[Decision]) -> str | None:
    """What differs first between two lists of decisions; None if nothing does.

    When a decision took effect and how long that took are properties of the flight and are not
    compared; what was decided and why is, to the last bit.
    """
    for before, after in zip(recorded, again, strict=False):
        old, new = _decided(before), _decided(after)
        for name, value in old.items():
            where = f"decision {before.number} (line {before.segment}, block {before.block})"
            found = _differs(value, new[name], name)
            if found:
                return f"{where}: {found}"
    if len(recorded) != len(again):
        return f"{len(recorded)} decisions recorded, {len(again)} in the replay"
    return None


def _decided(decision: Decision) -> dict[str, Any]:
    data = decision.to_dict()
    for name in ("effective_point", "latency"):
        del data[name]
    return data


def _differs(old: Any, new: Any, name: str) -> str:
    """The first difference of two JSON-able values, with the way there; empty if none."""
    if isinstance(old, dict) and isinstance(new, dict):
        before, after = cast("dict[str, Any]", old), cast("dict[str, Any]", new)
        for key in [*before, *(k for k in after if k not in before)]:
            if key not in before or key not in after:
                return f"{name}.{key} is only in one of them"
            found = _differs(before[key], after[key], f"{name}.{key}")
            if found:
                return found
        return ""
    if isinstance(old, list | tuple) and isinstance(new, list | tuple):
        first, second = list(cast("list[Any]", old)), list(cast("list[Any]", new))
        if len(first) != len(second):
            return f"{name} has {len(first)} entries, then {len(second)}"
        pairs = enumerate(zip(first, second, strict=True))
        return next((f for i, (a, b) in pairs if (f := _differs(a, b, f"{name}[{i}]"))), "")
    return "" if _same(old, new) else f"{name} was {old!r}, is {new!r}"


def _same(old: Any, new: Any) -> bool:
    """Equal, or both not a number: policies may propose such nonsense."""
    if isinstance(old, float) and isinstance(new, float) and isnan(old):
        return isnan(new)
    return bool(old == new)
