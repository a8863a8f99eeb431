"""Benchmarks on the simulated nanoprobe run; no time is judged on a busy machine."""

from __future__ import annotations

import math

from benchmarks import deadtime, pause


def test_dead_time_of_a_few_lines():
    figures = deadtime.main(["--lines", "2"])
    assert {"ratio_to_physical", "peer_ratio_to_physical", "reconfiguration_ms"} <= figures.keys()
    assert all(math.isfinite(value) and value > 0 for value in figures.values())
    # 640 um/s at 5e4 um/s^2: 12.8 ms down and up, 6.4 um back in 22.6 ms, and 10 ms of settling
    assert math.isclose(figures["physical_ms"], 2 * 12.8 + 22.627 + 10, rel_tol=1e-3)
    assert math.isclose(figures["peer_physical_ms"], 2 * 12.8 + 7.155, rel_tol=1e-3)


def test_some_pauses_within_lines():
    figures = pause.main(["--pauses", "2"])
    assert 1 <= figures["within_lines"] <= figures["pauses"] <= 2
    assert figures["pause_ratio"] > 0
    assert figures["resume_ratio"] > 0
