"""The benchmark runs and prints every figure; its yardsticks are right."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.adaptive import main
from benchmarks.adaptive._fuzz import fuzzed
from benchmarks.adaptive._signals import SIGNALS
from benchmarks.adaptive._step_scan import crossing, peer_scan
from benchmarks.adaptive._whole_maps import whole_map
from flyscan.adaptive import GuardRail, Ruling

SHARED = {
    "null_error_ratio_max",
    "cell_error_ratio_max",
    "cell_error_ratio_max_at",
    "declared_uniform",
    "log_error_recovered_min",
    "oracle_fraction_prior",
    "oracle_fraction_prior_shifted",
    "oracle_fraction_two_pass",
    "oracle_fraction_going_back",
    "vs_adaptive_scan",
    "two_directions_differ",
    "predicted_gain_calibrated",
    "map_error_ratio",
}
KEYS = SHARED | {
    "time_over_budget_max",
    "new_feature_error_ratio",
    "knife_edge_gain",
    "knife_edge_gain_vs_zoom",
    "knife_edge_coverage",
    "bias_sigma_max",
    "chi2_reduced",
    "fuzzed_decisions_outside_limits",
    "held_out",
}


def test_quick_run_gives_every_figure_as_json() -> None:
    figures = main(["--quick", "--part", "offline"])
    assert figures.keys() >= KEYS
    assert figures["held_out"].keys() >= SHARED
    again = json.loads(json.dumps(figures))
    assert again["oracle_fraction_prior"]["S1"] > 0.7
    assert again["oracle_fraction_going_back"]["S1"] > 0.5
    assert again["null_error_ratio_max"] < 1.1
    assert again["cells"]["S1/3/none"]["prior"]["10"] < 0.05
    assert again["held_out"]["cells"]["bar/3/none"]["prior"]["10"] < 0.1
    assert again["map_error_ratio"]["S1/3/100"] < 0.9
    reverse = again["vs_adaptive_scan"]["S1/10ms/reverse"]
    assert reverse["total"] == "not reached"
    forward = again["vs_adaptive_scan"]["S1/10ms/forward"]
    assert forward["total"] == pytest.approx(3 * forward["policy"], rel=0.01)
    assert again["two_directions_differ"] < 0.05
    assert again["fuzzed_decisions_outside_limits"] == 0


def test_a_crossing_is_interpolated_and_the_best_is_kept() -> None:
    levels = [(100.0, 1e-2), (200.0, 2.5e-3), (400.0, 1e-4)]
    assert crossing(levels, 1e-2) == 100
    assert crossing(levels, 5e-3) == pytest.approx(100 * np.sqrt(2))
    assert crossing(levels, 1e-5) is None
    assert crossing(levels, 1e-3, best=150.0) == 150
    assert crossing(levels, 5e-3, best=150.0) == pytest.approx(100 * np.sqrt(2))


def test_the_peer_steps_past_the_feature_backwards() -> None:
    signal, at = SIGNALS["S1"], np.array([0.5])
    found = {}
    for reverse in (False, True):
        points = peer_scan(signal, 0.5, 0.001, 0.01, reverse=reverse)
        assert points is not None
        where, what = points
        assert np.all(np.diff(where) >= 0)
        assert what == pytest.approx(signal.value(where, at)[0])
        found[reverse] = int(np.sum(np.abs(where - 0.5) < 0.03))
    assert found[False] > 5 * found[True]


def test_a_peer_that_takes_too_many_points_is_given_up() -> None:
    assert peer_scan(SIGNALS["S1"], 0.5, 1e-6, 1e-9, reverse=False) is None


def test_a_map_of_nothing_is_flown_as_a_uniform_one() -> None:
    found = whole_map("flat", 3, 0.0, 1)
    assert found.time == pytest.approx(1.0, abs=1e-9)
    assert found.returns == 0


def test_the_fuzz_would_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fuzzed(2_000, 1)[2] == 0
    monkeypatch.setattr(GuardRail, "check", lambda self, proposal, *rest: Ruling(proposal))
    assert fuzzed(2_000, 1)[2] > 500
