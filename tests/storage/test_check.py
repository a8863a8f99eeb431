"""The check finds each kind of damage, and nothing where there is none."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import h5py
import numpy as np
import pytest

from flyscan.errors import StorageError
from flyscan.storage import CheckReport, Hdf5Sink, Kind, check_file, read_ledger
from tests.storage.documents import Documents, compose
from tests.storage.runs import fly, frames, ledger_row, run_file, snake


def texts(report: CheckReport) -> list[str]:
    return [str(problem) for problem in report.problems]


def damage(name: str, column: str, row: Any, value: Any) -> None:
    """Overwrite values of a closed file."""
    with h5py.File(name, "r+") as file:
        file["entry/data"][column][row] = value


async def test_a_complete_run_is_ok(tmp_path):
    path = snake()
    name = await fly(tmp_path, path, flights=2)
    report = check_file(name, compose(run_file(tmp_path), name, [(0, 10), (10, 60)]))
    assert report.ok
    assert report.intact
    assert report.frames == 60
    described = report.documents.described
    assert set(described.values()) == {60}
    assert len(described) == 11
    assert str(report).splitlines() == [
        f"{name}: 60 frames, closed",
        "flight 0: 30 of 30 points kept once, 30 frames, 3 of 3 segments closed",
        "flight 1: 30 of 30 points kept once, 30 frames, 3 of 3 segments closed",
        "documents: 11 columns described, 0 frames not described, run success",
        "ok",
    ]
    data = json.loads(json.dumps(report.to_dict()))
    assert data["ok"] is True
    assert data["flights"][1]["kept"] == 30


async def test_reflown_points_are_kept_once(tmp_path):
    path = snake()
    sink = Hdf5Sink()
    name = await sink.open(run_file(tmp_path))
    await sink.begin_flight(0, path.to_dict())
    await sink.append(frames(0, range(20), path))
    await sink.supersede(np.arange(15, 20))
    await sink.append(frames(20, range(15, 30), path))
    for segment, refly in ((0, 0), (1, 5), (2, 0)):
        await sink.add_ledger(ledger_row(path, segment, refly=refly))
    await sink.close()
    report = check_file(name)
    assert report.ok, str(report)
    assert report.frames == 35
    damage(name, "keep", 17, 1)
    wrong = check_file(name)
    assert not wrong.intact
    assert texts(wrong) == [
        "damaged: flight 0: 1 of 30 points, from point 17 in segment 1 on, kept more than once",
        "damaged: flight 0 segment 1: the ledger has 15 frames stored and 10 points kept, "
        "the file has 15 and 11",
    ]


async def test_a_stopped_flight_is_incomplete_but_intact(tmp_path):
    path = snake()
    name = await fly(tmp_path, path, points=14)
    report = check_file(name)
    assert not report.ok
    assert report.intact
    assert texts(report) == [
        "incomplete: flight 0: 16 of 30 points, from point 14 in segment 1 on, without a frame",
        "incomplete: flight 0: segments with frames but no ledger row: 1, from segment 1 on",
    ]


async def test_a_ledger_that_does_not_close_is_told(tmp_path):
    path = snake()
    sink = Hdf5Sink()
    name = await sink.open(run_file(tmp_path))
    await sink.begin_flight(0, path.to_dict())
    await sink.append(frames(0, range(8), path))
    row = ledger_row(path, 0)
    await sink.add_ledger(type(row)(0, 0, planned=10, captured=8, stored=8, kept=8, missing=(8, 9)))
    await sink.close()
    report = check_file(name)
    assert report.intact
    assert texts(report)[-1] == (
        "incomplete: flight 0 segment 0: the ledger does not close: 10 points planned, "
        "8 frames captured, 8 stored, 8 kept, 0 given up, 2 missing"
    )


async def test_points_flown_again_for_want_of_a_row_are_told(tmp_path):
    path = snake()
    sink = Hdf5Sink()
    name = await sink.open(run_file(tmp_path))
    await sink.begin_flight(0, path.to_dict())
    await sink.append(frames(0, range(30), path))
    lost = [(3, 3, 4), (), (29,)]
    for segment in range(3):
        await sink.add_ledger(replace(ledger_row(path, segment), lost=lost[segment]))
    await sink.close()
    with h5py.File(name) as file:
        assert [row.lost for row in read_ledger(file)] == lost
    report = check_file(name)
    assert report.ok
    assert report.flights[0].lost == 4
    assert "30 frames, 4 points flown again, 3 of 3 segments closed" in str(report)


async def test_a_lost_point_of_another_segment_is_told(tmp_path):
    path = snake()
    sink = Hdf5Sink()
    name = await sink.open(run_file(tmp_path))
    await sink.begin_flight(0, path.to_dict())
    await sink.append(frames(0, range(30), path))
    for segment in range(3):
        await sink.add_ledger(replace(ledger_row(path, segment), lost=(10,)))
    await sink.close()
    assert texts(check_file(name)) == [
        f"damaged: flight 0 segment {n}: the ledger has lost point 10, which is not in the segment"
        for n in (0, 2)
    ]


@pytest.mark.parametrize(
    ("column", "row", "value", "text"),
    [
        ("time", 12, 0.0, "flight 0: the time of frame 12 is before that of the frame before"),
        ("point", 12, 99, "flight 0: frame 12 is of a point or segment the path does not have"),
        ("point", 12, 25, "flight 0: frame 12 is stored under a segment its point is not in"),
        ("segment", 12, 0, "flight 0: frame 12 is stored under a segment its point is not in"),
        ("segment", 12, -1, "flight 0: frame 12 is of a point or segment the path does not have"),
        ("flight", 12, 7, "frame 12 is of flight 7, which is not to be there"),
        ("flight", 35, 0, "frame 35 is of flight 0, which is not to be there"),
    ],
)
async def test_damage_is_named(tmp_path, column, row, value, text):
    name = await fly(tmp_path, snake(), flights=2)
    damage(name, column, row, value)
    report = check_file(name)
    assert not report.intact
    assert f"damaged: {text}" in texts(report)


async def test_lost_rows_of_one_column_are_named(tmp_path):
    name = await fly(tmp_path, snake())
    with h5py.File(name, "r+") as file:
        file["entry/data/Fe"].resize(28, axis=0)
    report = check_file(name)
    assert report.frames == 28
    assert texts(report)[0].startswith("damaged: columns differ in length: exposure, flight, keep")


async def test_large_files_are_counted_slice_by_slice(tmp_path, monkeypatch):
    monkeypatch.setattr("flyscan.storage._tally.SLICE", 7)
    name = await fly(tmp_path, snake(), flights=2)
    assert check_file(name).ok
    damage(name, "time", 21, 0.0)
    assert "frame 21 is before" in str(check_file(name))


# --- documents -----------------------------------------------------------------------------


def without(documents: Documents, key: str, nth: int) -> Documents:
    """The documents without the nth datum of a column."""
    (uid,) = (d["uid"] for k, d in documents if k == "stream_resource" and d["data_key"] == key)
    data = [d for k, d in documents if k == "stream_datum" and d["stream_resource"] == uid]
    return [(kind, doc) for kind, doc in documents if doc is not data[nth]]


async def test_documents_of_a_halted_run_are_a_prefix(tmp_path):
    name = await fly(tmp_path, snake())
    documents = compose(run_file(tmp_path), name, [(0, 10), (10, 20)], exit_status=None)
    report = check_file(name, documents)
    assert report.ok
    assert report.documents.undescribed == 10
    assert "10 frames not described, run without stop document" in str(report)


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        ([(0, 10), (10, 20)], "ended with success, but 10 frames are not described"),
        ([(0, 10), (11, 30)], "expected indices from 10 on, got 11 to 30"),
        ([(0, 10), (9, 30)], "expected indices from 10 on, got 9 to 30"),
        ([(0, 10), (10, 31)], "31 frames are described, the file has 30"),
        ([(1, 30)], "expected indices from 0 on, got 1 to 30"),
    ],
)
async def test_documents_that_contradict_the_file(tmp_path, steps, text):
    name = await fly(tmp_path, snake())
    report = check_file(name, compose(run_file(tmp_path), name, steps))
    assert not report.ok
    assert any(text in str(problem) for problem in report.problems)
    assert {problem.kind for problem in report.problems} == {Kind.DOCUMENTS}


async def test_one_column_described_less_than_the_others(tmp_path):
    name = await fly(tmp_path, snake())
    documents = compose(run_file(tmp_path), name, [(0, 10), (10, 30)], exit_status="abort")
    report = check_file(name, without(documents, "Fe", -1))
    assert report.documents.undescribed == 20
    assert any("described to different ends" in text for text in texts(report))
    gap = check_file(name, without(documents, "Fe", 0))
    assert "documents: Fe: expected indices from 0 on, got 10 to 30" in texts(gap)


async def test_repeated_seq_nums_are_told(tmp_path):
    name = await fly(tmp_path, snake())
    documents = compose(run_file(tmp_path), name, [(0, 10), (10, 30)])
    last = [doc for kind, doc in documents if kind == "stream_datum"][-1]
    last["seq_nums"] = {"start": 5, "stop": 25}
    report = check_file(name, documents)
    assert texts(report) == ["documents: y_setpoint: expected seq_nums from 11 on, got 5 to 25"]


async def test_documents_of_another_run(tmp_path):
    name = await fly(tmp_path, snake())
    other = compose(run_file(tmp_path), str(tmp_path / "other.h5"), [(0, 30)])
    assert texts(check_file(name, other)) == [
        f"documents: none of the 11 stream resources is {name}"
    ]


@pytest.mark.parametrize("form", ["dict", "pair"])
async def test_documents_from_a_file(tmp_path, form):
    name = await fly(tmp_path, snake())
    documents = compose(run_file(tmp_path), name, [(0, 30)])
    lines = tmp_path / "documents.jsonl"
    entries = [
        {"name": kind, "doc": doc} if form == "dict" else [kind, doc] for kind, doc in documents
    ]
    lines.write_text("\n".join(map(json.dumps, entries)) + "\n\n")
    report = check_file(name, lines)
    assert report.ok
    assert report.documents.exit_status == "success"


@pytest.mark.parametrize("line", ["not json", '{"name": "start"}', "[1]", "3", '["start", 3]'])
async def test_unreadable_documents(tmp_path, line):
    name = await fly(tmp_path, snake())
    lines = tmp_path / "documents.jsonl"
    lines.write_text(f'["start", {{}}]\n{line}\n')
    with pytest.raises(StorageError, match="line 2 is not a document"):
        check_file(name, lines)
    with pytest.raises(StorageError, match=r"missing\.jsonl: documents cannot be read"):
        check_file(name, tmp_path / "missing.jsonl")


# --- bad input -----------------------------------------------------------------------------


def test_files_that_are_not_ours(tmp_path):
    with pytest.raises(StorageError, match=r"cannot be checked: No such file.*check the path"):
        check_file(tmp_path / "missing.h5")
    (tmp_path / "text.h5").write_text("frames: 0\n")
    with pytest.raises(StorageError, match="does not begin with the HDF5 signature"):
        check_file(tmp_path / "text.h5")
    with h5py.File(tmp_path / "old.h5", "w", libver="earliest") as file:
        file["x"] = 1
    with pytest.raises(StorageError, match="older than version 2"):
        check_file(tmp_path / "old.h5")
    with h5py.File(tmp_path / "foreign.h5", "w", libver="v110") as file:
        file["x"] = 1
    with pytest.raises(StorageError, match="was not written by flyscan"):
        check_file(tmp_path / "foreign.h5")
