"""A RunEngine, a flyer, and every way in which a run can be interrupted."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from bluesky import RunEngine
from bluesky import preprocessors as bpp
from bluesky.suspenders import SuspendBoolHigh
from bluesky.utils import Msg, MsgGenerator, RunEngineInterrupted, SigintHandler
from ophyd_async.core import StaticPathProvider, UUIDFilenameProvider

from flyscan.devices import Flyer
from flyscan.flight.host import Host
from flyscan.plans import SigtermHandler

__all__ = [
    "DEFERRED",
    "ENDED",
    "PATIENCE",
    "RESUMED",
    "Documents",
    "Rest",
    "Stage",
    "Switch",
    "TooLateError",
]

T = TypeVar("T")
Documents = list[tuple[str, dict[str, Any]]]

RESUMED = ("pause", "deferred_pause", "suspend", "ctrl_c", "ctrl_c_twice")
DEFERRED = ("deferred_pause", "ctrl_c")
"""Those of them that wait for a checkpoint."""
ENDED = {
    "abort": "abort",
    "halt": "abort",
    "stop": "success",
    "error": "fail",
    "sigterm": "abort",
    "sigterm_host": "fail",
}
"""What ends a run, and the exit status it must have."""

PATIENCE = 30.0
"""Seconds after which what is waited for will never come, however busy the machine."""
BETWEEN_PRESSES = 0.15
"""Seconds; the RunEngine counts interrupts only if they are 0.1 s apart."""


class TooLateError(Exception):
    """There is no run any more that could be interrupted."""


class Rest(NamedTuple):
    """What was seen when the RunEngine was paused or suspended, in seconds of the clock.

    Args:
        kind: ``"pause"`` or ``"suspend"``.
        noted: when it was looked at.
        since: at rest since.
        moving: it was not.
    """

    kind: str
    noted: float
    since: float
    moving: bool


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


class Stage(ABC):
    """One session; `RE` may run any number of plans, in the main thread.

    Attributes:
        documents, messages, rests: of the last run.
        file: path of the last run's file, empty if it came to none.
        described: frames of the run under way that documents describe.
        terminated: SIGTERM took its effect: without the RunEngine's handler, or after it.
    """

    def __init__(self, host: Host, folder: Path) -> None:
        self.host = host
        self.RE = RunEngine(context_managers=[SigintHandler, SigtermHandler])
        self.RE.record_interruptions = False
        self.nano = Flyer(
            host, "nano", StaticPathProvider(UUIDFilenameProvider(), folder), name="nano"
        )
        self.switch = Switch()
        self.documents: Documents = []
        self.messages: list[Msg] = []
        self.rests: list[Rest] = []
        self.file = ""
        self.described = 0
        self.slowness = 0.0
        self.terminated = False
        self._gate = threading.Lock()
        self._running = False
        self._main = 0
        self._seen: Counter[str] = Counter()
        self._flaw: Exception | None = None
        self._landmarks: list[tuple[str, int, str]] = []
        self.on_RE(self.nano.connect())
        self.RE.subscribe(self._document)
        self.RE.msg_hook = self._message
        self.RE.install_suspender(SuspendBoolHigh(self.switch))

    def on_RE(self, coroutine: Coroutine[Any, Any, T]) -> T:  # noqa: N802 - everybody says RE
        """Run something on the RunEngine's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.RE.loop).result(PATIENCE)

    def close(self) -> None:
        """End host and RunEngine, whose loop and threads would stay for good."""
        self.on_RE(self.host.close())
        thread, loop = self.on_RE(_here()), self.RE.loop
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.close()

    @abstractmethod
    def look(self, kind: str) -> Rest:
        """See whether the hardware rests."""

    # --- listening -------------------------------------------------------------------------

    def _document(self, name: str, document: dict[str, Any]) -> None:
        self.documents.append((name, document))
        if name == "start":
            self.described = 0
        elif name == "stream_datum":
            self.described = document["indices"]["stop"]
        if self.slowness:
            time.sleep(self.slowness)

    def _message(self, msg: Msg) -> None:
        self.messages.append(msg)
        self.file = self.nano.file or self.file
        if msg.command == "wait_for":
            self.RE.loop.run_in_executor(None, self._while_suspended)
        self._seen[msg.command] += 1
        for landmark in tuple(self._landmarks):
            if landmark[:2] == (msg.command, self._seen[msg.command] - 1):
                self._landmarks.remove(landmark)
                self._aside(landmark[2])

    def _while_suspended(self) -> None:
        """The suspender has bitten: see whether the stage rests, and open the shutter again."""
        try:
            self.rests.append(self.look("suspend"))
        finally:
            self.switch.put(False)

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The documents of one kind."""
        return [document for name, document in self.documents if name == kind]

    # --- interfering -----------------------------------------------------------------------

    def at_message(self, command: str, kind: str, nth: int = 0) -> None:
        """Interfere while the RunEngine works on its `nth` message of this command."""
        self._landmarks.append((command, nth, kind))

    def _aside(self, kind: str) -> None:
        """From the RunEngine's loop, which must not wait for what interrupts it."""
        self.RE.loop.run_in_executor(None, getattr(self, kind))

    def pause(self) -> None:
        self.RE.request_pause()

    def deferred_pause(self) -> None:
        self.RE.request_pause(defer=True)

    def suspend(self) -> None:
        """Trip the suspender, as often as it takes.

        It fails where the RunEngine's loop does not take it within 0.1 s; the next reading of a
        real signal would trip it then.
        """
        for _ in range(round(PATIENCE / 0.1)):
            with self._while_running(), suppress(RuntimeError):
                self.switch.put(True)
                return
            self.switch.put(False)
        raise TimeoutError("the suspender could not be tripped")

    def abort(self) -> None:
        self.RE.abort("for a test")

    def stop(self) -> None:
        self.RE.stop()

    def halt(self) -> None:
        self.RE.halt()

    def error(self) -> None:
        self._flaw = RuntimeError("the user's plan has a flaw")

    def ctrl_c(self) -> None:
        with self._while_running():
            # A signal to the process may go to another thread, and then the RunEngine, like every
            # Python program that sleeps in its main thread, sees it only when that wakes up.
            signal.pthread_kill(self._main, signal.SIGINT)

    def ctrl_c_twice(self) -> None:
        self.ctrl_c()
        time.sleep(BETWEEN_PRESSES)
        self.ctrl_c()

    def sigterm(self) -> None:
        """The RunEngine's process is told to end."""
        with self._while_running():
            os.kill(os.getpid(), signal.SIGTERM)

    @contextmanager
    def _while_running(self) -> Iterator[None]:
        """What is sent after the end of a run would hit this process, or the next run."""
        with self._gate:
            if not self._running:
                raise TooLateError
            yield

    @abstractmethod
    def sigterm_host(self) -> None:
        """The host is told to end; it is of no use afterwards."""

    # --- running ---------------------------------------------------------------------------

    def flawed(self, plan: MsgGenerator[Any]) -> MsgGenerator[Any]:
        """The plan, with an exception raised inside it when :meth:`error` was called."""

        def check(msg: Msg) -> tuple[MsgGenerator[None] | None, None]:
            flaw, self._flaw = self._flaw, None
            return (None, None) if flaw is None else (_raising(flaw), None)

        return bpp.plan_mutator(plan, check)

    def run(
        self, plan: MsgGenerator[Any], paused: Callable[[], None] = lambda: None
    ) -> tuple[str, ...]:
        """Run a plan, resuming it whenever it pauses.

        Args:
            paused: called at every pause, before it ends; may end the run.
        """
        self.documents.clear()
        self.messages.clear()
        self.rests.clear()
        self.file = ""
        self.terminated = False
        self._flaw = None
        self._seen.clear()
        start: Callable[[], Any] = lambda: self.RE(self.flawed(plan))  # noqa: E731
        with self._surviving():
            while True:
                try:
                    return start()
                except RunEngineInterrupted:
                    if self.RE.state != "paused":
                        return ()
                    self.rests.append(self.look("pause"))
                    paused()
                    if self.RE.state != "paused":
                        return ()
                    start = self.RE.resume

    @contextmanager
    def _surviving(self) -> Iterator[None]:
        """Signals that the RunEngine does not take, or hands on, do not end this process."""

        def note(number: int, frame: object) -> None:
            self.terminated = self.terminated or number == signal.SIGTERM

        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, note) for number in numbers}
        self._main = threading.get_ident()
        self._running = True
        try:
            yield
        finally:
            with self._gate:
                self._running = False
            self.switch.put(False)
            for number, handler in before.items():
                signal.signal(number, handler)

    def forget(self) -> None:
        """What was to come in the last run and did not is not to come in the next."""
        self._landmarks.clear()
        self._flaw = None

    def settle(self) -> None:
        """The RunEngine does not wait for what unstage starts at a halt; this does."""

        async def unstaged() -> None:
            await self.nano.unstage()

        self.on_RE(unstaged())


async def _here() -> threading.Thread:
    """The thread of a loop."""
    return threading.current_thread()


def _raising(error: Exception) -> MsgGenerator[None]:
    raise error
    yield Msg("null")
