"""The states of a flight, as one table: what is not in it cannot happen."""

from __future__ import annotations

from enum import StrEnum

from ..errors import FlyscanError

__all__ = ["TRANSITIONS", "Event", "State", "StateError", "next_state"]


class State(StrEnum):
    """Where a flight is."""

    IDLE = "idle"
    PREPARING = "preparing"
    READY = "ready"
    FLYING = "flying"
    HOLDING = "holding"
    HELD = "held"
    ENDING = "ending"
    DONE = "done"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"

    @property
    def final(self) -> bool:
        """True when nothing more will happen."""
        return self in (State.DONE, State.STOPPED, State.FAILED)

    @property
    def moving(self) -> bool:
        """True from kickoff until everything is at rest."""
        return self in (State.FLYING, State.HOLDING, State.HELD, State.ENDING, State.STOPPING)


class Event(StrEnum):
    """What happens to a flight."""

    PREPARE = "prepare"
    PREPARED = "prepared"
    KICKOFF = "kickoff"
    HOLD = "hold"
    RESTED = "rested"
    RELEASE = "release"
    LANDED = "landed"
    FINISHED = "finished"
    STOP = "stop"
    STOPPED = "stopped"
    FAIL = "fail"


class StateError(FlyscanError):
    """Something was asked of a flight that its state does not allow."""


_S, _E = State, Event

TRANSITIONS: dict[tuple[State, Event], State] = {
    (_S.IDLE, _E.PREPARE): _S.PREPARING,
    (_S.PREPARING, _E.PREPARED): _S.READY,
    (_S.READY, _E.KICKOFF): _S.FLYING,
    (_S.FLYING, _E.HOLD): _S.HOLDING,
    (_S.HOLDING, _E.RESTED): _S.HELD,
    (_S.HOLDING, _E.LANDED): _S.ENDING,
    (_S.HELD, _E.RELEASE): _S.FLYING,
    (_S.FLYING, _E.LANDED): _S.ENDING,
    (_S.ENDING, _E.FINISHED): _S.DONE,
    **{
        (state, _E.STOP): _S.STOPPING
        for state in (_S.IDLE, _S.PREPARING, _S.READY, _S.FLYING, _S.HOLDING, _S.HELD, _S.ENDING)
    },
    **{
        (state, _E.FAIL): _S.FAILED
        for state in (_S.PREPARING, _S.READY, _S.FLYING, _S.HOLDING, _S.HELD, _S.ENDING)
    },
    (_S.STOPPING, _E.STOPPED): _S.STOPPED,
    (_S.STOPPING, _E.FAIL): _S.FAILED,
}


def next_state(state: State, event: Event) -> State:
    """The state after `event`.

    Raises:
        StateError: the table has no such transition.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        allowed = ", ".join(sorted(e.value for s, e in TRANSITIONS if s is state)) or "nothing"
        raise StateError(
            f"{event.value!r} is not possible in state {state.value!r}, only {allowed}",
            device="flight",
            remedy="prepare a new flight" if state.final else "wait for the state to change",
        ) from None
