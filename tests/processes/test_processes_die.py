"""Processes are killed, suspended, told to end: nothing flies on, everything is put back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import h5py
import pytest
from scanspec.specs import Fly, Linspace

from flyscan.cli import main
from flyscan.errors import FlightAbortedError, HostError
from flyscan.flight import Path as FlightPath
from flyscan.flight import Trigger
from flyscan.flight.host import ProcessHost, StateFolder
from flyscan.storage import check_file
from tests.processes.flights import ROOT, Pilot, running
from tests.processes.hardware import Hardware, until
from tests.processes.memory import Flight

REST_S = 1.5
"""From the death of the RunEngine's process to rest: the host learns of it at once and holds."""
GONE_S = 4.0
"""From there until the file is closed and the host has left."""
FAILS_S = 2.0
"""From the death of the host to the end of the run."""


def line() -> dict[str, Any]:
    """A path of one line, of 2 s."""
    spec = Fly(Linspace("x", 30.0, 70.0, 101))
    return FlightPath.from_spec(spec, trigger=Trigger.POSITION, period=0.02).to_dict()


def assert_complete(pilot: Pilot) -> int:
    """The file is closed and has every frame the client was told of; returns how many it has."""
    report = check_file(pilot.file)
    assert report.clean, report
    assert report.intact, report
    with h5py.File(pilot.file, "r") as file:
        lengths = {len(column) for column in file["entry/data"].values()}
    assert lengths == {report.frames}
    assert report.frames >= pilot.flushed
    return report.frames


def assert_settled() -> None:
    """No host is noted, nothing is left in the journal."""
    folder = StateFolder()
    assert list(folder.hosts()) == []
    assert list(folder.journal()) == []


def in_line(pilot: Pilot, hardware: Hardware) -> None:
    pilot.has_flushed(10)
    assert hardware.moving
    assert hardware.capturing


def in_turnaround(pilot: Pilot, hardware: Hardware) -> None:
    pilot.has_flushed(4 * pilot.points // 10)
    first = hardware.position("y")
    until(lambda: hardware.position("y") > first + 2, 5, "on the way to the next line")


def while_held(pilot: Pilot, hardware: Hardware) -> None:
    assert pilot.outcome(20)["outcome"] == "paused"
    assert not hardware.moving
    assert hardware.capturing


def while_preparing(pilot: Pilot, _: Hardware) -> None:
    pilot.reaches("preparing")


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        (in_line, signal.SIGKILL),
        (in_line, signal.SIGTERM),
        (in_turnaround, signal.SIGKILL),
        (while_held, signal.SIGKILL),
        (while_preparing, signal.SIGKILL),
    ],
)
def test_the_run_engines_process_is_killed(hardware, tmp_path, moment, number):
    points = 50 if moment is in_turnaround else 100
    pause_at = 20 if moment is while_held else None
    with Pilot(hardware, tmp_path, points=points, pause_at=pause_at) as pilot:
        moment(pilot, hardware)
        pilot.signal(number)
        hardware.comes_to_rest(within=REST_S)
        hardware.comes_back(within=REST_S)
        pilot.host_is_gone(within=GONE_S)
    frames = assert_complete(pilot)
    assert frames < pilot.points
    assert_settled()


def test_a_silent_run_engine_that_comes_back_finds_its_flight_held_and_loses_nothing(
    hardware, tmp_path
):
    with Pilot(hardware, tmp_path, points=110, lease=1.0) as pilot:
        pilot.has_flushed(5)
        pilot.signal(signal.SIGSTOP)
        try:
            took = until(lambda: not hardware.moving, 1.8, "at rest")
        finally:
            pilot.signal(signal.SIGCONT)
        assert took > 0.5, "held before the lease was over"
        held = pilot.reaches("held")
        assert (held["holds"], held["point"] < 110) == (["lease"], True)
        assert pilot.outcome(20)["outcome"] == "done"
        pilot.ends(10)
    report = check_file(pilot.file)
    assert report.ok, report
    assert assert_complete(pilot) == pilot.points
    assert_settled()


def test_a_run_engine_silent_for_twice_the_lease_finds_its_flight_stopped(hardware, tmp_path):
    with Pilot(hardware, tmp_path, points=150, lease=1.0) as pilot:
        pilot.has_flushed(5)
        pilot.signal(signal.SIGSTOP)
        try:
            hardware.comes_to_rest(within=2.0 + REST_S)
            hardware.comes_back(within=REST_S)
            pilot.host_is_gone(within=GONE_S)
        finally:
            pilot.signal(signal.SIGCONT)
        outcome = pilot.outcome(FAILS_S)
        assert "its client was silent for 2." in outcome["text"]
        assert "the lease is 1 s" in outcome["text"]
    assert 0 < assert_complete(pilot) < pilot.points
    assert_settled()


def lose_the_host(pilot: Pilot, hardware: Hardware) -> None:
    """Kill it in a line; see that the run fails and the hardware comes to the line's end."""
    in_line(pilot, hardware)
    target, first = hardware.target("x"), hardware.position("y")
    os.kill(pilot.host, signal.SIGKILL)
    outcome = pilot.outcome(FAILS_S)
    assert outcome["outcome"] == "HostError"
    assert outcome["text"].startswith(
        f"flight host: process {pilot.host} ended unexpectedly (killed by SIGKILL)"
    )
    assert "`flyscan restore`" in outcome["text"]
    assert hardware.moving
    until(lambda: not hardware.moving, 3, "at the end of its line")
    time.sleep(0.1)
    assert hardware.position("x") == pytest.approx(target, abs=0.1)
    assert hardware.position("y") == pytest.approx(first, abs=0.1)
    assert {entry.controller for entry in StateFolder().journal() if entry.orphaned} == {
        "stage",
        "panda",
    }
    assert hardware.changed()


def test_the_host_is_killed_and_flyscan_puts_everything_back(hardware, tmp_path, capsys):
    with Pilot(hardware, tmp_path) as pilot:
        lose_the_host(pilot, hardware)
        assert hardware.field("PCOMP1.PULSES") == str(pilot.points // 2)
        assert hardware.field("PCOMP1.ACTIVE") == "0"
    with pytest.raises(OSError, match="already open for write"):
        h5py.File(pilot.file, "r")
    assert main(["repair", str(pilot.file)]) == 0
    assert 0 < assert_complete(pilot) < pilot.points

    capsys.readouterr()
    assert main(["restore"]) == 0
    lines = sorted(capsys.readouterr().out.splitlines())
    assert [line.partition(":")[0] for line in lines] == ["panda", "stage"]
    assert all(line.endswith("settings put back") for line in lines)
    assert hardware.changed() == {}
    assert not hardware.capturing
    assert_settled()
    assert main(["restore"]) == 0
    assert capsys.readouterr().out == "nothing to restore\n"


def test_the_host_is_killed_and_the_next_one_puts_everything_back(hardware, tmp_path):
    with Pilot(hardware, tmp_path, step=0.4004, again=True) as pilot:
        lose_the_host(pilot, hardware)
        assert hardware.field("SEQ1.REPEATS") == "1"
        assert hardware.field("SEQ1.ACTIVE") == "0"
        assert pilot.process.stdin is not None
        pilot.process.stdin.write(b"\n")
        pilot.process.stdin.flush()
        successor = pilot.hears(lambda said: "host" in said, 20)["host"]
        assert successor != pilot.host
        assert hardware.changed() == {}
        assert list(StateFolder().journal()) == []
        pilot.ends(10)
        assert not running(successor)
    assert_settled()


@asynccontextmanager
async def flying(
    hardware: Hardware, directory: Path, monkeypatch: pytest.MonkeyPatch, lease: float = 30.0
) -> AsyncIterator[tuple[ProcessHost, Flight]]:
    """A flight in its line, its client here, without a RunEngine."""
    for name, value in hardware.environment.items():
        monkeypatch.setenv(name, value)
    host = ProcessHost(hardware.config(lease))
    try:
        await host.start()
        await host.call("describe", flyer="nano")
        flight = Flight(host, directory)
        await flight.take_off(line())
        await flight.has_flushed(10)
        yield host, flight
    finally:
        await host.close()


async def test_the_host_is_told_to_end(hardware, tmp_path, monkeypatch):
    async with flying(hardware, tmp_path, monkeypatch) as (host, flight):
        os.kill(host.pid, signal.SIGTERM)
        with pytest.raises(FlightAbortedError, match="the flight host was ended by SIGTERM"):
            await flight.lands(within=GONE_S)
        hardware.comes_to_rest(within=REST_S)
        hardware.comes_back(within=REST_S)
        until(lambda: not running(host.pid), GONE_S, "gone")
    assert check_file(flight.file).clean
    assert_settled()


async def test_a_suspended_host_is_given_up_after_twice_the_lease(hardware, tmp_path, monkeypatch):
    async with flying(hardware, tmp_path, monkeypatch, lease=0.5) as (host, flight):
        os.kill(host.pid, signal.SIGSTOP)
        try:
            with pytest.raises(HostError, match=f"process {host.pid} has not answered for 1 s"):
                await flight.lands(within=2 * 0.5 + 1 + FAILS_S)
            with pytest.raises(HostError, match="has not answered"):
                await host.call("status")
        finally:
            os.kill(host.pid, signal.SIGCONT)
        until(lambda: not running(host.pid), GONE_S, "gone")
        hardware.comes_to_rest(within=0.1)
    assert check_file(flight.file).clean
    assert_settled()


def test_an_interpreter_that_ends_while_paused_leaves_nothing_behind(hardware, tmp_path):
    with Pilot(hardware, tmp_path, pause_at=20, leave=True) as pilot:
        assert pilot.outcome(20)["outcome"] == "paused"
        assert pilot.process.wait(5) == 0
        hardware.comes_to_rest(within=REST_S)
        hardware.comes_back(within=REST_S)
        pilot.host_is_gone(within=GONE_S)
    assert 0 < assert_complete(pilot) < pilot.points
    assert_settled()


def test_an_interpreter_that_ends_in_a_line_leaves_nothing_behind(hardware, tmp_path):
    command = [sys.executable, "-m", "tests.processes.leaver", json.dumps(hardware.config())]
    left = subprocess.run(
        [*command, str(tmp_path), json.dumps(line())],
        cwd=ROOT,
        env=os.environ | hardware.environment,
        capture_output=True,
        timeout=30,
    )
    assert left.returncode == 0, left.stderr
    host = int(left.stdout)
    hardware.comes_to_rest(within=REST_S)
    hardware.comes_back(within=REST_S)
    until(lambda: not running(host), GONE_S, "gone")
    report = check_file(tmp_path / "run.h5")
    assert (report.clean, report.intact) == (True, True), report
    assert 0 < report.frames < 101
    assert_settled()


def test_flyscan_stop_stops_a_flight_from_another_terminal(hardware, tmp_path, capsys):
    with Pilot(hardware, tmp_path) as pilot:
        in_line(pilot, hardware)
        assert main(["stop"]) == 0
        assert not hardware.moving
        assert not hardware.capturing
        assert hardware.changed() == {}
        assert capsys.readouterr().out == f"host {pilot.host}: all flights stopped\n"
        outcome = pilot.outcome(FAILS_S)
        assert outcome["outcome"] == "FlightAbortedError"
        assert "frames: stopped by `flyscan stop`. Remedy: " in outcome["text"]
        assert running(pilot.host)
        pilot.ends(10)
    assert 0 < assert_complete(pilot) < pilot.points
    assert_settled()


def test_notes_of_dead_hosts_are_cleared_away(tmp_path: Path, capsys):
    folder = StateFolder()
    folder.announce("ipc:///nowhere")
    folder.withdraw()
    assert main(["stop"]) == 0
    assert capsys.readouterr().out == "no flight host is running\n"
