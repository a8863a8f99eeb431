"""Whatever interrupts a map, at random moments of it: is a frame lost, does anything fly on?

Every run is one map on an in-memory box and a manual clock, from prepare to close, with a real
RunEngine, flyer, flight and file, interrupted once at a random moment of simulated time:

- ``pause``, ``deferred_pause``, ``suspend``, ``ctrl_c`` (once), ``ctrl_c_twice``: resumed. Every
  point must be there once, in file and documents, within one encoder count of where it is without
  interruption.
- ``abort``, ``halt``, ``stop``, ``error`` (an exception in the plan), ``sigterm`` (what the signal
  makes a host do): ended. Every frame the box captured must be in the file once, and described
  once; after ``halt``, which runs no clean-up, a part from the first on.

Hardware must be at rest within one block period plus deceleration, settings be as they were. A run
that is odd in another way, e.g. ends with the wrong status, counts in ``odd``; what is wrong with
a run is told on standard error with what repeats it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

from bluesky.utils import MsgGenerator

from flyscan.plans import _stubs, fly_grid

from ._rehearsal import Rehearsal
from ._verdict import ENDED, RESUMED, Undisturbed, Verdict, judge, places

__all__ = ["main"]

KINDS = (*RESUMED, *ENDED)
PERIOD = 0.01
OPTIONS = {"flush_period": 0.25, "preview_period": 0.1}
RUNS_PER_SESSION = 50
"""Trajectories grow with every run and RunEngines are never quite gone: a compromise."""


class Session:
    """A rehearsal for some runs of the same map."""

    def __init__(self, folder: Path, lines: int, points: int) -> None:
        self._stage = Rehearsal(folder, options=OPTIONS, block_period=0.1)
        self._shape = lines, points
        self._runs = 0

    @property
    def worn(self) -> bool:
        """Whether it is time for another one."""
        return self._runs >= RUNS_PER_SESSION

    def close(self) -> None:
        """End it."""
        self._stage.close()

    def _plan(self) -> MsgGenerator[str]:
        lines, points = self._shape
        return fly_grid(
            self._stage.nano, "y", 1, 2, lines, "x", 1, 1 + 0.1 * points, points, period=PERIOD
        )

    def undisturbed(self) -> Undisturbed:
        """Fly the map without interruption."""
        stage = self._stage
        stage.run(self._plan())
        _, where = places(stage)
        os.unlink(stage.file)
        return Undisturbed(stage.clock.now(), where)

    def interrupted(self, kind: str, after: float, normal: Undisturbed) -> Verdict | None:
        """Fly it with an interruption `after` seconds; None if it was over by then."""
        stage = self._stage
        self._runs = RUNS_PER_SESSION if kind == "sigterm" else self._runs + 1
        stage.pilot.forget()
        before = stage.box.capture.end_reason
        stage.at(stage.clock.now() + after, kind, stage.told)
        error = _run(stage, self._plan())
        struck = bool(stage.pilot.strikes)
        verdict = None
        if struck:
            stage.settle()
            reason = stage.box.capture.end_reason
            captured = 0 if reason is None or reason is before else reason.rows
            verdict = judge(stage, kind, captured, normal)
            if error is not None and kind not in ("error", "sigterm"):
                verdict.oddities.append(repr(error))
            self._runs = self._runs if verdict.good else RUNS_PER_SESSION
        if stage.file:
            os.unlink(stage.file)
        return verdict


def _run(stage: Rehearsal, plan: MsgGenerator[str]) -> Exception | None:
    """Run a plan; the error it ends with. What the RunEngine says meanwhile is of no interest."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            stage.run(plan)
    except Exception as error:
        return error
    return None


class Sessions:
    """As many sessions as it takes."""

    def __init__(self, folder: Path, lines: int, points: int) -> None:
        self._make = lambda: Session(folder, lines, points)
        self._session = self._make()
        self.normal = self._session.undisturbed()

    def run(self, kind: str, random: Random) -> tuple[float, Verdict]:
        """One interrupted run: seconds after which, and what became of it."""
        while True:
            if self._session.worn:
                self._session.close()
                self._session = self._make()
            after = random.uniform(0.0, self.normal.seconds)
            verdict = self._session.interrupted(kind, after, self.normal)
            if verdict is not None:
                return after, verdict

    def close(self) -> None:
        """End the last one."""
        self._session.close()


@contextlib.contextmanager
def _quick() -> Iterator[None]:
    """Plans look ten times as often: simulated flights last milliseconds.

    The RunEngine logs the trace-back of every run that ends early, as all of these do.
    """
    log = logging.getLogger("bluesky")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        with mock.patch.multiple(_stubs, TICK=0.001, COLLECT_PERIOD=0.002):
            yield
    finally:
        log.setLevel(level)


def main(argv: list[str]) -> dict[str, Any]:
    parser = argparse.ArgumentParser(
        prog="benchmarks interruptions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=int, default=1000, help="runs of every kind")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, metavar="KIND")
    parser.add_argument("--lines", type=int, default=10, help="lines of the map")
    parser.add_argument("--points", type=int, default=20, help="points of a line")
    parser.add_argument("--seed", type=int, default=0, help="fixes the moments")
    options = parser.parse_args(argv)
    per_kind: dict[str, dict[str, int]] = {}
    with tempfile.TemporaryDirectory() as folder, _quick():
        sessions = Sessions(Path(folder), options.lines, options.points)
        try:
            for kind in options.kinds:
                per_kind[kind] = _of_kind(sessions, kind, options.runs, options.seed)
        finally:
            sessions.close()
    total: Counter[str] = Counter()
    for counts in per_kind.values():
        total.update(counts)
    return {**total, "frames_per_map": sessions.normal.points, "per_kind": per_kind}


def _of_kind(sessions: Sessions, kind: str, runs: int, seed: int) -> dict[str, int]:
    random = Random(f"{seed} {kind}")
    counts = dict.fromkeys(("runs", "lost", "duplicated", "not_stopped", "not_restored", "odd"), 0)
    for _ in range(runs):
        after, verdict = sessions.run(kind, random)
        counts["runs"] += 1
        counts["lost"] += verdict.lost
        counts["duplicated"] += verdict.duplicated
        counts["not_stopped"] += not verdict.stopped
        counts["not_restored"] += not verdict.restored
        counts["odd"] += bool(verdict.oddities)
        if not verdict.good:
            print(f"{kind} after {after!r} s: {verdict}", file=sys.stderr, flush=True)
    return counts
