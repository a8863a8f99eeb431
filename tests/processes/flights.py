"""Pilots: processes with a RunEngine, seen from outside."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.processes.hardware import Hardware, until

ROOT = Path(__file__).resolve().parents[2]
START_S = 40
"""For an interpreter, a host and its connections on a busy machine."""

Line = dict[str, Any]


class Pilot:
    """One process that flies a grid; see :mod:`tests.processes.pilot`.

    Args:
        hardware: what it flies.
        directory: where its file goes.
        points: per line; 20 ms each, so that a line takes seconds.
        step: between points, um; whole encoder counts for position compare, else a table.
        pause_at: pause when so many frames are in the file.
        leave: end without closing anything when paused.
        again: connect again after the run, when told to.
        lease: of the host, s.
    """

    def __init__(
        self,
        hardware: Hardware,
        directory: Path,
        *,
        points: int = 100,
        step: float = 0.4,
        pause_at: int | None = None,
        leave: bool = False,
        again: bool = False,
        lease: float = 30.0,
    ) -> None:
        self.points = 2 * points
        self.file = directory / "run.h5"
        self.said: list[Line] = []
        options = {
            "config": hardware.config(lease),
            "directory": str(directory),
            "axes": ["y", 30.0, 70.0, 2, "x", 30.0, 30.0 + step * (points - 1), points],
            "period": 0.02,
            "pause_at": pause_at,
            "leave": leave,
            "again": again,
        }
        self._log = (directory / "pilot.log").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.processes.pilot", json.dumps(options)],
            cwd=ROOT,
            env=os.environ | hardware.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        self._rest = b""

    def __enter__(self) -> Pilot:
        self.host: int = self.hears(lambda said: "host" in said, START_S)["host"]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self._log):
            assert stream is not None
            stream.close()

    def hears(self, wanted: Callable[[Line], object], within: float) -> Line:
        """The next line that is as wanted."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + within
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while True:
                while b"\n" in self._rest:
                    line, _, self._rest = self._rest.partition(b"\n")
                    self.said.append(json.loads(line))
                    if wanted(self.said[-1]):
                        return self.said[-1]
                left = deadline - time.monotonic()
                assert left > 0, f"not said within {within} s, but {self.said[-3:]}; {self.log}"
                if selector.select(left):
                    data = os.read(self.process.stdout.fileno(), 65536)
                    assert data, f"ended after {self.said[-3:]}; {self.log}"
                    self._rest += data

    @property
    def log(self) -> str:
        self._log.seek(0)
        return self._log.read()

    def reaches(self, state: str, within: float = 20) -> Line:
        return self.hears(lambda said: said.get("state") == state, within)

    def has_flushed(self, frames: int, within: float = 20) -> Line:
        return self.hears(
            lambda said: said.get("event") == "flushed" and said["frames"] >= frames, within
        )

    def outcome(self, within: float) -> Line:
        return self.hears(lambda said: "outcome" in said, within)

    @property
    def flushed(self) -> int:
        """Frames known to be in the file."""
        return max([said["frames"] for said in self.said if said.get("event") == "flushed"] + [0])

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ends(self, within: float) -> int:
        """Let it end as it should; returns its exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(within)

    def host_is_gone(self, within: float) -> float:
        return until(lambda: not running(self.host), within, "gone", lambda: f"host {self.host}")


def running(pid: int) -> bool:
    """Whether a process runs; one that has ended but was not waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
