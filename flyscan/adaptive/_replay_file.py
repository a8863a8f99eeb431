"""Replaying the flights of a run from its file, with the recorded policy or another."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import StorageError
from ..storage import open_run, read_tuning, records_by_flight
from ._composite import policy_from_dict, require_allowed
from ._record import RecordedFlight
from ._replay import SwitchedOff, first_difference, replay
from ._steering import Decision

__all__ = ["ReplayedFlight", "replay_file"]

HOW_TO_TRUST = "if you know the class the file names, say so: `flyscan replay --trust CLASS`"


@dataclass(frozen=True, slots=True)
class ReplayedFlight:
    """What a replay gave.

    Args:
        flight: number of the flight in the run.
        policy: class and parameters of the policy that was replayed.
        recorded: what was decided in the flight.
        decisions: what was decided in the replay.
        difference: what differs first; None if nothing does, or if another policy was tried.
    """

    flight: int
    policy: Mapping[str, Any]
    recorded: tuple[Decision, ...]
    decisions: tuple[Decision, ...]
    difference: str | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "flight": self.flight,
            "policy": dict(self.policy),
            "recorded": len(self.recorded),
            "difference": self.difference,
            "decisions": [decision.to_dict() for decision in self.decisions],
        }


def replay_file(
    path: str | os.PathLike[str],
    *,
    flight: int | None = None,
    policy: Mapping[str, Any] | None = None,
    trusted: Collection[str] = (),
) -> list[ReplayedFlight]:
    """Let a policy decide again on what was recorded, and compare.

    The file may still be being written, and the run may have been aborted or its host killed.

    Args:
        path: a run's file.
        flight: number of the one flight to replay; None for all that were steered.
        policy: class and parameters of a policy to try instead of the recorded one. It is shown
            the rows as they were flown, not as it would have flown them.
        trusted: classes that may be loaded because a file names them, beside the policies of
            flyscan and those registered as entry points ``flyscan.policies``.

    Raises:
        StorageError: no such file, no steered flight in it, or a record that makes no sense.
        ConfigurationError: there is no such policy, or the file names one that is not trusted.
    """
    with open_run(path) as file:
        flights = records_by_flight(read_tuning(file))
        wanted = sorted(flights) if flight is None else [flight]
        if not flights.keys() >= set(wanted) or not wanted:
            raise StorageError(
                "has no steered flight" if flight is None else f"has no steered flight {flight}",
                device=os.fspath(path),
                remedy=f"its steered flights are: {', '.join(map(str, sorted(flights))) or 'none'}",
            )
        recorded = (RecordedFlight(file, number, flights[number]) for number in wanted)
        return [_tried(one, policy) if policy else _replayed(one, trusted) for one in recorded]


def _replayed(recorded: RecordedFlight, trusted: Collection[str]) -> ReplayedFlight:
    require_allowed(recorded.policy, trusted, HOW_TO_TRUST)
    decisions = replay(recorded.events(), policy_from_dict(recorded.policy), recorded.rail)
    return ReplayedFlight(
        recorded.flight,
        recorded.policy,
        tuple(recorded.decisions),
        tuple(decisions),
        first_difference(recorded.decisions, decisions),
    )


def _tried(recorded: RecordedFlight, policy: Mapping[str, Any]) -> ReplayedFlight:
    events = (e for e in recorded.events() if not isinstance(e, SwitchedOff))
    decisions = replay(events, policy_from_dict(policy), recorded.rail)
    return ReplayedFlight(
        recorded.flight, policy, tuple(recorded.decisions), tuple(decisions), None
    )
