"""The benchmark of interruptions runs every kind, and would notice what it looks for."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest

from benchmarks import interruptions
from benchmarks._verdict import Verdict, _judge_documents
from flyscan.testing._memory_capture import MemoryCapture
from flyscan.testing._memory_motion import MemoryMotion

SMALL = ["--runs", "1", "--lines", "2", "--points", "5"]
ZEROS = {"lost": 0, "duplicated": 0, "not_stopped": 0, "not_restored": 0, "odd": 0}


async def nothing(*_: Any) -> None:
    """What a box does that ignores an order."""


def test_every_kind_runs():
    figures = interruptions.main(SMALL)
    assert figures.pop("per_kind") == {kind: {"runs": 1, **ZEROS} for kind in interruptions.KINDS}
    assert figures == {"runs": len(interruptions.KINDS), **ZEROS, "frames_per_map": 10}


@pytest.mark.parametrize(
    ("box", "order", "figure"),
    [
        (MemoryMotion, "stop", "not_stopped"),
        (MemoryMotion, "restore", "not_restored"),
        (MemoryCapture, "restore", "not_restored"),
    ],
)
def test_a_box_that_ignores_an_order_is_noticed(box: type, order: str, figure: str):
    with mock.patch.object(box, order, nothing):
        figures = interruptions.main([*SMALL, "--kinds", "abort", "--runs", "5"])
    assert figures[figure] > 0


@pytest.mark.parametrize(
    ("parts", "lost", "duplicated"),
    [
        ([(0, 4), (4, 10)], 0, 0),
        ([(0, 4), (5, 10)], 1, 0),
        ([(0, 4), (2, 10)], 0, 2),
        ([(0, 4)], 6, 0),
        ([(0, 12)], 0, 2),
    ],
)
def test_frames_that_documents_lose_or_repeat_are_counted(
    parts: list[tuple[int, int]], lost: int, duplicated: int
):
    data = [
        {
            "stream_resource": "r",
            "indices": {"start": start, "stop": stop},
            "seq_nums": {"start": start + 1, "stop": stop + 1},
        }
        for start, stop in parts
    ]
    stage = mock.Mock(of=lambda kind: data if kind == "stream_datum" else [{"uid": "r"}])
    verdict = Verdict()
    _judge_documents(stage, 10, verdict, prefix=False)
    assert (verdict.lost, verdict.duplicated, verdict.oddities) == (lost, duplicated, [])
