"""Once each with the flight in a process of its own and in real time."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import pytest
from bluesky import RunEngine
from bluesky import preprocessors as bpp
from bluesky.suspenders import SuspendBoolHigh
from bluesky.utils import Msg, MsgGenerator, RunEngineInterrupted
from ophyd_async.core import StaticPathProvider, UUIDFilenameProvider

from flyscan.devices import Flyer
from flyscan.errors import HostError
from flyscan.flight.host import ProcessHost
from flyscan.plans import fly_grid
from flyscan.storage import check_file
from tests.plans.rehearsal import Switch

POINTS = 80
FRAMES = 2 * POINTS
CONFIG = {
    "controllers": {"box": {"class": "flyscan.testing:MemoryBox"}},
    "flyers": {"nano": {"motion": "box.motion", "capture": "box.capture"}},
}


class Session:
    """A RunEngine and a flyer whose host is a process; what happened in its last run."""

    def __init__(self, folder: Path) -> None:
        self.RE = RunEngine()
        self.host = ProcessHost(CONFIG)
        provider = StaticPathProvider(UUIDFilenameProvider(), folder)
        self.nano = Flyer(self.host, "nano", provider)
        self.documents: list[tuple[str, dict[str, Any]]] = []
        self.switch = Switch()
        self.file = ""
        self.pauses = 0
        self.flaw: Exception | None = None
        self._act: Callable[[], None] | None = None
        self.await_(self.nano.connect())
        self.RE.subscribe(self._document)
        self.RE.install_suspender(SuspendBoolHigh(self.switch))

    def await_(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.RE.loop).result(30)

    def _document(self, name: str, document: dict[str, Any]) -> None:
        self.documents.append((name, document))
        self.file = self.nano.file or self.file
        if name == "stream_datum" and self._act is not None:
            act, self._act = self._act, None
            threading.Thread(target=act).start()

    def _flawed(self, msg: Msg) -> tuple[MsgGenerator[None] | None, None]:
        flaw, self.flaw = self.flaw, None
        return (None, None) if flaw is None else (_raising(flaw), None)

    def run(self, act: Callable[[], None] | None = None) -> None:
        """Fly; `act` in another thread once the first rows are described; resume after pauses."""
        self.documents.clear()
        self._act, self.pauses = act, 0
        plan = fly_grid(self.nano, "y", 1, 2, 2, "x", 0, 8, POINTS, period=0.01)
        start: Callable[[], Any] = lambda: self.RE(bpp.plan_mutator(plan, self._flawed))  # noqa: E731
        while True:
            try:
                start()
                return
            except RunEngineInterrupted:
                if self.RE.state != "paused":
                    return
                self.pauses += 1
                start = self.RE.resume

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [document for name, document in self.documents if name == kind]

    def check_complete(self) -> None:
        assert self.points() == list(range(FRAMES))
        assert check_file(self.file, self.documents).problems == ()
        assert self.of("stop")[0]["exit_status"] == "success"

    def check_partial(self, exit_status: str) -> None:
        """A file without gaps, closed, and documents that say no more than it has."""

        async def unstaged() -> None:
            await self.nano.unstage()

        self.await_(unstaged())
        points = self.points()
        assert 0 < len(points) < FRAMES
        assert points == list(range(len(points)))
        report = check_file(self.file, self.documents)
        assert report.clean
        assert report.intact, report
        assert self.of("stop")[0]["exit_status"] == exit_status
        assert self.await_(self.host.call("status")) == {}

    def points(self) -> list[int]:
        with h5py.File(self.file, "r") as file:
            return file["/entry/data/point"][()].tolist()


def _raising(error: Exception) -> MsgGenerator[None]:
    raise error
    yield Msg("null")


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """One host process for all: what one test leaves behind would spoil the next."""
    session = Session(tmp_path_factory.mktemp("data"))
    yield session
    session.await_(session.host.close())


def test_pause(session: Session) -> None:
    session.run(session.RE.request_pause)
    assert session.pauses == 1
    session.check_complete()


def test_suspender(session: Session) -> None:
    def close_shutter() -> None:
        session.switch.put(True)
        time.sleep(0.3)
        session.switch.put(False)

    session.run(close_shutter)
    session.check_complete()


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c(times: int, session: Session) -> None:
    def press() -> None:
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.15)  # presses closer than 0.1 s count as one

    session.run(press)
    assert session.pauses == 1
    session.check_complete()


@pytest.mark.parametrize(
    ("how", "exit_status"), [("abort", "abort"), ("stop", "success"), ("halt", "abort")]
)
def test_ended(how: str, exit_status: str, session: Session) -> None:
    session.run(getattr(session.RE, how))
    session.check_partial(exit_status)


def test_flaw_in_the_plan(session: Session) -> None:
    def fail() -> None:
        session.flaw = RuntimeError("the user's plan has a flaw")

    with pytest.raises(RuntimeError, match="the user's plan has a flaw"):
        session.run(fail)
    session.check_partial("fail")
    assert session.of("stop")[0]["reason"] == "the user's plan has a flaw"


def test_host_killed(tmp_path: Path) -> None:
    session = Session(tmp_path)
    pid = session.host.pid
    assert pid is not None
    try:
        with pytest.raises(HostError) as caught:
            session.run(lambda: os.kill(pid, signal.SIGKILL))
        assert str(caught.value).startswith(f"flight host: process {pid} ended unexpectedly (")
        assert caught.value.remedy
        assert session.of("stop")[0]["exit_status"] == "fail"
    finally:
        session.await_(session.host.close())
