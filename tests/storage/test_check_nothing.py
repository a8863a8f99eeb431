"""A run that was stopped before its first frame: an empty file, and documents that say nothing."""

from __future__ import annotations

import pytest

from flyscan.storage import Kind, check_file
from tests.storage.documents import compose
from tests.storage.runs import fly, run_file, snake

STOPPED = [("start", {"uid": "1"}), ("stop", {"exit_status": "abort"})]


def complaints(report) -> list[str]:
    return [p.text for p in report.problems if p.kind is Kind.DOCUMENTS]


async def test_nothing_to_describe_is_no_contradiction(tmp_path):
    report = check_file(await fly(tmp_path, snake(), points=0), STOPPED)
    assert complaints(report) == []
    assert report.documents is not None
    assert report.documents.undescribed == 0


async def test_frames_without_a_resource_are_one(tmp_path):
    report = check_file(await fly(tmp_path, snake(), points=3), STOPPED)
    assert len(complaints(report)) == 1
    assert "none of the 0 stream resources is" in complaints(report)[0]


async def test_success_without_a_resource_is_one(tmp_path):
    documents = [STOPPED[0], ("stop", {"exit_status": "success"})]
    report = check_file(await fly(tmp_path, snake(), points=0), documents)
    assert "none of the 0 stream resources is" in complaints(report)[0]


@pytest.mark.parametrize("points", [0, 3])
async def test_documents_of_another_run_are_one(tmp_path, points: int):
    name = await fly(tmp_path, snake(), points=points)
    other = run_file(tmp_path, "other")
    documents = compose(other, str(tmp_path / "other.h5"), [(0, 3)], exit_status="abort")
    assert "stream resources is" in complaints(check_file(name, documents))[0]
