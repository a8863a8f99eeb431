"""What users of other fly-scan systems run into, sentence by sentence: here it does not happen."""

from __future__ import annotations

import asyncio
import errno
import time
from contextlib import suppress
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest
from bluesky import RunEngine
from ophyd_async.core import StaticPathProvider, UUIDFilenameProvider
from scanspec.specs import Fly, Linspace

from flyscan.devices import Flyer
from flyscan.errors import ControllerError, StorageError
from flyscan.flight import Flight, FlightOptions, ManualClock, Path, State
from flyscan.flight.host import InProcessHost
from flyscan.plans import fly_grid, fly_paths
from flyscan.storage._file import RunFileWriter
from flyscan.testing import MemoryBox, MemorySink
from tests.faults.nano import snake, station
from tests.plans.conftest import quick, stage
from tests.plans.rehearsal import Rehearsal

__all__ = ["quick", "stage"]  # fixtures

GRID = ("y", 1, 2, 3, "x", 1, 3, 5)
MAP = Fly(0.01 @ (Linspace("y", 0, 2, 3) * ~Linspace("x", 0, 4, 5)))


# --- pause and resume ------------------------------------------------------------------------


def test_pause_loses_the_partial_data(stage: Rehearsal) -> None:
    """It does not: what was captured before a pause is in file and documents during the pause."""
    stage.at(0.25, "pause")
    during: list[tuple[int, int]] = []

    def paused() -> None:
        during.append((stage.pilot.flushed, len(stage.box.capture._times)))

    stage.run(fly_grid(stage.nano, *GRID, period=0.02), paused=paused)
    ((flushed, triggered),) = during
    assert 0 < flushed == triggered < 15
    stage.check_complete(15)


def test_resume_runs_kickoff_again(stage: Rehearsal) -> None:
    """It does not, however often: one prepare, one kickoff, and one arm of the box."""
    for when in (0.2, 0.3, 0.4):
        stage.at(when, "pause")
    pauses: list[float] = []
    stage.run(
        fly_grid(stage.nano, *GRID, period=0.02),
        paused=lambda: pauses.append(stage.clock.now()),
    )
    assert len(pauses) == 3
    commands = [message.command for message in stage.messages]
    assert commands.count("kickoff") == commands.count("prepare") == 1
    stage.check_complete(15)


def test_inner_scans_after_a_resume_run_only_the_remaining_points(stage: Rehearsal) -> None:
    """They are whole: a pause in the first of three flights shortens none of the others."""
    stage.at(0.2, "pause")
    pauses: list[float] = []
    spec = Fly(Linspace("y", 1, 2, 3) * ~Linspace("x", 1, 3, 5))
    stage.run(
        fly_paths(stage.nano, [spec] * 3, period=0.02),
        paused=lambda: pauses.append(stage.clock.now()),
    )
    assert len(pauses) == 1
    stage.check_complete(15, flights=3)


# --- failures that go unnoticed --------------------------------------------------------------


def test_writer_failed_yet_the_scan_passed(
    stage: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fails, with the writer's own words, and documents claim no frame that is not on disk."""
    flush, flushes = RunFileWriter.flush, list[int]()

    def full(file: RunFileWriter) -> None:
        flushes.append(file.rows)
        if file.rows > 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        flush(file)

    monkeypatch.setattr(RunFileWriter, "flush", full)
    with pytest.raises(
        StorageError,
        match=r"cannot be written beyond frame \d: No space left on device.*Remedy: free",
    ):
        stage.run(fly_grid(stage.nano, *GRID, period=0.02))
    assert stage.exit_status == "fail"
    assert stage.described_frames() <= 5
    stage.check_rest()


@pytest.mark.parametrize("lost", [0, 57, 99, 100, 199])
async def test_dropped_frames_are_not_noticed(tmp_path: FilePath, lost: int) -> None:
    """They are, and taken again: wherever a trigger is lost, first and last of a line included."""
    async with station(tmp_path) as st:
        path = snake()
        st.fault("lost_trigger", at=lost)
        await st.fly(path)
        await st.check_exact(path)
        assert lost in [point for row in st.sink.ledger for point in row.lost]


async def test_a_capture_returned_the_previous_acquisitions_value(tmp_path: FilePath) -> None:
    """It does not, even when the flight before was stopped with its rows still in the box."""
    async with station(tmp_path) as st:
        await st.kickoff(snake(points=400))
        await st.in_line(50.0)
        cut = st.nano.world.faults.add("close_data")
        await st.in_line(55.0)
        await st.rig.stop()
        st.nano.world.faults.remove(cut)
        first = len(st.points)
        assert 0 < first < 400

        began = st.clock.epoch_ns + round(st.clock.now() * 1e9)
        path = Path.from_spec(Fly(Linspace("x", 70.0, 74.95, 100)), period=0.001)
        await st.fly(path)
        assert st.points[first:] == list(range(100))
        assert np.asarray(st.sink.column("time_ns"))[first:].min() > began
        x = np.asarray(st.sink.column("x"))[first:]
        np.testing.assert_allclose(x, path.setpoints(0, 100)["x"], atol=0.025)
        await st.check_restored()


# --- order of things -------------------------------------------------------------------------


async def test_first_trigger_fired_while_another_axis_was_still_moving(tmp_path: FilePath) -> None:
    """It waits: here the other axis takes ten times as long for its step as the line's own."""
    axes = {
        "x": {"id": "1", "acceleration": 5e4, "settle": 0.01},
        "y": {"id": "2", "acceleration": 5e4, "settle": 0.01, "velocity": 5.0},
    }
    async with station(tmp_path, gcs={"axes": axes}) as st:
        path = snake(points=20, lines=4)
        await st.fly(path)
        st.check_frames(path)
        rows = (np.asarray(st.sink.column("time_ns")) - st.clock.epoch_ns) / 1e9
        y = st.nano.world.axes["y"]
        assert not np.any(y.velocity(rows))
        assert np.diff(rows)[19::20].min() > 0.2  # 1 um at 5 um/s
        assert np.abs(y.position(rows) - path.setpoints(0, path.points)["y"]).max() < 0.03


@pytest.mark.parametrize("late", [0.0, 0.5])
async def test_the_detector_misses_the_first_point(tmp_path: FilePath, late: float) -> None:
    """It does not, of no line in no direction, even if the box arms late."""
    async with station(tmp_path) as st:
        path = snake(points=20, lines=4)
        if late:
            st.fault("late_arm", delay=late)
        await st.fly(path)
        st.check_frames(path)
        first = slice(0, None, 20)
        x = np.asarray(st.sink.column("x"))[first]
        np.testing.assert_allclose(x, path.setpoints(0, path.points)["x"][first], atol=0.02)
        assert (np.asarray(st.sink.column("I0"))[first] > 0).all()


@pytest.mark.parametrize("trigger", ["pcomp", "seq"])
@pytest.mark.parametrize("delay", [0.0, 0.001, 0.03])
async def test_a_faster_cpu_broke_a_buffer_switch(
    tmp_path: FilePath, trigger: str, delay: float
) -> None:
    """Set-points are the same however fast both sides are: every step waits for its answer."""
    async with station(tmp_path, panda={"trigger": trigger}) as st:
        st.nano.gcs.latency = delay
        if delay:
            st.fault("slow_replies", box="panda", delay=delay)
        path = snake(points=20, lines=4)
        await st.kickoff(path)
        await st.rig.hold("switch back")
        st.rig.release("switch back")
        await st.finish()
        st.check_frames(path)


# --- nothing hangs, nothing keeps moving -----------------------------------------------------


def test_ctrl_c_is_ignored_and_velocity_not_restored(stage: Rehearsal) -> None:
    """Ctrl-C brings the stage to rest, and aborting from there puts everything back."""
    stage.at(0.6, "ctrl_c")  # in the middle of the line
    speeds: list[float] = []

    def paused() -> None:
        speeds.append(stage.box.motion.settings["x"])
        with suppress(Exception):  # the RunEngine reports its abort in several ways
            stage.RE.abort("enough")

    stage.run(fly_grid(stage.nano, "x", 0, 49, 50, period=0.02), paused=paused)
    assert speeds == [pytest.approx(50.0)]  # there was something to put back
    assert 5 < stage.check_partial(prefix=False) < 45  # at rest, restored, nothing pending
    assert stage.exit_status == "abort"


STEPS = [
    ("motion", "check"),
    ("capture", "check"),
    ("motion", "save"),
    ("capture", "save"),
    ("sink", "begin_flight"),
    ("capture", "arm"),
    ("motion", "prepare"),
    ("capture", "begin"),
    ("motion", "start"),
    ("motion", "join"),
    ("capture", "end"),
    ("sink", "append"),
    ("sink", "flush"),
    ("capture", "disarm"),
]


@pytest.mark.parametrize(("part", "step"), STEPS)
async def test_a_failed_build_append_or_execute_hangs_until_time_out(part: str, step: str) -> None:
    """It ends the flight within two block periods of failing, with its own error."""
    clock = ManualClock()
    box, sink = MemoryBox(clock=clock, block_period=0.02), MemorySink()
    failed: list[float] = []

    async def refuse(*args: Any, **kwargs: Any) -> Any:
        failed.append(clock.now())
        raise ControllerError("refused", device=f"{part}.{step}", remedy="do it right")

    target = {"motion": box.motion, "capture": box.capture, "sink": sink}[part]
    setattr(target, step, refuse)
    options = FlightOptions(flush_period=0.05)
    path = Path.from_spec(MAP)
    flight = Flight(box.motion, box.capture, sink, clock, path, lambda e: None, options=options)

    async def fly() -> None:
        await flight.prepare()
        flight.kickoff()
        await flight.wait()

    with pytest.raises(ControllerError) as caught:
        await clock.run(fly())
    assert str(caught.value) == f"{part}.{step}: refused. Remedy: do it right"
    assert clock.now() - failed[0] < 2 * 0.02 + 0.1  # and the time the stage takes to stop
    assert flight.state is State.FAILED
    assert not box.motion.moving
    assert box.motion.settings == {"x": 100.0, "y": 100.0}
    assert box.capture.settings == {"armed": "0", "step": "0"}


# --- nobody holds up the flight --------------------------------------------------------------


class TimedHost(InProcessHost):
    """Notes when each state and event of a flight came first, before anybody else hears of it."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        self.when: dict[str, float] = {}

    def _emit(self, flyer: str, event: dict[str, Any]) -> None:
        self.when.setdefault(event.get("state", event["event"]), time.monotonic())
        super()._emit(flyer, event)


class Watch:
    """Looks every 5 ms whether the flight's loop is free; lives on it."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def run(self) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(0.005)
            now = time.monotonic()
            self.longest, last = max(self.longest, now - last), now


@pytest.mark.parametrize("slow", ["subscriber", "disk"])
def test_a_1_s_upload_blocks_an_adaptive_scan(
    tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch, slow: str
) -> None:
    """It blocks nobody who decides: the flight's loop stays free, and the flight its length."""
    host = TimedHost(
        {
            "controllers": {
                "box": {"class": "flyscan.testing:MemoryBox", "params": {"block_period": 0.02}}
            },
            "flyers": {"nano": {"motion": "box.motion", "capture": "box.capture"}},
        }
    )
    when = host.when
    run_engine = RunEngine()
    folder = StaticPathProvider(UUIDFilenameProvider(), tmp_path)
    nano = Flyer(host, "nano", folder, name="nano")

    def on_loop(coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, run_engine.loop).result(10)

    def upload() -> None:
        if "upload" not in when:
            when["upload"] = time.monotonic()
            time.sleep(1.0)

    if slow == "subscriber":
        run_engine.subscribe(lambda name, _: upload() if name == "stream_datum" else None)
    else:
        flush = RunFileWriter.flush
        monkeypatch.setattr(
            RunFileWriter, "flush", lambda file: (file.rows and upload(), flush(file))
        )
    on_loop(nano.connect())
    watch = Watch()
    watching = host.run(watch.run())
    try:
        run_engine(fly_grid(nano, "x", 0, 99, 100, period=0.015))  # 1.5 s
    finally:
        watching.cancel()
        on_loop(host.close())
    assert when["flying"] < when["upload"] < when["ended"]
    assert when["ended"] - when["flying"] < 1.5 + 0.8
    assert watch.longest < 0.5
