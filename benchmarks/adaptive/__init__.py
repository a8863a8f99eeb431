"""What adaptive policies gain over uniform lines, offline, with common random numbers.

Everything is compared at equal total time: turnarounds, looks and ways back included. The same
reconstruction serves all. Settings of the policies are their defaults, frozen across signals
and seeds; they were chosen on the signals of the protocol with other seeds than the ones flown
here. ``held_out`` has the same figures for signals that were never looked at before.
``--quick`` flies few seeds, to see that it works; its figures mean little.

``beam`` is what loss of beam costs a steered flight, and what it must not cost.
``full-stack`` is what the policies do through RunEngine, flight host, sockets and simulated boxes,
and what they cost; its times want a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np

from ._beam import beam_figures
from ._cells import DELAYS, cell_result
from ._edge import PEAKS, edge_errors, edge_figures
from ._figures import (
    cell_figures,
    going_back_figures,
    new_feature_figures,
    prior_figures,
    regridding_figures,
    step_scan_summary,
    whole_map_figures,
)
from ._full_stack import full_stack_figures
from ._fuzz import fuzzed, fuzzed_figures
from ._lines import Cell
from ._maps import CASES, map_result
from ._noise_free import going_back, known_before, new_feature
from ._signals import HELD_OUT, SIGNALS, Signal
from ._step_scan import step_scan_figures
from ._whole_maps import whole_map

__all__ = ["main"]

COUNTS = (0.0, 1e2, 1e4, 1e6)
ROWS = (10, 3, 1)
WITH_FEATURES = {"S1", "S2", "S5", "pair", "bar", "comb", "blobs"}
MAP_COUNTS = (0.0, 1e2, 1e4)
BACK_DELAYS = (2.0, 10.0)
EDGE_SEEDS = 250
CHUNK = 25
PARTS = ("all", "offline", "beam", "full-stack")


@dataclass(frozen=True)
class Job:
    """One piece of work: a part of the benchmark called once."""

    part: Callable[..., Any]
    arguments: tuple[Any, ...]
    held_out: bool = False

    def run(self) -> Any:
        """Its result."""
        return self.part(*self.arguments)


def main(argv: list[str]) -> dict[str, Any]:
    parser = argparse.ArgumentParser(prog="benchmarks adaptive", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few seeds")
    parser.add_argument("--seeds", type=int, default=200, help="per cell")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--part", choices=PARTS, default="all", help="what to measure")
    options = parser.parse_args(argv)
    seeds = 4 if options.quick else options.seeds
    figures: dict[str, Any] = {}
    wanted = PARTS if options.part == "all" else (options.part,)
    if "offline" in wanted:
        figures |= _offline(seeds, 1 if options.quick else options.jobs, quick=options.quick)
    if "beam" in wanted:
        figures |= beam_figures(quick=options.quick)
    if "full-stack" in wanted:
        figures |= full_stack_figures(quick=options.quick)
    return figures


def _offline(seeds: int, processes: int, *, quick: bool) -> dict[str, Any]:
    jobs = _jobs(seeds, quick=quick)
    results = list(_run(jobs, processes))
    done = list(zip(jobs, results, strict=True))
    figures = _by_signal([one for one in done if not one[0].held_out])
    figures |= new_feature_figures(
        {job.arguments[0]: result for job, result in done if job.part is new_feature}
    )
    errors = [result for job, result in done if job.part is edge_errors]
    figures |= edge_figures(np.concatenate(errors))
    figures |= regridding_figures([result for job, result in done if job.part is map_result])
    figures |= fuzzed_figures([result for job, result in done if job.part is fuzzed])
    figures["held_out"] = _by_signal([one for one in done if one[0].held_out])
    return figures | {"seeds": seeds}


def _by_signal(done: list[tuple[Job, Any]]) -> dict[str, Any]:
    """The figures that exist for signals of the protocol and for others alike."""

    def of(part: Callable[..., Any]) -> list[tuple[tuple[Any, ...], Any]]:
        return [(job.arguments, result) for job, result in done if job.part is part]

    return (
        cell_figures([result for _, result in of(cell_result)])
        | prior_figures({arguments[0]: result for arguments, result in of(known_before)})
        | going_back_figures({arguments[:2]: result for arguments, result in of(going_back)})
        | step_scan_summary([result for _, result in of(step_scan_figures)])
        | whole_map_figures(
            {f"{name}/{rows}/{peak:g}": one for (name, rows, peak, _), one in of(whole_map)}
        )
    )


def _jobs(seeds: int, *, quick: bool) -> list[Job]:
    """Everything to do, about longest first."""
    both = [(SIGNALS, False), (HELD_OUT, True)]
    if quick:
        both = [
            ({"S1": SIGNALS["S1"], "flat": SIGNALS["flat"]}, False),
            ({"bar": HELD_OUT["bar"], "ramp": HELD_OUT["ramp"]}, True),
        ]
    edge = range(0, 4 if quick else EDGE_SEEDS, 2 if quick else CHUNK)
    cases = CASES[4:6] if quick else CASES
    jobs: list[Job] = []
    for signals, held_out in both:
        jobs += _of_features(signals, seeds, held_out)
    for signals, held_out in both:
        jobs += _of_cells(signals, seeds, held_out, quick=quick)
    jobs += [Job(map_result, (*case, 3 * seeds // 2)) for case in cases]
    jobs += [Job(new_feature, (float(delay), seeds // 4)) for delay in DELAYS]
    jobs += [Job(fuzzed, (2_000 if quick else 100_000, i)) for i in range(10)]
    jobs += [Job(edge_errors, (peak, range(i, i + edge.step))) for peak in PEAKS for i in edge]
    return jobs


def _of_features(signals: dict[str, Signal], seeds: int, held_out: bool) -> list[Job]:
    """What only signals with a few narrow features are flown for."""
    few = sorted(WITH_FEATURES & signals.keys(), key=lambda name: signals[name].width)
    jobs = [Job(step_scan_figures, (name, max(4, seeds // 7)), held_out) for name in few]
    for delay in BACK_DELAYS[-1:] if held_out else BACK_DELAYS:
        number = seeds if delay == max(BACK_DELAYS) else max(4, seeds // 4)
        jobs += [Job(going_back, (name, delay, number), held_out) for name in few]
    return jobs + [Job(known_before, (name, seeds), held_out) for name in few]


def _of_cells(signals: dict[str, Signal], seeds: int, held_out: bool, *, quick: bool) -> list[Job]:
    """The table of cells and the whole maps."""
    by_width = sorted(signals.values(), key=lambda one: one.width)
    cells = [
        Cell(signal, rows, peak)
        for signal in by_width
        for rows in ((3,) if quick else ROWS)
        for peak in ((0.0, 1e2) if quick else COUNTS)
    ]
    key = 300 if held_out else 200
    number = seeds // 2 if held_out else seeds
    jobs = [Job(cell_result, (one, number, key + i), held_out) for i, one in enumerate(cells)]
    return jobs + [
        Job(whole_map, (one.name, 3, peak, max(1, seeds // 60)), held_out)
        for one in by_width
        for peak in ((1e2,) if quick else MAP_COUNTS)
    ]


def _run(jobs: list[Job], processes: int) -> Iterable[Any]:
    if processes == 1:
        return [job.run() for job in jobs]
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    # An executor fails when a worker dies; a multiprocessing.Pool would wait for its job forever.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        pending = [pool.submit(job.part, *job.arguments) for job in jobs]
        return [one.result() for one in pending]
