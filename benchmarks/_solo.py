"""A process that flies one map and does nothing about signals: SIGTERM ends it there and then.

``python -m benchmarks._solo OPTIONS``, in JSON, prints one line of JSON for the host, one when
the plan is about to start and one for every document.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bluesky import RunEngine
from event_model import NumpyEncoder
from ophyd_async.core import StaticFilenameProvider, StaticPathProvider, init_devices

from flyscan.devices import Flyer
from flyscan.flight.host import ProcessHost

from ._scenes import PLANS, Grid
from ._stage import PATIENCE, Documents

__all__ = ["Flown", "fly_alone"]

ROOT = Path(__file__).parent.parent


@dataclass
class Flown:
    """What is left of such a process.

    Args:
        host: process id of its host.
        file: its file, empty if it came to none.
        documents: those it told of.
    """

    host: int
    file: str
    documents: Documents = field(default_factory=Documents)

    def await_host(self) -> None:
        """Wait until the host has left, as it does on its own.

        Raises:
            TimeoutError: it did not.
        """
        deadline = time.monotonic() + PATIENCE
        while _runs(self.host):
            if time.monotonic() > deadline:
                raise TimeoutError(f"host {self.host} does not leave")
            time.sleep(0.01)


def _runs(pid: int) -> bool:
    """Whether a process runs; one that has ended but was not waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def fly_alone(config: Mapping[str, Any], folder: Path, grid: Grid, seconds: float) -> Flown:
    """Fly in a process of its own, which gets SIGTERM so many seconds after the plan's start.

    Raises:
        RuntimeError: it ended before.
    """
    options = {"config": config, "folder": str(folder), "grid": asdict(grid)}
    command = [sys.executable, "-m", "benchmarks._solo", json.dumps(options)]
    file = folder / "solo.h5"
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        timer = threading.Timer(seconds, process.send_signal, (signal.SIGTERM,))
        if process.stdout is None:
            raise RuntimeError("it has no output")
        first = process.stdout.readline()
        if not first:
            raise RuntimeError("it ended before it could fly")
        flown = Flown(json.loads(first)["host"], "")
        timer.start()
        try:
            for line in process.stdout:
                if line.endswith("\n"):  # the last one may be cut
                    flown.documents.append(tuple(json.loads(line)))
            process.wait(PATIENCE)
        finally:
            timer.cancel()
            process.kill()
    flown.file = str(file) if file.exists() else ""
    return flown


def main() -> None:
    """Fly; runs until it is ended or the map is."""
    options = json.loads(sys.argv[1])
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the RunEngine talks to its user
    RE = RunEngine()  # noqa: N806 - everybody calls it RE
    host = ProcessHost(options["config"])
    provider = StaticPathProvider(StaticFilenameProvider("solo"), options["folder"])
    with init_devices():
        nano = Flyer(host, "nano", provider)

    def say(what: Any) -> None:
        output.write(json.dumps(what, cls=NumpyEncoder) + "\n")
        output.flush()

    RE.subscribe(lambda name, document: say([name, document]))
    say({"host": host.pid})
    RE(PLANS["map"](nano, Grid(**options["grid"]), "position"))


if __name__ == "__main__":
    main()
