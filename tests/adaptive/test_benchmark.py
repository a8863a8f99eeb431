"""The benchmark runs and prints every figure."""

from __future__ import annotations

import json

from benchmarks.adaptive import main

KEYS = {
    "null_error_ratio_max",
    "cell_error_ratio_max",
    "cell_error_ratio_max_at",
    "declared_uniform",
    "log_error_recovered_min",
    "time_over_budget_max",
    "oracle_fraction_prior",
    "oracle_fraction_prior_shifted",
    "oracle_fraction_two_pass",
    "oracle_fraction_going_back",
    "new_feature_error_ratio",
    "knife_edge_gain",
    "knife_edge_gain_vs_zoom",
    "knife_edge_coverage",
    "vs_adaptive_scan",
    "predicted_gain_calibrated",
    "bias_sigma_max",
    "chi2_reduced",
    "offline_gain",
}


def test_quick_run_gives_every_figure_as_json() -> None:
    figures = main(["--quick"])
    assert figures.keys() >= KEYS
    again = json.loads(json.dumps(figures))
    assert again["oracle_fraction_prior"]["S1"] > 0.7
    assert again["oracle_fraction_going_back"]["S1"] > 0.4
    assert again["null_error_ratio_max"] < 1.1
    assert again["cells"]["S1/3/none"]["prior"]["10"] < 0.05
    reverse = again["vs_adaptive_scan"]["S1/10ms/reverse"]
    assert reverse["total"] == "not reached"
    assert isinstance(again["vs_adaptive_scan"]["S1/10ms/forward"]["total"], float)
    assert again["two_directions_differ"] < 0.05
