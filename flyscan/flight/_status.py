"""Where a flight is and whether it may go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ._changed import Changed
from ._recorder import Listener
from ._state import Event, State, next_state

__all__ = ["Status"]


class Status:
    """The state of a flight, its reasons to hold, and everybody who waits for either.

    Args:
        listener: told of every change.
        changed: notified of every change.
        point: gives the next point, for the report.
        holds: reasons to hold from the beginning.
    """

    def __init__(
        self,
        listener: Listener,
        changed: Changed,
        point: Callable[[], int],
        holds: frozenset[str],
    ) -> None:
        self._listener = listener
        self._changed = changed
        self._point = point
        self._holds = set(holds)
        self._may_fly = asyncio.Event()
        if not holds:
            self._may_fly.set()
        self._resting = False
        self.state = State.IDLE

    @property
    def holds(self) -> frozenset[str]:
        """Why the flight does not go on; empty when it may."""
        return frozenset(self._holds)

    @property
    def may_fly(self) -> bool:
        """True while nothing holds the flight, not even the end of an earlier hold."""
        return self._may_fly.is_set()

    @property
    def over(self) -> bool:
        """True when nothing more will be flown."""
        return self.state.final or self.state in (State.ENDING, State.STOPPING)

    def go(self, event: Event) -> None:
        """Change state.

        Raises:
            StateError: the table of states does not know this change.
        """
        self.state = next_state(self.state, event)
        self._changed.notify()
        self.report()

    def report(self) -> None:
        """Tell the listener where the flight is."""
        self._listener(
            {
                "event": "state",
                "state": self.state.value,
                "holds": sorted(self._holds),
                "point": self._point(),
            }
        )

    def hold(self, reason: str) -> None:
        """Add a reason to hold."""
        self._holds.add(reason)
        self._may_fly.clear()

    def release(self, reason: str) -> None:
        """Take a reason away; the flight may go on when none is left and it is not braking."""
        self._holds.discard(reason)
        if not self._holds and self.state is not State.HOLDING:
            if self.state is State.HELD:
                self.go(Event.RELEASE)
            self._may_fly.set()
        self.report()

    def rested(self) -> None:
        """Everything is at rest and stored; go on at once if the reasons are gone already."""
        self.go(Event.RESTED)
        if not self._holds:
            self.go(Event.RELEASE)
            self._may_fly.set()
        self._changed.notify()

    async def clearance(self) -> None:
        """Wait, at rest, until nothing holds the flight."""
        if self.may_fly:
            return
        if self.state is State.FLYING:  # held before kickoff: it is at rest already
            self.go(Event.HOLD)
            self.go(Event.RESTED)
        self._resting = True
        self._changed.notify()
        try:
            await self._may_fly.wait()
        finally:
            self._resting = False

    async def permission(self) -> None:
        """Wait until nothing holds the flight, while it is being prepared."""
        await self._may_fly.wait()

    async def resting(self) -> None:
        """Wait until the sweeps have come to rest, or are over."""
        await self._changed.wait_for(lambda: self._resting or self.over)
