"""A RunEngine, a host on a manual clock and a flyer on an in-memory box, in one object.

Tests and benchmarks interrupt plans in it, at any moment of simulated time.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
import uuid
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from bluesky import RunEngine
from bluesky import preprocessors as bpp
from bluesky.suspenders import SuspendBoolHigh
from bluesky.utils import Msg, MsgGenerator, RunEngineInterrupted
from ophyd_async.core import StaticPathProvider, UUIDFilenameProvider

from flyscan.devices import Flyer
from flyscan.flight import Clock, State
from flyscan.testing import MemoryBox

from ._pilot import PATIENCE, Moment, Pilot, Switch, TellingClock, TellingHost, TellingSink

__all__ = ["Documents", "Rehearsal", "Rest"]

T = TypeVar("T")
Documents = list[tuple[str, dict[str, Any]]]

BLOCK_PERIOD = 0.02
OPTIONS = {"flush_period": 0.05, "preview_period": 0.02}
BOXES: dict[str, MemoryBox] = {}


def make_box(name: str, token: str, clock: Clock | None = None, **params: Any) -> MemoryBox:
    """What the host loads as the controller: a box the test can look into afterwards."""
    BOXES[token] = MemoryBox(name, clock=clock, **params)
    return BOXES[token]


class Rest(NamedTuple):
    """What was seen when the RunEngine was paused or suspended: at rest `since`, s of the clock."""

    kind: str
    since: float
    moving: bool


class Rehearsal:
    """Everything of one session; `RE` may run any number of plans.

    Args:
        folder: where files go.
        options: times the flights go by, see :class:`flyscan.flight.FlightOptions`.
        params: parameters of the box.
    """

    def __init__(
        self, folder: Path, *, options: Mapping[str, float] = OPTIONS, **params: Any
    ) -> None:
        self.clock = TellingClock()
        self.token = str(uuid.uuid4())
        params = {"token": self.token, "block_period": BLOCK_PERIOD, **params}
        self.block_period: float = params["block_period"]
        self.host = TellingHost(
            {
                "controllers": {"box": {"class": f"{__name__}:make_box", "params": params}},
                "flyers": {
                    "nano": {
                        "motion": "box.motion",
                        "capture": "box.capture",
                        "options": dict(options),
                    }
                },
                "sink": f"{TellingSink.__module__}:TellingSink",
            },
            clock=self.clock,
        )
        self.RE = RunEngine()
        self.RE.record_interruptions = False
        self.nano = Flyer(
            self.host, "nano", StaticPathProvider(UUIDFilenameProvider(), folder), name="nano"
        )
        self.switch = Switch()
        self.documents: Documents = []
        self.messages: list[Msg] = []
        self._seen: Counter[str] = Counter()
        self.file = ""
        self.rests: list[Rest] = []
        self.described = 0
        self.collecting = False
        self._flaw: Exception | None = None
        self._landmarks: list[tuple[str, int, Callable[[], Any]]] = []
        self._open()

    def _open(self) -> None:
        self.on_RE(self.nano.connect())
        loop = self.host._loop
        assert loop is not None
        self._loop = loop
        self.pilot = Pilot(self)
        self.host.listener = self.pilot.on_event
        self.clock.tell = TellingSink.tell = self.pilot.tell
        self._flying = self.host.run(self.pilot.fly())
        self.RE.subscribe(self._document)
        self.RE.msg_hook = self._message
        self.RE.state_hook = lambda new, old: self._tell()
        self.RE.install_suspender(SuspendBoolHigh(self.switch))
        self.limits = self.host.run(self.box.motion.limits()).result(PATIENCE)

    def close(self) -> None:
        station = self.host.station
        assert station is not None
        if self.RE.state == "paused":  # whoever ran a plan has failed meanwhile
            self.RE.halt()
        self.host.run(station.close()).result(PATIENCE)
        self._flying.cancel()
        self.on_RE(self.host.close())
        BOXES.pop(self.token)

    @property
    def box(self) -> MemoryBox:
        return BOXES[self.token]

    def on_RE(self, coroutine: Coroutine[Any, Any, T]) -> T:  # noqa: N802 - everybody says RE
        """Run something on the RunEngine's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.RE.loop).result(PATIENCE)

    # --- listening -------------------------------------------------------------------------

    def _tell(self) -> None:
        self._loop.call_soon_threadsafe(self.pilot.tell)

    def _document(self, name: str, document: dict[str, Any]) -> None:
        self.documents.append((name, document))
        if name == "start":
            self.described = 0
        elif name == "stream_datum":
            self.described = document["indices"]["stop"]
            self._tell()

    def _message(self, msg: Msg) -> None:
        self.messages.append(msg)
        if msg.command == "kickoff":
            self.collecting = True
        elif msg.command in ("stop", "unstage") or msg.args == ("disarmed",):
            self.collecting = False
        self.file = self.nano.file or self.file
        if msg.command == "wait_for":
            self.RE.loop.run_in_executor(None, self._while_suspended)
        self._seen[msg.command] += 1
        for landmark in tuple(self._landmarks):
            if landmark[:2] == (msg.command, self._seen[msg.command] - 1):
                self._landmarks.remove(landmark)
                landmark[2]()
        self._tell()

    # --- interfering -----------------------------------------------------------------------

    def at(self, when: float, kind: str, noticed: Callable[[], bool] | None = None) -> None:
        """Interfere when the clock says `when`; it goes on once that is `noticed`."""
        self.pilot.moments.append(Moment(when, getattr(self, kind), noticed or self._noticed))

    def at_message(self, command: str, kind: str, nth: int = 0) -> None:
        """Interfere while the RunEngine works on its `nth` message of this command."""
        act = getattr(self, kind)
        self._landmarks.append((command, nth, lambda: self.RE.loop.run_in_executor(None, act)))

    def _noticed(self) -> bool:
        state = self.pilot.state
        return (
            self.RE.state not in ("running", "suspending")
            or bool(self.pilot.holds)
            or state in (State.STOPPING, State.STOPPED, State.FAILED)
            or self.messages[-1].command == "wait_for"
        )

    def told(self) -> bool:
        """The flight knows of the interference, or there is none any more that could.

        What the RunEngine takes to tell it is real time, in which the clock must not run ahead.
        Between its checkpoints the RunEngine only remembers that it is to pause.
        """
        state = State(self.pilot.state)
        waiting = state in (State.PREPARING, State.READY) and self.RE.deferred_pause_requested
        return (
            bool(self.pilot.holds)
            or state.final
            or state in (State.IDLE, State.ENDING, State.STOPPING)
            or self.RE.state == "idle"
            or waiting
        )

    def pause(self) -> None:
        self.RE.request_pause()

    def deferred_pause(self) -> None:
        self.RE.request_pause(defer=True)

    def suspend(self) -> None:
        self.switch.put(True)

    def abort(self) -> None:
        self.RE.abort("for a test")

    def stop(self) -> None:
        self.RE.stop()

    def halt(self) -> None:
        self.RE.halt()

    def error(self) -> None:
        self._flaw = RuntimeError("the user's plan has a flaw")

    def ctrl_c(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    def ctrl_c_twice(self) -> None:
        self.ctrl_c()
        time.sleep(0.15)  # the RunEngine counts interrupts only if 0.1 s apart
        self.ctrl_c()

    def sigterm(self) -> None:
        """What the signal makes a host's process do; this host is of no use afterwards."""
        if self.host.station is not None:
            self.host.run(self.host.station.close("it was ended by SIGTERM"))

    def flawed(self, plan: MsgGenerator[Any]) -> MsgGenerator[Any]:
        """The plan, with an exception raised inside it when :meth:`error` was called."""

        def check(msg: Msg) -> tuple[MsgGenerator[None] | None, None]:
            flaw, self._flaw = self._flaw, None
            return (None, None) if flaw is None else (_raising(flaw), None)

        return bpp.plan_mutator(plan, check)

    # --- running ---------------------------------------------------------------------------

    def run(
        self, plan: MsgGenerator[Any], paused: Callable[[], None] = lambda: None
    ) -> tuple[str, ...]:
        """Run a plan, resuming it whenever it pauses.

        Args:
            paused: called at every pause, before it ends; may end the run.
        """
        self.documents.clear()
        self.messages.clear()
        self.file = ""
        self._seen.clear()
        self.rests.clear()
        start: Callable[[], Any] = lambda: self.RE(self.flawed(plan))  # noqa: E731
        while True:
            try:
                return start()
            except RunEngineInterrupted:
                if self.RE.state != "paused":
                    return ()
                self._note_rest("pause")
                paused()
                if self.RE.state != "paused":
                    return ()
                start = self.RE.resume

    def _while_suspended(self) -> None:
        """The suspender has bitten: see whether the stage rests, and open the shutter again."""
        try:
            self._note_rest("suspend")
        finally:
            self.switch.put(False)

    def _note_rest(self, kind: str) -> None:
        motion = self.box.motion
        since = max(track.end for track in motion.trajectories.values())
        self.rests.append(Rest(kind, since, motion.moving))

    def settle(self) -> None:
        """The RunEngine does not wait for what unstage starts at a halt; this does."""

        async def unstaged() -> None:
            await self.nano.unstage()

        self.on_RE(unstaged())

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The documents of one kind."""
        return [document for name, document in self.documents if name == kind]


def _raising(error: Exception) -> MsgGenerator[None]:
    raise error
    yield Msg("null")
