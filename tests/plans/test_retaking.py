"""Runs in which triggers make no row, and are paused besides: file and documents stay exact."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import numpy as np
import pytest

from flyscan.errors import CaptureError
from flyscan.plans import fly_grid
from flyscan.storage import check_file
from tests.plans.rehearsal import Rehearsal

POINTS = 15
GRID = ("y", 1, 2, 3, "x", 1, 3, 5)


def ledger_of(stage: Rehearsal) -> dict[int, dict[str, Any]]:
    """The last row of every segment in the ledger stream."""
    (stream,) = (d["uid"] for d in stage.of("descriptor") if d["name"] == "ledger")
    rows: dict[int, dict[str, Any]] = {}
    for page in stage.of("event_page"):
        if page["descriptor"] == stream:
            columns = {key.removeprefix("nano-ledger-"): v for key, v in page["data"].items()}
            for i, segment in enumerate(columns["segment"]):
                rows[segment] = {key: values[i] for key, values in columns.items()}
    return rows


@pytest.mark.parametrize("seed", range(10))
def test_whatever_is_lost_every_point_is_kept_once(stage: Rehearsal, seed: int) -> None:
    chance = random.Random(seed)
    lost = {p: chance.randint(1, 3) for p in chance.sample(range(POINTS), chance.randint(1, 8))}
    stage.box.capture.lose = dict(lost)
    for _ in range(seed % 3):
        stage.at(chance.uniform(0.0, 0.8), "pause")
    stage.run(fly_grid(stage.nano, *GRID, period=0.02))

    points, keep = stage.column("point"), stage.column("keep") == 1
    assert sorted(points[keep].tolist()) == list(range(POINTS))
    last = {int(point): frame for frame, point in enumerate(points)}
    assert np.flatnonzero(keep).tolist() == sorted(last.values())
    assert stage.described_frames() == len(points)
    stage.check_pages()
    report = check_file(stage.file, stage.documents)
    assert report.problems == ()
    assert report.flights[0].lost == sum(lost.values())
    assert stage.exit_status == "success"
    stage.check_safe()

    ledger = ledger_of(stage)
    per_segment = Counter({point // 5: 0 for point in range(POINTS)})
    for point, times in lost.items():
        per_segment[point // 5] += times
    assert {segment: row["lost"] for segment, row in ledger.items()} == per_segment
    assert all(row["kept"] == row["planned"] for row in ledger.values())


def test_a_point_that_gets_no_row_fails_the_run(stage: Rehearsal) -> None:
    stage.box.capture.lose = {7: 99}
    with pytest.raises(CaptureError, match="segment 1: point 7 got no row in 4 sweeps"):
        stage.run(fly_grid(stage.nano, *GRID, period=0.02))
    (stop,) = stage.of("stop")
    assert stop["exit_status"] == "fail"
    assert "segment 1: point 7 got no row in 4 sweeps" in stop["reason"]
    report = check_file(stage.file, stage.documents)
    assert report.intact
    stage.check_safe()
