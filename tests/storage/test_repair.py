"""The superblock is read and written as the HDF5 specification has it."""

from __future__ import annotations

import asyncio
import os
import shutil

import h5py
import numpy as np
import pytest

from flyscan.errors import StorageError
from flyscan.flight import Block, Channel, Frames
from flyscan.storage import Hdf5Sink, repair_file
from flyscan.storage._superblock import Superblock, lookup3
from tests.storage.runs import fly, frames, run_file, snake


@pytest.mark.parametrize(
    ("data", "initial", "value"),
    [  # the test vectors in the comments of lookup3.c
        (b"", 0, 0xDEADBEEF),
        (b"", 0xDEADBEEF, 0xBD5B7DDE),
        (b"Four score and seven years ago", 0, 0x17770551),
        (b"Four score and seven years ago", 1, 0xCD628161),
    ],
)
def test_lookup3_gives_its_published_values(data, initial, value):
    assert lookup3(data, initial) == value


def test_superblocks_of_the_library_are_reproduced_byte_for_byte(tmp_path):
    with h5py.File(tmp_path / "file.h5", "w", libver="v110") as file:
        file["x"] = np.arange(1000)
    data = (tmp_path / "file.h5").read_bytes()
    block = Superblock.decode(data)
    assert block.encode() == data[:48]
    assert block.flags == 0
    assert block.end_of_file == len(data)


async def test_a_clean_file_needs_no_repair(tmp_path):
    name = await fly(tmp_path, snake())
    before = (tmp_path / "run.h5").read_bytes()
    report = repair_file(name)
    assert not report.changed
    assert (tmp_path / "run.h5").read_bytes() == before
    assert str(report) == f"{name}: nothing to repair, 30 complete frames"
    assert report.to_dict() == {"path": name, "changed": False, "frames": 30, "trimmed": 0}


async def test_incomplete_frames_are_cut_off(tmp_path):
    name = await fly(tmp_path, snake())
    with h5py.File(name, "r+") as file:
        file["entry/data/x"].resize(37, axis=0)
    report = repair_file(name)
    assert (report.changed, report.frames, report.trimmed) == (True, 30, 7)
    with h5py.File(name, "r") as file:
        assert {len(column) for column in file["entry/data"].values()} == {30}
    assert not repair_file(name).changed


def test_a_file_that_ends_early_is_filled_up(tmp_path):
    """As a close leaves it that could not extend the file to its allocated end."""
    name = asyncio.run(fly(tmp_path, snake()))
    size = os.path.getsize(name)
    block = Superblock.decode((tmp_path / "run.h5").read_bytes())
    with open(name, "r+b") as file:
        file.write(block.repaired(size + 4000).encode())
    with pytest.raises(OSError, match="truncated"):
        h5py.File(name, "r")
    assert repair_file(name).changed
    assert os.path.getsize(name) == size + 4000
    with h5py.File(name, "r") as file:
        assert len(file["entry/data/x"]) == 30


async def test_a_sink_keeps_its_file_from_repair_and_other_writers(tmp_path, monkeypatch):
    """Even where nobody can look into other processes."""
    monkeypatch.setattr("flyscan.storage._repair.writer_of", lambda _: None)
    sink = Hdf5Sink()
    name = await sink.open(run_file(tmp_path))
    await sink.append(frames(0, range(5), snake()))
    await sink.flush()
    with pytest.raises(StorageError, match=r"still in use: another process has it locked.*wait"):
        repair_file(name)
    await sink.close()
    assert not repair_file(name).changed


def test_foreign_files_are_repaired_too(tmp_path):
    name = str(tmp_path / "foreign.h5")
    with h5py.File(name, "w", libver="v110") as file:
        file["x"] = np.arange(10)
    block = Superblock.decode((tmp_path / "foreign.h5").read_bytes())
    flagged = Superblock(block.version, 8, 8, 5, block.addresses)
    with open(name, "r+b") as file:
        file.write(flagged.encode())
    report = repair_file(name)
    assert (report.changed, report.frames) == (True, None)
    with h5py.File(name, "r") as file:
        np.testing.assert_array_equal(file["x"], np.arange(10))


def test_what_cannot_be_repaired_is_left_alone(tmp_path):
    with pytest.raises(StorageError, match="No such file"):
        repair_file(tmp_path / "missing.h5")
    wrong = {
        "text.h5": (b"frames: 0\n", "signature"),
        "empty.h5": (b"", "signature"),
        "short.h5": (b"\x89HDF\r\n\x1a\n\x03\x08\x08\x05\x00", "ends within the superblock"),
        "sum.h5": (b"\x89HDF\r\n\x1a\n\x03\x08\x08\x05" + bytes(36), "checksum"),
        "old.h5": (b"\x89HDF\r\n\x1a\n\x00\x00\x00\x00" + bytes(90), "older than version 2"),
    }
    for name, (data, text) in wrong.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(StorageError, match=f"{name}: cannot be repaired: expected.*{text}"):
            repair_file(tmp_path / name)
        assert (tmp_path / name).read_bytes() == data


async def test_the_end_of_a_chunk_that_was_never_written_is_part_of_the_file(tmp_path):
    """A copy of a file that is being written is what a killed writer leaves."""
    sink = Hdf5Sink()
    name = await sink.open(run_file(tmp_path, channels=(Channel("I0"),), axes={}))
    block = Block(0, np.arange(10), np.ones(10), {"I0": np.arange(10.0)})
    await sink.append(Frames(0, 0, np.arange(10), np.zeros(10, np.int64), block))
    await sink.flush()
    copy = str(tmp_path / "copy.h5")
    shutil.copy(name, copy)
    await sink.close()
    assert repair_file(copy).frames == 10
    with h5py.File(copy, "r") as file:
        np.testing.assert_array_equal(file["entry/data/I0"], np.arange(10.0))
        chunk = file["entry/data/I0"].id.get_chunk_info(0)
        assert chunk.byte_offset + chunk.size <= file.id.get_filesize()
