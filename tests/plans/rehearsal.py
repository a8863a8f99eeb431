"""A RunEngine, a host on a manual clock and a flyer on an in-memory box, in one object.

A pilot on the host's loop jumps the clock from deadline to deadline and stops where a test wants
to interfere. It waits for the RunEngine where the RunEngine could not keep up in real life either,
so that a run is the same however fast the machine is.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np
from bluesky import RunEngine
from bluesky import preprocessors as bpp
from bluesky.suspenders import SuspendBoolHigh
from bluesky.utils import Msg, MsgGenerator, RunEngineInterrupted
from ophyd_async.core import StaticPathProvider, UUIDFilenameProvider

from flyscan.devices import Flyer
from flyscan.flight import Clock, ManualClock, State
from flyscan.flight.host import InProcessHost
from flyscan.storage import check_file
from flyscan.testing import MemoryBox

T = TypeVar("T")
Documents = list[tuple[str, dict[str, Any]]]

PATIENCE = 5.0
DISK = 0.002  # real seconds: the clock would run far ahead of a flush by a worker thread
BOXES: dict[str, MemoryBox] = {}
AT_REST = {"armed": "0", "step": "0"}


def make_box(name: str, token: str, clock: Clock | None = None, **params: Any) -> MemoryBox:
    """What the host loads as the controller: a box the test can look into afterwards."""
    BOXES[token] = MemoryBox(name, clock=clock, **params)
    return BOXES[token]


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


class Switch:
    """The least a bluesky suspender watches: a signal with subscribers."""

    name = "shutter_closed"

    def __init__(self) -> None:
        self._callbacks: list[Callable[..., None]] = []
        self._value = False

    def subscribe(self, callback: Callable[..., None], **_: Any) -> None:
        self._callbacks.append(callback)
        callback(value=self._value)

    def clear_sub(self, callback: Callable[..., None]) -> None:
        self._callbacks.remove(callback)

    def put(self, value: bool) -> None:
        self._value = value
        for callback in tuple(self._callbacks):
            callback(value=value)


@dataclass
class Moment:
    """When to interfere, how, and how to see that it had an effect."""

    when: float
    act: Callable[[], None]
    noticed: Callable[[], bool]


class Pilot:
    """Moves the clock while anybody sleeps on it. Lives on the host's loop."""

    def __init__(self, stage: Rehearsal) -> None:
        self._stage = stage
        self._news = asyncio.Event()
        self.moments: list[Moment] = []
        self.flushed = 0
        self.state: str = State.IDLE
        self.holds: list[str] = []
        self.kickoff_at = 0.0
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
        self._news.set()

    def tell(self) -> None:
        """Something changed; from the host's loop."""
        self._news.set()

    async def fly(self) -> None:
        clock = self._stage.clock
        while True:
            self._news.clear()
            await clock.advance(0)
            deadline = clock.next_deadline
            if deadline is None or self.state == State.HELD:
                await self._news.wait()
                continue
            if self.state == State.FLYING:
                await self._until(self._resumed)
            if self.moments and self.moments[0].when <= deadline and self._running():
                moment = self.moments.pop(0)
                await clock.advance_to(max(moment.when, clock.now()))
                await asyncio.to_thread(moment.act)
                await self._until(moment.noticed)
            else:
                await clock.advance_to(deadline)
                await self._until(self._described)
                if self.state == State.HOLDING:
                    await asyncio.sleep(DISK)

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
        try:
            async with asyncio.timeout(PATIENCE):
                while not predicate():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            self.complaints.append(
                f"{predicate.__name__} never came true at {self._stage.clock.now():g} s, "
                f"flight {self.state} with holds {self.holds}, "
                f"RunEngine {self._stage.RE.state} at {self._stage.messages[-1]}"
            )


class Rehearsal:
    """Everything of one session; `RE` may run any number of plans.

    Args:
        folder: where files go.
        params: parameters of the box.
    """

    def __init__(self, folder: Path, **params: Any) -> None:
        self.clock = TellingClock()
        self.token = str(uuid.uuid4())
        params = {"token": self.token, "block_period": 0.02, **params}
        self.host = TellingHost(
            {
                "controllers": {"box": {"class": f"{__name__}:make_box", "params": params}},
                "flyers": {
                    "nano": {
                        "motion": "box.motion",
                        "capture": "box.capture",
                        "options": {"flush_period": 0.05, "preview_period": 0.02},
                    }
                },
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
        self.file = ""
        self.suspensions: list[bool] = []
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
        self.clock.tell = self.pilot.tell
        self._flying = self.host.run(self.pilot.fly())
        self.RE.subscribe(self._document)
        self.RE.msg_hook = self._message
        self.RE.state_hook = lambda new, old: self._tell()
        self.RE.install_suspender(SuspendBoolHigh(self.switch))

    def close(self) -> None:
        station = self.host.station
        assert station is not None
        if self.RE.state == "paused":  # a test failed meanwhile
            self.RE.halt()
        self.host.run(station.close()).result(PATIENCE)
        self._flying.cancel()
        self.on_RE(self.host.close())
        BOXES.pop(self.token)

    @property
    def box(self) -> MemoryBox:
        return BOXES[self.token]

    def on_RE(self, coroutine: Coroutine[Any, Any, T]) -> T:
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
        seen = sum(m.command == msg.command for m in self.messages)
        for landmark in tuple(self._landmarks):
            if landmark[:2] == (msg.command, seen - 1):
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
        start: Callable[[], Any] = lambda: self.RE(self.flawed(plan))  # noqa: E731
        while True:
            try:
                return start()
            except RunEngineInterrupted:
                if self.RE.state != "paused":
                    return ()
                self.check_rest()
                paused()
                if self.RE.state != "paused":
                    return ()
                start = self.RE.resume

    def _while_suspended(self) -> None:
        """The suspender has bitten: see whether the stage rests, and open the shutter again."""
        try:
            self.suspensions.append(not self.box.motion.moving)
        finally:
            self.switch.put(False)

    # --- judging ---------------------------------------------------------------------------

    def check_rest(self) -> None:
        assert not self.box.motion.moving

    def check_safe(self) -> None:
        """At rest, disarmed, restored, nothing pending."""
        self.settle()
        assert not self.pilot.complaints, self.pilot.complaints
        assert all(self.suspensions), "moving while suspended"
        self.check_rest()
        assert self.box.capture.settings == AT_REST
        assert self.box.motion.settings == {"x": 100.0, "y": 100.0}
        assert self.pending() == []
        assert not self.nano.guard.armed

    def settle(self) -> None:
        """The RunEngine does not wait for what unstage starts at a halt; this does."""

        async def unstaged() -> None:
            await self.nano.unstage()

        self.on_RE(unstaged())

    def pending(self) -> list[str]:
        """Tasks left over on the two loops."""

        async def names() -> list[str]:
            for _ in range(20):
                await asyncio.sleep(0)
            here = asyncio.current_task()
            return [repr(t) for t in asyncio.all_tasks() if t is not here]

        left = [*self.on_RE(names()), *self.host.run(names()).result(PATIENCE)]
        return [text for text in left if "Pilot.fly" not in text]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [document for name, document in self.documents if name == kind]

    @property
    def exit_status(self) -> str:
        (stop,) = self.of("stop")
        return stop["exit_status"]

    def described_frames(self) -> int:
        """Frames in documents; checks that none is missing or there twice."""
        ranges: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for datum in self.of("stream_datum"):
            indices, seq_nums = datum["indices"], datum["seq_nums"]
            assert seq_nums["start"] == indices["start"] + 1
            assert seq_nums["stop"] == indices["stop"] + 1
            ranges[datum["stream_resource"]].append((indices["start"], indices["stop"]))
        assert set(ranges) <= {r["uid"] for r in self.of("stream_resource")}
        ends = set()
        for parts in ranges.values():
            assert [start for start, _ in parts] == [0, *(stop for _, stop in parts[:-1])]
            ends.add(parts[-1][1])
        assert len(ends) <= 1
        return ends.pop() if ends else 0

    def check_pages(self) -> None:
        """Event pages: seq_nums of every stream from 1 without gap."""
        counts: dict[str, int] = defaultdict(int)
        for page in self.of("event_page"):
            for seq_num in page["seq_num"]:
                counts[page["descriptor"]] += 1
                assert seq_num == counts[page["descriptor"]]

    def column(self, name: str) -> np.ndarray:
        with h5py.File(self.file, "r") as file:
            return file["/entry/data"][name][()]

    def triggered_at(self) -> np.ndarray:
        """Where the stage truly was at every trigger, shape (2, frames)."""
        tracks = self.box.motion.trajectories
        return np.array([[tracks[a].at(t)[0] for t in self.column("time")] for a in ("x", "y")])

    def check_complete(self, points: int, flights: int = 1) -> None:
        """Every point of every flight once, in file and documents, and nothing else."""
        frames = points * flights
        assert self.column("point").tolist() == list(range(points)) * flights
        assert self.column("flight").tolist() == sorted([*range(flights)] * points)
        assert self.column("keep").all()
        assert self.described_frames() == frames
        self.check_pages()
        assert check_file(self.file, self.documents).problems == ()
        assert self.exit_status == "success"
        self.check_safe()

    def check_partial(self, *, prefix: bool) -> int:
        """Every frame taken so far once; documents have them all, or a prefix of them."""
        self.check_safe()
        if not self.of("stream_datum") and not self.file:
            return 0
        points = self.column("point")
        assert points.tolist() == list(range(len(points)))
        described = self.described_frames()
        assert described <= len(points) if prefix else described == len(points)
        self.check_pages()
        report = check_file(self.file, self.documents if described else None)
        assert report.intact, report
        return len(points)


def _raising(error: Exception) -> MsgGenerator[None]:
    raise error
    yield Msg("null")


@contextmanager
def rehearsal(folder: Path, **params: Any) -> Iterator[Rehearsal]:
    stage = Rehearsal(folder, **params)
    try:
        yield stage
    finally:
        stage.close()
