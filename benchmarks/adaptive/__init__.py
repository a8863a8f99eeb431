"""What adaptive policies gain over uniform lines, offline, with common random numbers.

Everything is compared at equal total time: turnarounds, looks and ways back included. The same
reconstruction serves all. Settings of the policies are their defaults, frozen across signals
and seeds. ``--quick`` flies few seeds, to see that it works; its figures mean little.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np

from ._cells import DELAYS, CellResult, cell_result
from ._edge import PEAKS, edge_errors, edge_figures
from ._lines import Cell
from ._maps import CASES, MapResult, map_result
from ._noise_free import going_back, known_before, new_feature
from ._signals import SIGNALS
from ._step_scan import step_scan_figures

__all__ = ["main"]

COUNTS = (0.0, 1e2, 1e4, 1e6)
ROWS = (10, 3, 1)
WITH_FEATURES = ("S1", "S2", "S5")
BACK_DELAYS = (2.0, 10.0)
WORTHWHILE_RATIO = 0.65
CHUNK = 25
OFFLINE = "S1/10/1e4"

Job = tuple[Callable[..., Any], tuple[Any, ...]]


def main(argv: list[str]) -> dict[str, Any]:
    parser = argparse.ArgumentParser(prog="benchmarks adaptive", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few seeds")
    parser.add_argument("--seeds", type=int, default=200, help="per cell")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    options = parser.parse_args(argv)
    seeds = 4 if options.quick else options.seeds
    jobs = _jobs(seeds, quick=options.quick)
    results = list(_run(jobs, 1 if options.quick else options.jobs))
    by = {
        function: [r for (f, _), r in zip(jobs, results, strict=True) if f is function]
        for function in {function for function, _ in jobs}
    }
    figures = _table(by[cell_result])
    figures |= _fractions(jobs, results)
    figures |= edge_figures(np.concatenate(by[edge_errors]))
    figures |= _steps(by[step_scan_figures])
    figures |= _regridded(by[map_result])
    return figures | {"seeds": seeds}


def _jobs(seeds: int, *, quick: bool) -> list[Job]:
    """Everything to do, longest first."""
    signals = ("S1", "flat") if quick else tuple(SIGNALS)
    features = ("S1",) if quick else WITH_FEATURES
    edge = range(0, 4 if quick else 400, 2 if quick else CHUNK)
    jobs: list[Job] = [
        (going_back, (name, delay, seeds if delay == max(BACK_DELAYS) else max(4, seeds // 4)))
        for name in reversed(features)
        for delay in BACK_DELAYS
    ]
    jobs += [(step_scan_figures, (name, max(2, seeds // 8))) for name in reversed(features)]
    cells = [
        Cell(SIGNALS[name], rows, peak)
        for name in sorted(signals, key=lambda name: SIGNALS[name].width)
        for rows in ((3,) if quick else ROWS)
        for peak in ((0.0, 1e2) if quick else COUNTS)
    ]
    jobs += [(cell_result, (cell, seeds, 100 + i)) for i, cell in enumerate(cells)]
    cases = CASES[4:6] if quick else CASES
    jobs += [(map_result, (*case, 3 * seeds // 2)) for case in cases]
    jobs += [(known_before, (name, seeds)) for name in features]
    jobs += [(new_feature, (delay, seeds // 2)) for delay in map(float, DELAYS)]
    jobs += [(edge_errors, (peak, range(i, i + edge.step))) for peak in PEAKS for i in edge]
    return jobs


def _run(jobs: list[Job], processes: int) -> Iterable[Any]:
    if processes == 1:
        return [function(*arguments) for function, arguments in jobs]
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    # An executor fails when a worker dies; a multiprocessing.Pool would wait for its job forever.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        pending = [pool.submit(function, *arguments) for function, arguments in jobs]
        return [one.result() for one in pending]


def _table(cells: list[CellResult]) -> dict[str, Any]:
    """Errors relative to uniform over all cells and delays."""
    ratios = {
        f"{cell.name}/{delay}": ratio for cell in cells for delay, ratio in cell.prior.items()
    }
    worst = max(ratios, key=lambda name: ratios[name])
    nulls = [ratio for cell in cells if cell.null for ratio in cell.prior.values()]
    recovered = {
        f"{cell.name}/{delay}": float(np.log(ratio) / np.log(cell.oracle))
        for cell in cells
        if cell.oracle <= WORTHWHILE_RATIO
        for delay, ratio in cell.prior.items()
    }
    least = min(recovered, key=lambda name: recovered[name]) if recovered else None
    gains = [(cell.predicted, cell.achieved) for cell in cells if cell.achieved is not None]
    close = [abs(np.log(predicted / achieved)) <= np.log(1.5) for predicted, achieved in gains]
    claimed = [
        right for right, (predicted, _) in zip(close, gains, strict=True) if predicted > 1.05
    ]
    declared = {
        f"{cell.name}/{delay}": round(share, 3)
        for cell in cells
        for delay, share in cell.declared.items()
        if share > 0
    }
    looks = {cell.name: cell.two_pass for cell in cells}
    dearest = max(looks, key=lambda name: looks[name])
    offline = [cell.achieved for cell in cells if cell.name == OFFLINE]
    return {
        "null_error_ratio_max": max(nulls),
        "cell_error_ratio_max": ratios[worst],
        "cell_error_ratio_max_at": worst,
        "two_pass_error_ratio_max": looks[dearest],
        "two_pass_error_ratio_max_at": dearest,
        "log_error_recovered_min": None if least is None else recovered[least],
        "log_error_recovered_min_at": least,
        "cells_with_gain": len(recovered),
        "predicted_gain_calibrated": float(np.mean(close)) if close else None,
        "predicted_gain_cells": len(close),
        "predicted_gain_calibrated_where_claimed": float(np.mean(claimed)) if claimed else None,
        "declared_uniform": declared,
        "offline_gain": offline[0] if offline else None,
        "latency_number": _latencies(cells),
        "cells": {cell.name: _row(cell) for cell in cells},
    }


def _row(cell: CellResult) -> dict[str, Any]:
    """One line of the table, short."""
    return {
        "oracle": round(cell.oracle, 4),
        "prior": {str(delay): round(ratio, 4) for delay, ratio in cell.prior.items()},
        "two_pass": round(cell.two_pass, 4),
        "predicted_gain": round(cell.predicted, 2),
        "achieved_gain": None if cell.achieved is None else round(cell.achieved, 2),
    }


def _latencies(cells: list[CellResult]) -> dict[str, float]:
    """L = v (tau + T_b) / w of rows per width and delay, at uniform speed."""
    rows = sorted({int(cell.name.split("/")[1]) for cell in cells})
    return {f"{n}/{delay}": round(delay / n, 3) for n in rows for delay in DELAYS}


def _fractions(jobs: list[Job], results: list[Any]) -> dict[str, Any]:
    figures: dict[str, Any] = {
        key: {}
        for key in (
            "oracle_gain", "oracle_fraction_prior", "oracle_fraction_prior_shifted",
            "oracle_fraction_two_pass", "oracle_fraction_going_back", "going_back_time",
            "new_feature_error_ratio", "new_feature_time_max",
        )
    }  # fmt: skip
    for (function, arguments), result in zip(jobs, results, strict=True):
        if function is known_before:
            name = arguments[0]
            figures["oracle_gain"][name] = result["oracle_gain"]
            for key in ("prior", "prior_shifted", "two_pass"):
                figures[f"oracle_fraction_{key}"][name] = result[key]
        elif function is going_back:
            name = arguments[0]
            lowest = figures["oracle_fraction_going_back"].get(name, np.inf)
            figures["oracle_fraction_going_back"][name] = min(lowest, result[0])
            figures["going_back_time"][f"{name}/{arguments[1]:g}"] = result[1]
        elif function is new_feature:
            figures["new_feature_error_ratio"][f"{arguments[0]:g}"] = result[0]
            figures["new_feature_time_max"][f"{arguments[0]:g}"] = result[1]
    return figures


def _steps(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Against ``adaptive_scan``: every signal, and the least of them, for two of our policies."""
    figures: dict[str, Any] = {}
    for kind, key in (
        ("going_back", "vs_adaptive_scan"),
        ("two_pass", "vs_adaptive_scan_two_pass"),
    ):
        table = {name: value for one in found for name, value in one[kind].items()}
        figures[key] = table
        for exposure in ("1ms", "10ms", "100ms"):
            totals = [v["total"] for k, v in table.items() if f"/{exposure}/" in k]
            numbers = [total for total in totals if not isinstance(total, str)]
            ours = "not reached by us" in totals
            least = "not reached by us" if ours else min(numbers, default="not reached")
            figures[f"{key}_{exposure}_min"] = least
    return figures | {"two_directions_differ": max(one["directions"] for one in found)}


def _regridded(found: list[MapResult]) -> dict[str, Any]:
    biased = max(found, key=lambda one: one.bias)
    return {
        "bias_sigma_max": biased.bias,
        "bias_sigma_max_at": biased.name,
        "chi2_reduced": {one.name: round(one.chi2, 4) for one in found},
        "chi2_reduced_min": min(one.chi2 for one in found),
        "chi2_reduced_max": max(one.chi2 for one in found),
        "time_over_budget_max": max(one.time for one in found),
        "time_over_budget_longest": max(one.longest for one in found),
    }
