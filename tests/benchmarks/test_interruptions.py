"""The benchmark of interruptions runs every kind, and would notice what it looks for."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from random import Random
from typing import Any
from unittest import mock

import numpy as np
import pytest

from benchmarks import interruptions
from benchmarks._crew import CrewError, scatter
from benchmarks._records import KILLED, Verdict, _judge_data, _judge_seq_nums, judge_places
from benchmarks._rehearsal import Rehearsal
from benchmarks._scenes import PLANS, Undisturbed, draw
from flyscan.devices._documents import StreamDocuments
from flyscan.testing._memory_capture import MemoryCapture
from flyscan.testing._memory_motion import MemoryMotion

SMALL = ["--lines", "2", "--points", "5", "--jobs", "0"]
ZEROS = {"lost": 0, "duplicated": 0, "not_stopped": 0, "not_restored": 0}


async def nothing(*_: Any) -> None:
    """What a box does that ignores an order."""


def test_every_kind_runs():
    figures = interruptions.main([*SMALL, "--runs", "1"])
    kinds = interruptions.KINDS
    assert list(figures) == [*interruptions.FIGURES, "per_kind"]
    assert figures.pop("per_kind") == {kind: {"runs": 1, **ZEROS} for kind in kinds}
    assert figures == {"runs": len(kinds), **ZEROS}


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
        assert counted(["--kinds", "abort", "--runs", "6"])[figure] > 0


def counted(options: list[str]) -> dict[str, Any]:
    """Figures, also where runs were odd as well."""
    try:
        return interruptions.main([*SMALL, *options])
    except interruptions.OddRunsError as odd:
        return odd.figures


def test_a_stage_that_rolls_on_is_noticed():
    hold = MemoryMotion.hold

    async def late(self: MemoryMotion) -> None:
        await self._clock.sleep(0.3)
        await hold(self)

    with mock.patch.object(MemoryMotion, "hold", late):
        long = ["--kinds", "pause", "--runs", "6", "--lines", "1", "--points", "100"]
        assert counted(long)["not_stopped"] > 0


def test_rows_of_the_box_that_are_not_in_the_file_are_noticed():
    finish = MemoryCapture._finish

    def one_more(self: MemoryCapture, text: str) -> None:
        finish(self, text)
        if text == "Disarmed" and self._end is not None:
            self._end = replace(self._end, rows=self._end.rows + 1)

    with mock.patch.object(MemoryCapture, "_finish", one_more):
        assert counted(["--kinds", "abort", "--runs", "6"])["lost"] > 0


def test_frames_described_twice_are_noticed():
    up_to = StreamDocuments.up_to

    def again(self: StreamDocuments, frames: int) -> Iterator[Any]:
        for name, document in up_to(self, frames):
            yield name, {**document}
            if name == "stream_datum":
                yield name, document

    with mock.patch.object(StreamDocuments, "up_to", again):
        assert counted(["--kinds", "pause", "--runs", "2"])["duplicated"] > 0


def test_a_wrong_exit_status_fails_the_benchmark():
    wrong = mock.patch.object(Rehearsal, "stop", lambda self: self.RE.abort())
    with wrong, pytest.raises(interruptions.OddRunsError, match=r"odd runs, see above:.*stop"):
        interruptions.main([*SMALL, "--kinds", "stop", "--runs", "4"])


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
    documents = [("stream_resource", {"uid": "r"})]
    documents += [
        (
            "stream_datum",
            {
                "stream_resource": "r",
                "indices": {"start": start, "stop": stop},
                "seq_nums": {"start": start + 1, "stop": stop + 1},
            },
        )
        for start, stop in parts
    ]
    verdict = Verdict()
    assert _judge_data(verdict, documents, 10, prefix=False) == parts[-1][1]
    assert (verdict.lost, verdict.duplicated, verdict.oddities) == (lost, duplicated, [])


def test_events_that_are_missing_or_repeated_are_counted():
    documents = [
        ("event_page", {"descriptor": "a", "seq_num": [1, 2, 4]}),
        ("event", {"descriptor": "b", "seq_num": 1}),
        ("event", {"descriptor": "b", "seq_num": 1}),
    ]
    verdict = Verdict()
    _judge_seq_nums(verdict, documents)
    assert (verdict.lost, verdict.duplicated) == (1, 1)


@pytest.mark.parametrize(
    ("keys", "shift", "lost", "duplicated"),
    [
        ([0, 1, 2], 0.0, 0, 0),
        ([0, 2], 0.0, 1, 0),
        ([0, 1, 1, 2], 0.0, 0, 1),
        ([0, 1, 2], 2e-3, 3, 0),
    ],
)
def test_points_missing_repeated_or_elsewhere_are_counted(
    keys: list[int], shift: float, lost: int, duplicated: int
):
    normal = {"x": np.array([5.0, 6.0, 7.0])}
    verdict = Verdict()
    judge_places(verdict, np.array(keys), {"x": normal["x"][keys] + shift}, normal, 1e-3)
    assert (verdict.lost, verdict.duplicated) == (lost, duplicated)


def test_moments_are_drawn_from_all_that_can_happen():
    """From messages and times of all plans, alone and after others; the same from one seed."""
    normal = Undisturbed(2.0, {"x": np.zeros(10)}, {"prepare": 1, "collect": 9})
    scenes = [draw("abort", Random(n), lambda plan, trigger: normal) for n in range(300)]
    assert {scene.plan for scene in scenes} == set(PLANS)
    assert {scene.trigger for scene in scenes} == {"position", "time"}
    assert {scene.kind for scene in scenes} == {"abort"}
    blows = [scene.blows[-1] for scene in scenes]
    assert {blow.command for blow in blows} == {"", "prepare", "collect"}
    assert any(scene.while_paused for scene in scenes)
    assert any(scene.recorded for scene in scenes)
    assert any(scene.slowness for scene in scenes)
    assert any(len(scene.blows) == 2 for scene in scenes)
    times = [s.blows[0].after for s in scenes if not s.blows[0].command]
    assert min(times) < 0.1
    assert max(times) > 1.9
    assert scenes == [draw("abort", Random(n), lambda plan, trigger: normal) for n in range(300)]


def test_kinds_over_sockets_are_those_of_rehearsals_and_the_bare_signal():
    assert (*interruptions.KINDS, KILLED) == interruptions.WIRED_KINDS


# --- worker processes ----------------------------------------------------------------------


@contextmanager
def squares() -> Iterator[Callable[[int], int]]:
    """What does the jobs of these tests."""

    def work(job: int) -> int:
        if job == -1:
            os._exit(3)
        if job == -2:
            raise ValueError("no root")
        return job * job

    yield work


@pytest.mark.parametrize("processes", [0, 1, 2])
def test_jobs_are_shared_out_and_all_come_back(processes: int):
    assert sorted(scatter(squares, range(20), processes)) == [(n, n * n) for n in range(20)]


@pytest.mark.parametrize(
    ("job", "complaint"),
    [(-1, "worker ended with exit code 3 during -1"), (-2, r"(?s)-2 failed:.*ValueError: no root")],
)
def test_a_job_that_kills_its_worker_or_raises_fails_them_all(job: int, complaint: str):
    with pytest.raises(CrewError, match=complaint):
        list(scatter(squares, [1, 2, job, *range(100)], 2))


def test_a_worker_that_hangs_fails_them_all(capfd: pytest.CaptureFixture[str]):
    with pytest.raises(CrewError, match="worker ended with exit code 1 during 1"):
        list(scatter(sleepers, [1], 2, seconds=0.5))
    assert "Timeout (0:00:00.5" in capfd.readouterr().err


@contextmanager
def sleepers() -> Iterator[Callable[[int], None]]:
    yield lambda seconds: threading.Event().wait(60)
