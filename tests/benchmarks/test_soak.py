"""The soak flies, pauses and counts; what it would count as lost, it counts."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from types import SimpleNamespace
from typing import Any

from benchmarks import soak


def test_a_few_maps():
    figures = soak.main(["--minutes", "0", "--lines", "2", "--points", "11"])
    growth = {key: figures.pop(key) for key in list(figures) if key.endswith(("_growth", "_mb"))}
    assert figures == {"maps": 4, "pauses": 0, "faults": 0, "failed": 0, "lost": 0}
    assert growth.keys() == {"rss_growth_mb", "descriptors_growth", "tasks_growth"}
    assert growth["descriptors_growth"] == growth["tasks_growth"] == 0


def test_a_map_that_fails_before_its_file_is_lost():
    def refuse(plan: Any) -> None:
        next(iter(plan))
        raise RuntimeError("no")

    session: Any = SimpleNamespace(RE=refuse, nano=None, files=[])
    refuse.subscribe = refuse.request_pause = lambda *_: None
    found = soak.Soak(session, Random(0), 2, 11)
    found.fly()
    assert (found.maps, found.failed, found.lost) == (1, 1, 22)


def test_faults_leave_time_to_recover():
    faults = list(soak._script(600.0, Random(1)))
    times = [fault["at"] for fault in faults]
    assert len(faults) > 20
    assert all(b - a >= soak.EVERY[0] for a, b in pairwise(times))
    assert max(fault["for"] for fault in faults) <= soak.LONGEST
