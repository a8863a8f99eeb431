"""Interruptions in situations of their own: nested runs, slow subscribers, one after the other."""

from __future__ import annotations

import os
import signal
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bluesky import plan_stubs as bps
from bluesky.preprocessors import set_run_key_wrapper
from bluesky.utils import MsgGenerator
from ophyd_async.core import soft_signal_rw
from scanspec.specs import Fly, Linspace

from benchmarks._scenes import nested
from flyscan.errors import FlyscanError, HostError
from flyscan.plans import EndingHandler, SigtermHandler, _stubs, fly_grid, fly_paths
from flyscan.storage import check_file
from tests.plans.rehearsal import Rehearsal, rehearsal

LINES, POINTS, PERIOD = 3, 5, 0.01
FRAMES = LINES * POINTS
ENDED = {"abort": "abort", "stop": "success", "halt": "abort", "sigterm": "abort"}
PRESS = 0.12
"""Seconds between presses of Ctrl-C that count as two."""


def snake(stage: Rehearsal) -> MsgGenerator[Any]:
    return fly_grid(stage.nano, "y", 1, 2, LINES, "x", 1, 3, POINTS, period=PERIOD)


def twice(stage: Rehearsal) -> MsgGenerator[Any]:
    spec = Fly(Linspace("y", 1, 2, LINES) * ~Linspace("x", 1, 3, POINTS))
    return fly_paths(stage.nano, [spec, spec], period=PERIOD)


class Times:
    """When things happen in an undisturbed map, seconds of the clock; where, in um."""

    def __init__(self, folder: Path) -> None:
        with rehearsal(folder) as stage:
            stage.run(snake(stage))
            stage.check_complete(FRAMES)
            self.frames = stage.clock_times()
            self.where = stage.triggered_at()
            self.preparing = stage.pilot.kickoff_at / 2
            self.turnaround = (self.frames[4] + 2 * PERIOD + self.frames[5]) / 2


@pytest.fixture(scope="module")
def times(tmp_path_factory: pytest.TempPathFactory) -> Times:
    return Times(tmp_path_factory.mktemp("undisturbed"))


def check_exact(stage: Rehearsal, times: Times, flights: int = 1) -> None:
    """All is there once, each point where it is without interruption."""
    stage.check_complete(FRAMES, flights)
    expected = np.tile(times.where, flights)
    np.testing.assert_allclose(stage.triggered_at(), expected, atol=1e-6, rtol=0)


def inner(stage: Rehearsal) -> None:
    """Leave the documents of the run around it aside."""
    starts = stage.of("start")
    assert len(starts) == 2
    (own,) = [start["uid"] for start in starts if start["plan_name"] != "around"]
    around = {start["uid"] for start in starts} - {own}
    around |= {d["uid"] for d in stage.of("descriptor") if d["run_start"] in around}
    stage.documents[:] = [
        (name, document)
        for name, document in stage.documents
        if not around
        & {
            document.get(k)
            for k in ("uid", "run_start", "descriptor")
            if isinstance(document.get(k), str)
        }
    ]


# --- nested runs ---------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["preparing", "frame", "turnaround"])
@pytest.mark.parametrize("kind", ["pause", "deferred_pause", "suspend"])
def test_flight_in_an_inner_run_resumes(
    kind: str, where: str, stage: Rehearsal, times: Times
) -> None:
    when = times.frames[7] if where == "frame" else getattr(times, where)
    stage.at(when + 1e-6, kind)
    stage.run(nested(snake(stage)))
    assert [stop["exit_status"] for stop in stage.of("stop")] == ["success", "success"]
    inner(stage)
    check_exact(stage, times)


@pytest.mark.parametrize("kind", [*ENDED, "error"])
def test_flight_in_an_inner_run_ends_with_both_runs(
    kind: str, stage: Rehearsal, times: Times
) -> None:
    stage.at(times.frames[7] + 1e-6, kind)
    if kind == "error":
        with pytest.raises(RuntimeError, match="the user's plan has a flaw"):
            stage.run(nested(snake(stage)))
    else:
        stage.run(nested(snake(stage)))
    expected = {**ENDED, "error": "fail"}[kind]
    assert [stop["exit_status"] for stop in stage.of("stop")] == [expected, expected]
    inner(stage)
    assert 8 <= stage.check_partial(prefix=kind == "halt") < FRAMES


def test_outer_run_has_its_own_events_on_both_sides_of_an_interrupted_flight(
    stage: Rehearsal, times: Times
) -> None:
    """Readings of the outer run are neither repeated nor lost when the inner run is paused."""
    temperature = soft_signal_rw(float, 20.0, name="temperature")
    stage.on_RE(temperature.connect())

    def around() -> MsgGenerator[Any]:
        yield from bps.open_run({"plan_name": "around"})
        yield from bps.trigger_and_read([temperature], name="sample")
        yield from set_run_key_wrapper(snake(stage), "inner")
        yield from bps.trigger_and_read([temperature], name="sample")
        yield from bps.close_run()

    stage.at(times.frames[7] + 1e-6, "pause")
    stage.at(times.frames[7] + 0.5, "suspend")
    stage.run(set_run_key_wrapper(around(), "outer"))
    outer = next(d["uid"] for d in stage.of("start") if d["plan_name"] == "around")
    (sample,) = [d["uid"] for d in stage.of("descriptor") if d["run_start"] == outer]
    assert [e["seq_num"] for e in stage.of("event") if e["descriptor"] == sample] == [1, 2]
    inner(stage)
    check_exact(stage, times)


# --- documents -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pause", "suspend", "deferred_pause"])
def test_recorded_interruptions_are_events_of_their_own_stream(
    kind: str, stage: Rehearsal, times: Times
) -> None:
    stage.RE.record_interruptions = True
    stage.at(times.frames[7] + 1e-6, kind)
    stage.run(snake(stage))
    (stream,) = [d["uid"] for d in stage.of("descriptor") if d["name"] == "interruptions"]
    events = [e for e in stage.of("event") if e["descriptor"] == stream]
    said = ["Signal shutter_closed is high"] if kind == "suspend" else ["pause", "resume"]
    assert [e["data"]["interruption"] for e in events] == said
    assert [e["seq_num"] for e in events] == list(range(1, len(said) + 1))
    check_exact(stage, times)


@pytest.mark.parametrize("first", ["pause", "suspend"])
def test_interruptions_are_recorded_however_many_come_while_preparing(
    first: str, stage: Rehearsal, times: Times
) -> None:
    """The RunEngine sets its counts of events back to those of the last checkpoint."""
    stage.RE.record_interruptions = True
    stage.at(0.4 * times.preparing, first)
    stage.at(1.2 * times.preparing, "pause")
    stage.run(snake(stage))
    assert [rest.kind for rest in stage.rests] == [first, "pause"]
    check_exact(stage, times)


@pytest.mark.parametrize("kind", ["pause", "suspend", *ENDED])
def test_slow_subscriber_sees_every_frame_once(kind: str, stage: Rehearsal, times: Times) -> None:
    stage.slowness = 0.02
    stage.at(times.frames[7] + 1e-6, kind)
    stage.run(snake(stage))
    if kind in ENDED:
        stage.check_partial(prefix=kind == "halt")
        assert stage.exit_status == ENDED[kind]
    else:
        check_exact(stage, times)


def test_check_says_what_is_missing_after_a_halt(stage: Rehearsal, times: Times) -> None:
    """Documents are a beginning of the file; the file says which points were never taken."""
    stage.at(times.frames[7] + 1e-6, "halt")
    stage.run(snake(stage))
    frames = stage.check_partial(prefix=True)
    report = check_file(stage.file, stage.documents)
    assert not report.ok
    assert report.intact
    (flight,) = report.flights
    assert (flight.points, flight.kept, report.frames) == (FRAMES, frames, frames)
    assert report.documents is not None
    assert report.documents.undescribed == frames - stage.described_frames()
    assert report.documents.exit_status == "abort"
    assert f"flight 0: {frames} of {FRAMES} points kept once" in str(report)
    assert f"{frames - stage.described_frames()} frames not described" in str(report)


# --- one after the other -------------------------------------------------------------------


@pytest.mark.parametrize("first", ["preparing", "turnaround"])
@pytest.mark.parametrize("second", ["pause", "suspend"])
def test_paused_resumed_and_held_again(
    first: str, second: str, stage: Rehearsal, times: Times
) -> None:
    stage.at(getattr(times, first), "pause")
    stage.at(times.frames[7] + 0.05, second)
    stage.run(snake(stage))
    assert len(stage.rests) == 2
    check_exact(stage, times)


@pytest.mark.parametrize("kind", ["abort", "stop", "halt"])
def test_ended_while_paused_during_preparation(kind: str, stage: Rehearsal, times: Times) -> None:
    stage.at(times.preparing, "pause")
    stage.run(snake(stage), paused=getattr(stage, kind))
    stage.check_partial(prefix=kind == "halt")
    assert stage.exit_status == ENDED[kind]
    stage.run(snake(stage))
    stage.check_complete(FRAMES)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("command", ["stage", "open_run"])
@pytest.mark.parametrize("kind", ["abort", "halt"])
def test_ended_while_paused_before_anything_is_prepared_leaves_the_next_run_free(
    kind: str, command: str, stage: Rehearsal
) -> None:
    stage.at_message(command, "pause")
    stage.run(snake(stage), paused=getattr(stage, kind))
    assert len(stage.rests) == 1
    stage.check_safe()
    stage.run(snake(stage))
    stage.check_complete(FRAMES)


@pytest.mark.parametrize("kind", [*ENDED, "error"])
def test_ended_after_a_resume(kind: str, stage: Rehearsal, times: Times) -> None:
    stage.at(times.frames[3] + 1e-6, "pause")
    stage.at(times.frames[5] + 0.1, kind)
    if kind == "error":
        with pytest.raises(RuntimeError, match="the user's plan has a flaw"):
            stage.run(snake(stage))
    else:
        stage.run(snake(stage))
    assert len(stage.rests) == 1
    assert 4 <= stage.check_partial(prefix=kind == "halt") < FRAMES


@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_after_a_deferred_pause(presses: int, stage: Rehearsal, times: Times) -> None:
    """The pause is requested already, and its half second has begun."""

    def both() -> None:
        stage.deferred_pause()
        for _ in range(presses):
            time.sleep(PRESS)
            stage.ctrl_c()

    stage.at(times.frames[7] + 1e-6, both)
    stage.run(snake(stage))
    assert [rest.kind for rest in stage.rests] == ["pause"]
    check_exact(stage, times)


def test_suspended_while_a_deferred_pause_waits(stage: Rehearsal, times: Times) -> None:
    def both() -> None:
        stage.deferred_pause()
        time.sleep(PRESS)
        stage.suspend()

    stage.at(times.frames[7] + 1e-6, both)
    stage.run(snake(stage))
    assert "suspend" in [rest.kind for rest in stage.rests]
    check_exact(stage, times)


# --- between two flights of one run --------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "nth"), [("set", 1), ("prepare", 1), ("set", 2), ("kickoff", 1), ("complete", 1)]
)
@pytest.mark.parametrize("kind", ["pause", "suspend"])
def test_held_between_two_flights(
    kind: str, command: str, nth: int, stage: Rehearsal, times: Times
) -> None:
    stage.at_message(command, kind, nth)
    stage.run(twice(stage))
    check_exact(stage, times, flights=2)


@pytest.mark.parametrize("command", ["prepare", "kickoff"])
@pytest.mark.parametrize("kind", [*ENDED])
def test_ended_between_two_flights(kind: str, command: str, stage: Rehearsal, times: Times) -> None:
    stage.at_message(command, kind, 1)
    stage.run(twice(stage))
    stage.check_safe()
    assert stage.exit_status == ENDED[kind]
    assert stage.column("point").tolist() == list(range(FRAMES))
    assert stage.described_frames() <= FRAMES
    if kind != "halt":
        assert stage.described_frames() == FRAMES


# --- SIGTERM -------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["preparing", "frame", "turnaround"])
def test_sigterm_ends_the_run_before_the_process(
    where: str, stage: Rehearsal, times: Times
) -> None:
    when = times.frames[7] if where == "frame" else getattr(times, where)
    stage.at(when + 1e-6, "sigterm")
    stage.run(snake(stage))
    assert stage.terminated, "the signal is to do afterwards what it would have done"
    stage.check_partial(prefix=False)
    assert stage.exit_status == "abort"
    assert stage.of("stop")[0]["reason"] == "the process was told to end (SIGTERM)"


def test_sigterm_is_noticed_while_the_main_thread_sleeps(stage: Rehearsal, times: Times) -> None:
    """The system may give it to any thread, and Python then does not wake the main thread."""

    def to_this_thread() -> None:
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    stage.at(times.frames[7] + 1e-6, to_this_thread)
    stage.run(snake(stage))
    assert stage.terminated
    assert 8 <= stage.check_partial(prefix=False) < FRAMES
    assert stage.exit_status == "abort"


def test_sigterm_hands_the_wake_up_pipe_on(stage: Rehearsal, times: Times) -> None:
    """An event loop of somebody else's in the main thread hears of its signals as before."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        stage.at(times.frames[7] + 1e-6, "ctrl_c_twice")
        stage.run(snake(stage))
        assert os.read(reader, 10) == bytes([signal.SIGINT] * 2)
    finally:
        assert signal.set_wakeup_fd(before) == writer
        os.close(reader)
        os.close(writer)
    check_exact(stage, times)


def test_a_signal_just_before_a_run_starts_ends_it_too(stage: Rehearsal) -> None:
    """The RunEngine's own handler of Ctrl-C forgets what comes before it runs."""

    class Presser:
        def __init__(self, RE: object) -> None:
            pass

        def __enter__(self) -> None:
            signal.raise_signal(signal.SIGINT)

        def __exit__(self, *reason: object) -> None:
            pass

    ctrl_c = partial(EndingHandler, number=signal.SIGINT)
    stage.RE.context_managers = [ctrl_c, Presser]
    # Shells have what they start in the background ignore it.
    found = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            stage.RE(snake(stage))
    finally:
        signal.signal(signal.SIGINT, found)
    assert stage.RE.state == "idle"
    assert all(stop["exit_status"] == "abort" for stop in stage.of("stop"))
    stage.check_safe()


@pytest.mark.parametrize("kind", ["ctrl_c", "sigterm"])
def test_either_of_two_signals_ends_the_run(kind: str, stage: Rehearsal, times: Times) -> None:
    ctrl_c = partial(EndingHandler, number=signal.SIGINT)
    stage.RE.context_managers = [ctrl_c, SigtermHandler]
    stage.at(times.frames[7] + 1e-6, kind)
    stage.run(snake(stage))
    assert 8 <= stage.check_partial(prefix=False) < FRAMES
    assert stage.exit_status == "abort"


def test_sigterm_leaves_handlers_as_they_were(stage: Rehearsal) -> None:
    before = signal.getsignal(signal.SIGTERM)
    stage.run(snake(stage))
    assert signal.getsignal(signal.SIGTERM) is before
    assert not stage.terminated


def test_host_told_to_end_says_why(stage: Rehearsal, times: Times) -> None:
    stage.at(times.frames[7] + 1e-6, "sigterm_host")
    with pytest.raises(Exception, match="the flight host was ended by SIGTERM"):
        stage.run(snake(stage))
    assert 8 <= stage.check_partial(prefix=False) < FRAMES
    assert stage.exit_status == "fail"


def test_host_ends_while_a_run_is_paused_that_has_nothing_prepared(stage: Rehearsal) -> None:
    stage.at_message("open_run", "pause")
    with pytest.raises(HostError, match="the flight host was ended by SIGTERM"):
        stage.run(snake(stage), paused=stage.sigterm_host)
    assert stage.exit_status == "fail"
    stage.check_safe()


def test_host_gone_by_the_time_it_is_told_to_stop_leaves_no_frame_undescribed(
    stage: Rehearsal, times: Times, monkeypatch: pytest.MonkeyPatch
) -> None:
    call, station = stage.host.call, stage.host.station
    assert station is not None
    monkeypatch.setattr(_stubs, "COLLECT_PERIOD", 0.1)  # some frames are not described yet

    async def gone(method: str, **params: Any) -> Any:
        if station._leaving:
            raise HostError("ended unexpectedly", device="flight host")
        return await call(method, **params)

    monkeypatch.setattr(stage.host, "call", gone)
    stage.at(times.frames[7] + 1e-6, "sigterm_host")
    with pytest.raises(FlyscanError):
        stage.run(snake(stage))
    monkeypatch.setattr(stage.host, "call", call)
    assert 8 <= stage.check_partial(prefix=False) < FRAMES
    assert stage.exit_status == "fail"
