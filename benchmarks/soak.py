"""Map after map with random pauses and faults: is anything lost, does anything grow?

The simulated nanoprobe over its real protocols, host and RunEngine in processes of their own. The
simulators cut the PandA's data and control ports and the stage's connection for up to 2 s, and
answer slowly, at random moments; the RunEngine is paused and resumed at others. All of it is to
be recovered from, so every point of every map must be there once, and described.

Memory, descriptors and tasks of RunEngine's and host's processes are compared at rest, after the
first maps and after the last; the host's tasks are a column of the data. As on any machine with
Channel Access clients, a repeater of their beacons runs: where none does, libca makes one of the
first client's process, which then has one more descriptor for every other client on the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import socketserver
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path as FilePath
from random import Random
from typing import Any

import numpy as np
from bluesky.utils import RunEngineInterrupted, TransitionError

from flyscan.plans import fly_grid
from flyscan.storage import check_file

from ._gauge import descriptors, resident_mb
from ._session import Session, session

__all__ = ["main"]

HERE = FilePath(__file__).parent.parent
PERIOD = 1e-3
LOW, STEP = 30.0, 0.4
WARM_UP = 3
"""Maps after which everything has been used once."""
CONFIRMED = struct.pack(">HHHHII", 17, 0, 0, 0, 0, 0x7F000001)
"""What a Channel Access repeater answers to a client on this machine that registers."""

FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "close_data"},
    {"kind": "close_control"},
    {"kind": "close_gcs"},
    {"kind": "slow_replies", "box": "panda", "delay": 0.02},
    {"kind": "slow_replies", "box": "gcs", "delay": 0.02},
)
LONGEST = 2.0
EVERY = (8.0, 20.0)
"""Seconds from one fault to the next, so that each has been recovered from by then."""
PAUSE_AFTER = (0.3, 6.0)
"""Seconds of flying after which a pause is asked for; many a map has none."""


@dataclass(frozen=True)
class Held:
    """What both processes together hold at rest."""

    rss_mb: float
    descriptors: Counter[str]
    tasks: int


def _script(seconds: float, random: Random) -> Iterator[dict[str, Any]]:
    """A fault script for that long."""
    at = random.uniform(*EVERY)
    while at < seconds:
        yield {**random.choice(FAULTS), "at": at, "for": random.uniform(0.0, LONGEST)}
        at += random.uniform(*EVERY)


def _with_gauge(config: dict[str, Any]) -> None:
    config["controllers"]["tasks"] = {"class": "benchmarks._gauge:TaskGauge"}
    config["flyers"]["nano"]["monitors"].append("tasks")


class Soak:
    """Maps in one session.

    Args:
        lines, points: size of a map.
    """

    def __init__(self, flown: Session, random: Random, lines: int, points: int) -> None:
        self._flown = flown
        self._random = random
        self._shape = lines, points
        self._described = 0
        self._host_tasks = 0
        self.maps = self.pauses = self.failed = self.lost = 0
        flown.RE.subscribe(self._note)

    def _note(self, name: str, document: dict[str, Any]) -> None:
        if name == "start":
            self._described = 0
        elif name == "stream_datum":
            self._described = document["indices"]["stop"]

    def fly(self) -> None:
        """One map, counted."""
        lines, points = self._shape
        x, y = (LOW + STEP * (number - 1) for number in (points, lines))
        plan = fly_grid(self._flown.nano, "y", LOW, y, lines, "x", LOW, x, points, period=PERIOD)
        files = len(self._flown.files)
        try:
            self._run(plan)
        except Exception as error:
            self.failed += 1
            print(f"map {self.maps}: {error!r}", file=sys.stderr, flush=True)
        self.maps += 1
        self.lost += lines * points - (self._kept() if len(self._flown.files) > files else 0)

    def _run(self, plan: Any) -> None:
        start: Any = lambda: self._flown.RE(plan)  # noqa: E731
        while True:
            timer = threading.Timer(self._random.uniform(*PAUSE_AFTER), self._pause)
            timer.start()
            try:
                start()
                return
            except RunEngineInterrupted:
                self.pauses += 1
                start = self._flown.RE.resume
            finally:
                timer.cancel()
                timer.join()

    def _pause(self) -> None:
        with contextlib.suppress(TransitionError):  # the map was over at this very moment
            self._flown.RE.request_pause()

    def _kept(self) -> int:
        """Points of the last map that are kept once and described; its file is not needed more."""
        report = check_file(self._flown.files[-1])
        self._host_tasks = int(np.min(self._flown.columns("tasks")["tasks"], initial=0))
        os.unlink(self._flown.files[-1])
        undescribed = max(0, report.frames - self._described)
        return sum(flight.kept for flight in report.flights) - undescribed

    def held(self) -> Held:
        """What is held now, at rest."""
        gc.collect()
        processes = (os.getpid(), self._flown.host.pid or 0)
        return Held(
            sum(map(resident_mb, processes)),
            sum(map(descriptors, processes), Counter()),
            self._host_tasks + self._own_tasks(),
        )

    def _own_tasks(self) -> int:
        async def count() -> int:
            return len(asyncio.all_tasks())

        return asyncio.run_coroutine_threadsafe(count(), self._flown.RE.loop).result()


class _Registry(socketserver.BaseRequestHandler):
    """Confirms that a Channel Access client has registered."""

    def handle(self) -> None:
        _, server = self.request
        server.sendto(CONFIRMED, self.client_address)


@contextlib.contextmanager
def _repeater() -> Iterator[None]:
    """A repeater of Channel Access' beacons, of which there are none; nobody else knows its port.

    Not caproto's: it does not confirm registrations of libca, which says so after 50 of them.
    """
    with socketserver.UDPServer(("127.0.0.1", 0), _Registry) as server:
        os.environ["EPICS_CA_REPEATER_PORT"] = str(server.server_address[1])
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield
        finally:
            server.shutdown()
            serving.join()


def main(argv: list[str]) -> dict[str, Any]:
    parser = argparse.ArgumentParser(
        prog="benchmarks soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--lines", type=int, default=21)
    parser.add_argument("--points", type=int, default=101)
    parser.add_argument("--seed", type=int, default=0, help="fixes faults and pauses")
    options = parser.parse_args(argv)
    # The host imports the gauge from where this package is.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    random = Random(options.seed)
    seconds = 60 * options.minutes
    faults = list(_script(seconds, random))
    with _repeater(), session("--fault", json.dumps(faults), adapt=_with_gauge) as flown:
        soak = Soak(flown, random, options.lines, options.points)
        end = time.monotonic() + seconds
        while soak.maps < WARM_UP:
            soak.fly()
        before, warm = soak.held(), soak.maps
        while time.monotonic() < end or soak.maps == warm:
            soak.fly()
        after = soak.held()
    more = after.descriptors - before.descriptors
    if more:
        print(f"more than before: {dict(more)}", file=sys.stderr, flush=True)
    return {
        "maps": soak.maps,
        "pauses": soak.pauses,
        "faults": len(faults),
        "failed": soak.failed,
        "lost": soak.lost,
        "rss_growth_mb": after.rss_mb - before.rss_mb,
        "descriptors_growth": after.descriptors.total() - before.descriptors.total(),
        "tasks_growth": after.tasks - before.tasks,
    }
