"""What a sink writes is what a plain reader finds."""

from __future__ import annotations

import asyncio
import json
import threading
from datetime import datetime
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flyscan.errors import StorageError
from flyscan.flight import Block, Channel, Frames, LedgerRow, Sink
from flyscan.storage import Hdf5Sink, check_file, read_ledger, read_paths
from flyscan.storage._appendable import Appendable
from flyscan.storage._file import RunFileWriter
from tests.storage.runs import (
    EPOCH_NS,
    expected,
    fly,
    frames,
    ledger_row,
    run_file,
    snake,
)


def contents(name: str) -> dict[str, np.ndarray]:
    """Every per-frame column, read by a plain reader."""
    with h5py.File(name, "r") as file:
        return {key: column[()] for key, column in file["/entry/data"].items()}


async def test_a_complete_file_reads_back_equal(tmp_path):
    path = snake()
    name = await fly(tmp_path, path, flights=2)
    data = contents(name)
    number = np.arange(2 * path.points)
    for column in ("time", "exposure", "x_min", "x", "Fe", "mca", "ring", "y_setpoint"):
        np.testing.assert_allclose(data[column], expected(column, number), rtol=1e-12)
    assert data["Fe"].dtype == "<i4"
    assert data["mca"].dtype == "<u2"
    np.testing.assert_array_equal(data["point"], number % path.points)
    np.testing.assert_array_equal(data["flight"], number // path.points)
    np.testing.assert_array_equal(data["segment"], number % path.points // 10)
    assert (data["keep"] == 1).all()
    with h5py.File(name, "r") as file:
        assert read_paths(file) == {0: path.to_dict(), 1: path.to_dict()}
        rows = read_ledger(file)
    assert [(r.flight, r.segment) for r in rows] == [(f, s) for f in (0, 1) for s in range(3)]
    assert all(row.closes for row in rows)
    assert rows[0].phases == {"line": 0.01, "turnaround": 0.002, "reconfiguration": 0, "waiting": 0}


async def test_the_file_is_laid_out_as_nexus_prescribes(tmp_path):
    name = await fly(tmp_path, snake())
    with h5py.File(name, "r") as file:
        classes = {
            key: item.attrs["NX_class"] for key, item in file["entry"].items() if is_group(item)
        }
        entry, data = file["entry"], file["entry/data"]
        assert file.attrs["NX_class"] == "NXroot"
        assert entry.attrs["NX_class"] == "NXentry"
        assert (file.attrs["default"], entry.attrs["default"]) == ("entry", "data")
        assert classes == {
            "data": "NXdata",
            "ledger": "NXcollection",
            "monitors": "NXcollection",
            "paths": "NXcollection",
            "tuning": "NXcollection",
            "start": "NXnote",
        }
        assert "definition" not in entry
        assert entry["title"][()] == b"fly"
        assert entry["program_name"][()] == b"flyscan"
        assert entry["entry_identifier"][()] == b"0123-4567"
        assert json.loads(entry["start/data"][()])["num"] == 3
        assert entry["start_time"][()] == b"2023-11-14T22:13:20.123456789+00:00"
        begin, end = (
            datetime.fromisoformat(entry[k][()].decode()) for k in ("start_time", "end_time")
        )
        assert (end - begin).total_seconds() == pytest.approx(0.029)
        assert data.attrs["signal"] == "Fe"
        assert list(data.attrs["auxiliary_signals"]) == ["ring"]
        assert list(data.attrs["axes"]) == ["time"]
        assert {k for k in data.attrs if k.endswith("_indices")} == {
            "time_indices",
            "x_indices",
            "y_setpoint_indices",
        }
        lengths = {len(column) for column in data.values()}
        assert lengths == {len(data[data.attrs["signal"]])}
        assert data["x"].attrs["units"] == "um"
        assert data["x"].attrs["long_name"] == "x (um)"
        assert data["time"].attrs["units"] == "s"
        assert data["time"].attrs["start"] == "2023-11-14T22:13:20.123456789+00:00"
        assert data["time"].attrs["epoch_ns"] == EPOCH_NS
        assert all("long_name" in column.attrs for column in data.values())


def is_group(item: Any) -> bool:
    return isinstance(item, h5py.Group)


async def test_a_line_is_plotted_against_its_axis(tmp_path):
    sink = Hdf5Sink()
    name = await sink.open(run_file(tmp_path, axes={"x": "um"}))
    await sink.close()
    with h5py.File(name, "r") as file:
        assert list(file["entry/data"].attrs["axes"]) == ["x"]


async def test_monitors_are_logs_with_their_own_times(tmp_path):
    sink = Hdf5Sink()
    name = await sink.open(run_file(tmp_path, monitors={"SR:CURRENT": "mA"}))
    await sink.add_monitor("SR:CURRENT", EPOCH_NS + np.array([0, 10**9]), np.array([299.5, 299.0]))
    await sink.add_monitor("SR:CURRENT", EPOCH_NS + np.array([3 * 10**9]), np.array([np.nan]))
    await sink.close()
    with h5py.File(name, "r") as file:
        log = file["entry/monitors/SR_CURRENT"]
        assert log.attrs["NX_class"] == "NXlog"
        np.testing.assert_array_equal(log["time"], [0.0, 1.0, 3.0])
        np.testing.assert_array_equal(log["value"], [299.5, 299.0, np.nan])
        assert log["value"].attrs["units"] == "mA"
        assert log["time"].attrs["start"] == "2023-11-14T22:13:20.123456789+00:00"


async def test_axes_that_a_flight_does_not_move_have_no_setpoint(tmp_path):
    path = snake()
    sink = Hdf5Sink()
    name = await sink.open(run_file(tmp_path, axes={"x": "um", "y": "um", "z": "mm"}))
    await sink.append(frames(0, range(4), path))
    await sink.close()
    data = contents(name)
    assert np.isnan(data["z_setpoint"]).all()
    np.testing.assert_array_equal(data["y_setpoint"], [0, 2, 4, 6])


@st.composite
def schedules(draw: st.DrawFn) -> list[Any]:
    """Splits of a run into appends, with flushes and re-flown points in between."""
    sizes = draw(st.lists(st.integers(0, 9), min_size=1, max_size=8))
    steps: list[Any] = []
    total = 0
    for size in sizes:
        steps.append(("append", size))
        total += size
        if draw(st.booleans()):
            steps.append(("flush", None))
        if total and draw(st.booleans()):
            picked = draw(st.lists(st.integers(0, total - 1), unique=True, max_size=5))
            steps.append(("supersede", picked))
    return steps


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(schedule=schedules(), batch=st.sampled_from([1, 300, 1 << 20]))
def test_any_split_gives_the_same_file(tmp_path_factory, schedule, batch):
    path = snake(10, 10)
    directory = tmp_path_factory.mktemp("split")

    async def write() -> tuple[str, int]:
        sink = Hdf5Sink(batch_bytes=batch)
        name = await sink.open(run_file(directory))
        count = 0
        for step, argument in schedule:
            if step == "append":
                await sink.append(frames(count, range(count, count + argument), path))
                count += argument
            elif step == "supersede":
                await sink.supersede(np.array(argument, np.int64))
            else:
                assert await sink.flush() == count == sink.flushed
        await sink.close()
        assert sink.flushed == count
        return name, count

    name, count = asyncio.run(write())
    data = contents(name)
    number = np.arange(count)
    dropped = sorted({f for step, argument in schedule if step == "supersede" for f in argument})
    np.testing.assert_array_equal(np.flatnonzero(data["keep"] == 0), dropped)
    for column in ("time", "exposure", "x", "Fe", "mca", "y_setpoint"):
        np.testing.assert_allclose(data[column], expected(column, number), rtol=1e-12)
    np.testing.assert_array_equal(data["point"], number)


async def test_marks_are_cleared_across_chunks(tmp_path):
    path = snake(40, 1000)
    sink = Hdf5Sink()
    name = await sink.open(run_file(tmp_path))
    for first in range(0, path.points, 8000):
        await sink.append(frames(first, range(first, first + 8000), path))
    dropped = np.array([0, 16383, 16384, 20000, 39999])
    await sink.supersede(dropped[::-1])
    await sink.close()
    np.testing.assert_array_equal(np.flatnonzero(contents(name)["keep"] == 0), dropped)


async def test_frames_become_readable_without_being_asked(tmp_path, monkeypatch):
    flush, loop, flushed = RunFileWriter.flush, asyncio.get_running_loop(), asyncio.Event()

    def noted(self: RunFileWriter) -> None:
        flush(self)
        loop.call_soon_threadsafe(flushed.set)

    monkeypatch.setattr(RunFileWriter, "flush", noted)
    sink = Hdf5Sink(flush_interval=0.01)
    name = await sink.open(run_file(tmp_path))
    await sink.append(frames(0, range(5), snake()))
    async with asyncio.timeout(10):
        await flushed.wait()
    assert sink.flushed == 5
    with h5py.File(name, "r", swmr=True) as file:
        assert len(file["entry/data/keep"]) == 5
    await sink.close()


async def test_what_was_flushed_when_asked_is_not_flushed_once_more(tmp_path, monkeypatch):
    flush, flushes = RunFileWriter.flush, []

    def noted(self: RunFileWriter) -> None:
        flush(self)
        flushes.append(self.flushed)

    sink = Hdf5Sink(flush_interval=0.01)
    await sink.open(run_file(tmp_path))
    monkeypatch.setattr(RunFileWriter, "flush", noted)
    await sink.append(frames(0, range(5), snake()))
    assert await sink.flush() == 5
    await asyncio.sleep(0.05)
    assert flushes == [5]
    await sink.close()


async def test_append_waits_while_the_disk_is_slow(tmp_path, monkeypatch):
    gate = threading.Event()
    append = RunFileWriter._append
    monkeypatch.setattr(RunFileWriter, "_append", lambda s, b: gate.wait(10) and append(s, b))
    path = snake(10, 100)
    sink = Hdf5Sink(batch_bytes=1000, queue_bytes=20_000)
    await sink.open(run_file(tmp_path))
    done = 0
    row_bytes = sink._layout.row_bytes

    async def feed() -> None:
        nonlocal done
        for first in range(0, 1000, 100):
            await sink.append(frames(first, range(first, first + 100), path))
            done = first + 100

    feeding = asyncio.create_task(feed())
    await asyncio.sleep(0.1)
    assert not feeding.done()
    assert 20_000 - 100 * row_bytes < done * row_bytes <= 20_000
    gate.set()
    await feeding
    assert await sink.flush() == 1000
    await sink.close()


async def test_a_disk_that_hangs_is_reported(tmp_path, monkeypatch):
    gate = threading.Event()
    sink = Hdf5Sink()
    await sink.open(run_file(tmp_path))
    with monkeypatch.context() as patch:  # opening and closing may take their time
        patch.setattr(RunFileWriter, "flush", lambda _: gate.wait(60))
        patch.setattr(sink._spool, "_patience", 0.05)
        match = r"run\.h5: expected the disk to take.*0\.05 s.*network"
        with pytest.raises(StorageError, match=match):
            await sink.flush()
    gate.set()
    await sink.close()


async def test_sink_keeps_the_contract():
    sink: Sink = Hdf5Sink()
    with pytest.raises(StorageError, match="no file is open"):
        await sink.flush()
    await sink.close()
    await sink.close()


async def test_closing_twice_is_harmless_and_nothing_works_after_it(tmp_path):
    sink = Hdf5Sink()
    await sink.open(run_file(tmp_path))
    await asyncio.gather(sink.close(), sink.close())
    with pytest.raises(StorageError, match="no file is open"):
        await sink.append(frames(0, range(3), snake()))
    with pytest.raises(StorageError, match="one file"):
        await sink.open(run_file(tmp_path, "other"))


# --- bad input -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"directory": "/nonexistent/dir"}, "is not an existing directory.*create it"),
        ({"directory": "/proc"}, "cannot be created.*choose another directory|check the path"),
        ({"filename": "a/b"}, "'a/b' is not a file name"),
        ({"filename": ""}, "'' is not a file name"),
        ({"channels": (Channel("exposure"),)}, "several columns would be called exposure"),
        ({"channels": (Channel("a-b"), Channel("a_b"))}, "several columns would be called a_b"),
        ({"start": {"plan": object()}}, "cannot be created.*not JSON serializable"),
    ],
)
async def test_open_says_why_it_cannot(tmp_path, changes, text):
    sink = Hdf5Sink()
    with pytest.raises(StorageError, match=text):
        await sink.open(run_file(**{"directory": str(tmp_path), **changes}))
    await sink.close()
    assert list(tmp_path.iterdir()) == []


async def test_a_data_file_is_never_overwritten(tmp_path):
    name = await fly(tmp_path, snake())
    before = contents(name)
    sink = Hdf5Sink()
    with pytest.raises(StorageError, match=r"File exists.*choose another file name"):
        await sink.open(run_file(tmp_path))
    await sink.close()
    np.testing.assert_array_equal(contents(name)["x"], before["x"])


async def test_wrong_frames_are_refused(tmp_path):
    path = snake()
    sink = Hdf5Sink()
    await sink.open(run_file(tmp_path))
    await sink.append(frames(0, range(5), path))
    with pytest.raises(StorageError, match="expected frame 5 next, got frame 6"):
        await sink.append(frames(6, range(6, 9), path))
    good = frames(5, range(5, 9), path)

    def changed(columns: dict[str, Any], setpoints: dict[str, Any] | None = None) -> Frames:
        block = Block(0, good.block.time_ns, good.block.exposure, columns)
        points = good.setpoints if setpoints is None else setpoints
        return Frames(5, 0, good.point, good.segment, block, points)

    columns = dict(good.block.columns)
    with pytest.raises(StorageError, match="expected channels Fe, mca, ring, x, x_min; came Fe"):
        await sink.append(changed({"Fe": columns["Fe"]}))
    with pytest.raises(StorageError, match=r"expected rows of 'mca' \(4,\); came \(3,\)"):
        await sink.append(changed({**columns, "mca": columns["mca"][:, :3]}))
    with pytest.raises(StorageError, match="expected set-points of y; came q"):
        await sink.append(changed(columns, {"q": np.zeros(4)}))
    with pytest.raises(StorageError, match="cannot supersede frames 3 to 5, there are 5"):
        await sink.supersede(np.array([3, 5]))
    with pytest.raises(StorageError, match="no place for monitor 'beam', only for: ring"):
        await sink.add_monitor("beam", np.array([1]), np.array([1.0]))
    with pytest.raises(StorageError, match="no column for the phase nap"):
        await sink.add_ledger(LedgerRow(0, 0, 1, 1, 1, 1, phases={"nap": 1.0}))
    await sink.append(good)
    assert await sink.flush() == 9
    await sink.close()


# --- failures in flight --------------------------------------------------------------------


async def test_values_that_do_not_fit_fail_the_run_and_keep_what_was_there(tmp_path):
    path = snake()
    sink = Hdf5Sink()
    name = await sink.open(run_file(tmp_path))
    await sink.append(frames(0, range(5), path))
    await sink.flush()
    bad = frames(5, range(5, 9), path)
    bad.block.columns["Fe"] = np.full(4, 0.5)  # type: ignore[index]
    await sink.append(bad)
    with pytest.raises(StorageError, match="cannot be written beyond frame 5: Cannot cast"):
        await sink.flush()
    with pytest.raises(StorageError, match="beyond frame 5"):
        await sink.append(frames(9, range(9, 12), path))
    await sink.close()
    assert {len(column) for column in contents(name).values()} == {5}


async def test_a_deleted_file_is_noticed(tmp_path):
    sink = Hdf5Sink()
    name = await sink.open(run_file(tmp_path))
    await sink.append(frames(0, range(5), snake()))
    await sink.flush()
    (tmp_path / "run.h5").unlink()
    await sink.append(frames(5, range(5, 9), snake()))
    with pytest.raises(StorageError, match=r"deleted, moved or replaced after frame 5.*leave data"):
        await sink.flush()
    assert sink.flushed == 5
    await sink.close()
    assert name == str(tmp_path / "run.h5")


async def test_what_failed_is_stored_at_the_end_if_there_is_space_again(tmp_path, monkeypatch):
    path = snake()
    append = RunFileWriter._append
    full = True

    def failing(self: RunFileWriter, batch: Any) -> None:
        if full:
            raise OSError(28, "No space left on device")
        append(self, batch)

    monkeypatch.setattr(RunFileWriter, "_append", failing)
    sink = Hdf5Sink()
    name = await sink.open(run_file(tmp_path))
    await sink.begin_flight(0, path.to_dict())
    await sink.append(frames(0, range(path.points), path))
    for segment in range(path.segment_count):
        await sink.add_ledger(ledger_row(path, segment))
    with pytest.raises(StorageError, match=r"No space left on device \(ENOSPC\).*free space"):
        await sink.flush()
    full = False
    await sink.close()
    assert sink.flushed == path.points
    assert check_file(name).ok


async def test_closing_tells_of_a_failure_nobody_has_heard_of(tmp_path, monkeypatch):
    def failing(*_: object) -> None:
        raise OSError(28, "No space left on device")

    sink = Hdf5Sink()
    await sink.open(run_file(tmp_path))
    await sink.append(frames(0, range(5), snake()))
    monkeypatch.setattr(RunFileWriter, "_append", failing)
    with pytest.raises(StorageError, match="No space left"):
        await sink.close()


async def test_channel_names_are_made_fit_for_nexus(tmp_path):
    sink = Hdf5Sink()
    channel = Channel("det-1 sum", "<f8")
    name = await sink.open(run_file(tmp_path, channels=(channel,), axes={}))
    await sink.close()
    with h5py.File(name, "r") as file:
        assert file["entry/data/det_1_sum"].attrs["long_name"] == "det-1 sum"


async def test_what_is_the_same_for_all_rows_takes_no_space(tmp_path):
    path = snake(2, 1000)
    sink = Hdf5Sink()
    name = await sink.open(run_file(tmp_path, axes={"y": "um", "x": "um", "z": "um"}))
    await sink.append(frames(0, range(500), path))
    await sink.flush()
    with h5py.File(name, "r", swmr=True) as file:
        data = file["entry/data"]
        stored = {key: column.id.get_storage_size() for key, column in data.items()}
        assert {key for key, size in stored.items() if size == 0} == {
            "flight",
            "keep",
            "z_setpoint",
        }
        assert (data["keep"][()] == 1).all()
    await sink.append(frames(500, range(500, 600), path, flight=2))
    await sink.supersede(np.array([3, 550]))
    await sink.append(frames(600, range(100), path, flight=2))
    await sink.close()
    data = contents(name)
    np.testing.assert_array_equal(data["flight"], np.repeat([0, 2], [500, 200]))
    np.testing.assert_array_equal(np.flatnonzero(data["keep"] != 1), [3, 550])
    assert np.isnan(data["z_setpoint"]).all()


async def test_frames_written_before_a_failure_are_readable_at_once(tmp_path, monkeypatch):
    path = snake()
    append = RunFileWriter._append

    def failing(self: RunFileWriter, batch: Any) -> None:
        if self.rows:
            raise OSError(28, "No space left on device")
        append(self, batch)

    monkeypatch.setattr(RunFileWriter, "_append", failing)
    sink = Hdf5Sink(batch_bytes=1, flush_interval=60.0)
    name = await sink.open(run_file(tmp_path))
    with pytest.raises(StorageError, match="beyond frame 5: No space left"):  # noqa: PT012
        for first in range(0, 30, 5):
            await sink.append(frames(first, range(first, first + 5), path))
            await asyncio.sleep(0.01)
    assert sink.flushed == 5
    with h5py.File(name, "r", swmr=True) as file:
        assert len(file["entry/data/keep"]) == 5
    await sink.close()


async def test_complete_frames_are_shown_last(tmp_path, monkeypatch):
    """So the length of `keep` is a number of complete frames for whoever looks meanwhile."""
    flush, order = Appendable.flush, []

    def noted(self: Appendable) -> None:
        order.append(self._dataset.name)
        flush(self)

    monkeypatch.setattr(Appendable, "flush", noted)
    sink = Hdf5Sink()
    await sink.open(run_file(tmp_path))
    await sink.append(frames(0, range(5), snake()))
    await sink.flush()
    assert order[-1] == "/entry/data/keep"
    assert order.index("/entry/paths/json") < order.index("/entry/paths/flight")
    assert order.index("/entry/ledger/missing") < order.index("/entry/ledger/rows")
    await sink.close()


async def test_nothing_is_left_to_happen_after_closing(tmp_path):
    problems: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
    sink = Hdf5Sink(flush_interval=0.01)
    await sink.open(run_file(tmp_path))
    await sink.append(frames(0, range(5), snake()))
    await sink.close()
    await asyncio.sleep(0.03)
    assert problems == []
