"""Whatever interrupts a map, at random moments of it: is a frame lost, does anything fly on?

Every run is a map, two flights in one run, or a map in a run within another, from stage to unstage,
with a real RunEngine, flyer, flight and file. Without ``--sockets`` it flies an in-memory box on a
manual clock; with it the simulated nanoprobe over its real protocols, with a host in a process of
its own, in real time. Something happens at a random moment of it:

- ``pause``, ``deferred_pause``, ``suspend``, ``ctrl_c`` (once), ``ctrl_c_twice``: resumed. Every
  point must be there once, in file and documents, within one encoder count of where it is without
  interruption.
- ``abort``, ``halt``, ``stop``, ``error`` (an exception in the plan), ``sigterm`` (the RunEngine's
  process, with our handler), ``sigterm_host`` (the host): ended. Every frame the box captured must
  be in the file once, and described once; after ``halt``, which runs no clean-up, a part from the
  first on, and ``flyscan check`` says what is missing. With ``--sockets`` also ``sigterm_bare``:
  the RunEngine's process without a handler, so that it ends there and then.

Most moments are moments of time, the others messages of the plan; some runs have been paused
before, are paused when they are ended, have a slow subscriber, or record interruptions. Hardware
must be at rest within one block period plus deceleration, settings be as they were, and numbers
of frames and events without gap. What is wrong with a run is told on standard error, with what
repeats it; a run that is odd in another way, e.g. ends with the wrong status, fails the benchmark.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

from ._crew import scatter
from ._maps import KINDS, rehearsals
from ._records import Verdict
from ._scenes import Grid
from ._wired import WIRED_KINDS, wired

__all__ = ["main"]

TELL_EVERY = 60.0
"""Seconds."""

FIGURES = ("runs", "lost", "duplicated", "not_stopped", "not_restored")


class OddRunsError(RuntimeError):
    """Runs went wrong in a way that no figure tells."""

    def __init__(self, runs: list[str], figures: dict[str, Any]) -> None:
        super().__init__(f"{len(runs)} odd runs, see above: {runs}; {figures}")
        self.figures = figures


class Run(NamedTuple):
    """One of them."""

    kind: str
    number: int
    seed: int

    def __str__(self) -> str:
        return f"--kinds {self.kind} --first {self.number} --runs 1 --seed {self.seed}"


Done = tuple[Run, tuple[str, Verdict]]


def main(argv: list[str]) -> dict[str, Any]:
    options = _parser().parse_args(argv)
    kinds = options.kinds or (WIRED_KINDS if options.sockets else KINDS)
    if options.sockets:
        runs, jobs = options.runs or 30, 1 if options.jobs is None else options.jobs
        setup: Any = partial(wired, Grid(options.lines or 4, options.points or 20, 0.005))
    else:
        per_cpu = 2 * (os.cpu_count() or 1)
        runs, jobs = options.runs or 1000, per_cpu if options.jobs is None else options.jobs
        setup = partial(rehearsals, Grid(options.lines or 10, options.points or 20, 0.01))
    numbers = range(options.first, options.first + runs)
    wanted = [Run(kind, number, options.seed) for number in numbers for kind in kinds]
    return _count(_told(scatter(setup, wanted, jobs), len(wanted)), kinds)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks interruptions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--sockets", action="store_true", help="the simulated nanoprobe")
    parser.add_argument("--runs", type=int, help="runs of every kind: 1000, or 30 over sockets")
    parser.add_argument("--kinds", nargs="+", choices=WIRED_KINDS, metavar="KIND")
    parser.add_argument("--lines", type=int, help="lines of the map")
    parser.add_argument("--points", type=int, help="points of a line")
    parser.add_argument("--seed", type=int, default=0, help="fixes the moments")
    parser.add_argument("--first", type=int, default=0, help="number of the first run of a kind")
    parser.add_argument(
        "--jobs", type=int, help="processes: 2 per processor, 1 over sockets; 0: none but this one"
    )
    return parser


def _told(done: Iterable[Done], wanted: int) -> Iterator[Done]:
    """Say now and then on standard error how far it has come: it takes a while."""
    last = time.monotonic()
    for number, result in enumerate(done, 1):
        yield result
        if time.monotonic() > last + TELL_EVERY:
            last = time.monotonic()
            print(f"{number} of {wanted} runs", file=sys.stderr, flush=True)


def _count(done: Iterable[Done], kinds: Iterable[str]) -> dict[str, Any]:
    """Figures of all runs and of every kind.

    Raises:
        OddRunsError: runs were odd.
    """
    per_kind = {kind: dict.fromkeys(FIGURES, 0) for kind in kinds}
    odd: list[str] = []
    for run, (scene, verdict) in done:
        counts = per_kind[run.kind]
        counts["runs"] += 1
        counts["lost"] += verdict.lost
        counts["duplicated"] += verdict.duplicated
        counts["not_stopped"] += not verdict.stopped
        counts["not_restored"] += not verdict.restored
        if not verdict.good:
            print(f"{run}: {scene}: {verdict}", file=sys.stderr, flush=True)
        odd += [str(run)] if verdict.oddities else []
    total: Counter[str] = Counter()
    for counts in per_kind.values():
        total.update(counts)
    figures = {**{figure: total[figure] for figure in FIGURES}, "per_kind": per_kind}
    if odd:
        raise OddRunsError(odd, figures)
    return figures
