"""Files of runs that decisions may steer: facts of rows, marks, and the record."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flyscan.errors import StorageError
from flyscan.flight import Channel, RunFile, Sink
from flyscan.storage import (
    Hdf5Sink,
    channel_columns,
    open_run,
    read_tuning,
    records_by_flight,
    stream_resources,
)
from flyscan.storage._file import RunFileWriter
from flyscan.testing import MemorySink
from tests.storage.documents import compose
from tests.storage.runs import fly, frames, run_file, snake
from tests.storage.tuned import FACTS, PATH, decided, fact, record, steered, tuned_frames


def columns(name: str) -> dict[str, np.ndarray]:
    with open_run(name) as file:
        return {key: column[()] for key, column in file["/entry/data"].items()}


def records(name: str) -> list[dict[str, Any]]:
    with open_run(name) as file:
        return read_tuning(file)


async def test_facts_and_marks_are_columns_of_tuned_runs_only(tmp_path):
    found = columns(await steered(tmp_path))
    number = np.arange(32)
    for name in ("start", "stop", "dwell", "i0", "pass"):
        np.testing.assert_array_equal(found[name], fact(name, number))
    assert np.flatnonzero(found["used"] == 0).tolist() == [3, 4]
    assert found["keep"].all()
    plain = await fly(tmp_path, snake(), filename="plain")
    assert not set(FACTS) & columns(plain).keys()
    assert records(plain) == []


async def test_frames_without_facts_get_defaults(tmp_path):
    sink = Hdf5Sink()
    name = await sink.open(run_file(tmp_path, tuned=True))
    await sink.append(frames(0, range(4), PATH))
    await sink.append(tuned_frames(4, range(4, 6)))
    await sink.append(frames(6, range(6, 8), PATH))
    await sink.close()
    found = columns(name)
    for column in ("start", "stop", "dwell", "i0"):
        assert np.isnan(found[column]).tolist() == [True] * 4 + [False] * 2 + [True] * 2
    assert found["pass"].tolist() == [0] * 4 + [1, 2] + [0] * 2
    assert found["used"].tolist() == [1] * 8


async def test_superseded_frames_are_not_used_and_flagged_ones_are_kept(tmp_path):
    sink = Hdf5Sink()
    name = await sink.open(run_file(tmp_path, tuned=True))
    await sink.append(tuned_frames(0, range(10)))
    await sink.supersede(np.array([7, 2]))
    await sink.flag(np.array([5]))
    await sink.flag(np.array([], np.int64))
    await sink.close()
    found = columns(name)
    assert np.flatnonzero(found["keep"] == 0).tolist() == [2, 7]
    assert np.flatnonzero(found["used"] == 0).tolist() == [2, 5, 7]


async def test_tuned_files_stay_as_nexus_prescribes(tmp_path):
    name = await steered(tmp_path)
    with h5py.File(name, "r") as file:
        data = file["entry/data"]
        assert file["entry/tuning"].attrs["NX_class"] == "NXcollection"
        assert data.attrs["signal"] == "Fe"
        assert list(data.attrs["auxiliary_signals"]) == ["ring"]
        assert {len(column) for column in data.values()} == {32}
        assert all("long_name" in column.attrs for column in data.values())
        assert (data["start"].attrs["units"], data["dwell"].attrs["units"]) == ("um", "s")
        assert data["x"].attrs["axis"] == "x"
        text = file["entry/tuning/json"][()].tobytes().decode()
    assert [json.loads(line)["event"] for line in text.splitlines()][:2] == ["started", "told"]


async def test_channels_keep_their_names(tmp_path):
    sink = Hdf5Sink()
    name = await sink.open(run_file(tmp_path, channels=(Channel("SR:CURRENT"),)))
    await sink.close()
    with open_run(name) as file:
        found = channel_columns(file)
        assert {key: column.name for key, column in found.items()} == {
            "SR:CURRENT": "/entry/data/SR_CURRENT"
        }


async def test_documents_describe_the_facts(tmp_path):
    run = run_file(tmp_path, tuned=True)
    name = await steered(tmp_path)
    described = {resource.data_key for resource in stream_resources(run)}
    assert described == set(columns(name)) - {"keep", "time"} | {"frame_time"}
    kinds = {r.data_key: r.dtype for r in stream_resources(run, FACTS)}
    assert kinds == dict.fromkeys(FACTS[:4], "number") | dict.fromkeys(FACTS[4:], "integer")
    assert len(compose(run, name, [(0, 32)])) > 0


async def test_records_come_back_in_order_and_by_flight(tmp_path):
    sink = Hdf5Sink()
    name = await sink.open(run_file(tmp_path, tuned=True))
    sent = [
        record("started", time=0.1),
        record("asked", now={"position": 1 / 3, "velocity": float("nan"), "text": "µm\n"}),
        {"event": "started", "flight": 1},
        record("ended", summary={"rows": [1, 2.5, None, True]}),
    ]
    for one in sent:
        await sink.add_tuning(one)
    await sink.close()
    found = records(name)
    assert np.isnan(found[1]["now"].pop("velocity"))
    sent[1]["now"].pop("velocity")
    assert found == sent
    assert records_by_flight(found) == {0: [sent[0], sent[1], sent[3]], 1: [sent[2]]}


async def test_records_can_be_read_while_the_run_goes_on(tmp_path):
    sink = Hdf5Sink(flush_interval=60)
    name = await sink.open(run_file(tmp_path, tuned=True))
    await sink.add_tuning(decided(0))
    assert records(name) == []
    await sink.flush()
    assert records(name) == [decided(0)]
    await sink.add_tuning(decided(1))
    await sink.close()
    assert records(name) == [decided(0), decided(1)]


async def test_records_wait_no_longer_than_frames_for_being_readable(tmp_path, monkeypatch):
    flush, loop, flushed = RunFileWriter.flush, asyncio.get_running_loop(), asyncio.Event()

    def noted(self: RunFileWriter) -> None:
        flush(self)
        loop.call_soon_threadsafe(flushed.set)

    monkeypatch.setattr(RunFileWriter, "flush", noted)
    sink = Hdf5Sink(flush_interval=0.01)
    name = await sink.open(run_file(tmp_path, tuned=True))
    await sink.add_tuning(decided(0))
    async with asyncio.timeout(10):
        await flushed.wait()
    assert records(name) == [decided(0)]
    await sink.close()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 6)),
        st.tuples(st.just("record"), st.integers(0, 40)),
        st.tuples(st.just("flag"), st.integers(0, 5)),
        st.tuples(st.just("flush"), st.just(0)),
    ),
    max_size=25,
)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=STEPS, batch=st.sampled_from([1, 300, 1 << 20]))
def test_any_order_of_frames_and_records_gives_the_same_file(tmp_path_factory, steps, batch):
    path = snake(10, 20)

    async def write() -> tuple[str, int, list[dict[str, Any]], set[int]]:
        sink = Hdf5Sink(batch_bytes=batch)
        name = await sink.open(run_file(tmp_path_factory.mktemp("tuned"), tuned=True))
        count, sent, flagged = 0, list[dict[str, Any]](), set[int]()
        for step, size in steps:
            if step == "append":
                await sink.append(tuned_frames(count, range(count, count + size), path))
                count += size
            elif step == "record":
                sent.append(record("asked", number=len(sent), text="x" * size))
                await sink.add_tuning(sent[-1])
            elif step == "flag" and size < count:
                await sink.flag(np.array([size]))
                flagged.add(size)
            else:
                assert await sink.flush() == count
                assert records(name) == sent
        await sink.close()
        return name, count, sent, flagged

    name, count, sent, flagged = asyncio.run(write())
    found = columns(name)
    assert {len(column) for column in found.values()} == {count}
    assert records(name) == sent
    assert set(np.flatnonzero(found["used"] == 0).tolist()) == flagged
    np.testing.assert_array_equal(found["start"], fact("start", np.arange(count)))


async def test_what_failed_is_stored_once_if_there_is_space_again(tmp_path, monkeypatch):
    append = RunFileWriter._append
    full = True

    def failing(self: RunFileWriter, batch: Any) -> None:
        if full:
            raise OSError(28, "No space left on device")
        append(self, batch)

    monkeypatch.setattr(RunFileWriter, "_append", failing)
    sink = Hdf5Sink()
    name = await sink.open(run_file(tmp_path, tuned=True))
    await sink.add_tuning(decided(0))
    await sink.append(tuned_frames(0, range(5)))
    await sink.add_tuning(decided(1))
    with pytest.raises(StorageError, match="No space left"):
        await sink.flush()
    assert records(name) == []
    full = False
    await sink.close()
    assert records(name) == [decided(0), decided(1)]
    assert len(columns(name)["keep"]) == 5


# --- bad input -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "text"),
    [
        ({"event": "asked", "flight": 0, "now": object()}, "not JSON serializable.*plain numbers"),
        ({"event": "asked", "flight": 0, "now": np.int64(3)}, "int64 is not JSON.*plain numbers"),
        ({"flight": 0}, "without event or flight"),
        ({"event": "asked"}, "without event or flight"),
    ],
)
async def test_records_that_nobody_could_read_are_refused(tmp_path, one, text):
    sink = Hdf5Sink()
    name = await sink.open(run_file(tmp_path, tuned=True))
    with pytest.raises(StorageError, match=text):
        await sink.add_tuning(one)
    await sink.add_tuning(decided(0))
    await sink.close()
    assert records(name) == [decided(0)]


@pytest.mark.parametrize("make", [Hdf5Sink, MemorySink])
async def test_runs_that_nobody_steers_take_no_decisions(tmp_path, make):
    sink: Sink = make()
    await sink.open(run_file(tmp_path))
    with pytest.raises(StorageError, match="opened"):
        await sink.add_tuning(decided(0))
    with pytest.raises(StorageError, match="opened"):
        await sink.flag(np.array([0]))
    await sink.close()


async def test_facts_that_do_not_fit_are_refused(tmp_path):
    plain, tuned = Hdf5Sink(), Hdf5Sink()
    await plain.open(run_file(tmp_path, "plain"))
    with pytest.raises(StorageError, match="expected facts of rows none; came start, stop"):
        await plain.append(tuned_frames(0, range(5)))
    await plain.close()
    await tuned.open(run_file(tmp_path, "tuned", tuned=True))
    good = tuned_frames(0, range(5))
    short = replace(good, facts=replace(good.facts, i0=np.ones(4)))  # type: ignore[type-var]
    with pytest.raises(StorageError, match=r"expected 'i0' of shape \(5,\); came \(4,\)"):
        await tuned.append(short)
    await tuned.append(good)
    with pytest.raises(StorageError, match="cannot flag frames 3 to 5, there are 5"):
        await tuned.flag(np.array([3, 5]))
    await tuned.close()


async def test_channels_may_not_have_the_names_of_facts(tmp_path):
    sink = Hdf5Sink()
    with pytest.raises(StorageError, match=r"called i0.*start, stop, dwell, i0, pass and used"):
        await sink.open(run_file(tmp_path, channels=(Channel("i0"),), tuned=True))
    await sink.open(run_file(tmp_path, channels=(Channel("i0"),)))
    await sink.close()


async def test_the_sink_in_memory_keeps_them_too():
    sink = MemorySink()
    await sink.open(RunFile("/", "run", (), {}, {}, 0, tuned=True))
    await sink.add_tuning(decided(0))
    await sink.flag(np.array([3, 4]))
    assert sink.tuning == [decided(0)]
    assert sink.flagged == {3, 4}
    with pytest.raises(TypeError, match="not JSON"):
        await sink.add_tuning(record("asked", now=object()))


def test_files_of_others_are_not_opened(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    for name, text in (("other.h5", "not written by flyscan"), ("no", "read: No such file")):
        with pytest.raises(StorageError, match=text), open_run(tmp_path / name):
            pass
