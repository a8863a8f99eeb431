"""Other processes: readers that follow, writers that are killed, disks that are full."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path as FilePath

import h5py
import numpy as np
import pytest

from flyscan.errors import StorageError
from flyscan.storage import Kind, check_file, open_run, read_tuning, repair_file
from tests.storage.runs import expected
from tests.storage.writer import BLOCK

COLUMNS = ("time", "exposure", "x_min", "x", "Fe", "mca", "ring", "keep", "point")
ROOT = FilePath(__file__).parents[2]


@contextlib.contextmanager
def writer(directory: FilePath, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A writing process that has opened its file; killed at the end."""
    command = [sys.executable, "-m", "tests.storage.writer", str(directory), *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "open\n"
            yield process
        finally:
            process.kill()


def values(column: str, number: np.ndarray) -> np.ndarray:
    """What a column of the written run must hold."""
    fixed = {"keep": np.ones_like(number), "point": number}
    return fixed[column] if column in fixed else expected(column, number)


def assert_right(file: h5py.File, first: int, stop: int) -> None:
    """Every column has the right values for these frames."""
    number = np.arange(first, stop)
    for column in COLUMNS:
        seen = file["entry/data"][column][first:stop]
        np.testing.assert_allclose(seen, values(column, number), rtol=1e-12, err_msg=column)


def test_a_reader_follows_the_writer(tmp_path):
    with writer(tmp_path) as process, contextlib.ExitStack() as stack:
        file: h5py.File | None = None
        checked = 0
        for _ in range(60):
            word, count = process.stdout.readline().split()
            assert word == "flushed"
            if file is None:
                file = stack.enter_context(h5py.File(tmp_path / "run.h5", "r", swmr=True))
            data = file["entry/data"]
            data["keep"].refresh()  # written last, so read first
            frames = len(data["keep"])
            for column in set(COLUMNS) - {"keep"}:
                data[column].refresh()
            assert frames >= int(count)
            assert min(len(data[column]) for column in COLUMNS) == frames
            assert_right(file, checked, frames)
            checked = frames
    assert checked > 60_000


@pytest.mark.parametrize("seed", range(6))
def test_every_flushed_row_survives_kill_9(tmp_path, seed):
    chance = random.Random(seed)
    with writer(tmp_path) as process:
        flushed = 0
        for _ in range(chance.randint(1, 60)):
            flushed = int(process.stdout.readline().split()[1])
        if seed % 2:
            process.stdout.read(chance.randint(1, 400))
        process.kill()
        rest = process.stdout.read().splitlines(keepends=True)
        lines = [line for line in rest if line.startswith("flushed ")]
        flushed = max([flushed, *(int(line.split()[1]) for line in lines if line.endswith("\n"))])
    name = str(tmp_path / "run.h5")
    with pytest.raises(OSError, match="already open for write"):
        h5py.File(name, "r")
    report = check_file(name)
    assert not report.clean
    assert report.intact
    assert report.frames >= flushed
    assert {problem.kind for problem in report.problems} == {Kind.INCOMPLETE}

    repaired = repair_file(name)
    assert repaired.changed
    assert repaired.frames == report.frames
    with h5py.File(name, "r") as file:
        assert {len(column) for column in file["entry/data"].values()} == {repaired.frames}
        assert_right(file, 0, repaired.frames)
    once = FilePath(name).read_bytes()
    assert not repair_file(name).changed
    assert FilePath(name).read_bytes() == once
    assert check_file(name).clean
    with h5py.File(name, "r+") as file:
        file["entry/data/x"].resize(repaired.frames + 20_000, axis=0)
        file["entry/data/x"][repaired.frames :] = -1.0
    with h5py.File(name, "r") as file:
        assert_right(file, 0, repaired.frames)


def test_a_file_being_written_is_not_repaired(tmp_path):
    with writer(tmp_path) as process:
        with pytest.raises(StorageError, match=rf"still in use: process {process.pid} has it open"):
            repair_file(tmp_path / "run.h5")
        assert int(process.stdout.readline().split()[1]) > 0


@pytest.mark.parametrize("limit", [1_000_000, 5_000_003])
def test_full_disk_fails_clearly_and_keeps_what_was_flushed(tmp_path, limit):
    with writer(tmp_path, "--limit", str(limit)) as process:
        output = process.stdout.read()
        assert process.wait() == 0
    lines = output.splitlines()
    failed = next(line for line in lines if line.startswith("failed "))
    frames = int(failed.split()[1])
    reported = [int(line.split()[1]) for line in lines if line.startswith("flushed ")]
    assert frames >= max(reported, default=0)
    assert lines[-2:] == ["again", "closed"]
    assert "run.h5: cannot be written beyond frame" in failed
    assert "File too large (EFBIG). Remedy: the file may not grow" in failed
    name = str(tmp_path / "run.h5")
    assert check_file(name).frames >= frames
    assert check_file(name).intact
    repair_file(name)
    with h5py.File(name, "r") as file:
        assert {len(column) for column in file["entry/data"].values()} == {frames}
        assert_right(file, 0, frames)


@pytest.mark.parametrize("seed", range(3))
def test_records_survive_kill_9_with_the_frames_they_tell_of(tmp_path, seed):
    chance = random.Random(seed)
    with writer(tmp_path, "--tuned") as process:
        for _ in range(chance.randint(1, 30)):
            flushed = int(process.stdout.readline().split()[1])
        process.kill()
    name = str(tmp_path / "run.h5")
    report = check_file(name)
    assert report.intact, str(report)
    assert report.frames >= flushed
    frames = repair_file(name).frames
    with h5py.File(name, "r") as file:
        told = [r["stop"] for r in read_tuning(file) if r["event"] == "told"]
        used = file["entry/data/used"][:flushed]
    assert told == list(range(BLOCK, BLOCK * len(told) + 1, BLOCK))
    assert told[-1] >= flushed
    assert np.flatnonzero(used == 0).tolist() == list(range(0, flushed, BLOCK))
    assert frames == report.frames


def test_a_reader_finds_records_with_their_frames(tmp_path):
    with writer(tmp_path, "--tuned") as process:
        for _ in range(8):
            flushed = int(process.stdout.readline().split()[1])
            with open_run(tmp_path / "run.h5") as file:
                frames = len(file["entry/data/keep"])
                told = max(r["stop"] for r in read_tuning(file) if r["event"] == "told")
            assert told >= frames >= flushed
            report = check_file(tmp_path / "run.h5")
            assert report.intact, str(report)


def test_a_full_disk_keeps_records_whole(tmp_path):
    with writer(tmp_path, "--tuned", "--limit", "3000000") as process:
        process.stdout.read()
        assert process.wait() == 0
    repair_file(tmp_path / "run.h5")
    with open_run(tmp_path / "run.h5") as file:
        told = [r["stop"] for r in read_tuning(file) if r["event"] == "told"]
        assert told == list(range(BLOCK, BLOCK * len(told) + 1, BLOCK))
        assert len(file["entry/data/keep"]) in (told[-1], told[-1] + BLOCK)
