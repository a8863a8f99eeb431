"""The clock of a rehearsal and who moves it.

A pilot on the host's loop jumps the clock from deadline to deadline and stops where somebody wants
to interfere. It waits for the RunEngine where the RunEngine could not keep up in real life either,
so that a run is the same however fast the machine is.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from bluesky.utils import TransitionError

from flyscan.flight import EndReason, ManualClock, State
from flyscan.flight.host import InProcessHost
from flyscan.storage import Hdf5Sink

from ._stage import PATIENCE, TooLateError

if TYPE_CHECKING:
    from ._rehearsal import Rehearsal

__all__ = ["Moment", "Pilot", "Strike", "TellingClock", "TellingHost", "TellingSink"]

IMPATIENCE = 1.0
"""Once something did not come in a run, seconds for whatever else does not come."""


class TellingClock(ManualClock):
    """Says when somebody goes to sleep on it."""

    def __init__(self) -> None:
        super().__init__()
        self.tell: Callable[[], None] = lambda: None

    async def sleep_until(self, when: float) -> None:
        self.tell()
        await super().sleep_until(when)


class TellingHost(InProcessHost):
    """Shows every event to the pilot before it travels to the client."""

    listener: Callable[[dict[str, Any]], None] = staticmethod(lambda event: None)

    def _emit(self, flyer: str, event: dict[str, Any]) -> None:
        self.listener(event)
        super()._emit(flyer, event)


class TellingSink(Hdf5Sink):
    """Says whether a thread is writing: the clock would run far ahead of it."""

    writing: ClassVar[int] = 0
    tell: ClassVar[Callable[[], None]] = staticmethod(lambda: None)

    async def begin_flight(self, flight: int, path: Mapping[str, object]) -> None:
        with _writing():
            await super().begin_flight(flight, path)

    async def flush(self) -> int:
        with _writing():
            return await super().flush()


@contextmanager
def _writing() -> Iterator[None]:
    TellingSink.writing += 1
    try:
        yield
    finally:
        TellingSink.writing -= 1
        TellingSink.tell()


@dataclass
class Moment:
    """When to interfere, how, and how to see that it had an effect."""

    when: float
    act: Callable[[], None]
    noticed: Callable[[], bool]


class Strike(NamedTuple):
    """When an interference really took place, in seconds of the clock, and in what state."""

    when: float
    state: str


class Pilot:
    """Moves the clock while anybody sleeps on it. Lives on the host's loop."""

    def __init__(self, stage: Rehearsal) -> None:
        self._stage = stage
        self._news = asyncio.Event()
        self.moments: list[Moment] = []
        self.urgent: list[Moment] = []
        self._ends: list[EndReason] = []
        self._last_end: EndReason | None = None
        self.strikes: list[Strike] = []
        self.flushed = 0
        self.state: str = State.IDLE
        self.holds: list[str] = []
        self.held = False
        self.kickoff_at = 0.0
        self.waiting = False
        self._striking = False
        self._pending: Callable[[], bool] | None = None
        self.complaints: list[str] = []

    def on_event(self, event: dict[str, Any]) -> None:
        if event["event"] == "flushed":
            self.flushed = event["frames"]
        elif event["event"] == "state":
            if event["state"] == State.FLYING and self.state == State.READY:
                self.kickoff_at = self._stage.clock.now()
            if event["state"] == State.PREPARING:
                self.flushed = 0
            self.state, self.holds = event["state"], event["holds"]
            self.held = self.held or bool(self.holds)
        self.look_for_ends()
        self._news.set()

    def look_for_ends(self) -> None:
        """Keep what the capture says of each time it was armed, once it is over."""
        end = self._stage.box.capture.end_reason
        if end is not None and end is not self._last_end:
            self._last_end = end
            self._ends.append(end)

    @property
    def captured(self) -> int:
        """Rows made since :meth:`forget`, as the box itself says."""
        self.look_for_ends()
        return sum(end.rows for end in self._ends)

    def forget(self) -> None:
        """Nothing that was planned or seen in the run before concerns the next one."""
        self.moments.clear()
        self.urgent.clear()
        self._pending = None
        self.strikes.clear()
        self.complaints.clear()
        self.look_for_ends()
        self._ends.clear()

    def tell(self) -> None:
        """Something changed; from the host's loop."""
        self._news.set()

    def interfere(self, moment: Moment) -> None:
        """Interfere at once; from the host's loop."""
        self.urgent.append(moment)
        self._news.set()

    async def done(self) -> None:
        """Wait until what was to interfere at once has done so, or came too late."""
        while self.urgent or self._striking:  # noqa: ASYNC110 - once in a run
            await asyncio.sleep(0.001)

    async def fly(self) -> None:
        """Move the clock for good; whatever fails on the way, it goes on and complains."""
        while True:
            try:
                await self._step()
            except Exception:
                self.complaints.append(traceback.format_exc())

    async def _step(self) -> None:
        clock = self._stage.clock
        self._news.clear()
        await clock.advance(0)
        if self.urgent:
            await self._strike(self.urgent.pop(0))
            return
        deadline = clock.next_deadline
        if deadline is None or self.state == State.HELD or TellingSink.writing:
            await self._news.wait()
            return
        if self.state == State.FLYING:
            await self._until(self._resumed)
        if self._pending is not None and not self.holds:
            pending, self._pending = self._pending, None
            await self._until(pending)
        if self.moments and self.moments[0].when <= deadline and self._running():
            moment = self.moments.pop(0)
            await clock.advance_to(max(moment.when, clock.now()))
            await self._strike(moment)
        else:
            await clock.advance_to(deadline)
            await self._until(self._described)

    async def _strike(self, moment: Moment) -> None:
        strike = Strike(self._stage.clock.now(), self.state)
        self.held = held = bool(self.holds)
        self._striking = True
        try:
            await asyncio.to_thread(moment.act)
        except (TransitionError, TooLateError):  # the plan has come to its end meanwhile
            return
        finally:
            self._striking = False
        self.strikes.append(strike)
        if held and not moment.noticed():
            # The RunEngine waits for rest, which takes time; before it goes on it has to notice.
            self._pending = moment.noticed
        else:
            await self._until(moment.noticed)

    def _resumed(self) -> bool:
        """The RunEngine lets devices resume a moment before it does so itself."""
        return self._stage.RE.state != "paused" or self.state != State.FLYING

    def _running(self) -> bool:
        return self._stage.RE.state == "running"

    def _described(self) -> bool:
        """The RunEngine has described what was flushed, or has other things to do."""
        stage = self._stage
        busy = stage.collecting and stage.RE.state == "running" and self.state == State.FLYING
        return not busy or stage.described >= self.flushed

    async def _until(self, predicate: Callable[[], bool]) -> None:
        """Wait for others with the clock at rest; fly on regardless when they do not come."""
        self.waiting = True  # before the first look, or a change just after it would go unseen
        try:
            async with asyncio.timeout(IMPATIENCE if self.complaints else PATIENCE):
                while not predicate():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            self.complaints.append(
                f"{predicate.__name__} never came true at {self._stage.clock.now():g} s, "
                f"flight {self.state} with holds {self.holds}, "
                f"RunEngine {self._stage.RE.state} at {self._stage.messages[-1]}"
            )
        finally:
            self.waiting = False
