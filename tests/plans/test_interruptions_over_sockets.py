"""Maps on the simulated nanoprobe, interrupted at random moments: host, boxes, sockets are real.

By default one moment for every kind of interruption; with ``FLYSCAN_EVERY_FRAME=1`` in the
environment thirty, as in ``python -m benchmarks interruptions --sockets``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from benchmarks._maps import Job
from benchmarks._records import Verdict
from benchmarks._scenes import Grid
from benchmarks._wired import WIRED_KINDS, wired
from benchmarks.interruptions import Run

RUNS = 30 if os.environ.get("FLYSCAN_EVERY_FRAME") else 1
SEED = 1

Play = Callable[[Job], tuple[str, Verdict]]


@pytest.fixture(scope="module")
def play() -> Iterator[Play]:
    """One simulated nanoprobe for all; a host too, as long as it lives."""
    with wired(Grid(4, 20, 0.005)) as play:
        yield play


@pytest.mark.timeout(120 * RUNS)
@pytest.mark.parametrize("kind", WIRED_KINDS)
def test_interrupted_at_random_moments(kind: str, play: Play) -> None:
    for number in range(RUNS):
        scene, verdict = play(Run(kind, number, SEED))
        assert verdict.good, f"{scene}: {verdict}"
