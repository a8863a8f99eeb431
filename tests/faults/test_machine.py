"""The computer's own troubles: the disk is full, a clock is set."""

from __future__ import annotations

import os
import re
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path as FilePath

import h5py
import numpy as np
import pytest

from flyscan.errors import StorageError
from flyscan.storage import Hdf5Sink, check_file
from tests.faults.nano import Station, snake, station


@contextmanager
def full_disk(beyond: int) -> Iterator[None]:
    """No file of this process may grow beyond some bytes: the kernel refuses writes (EFBIG)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (beyond, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_full_disk_is_named_and_what_was_flushed_is_readable(tmp_path: FilePath):
    async with station(tmp_path, sink=Hdf5Sink()) as st:
        path = snake(points=1000, lines=3)
        await st.kickoff(path)
        await st.when(lambda: any(e["event"] == "flushed" and e["frames"] for e in st.events))
        flushed = max(e["frames"] for e in st.events if e["event"] == "flushed")
        with full_disk(os.stat(st.file).st_size + 100):
            began = st.clock.now()
            error = await st.failure()
        assert st.clock.now() - began < 4.0
        assert isinstance(error, StorageError)
        assert re.fullmatch(
            re.escape(st.file)
            + r": cannot be written beyond frame \d+: File too large \(EFBIG\)\. "
            r"Remedy: the file may not grow further \(ulimit -f\): raise the limit",
            str(error),
        )
        st.check_told()
        await st.check_restored()
        await st.rig.close_run()  # there is space again: what was left is stored now
        report = check_file(st.file)
        assert report.frames >= flushed > 0
        with h5py.File(st.file) as file:
            points = file["entry/data/point"][()]
        assert points.tolist() == list(range(len(points)))


@pytest.mark.parametrize("space", [0, 1000, 100_000])
async def test_full_disk_before_the_flight_is_named_before_motion(tmp_path: FilePath, space: int):
    async with station(tmp_path, sink=Hdf5Sink()) as st:
        stood = st.at("x")
        with (
            full_disk(space),
            pytest.raises(StorageError, match=r"run\.h5: cannot be created: File too large"),
        ):
            await st.kickoff(snake())
        assert not [name for name in os.listdir(tmp_path) if name.endswith(".h5")]
        assert st.at("x") == pytest.approx(stood, abs=0.05)
        await st.check_rest()


# --- clocks ----------------------------------------------------------------------------------


def times(st: Station) -> np.ndarray:
    return np.asarray(st.sink.column("time_ns"))


@pytest.mark.parametrize("step", [7200.0, -7200.0])
async def test_the_computers_clock_is_set_in_flight(
    tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch, step: float
):
    """Nothing waits by the wall clock, and rows keep the time scale they began with."""
    async with station(tmp_path) as st:
        path = snake()
        await st.kickoff(path)
        await st.in_line()
        now, now_ns = time.time, time.time_ns
        monkeypatch.setattr(time, "time", lambda: now() + step)
        monkeypatch.setattr(time, "time_ns", lambda: now_ns() + round(step * 1e9))
        began = st.clock.now()
        await st.finish()
        assert st.clock.now() - began < 1.0
        await st.check_exact(path)
        assert np.diff(times(st)).min() > 0.9e6
        assert times(st)[-1] - times(st)[0] < 1e9


@pytest.mark.parametrize("step", [3600.0, -3600.0])
async def test_the_pandas_clock_is_set_in_flight(tmp_path: FilePath, step: float):
    async with station(tmp_path) as st:
        path = snake()
        await st.kickoff(path)
        await st.in_line()
        st.fault("clock_step", by=step, box="panda")
        st.fault("close_data", **{"for": 0.2})
        await st.finish()
        await st.check_exact(path)
        assert np.diff(times(st)).min() > 0.9e6
        assert times(st)[-1] - times(st)[0] < 1e9


@pytest.mark.parametrize("step", [3600.0, -1.7e9])
async def test_a_panda_with_a_wrong_clock_is_dated_by_ours(
    tmp_path: FilePath, step: float, caplog: pytest.LogCaptureFixture
):
    """A PandA without NTP lives in 1970; its rows would find no sample of any monitor."""
    async with station(tmp_path) as st:
        st.fault("clock_step", by=step, box="panda")
        path = snake()
        await st.prepare(path)
        began = st.clock.epoch_ns + round(st.clock.now() * 1e9)
        st.rig.kickoff()
        await st.finish()
        ended = st.clock.epoch_ns + round(st.clock.now() * 1e9)
        assert began < times(st)[0] < times(st)[-1] < ended
        assert f"the box's wall clock is {step:+.3f} s off" in caplog.text
        await st.check_exact(path)


async def test_the_pandas_clock_is_set_between_two_flights(tmp_path: FilePath):
    async with station(tmp_path) as st:
        path = snake(lines=1)
        await st.fly(path)
        st.fault("clock_step", by=-86400.0, box="panda")
        await st.fly(path)
        st.check_frames(path, flights=2)
        gap = times(st)[path.points] - times(st)[path.points - 1]
        assert 0 < gap < 5e9
