"""From the results of the parts to the figures that are printed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ._cells import DELAYS, CellResult
from ._maps import MapResult
from ._step_scan import EXPOSURES_MS
from ._whole_maps import WholeMap

__all__ = [
    "cell_figures",
    "going_back_figures",
    "new_feature_figures",
    "prior_figures",
    "regridding_figures",
    "step_scan_summary",
    "whole_map_figures",
]

WORTHWHILE_RATIO = 0.65
CALIBRATED = 1.5
CLAIMED = 1.05


def cell_figures(cells: list[CellResult]) -> dict[str, Any]:
    """Errors relative to uniform over all cells and delays."""
    ratios = {f"{c.name}/{delay}": ratio for c in cells for delay, ratio in c.prior.items()}
    worst = max(ratios, key=lambda name: ratios[name])
    looks = {cell.name: cell.two_pass for cell in cells}
    dearest = max(looks, key=lambda name: looks[name])
    return {
        "null_error_ratio_max": max(r for c in cells if c.null for r in c.prior.values()),
        "cell_error_ratio_max": ratios[worst],
        "cell_error_ratio_max_at": worst,
        "two_pass_error_ratio_max": looks[dearest],
        "two_pass_error_ratio_max_at": dearest,
        **_recovered(cells),
        **_calibration(cells),
        "declared_uniform": {
            f"{c.name}/{delay}": round(share, 3)
            for c in cells
            for delay, share in c.declared.items()
            if share > 0
        },
        "latency_number": _latencies(cells),
        "cells": {cell.name: _row(cell) for cell in cells},
    }


def _recovered(cells: list[CellResult]) -> dict[str, Any]:
    """Share of the oracle's gain in ln error that the prior line gets, where there is one."""
    recovered = {
        f"{cell.name}/{delay}": float(np.log(ratio) / np.log(cell.oracle))
        for cell in cells
        if cell.oracle <= WORTHWHILE_RATIO
        for delay, ratio in cell.prior.items()
    }
    least = min(recovered, key=lambda name: recovered[name]) if recovered else None
    return {
        "log_error_recovered_min": None if least is None else recovered[least],
        "log_error_recovered_min_at": least,
        "cells_with_gain": len(recovered),
    }


def _calibration(cells: list[CellResult]) -> dict[str, Any]:
    """Predicted over achieved gain in time, where that is defined, and where one was claimed."""
    gains = [(cell.predicted, cell.achieved) for cell in cells if cell.achieved is not None]
    close = [abs(np.log(claim / had)) <= np.log(CALIBRATED) for claim, had in gains]
    claimed = [right for right, (claim, _) in zip(close, gains, strict=True) if claim > CLAIMED]
    return {
        "predicted_gain_calibrated": float(np.mean(close)) if close else None,
        "predicted_gain_cells": len(close),
        "predicted_gain_calibrated_where_claimed": float(np.mean(claimed)) if claimed else None,
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


def prior_figures(found: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Fractions of the oracle's gain, by signal."""
    return {
        "oracle_gain": {name: one["oracle_gain"] for name, one in found.items()},
        **{
            f"oracle_fraction_{key}": {name: one[key] for name, one in found.items()}
            for key in ("prior", "prior_shifted", "two_pass")
        },
    }


def going_back_figures(found: Mapping[tuple[str, float], tuple[float, float]]) -> dict[str, Any]:
    """Fractions of the oracle's gain, the least over loop delays, and the time they took."""
    fractions: dict[str, float] = {}
    for (name, _), (fraction, _) in found.items():
        fractions[name] = min(fraction, fractions.get(name, np.inf))
    return {
        "oracle_fraction_going_back": fractions,
        "going_back_time": {f"{name}/{d:g}": took for (name, d), (_, took) in found.items()},
    }


def new_feature_figures(found: Mapping[float, tuple[float, float]]) -> dict[str, Any]:
    """Where the prior knew nothing of a feature, by loop delay."""
    return {
        "new_feature_error_ratio": {f"{delay:g}": ratio for delay, (ratio, _) in found.items()},
        "new_feature_time_max": {f"{delay:g}": took for delay, (_, took) in found.items()},
    }


def step_scan_summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Against ``adaptive_scan``: every signal, and the least of them, for two of our policies."""
    figures: dict[str, Any] = {}
    for kind, key in (
        ("going_back", "vs_adaptive_scan"),
        ("two_pass", "vs_adaptive_scan_two_pass"),
    ):
        table = {name: value for one in found for name, value in one[kind].items()}
        figures[key] = table
        for exposure in EXPOSURES_MS:
            totals = [v["total"] for k, v in table.items() if f"/{exposure}ms/" in k]
            numbers = [total for total in totals if not isinstance(total, str)]
            ours = "not reached by us" in totals
            least = "not reached by us" if ours else min(numbers, default="not reached")
            figures[f"{key}_{exposure}ms_min"] = least
    apart = {name: value for one in found for name, value in one["directions"].items()}
    known = {name: value for name, value in apart.items() if value is not None}
    furthest = max(known, key=lambda name: known[name]) if known else None
    return figures | {
        "two_directions_differ": None if furthest is None else known[furthest],
        "two_directions_differ_at": furthest,
    }


def whole_map_figures(found: Mapping[str, WholeMap]) -> dict[str, Any]:
    """Maps with all of their lines scored."""
    worst = max(found, key=lambda name: found[name].ratio)
    return {
        "map_error_ratio": {name: round(one.ratio, 4) for name, one in found.items()},
        "map_error_ratio_max": found[worst].ratio,
        "map_error_ratio_max_at": worst,
        "map_time_max": max(one.longest for one in found.values()),
        "map_returns": {name: one.returns for name, one in found.items() if one.returns},
    }


def regridding_figures(found: list[MapResult]) -> dict[str, Any]:
    """Bias and errors per pixel, and the time lines took over the planned one."""
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
