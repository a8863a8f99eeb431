"""The check of steered flights: what decisions added and gave up, and the record itself."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
import pytest

from flyscan.flight import LedgerRow
from flyscan.storage import AmendedPath, CheckReport, Kind, check_file
from tests.storage.tuned import PATH, appended, decided, record, row, steered


def texts(report: CheckReport) -> list[str]:
    return [str(problem) for problem in report.problems]


def damage(name: str, column: str, at: Any, value: Any) -> None:
    """Overwrite values of a closed file."""
    with h5py.File(name, "r+") as file:
        file["entry/data"][column][at] = value


async def test_a_steered_flight_is_complete(tmp_path):
    report = check_file(await steered(tmp_path))
    assert report.ok, str(report)
    (flight,) = report.flights
    assert (flight.points, flight.segments, flight.kept, flight.waived) == (36, 4, 32, 4)
    assert str(report).splitlines()[1] == (
        "flight 0: 32 of 36 points kept once, 4 given up, 32 frames, 4 of 4 segments closed"
    )
    assert report.to_dict()["flights"][0]["waived"] == 4


@pytest.mark.parametrize(
    ("column", "at", "value", "text"),
    [
        ("keep", 22, 0, "1 of 36 points, from point 32 in segment 3 on, without a frame"),
        ("point", 22, 33, "1 of 36 points, from point 33 in segment 3 on, kept more than once"),
        ("point", 22, 36, "frame 22 is of a point or segment the path does not have"),
        ("segment", 22, 2, "frame 22 is stored under a segment its point is not in"),
        ("segment", 22, 4, "frame 22 is of a point or segment the path does not have"),
        ("point", 31, 26, "1 of 36 points, from point 26 in segment 2 on, given up, but kept"),
        ("used", 3, 1, "frame 3 is marked as used, though it is flagged or superseded"),
        ("used", 8, 0, "frame 8 is marked as not used, and nothing says why"),
    ],
)
async def test_damaged_frames_are_named(tmp_path, column, at, value, text):
    name = await steered(tmp_path)
    damage(name, column, at, value)
    assert any(text in problem for problem in texts(check_file(name)))


async def test_superseded_frames_may_not_be_used(tmp_path):
    name = await steered(tmp_path)
    damage(name, "keep", 8, 0)
    assert any(
        "frame 8 is marked as used, though" in problem for problem in texts(check_file(name))
    )


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (appended(index=5), "segment 3 from point 30 on was due"),
        (appended(first_point=31), "segment 3 from point 30 on was due"),
        (appended(points=0), "it has no points, or no line"),
        (appended(line=3), "it has no points, or no line"),
        (appended(points="six"), "it cannot be read: ValueError"),
        ({"event": "segment", "flight": 0, "index": 3}, "it cannot be read: KeyError"),
    ],
)
async def test_appended_segments_must_follow_the_path(tmp_path, change, text):
    report = check_file(await steered(tmp_path, way_back=change))
    assert not report.intact
    assert text in texts(report)[0]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (record("waived", first=26, stop=40), "does not make sense: there are 36 points"),
        (record("waived", first=29, stop=26), "does not make sense: there are 36 points"),
        (record("waived", first=27, stop=30), "from point 26 in segment 2 on, without a frame"),
        (record("waived", first=25, stop=30), "from point 25 in segment 2 on, given up, but kept"),
        (record("waived", first=25, stop=30), "has 4 points given up, the record 5"),
    ],
)
async def test_points_are_kept_or_given_up(tmp_path, change, text):
    report = check_file(await steered(tmp_path, waived=change))
    assert any(text in problem for problem in texts(report))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (row(2, 10, 6, 3), "flight 0 segment 2: the ledger has 3 points given up, the record 4"),
        (row(2, 10, 6, 3), "10 points planned, 6 frames captured, 6 stored, 6 kept, 3 given up"),
        (row(2, 10, 5, 5), "the ledger has 5 frames stored and 5 points kept, the file has 6"),
    ],
)
async def test_the_ledger_must_agree(tmp_path, change: LedgerRow, text: str):
    report = check_file(await steered(tmp_path, ledger={2: change}))
    assert not report.intact
    assert any(text in problem for problem in texts(report))


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (decided(0), "record 8: expected decision 1, got 0"),
        (decided(2), "record 8: expected decision 1, got 2"),
        (record("decided"), "record 8: it cannot be read: KeyError('decision')"),
        (record("applied", number=1), "record 8: decision 1 was applied, but not made"),
        (record("told", first=15, stop=30), "record 8: expected frames from 20 on to be told"),
        (record("told", first=30, stop=29), "record 8: expected frames from 20 on to be told"),
        (record("told", first=30, stop=33), "record 8: frames 30 to 33 were told, there are 32"),
        (record("flagged", frames=[40]), "record 8: frame 40 is flagged, there are 32"),
    ],
)
async def test_the_record_must_go_with_the_frames(tmp_path, more, text):
    report = check_file(await steered(tmp_path, records=[more]))
    assert [f"damaged: flight 0: {text}" in problem for problem in texts(report)] == [True]


async def test_a_damaged_record_is_told(tmp_path):
    name = await steered(tmp_path)
    with h5py.File(name, "r+") as file:
        file["entry/tuning/json"][0] = ord("?")
    report = check_file(name)
    assert not report.intact
    assert texts(report)[0].startswith("damaged: the record of decisions cannot be read")


async def test_records_without_flight_are_told(tmp_path):
    name = await steered(tmp_path)
    with h5py.File(name, "r+") as file:
        text = file["entry/tuning/json"][()].tobytes().replace(b"flight", b"fright", 1)
        file["entry/tuning/json"][...] = np.frombuffer(text, np.uint8)
    assert "it has no flight or no event" in texts(check_file(name))[0]


async def test_frames_flagged_but_still_used_are_told(tmp_path):
    report = check_file(await steered(tmp_path, flag=()))
    assert texts(report) == [
        "damaged: flight 0: frame 3 is marked as used, though it is flagged or superseded"
    ]
    assert report.problems[0].kind is Kind.DAMAGED


def test_an_amended_path_knows_its_segments():
    began = record("began", line={"segment": 2})
    rest = appended(index=4, first_point=36, points=2)
    del rest["line"]
    records = [appended(), began, rest, record("waived", first=5, stop=7)]
    amended = AmendedPath.of(PATH, [*records, record("flagged", frames=[9, 1])])
    assert (amended.segment_count, amended.points) == (5, 38)
    assert amended.lines().tolist() == [0, 1, 2, 1, 2]
    assert [amended.segment_of(p) for p in (0, 29, 30, 35, 36, 37)] == [0, 2, 3, 3, 4, 4]
    assert [amended.span(s) for s in (2, 3, 4)] == [(20, 30), (30, 36), (36, 38)]
    assert np.flatnonzero(amended.given_up()).tolist() == [5, 6]
    assert amended.flagged.tolist() == [1, 9]
