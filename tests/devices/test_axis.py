"""Axes of a host as ordinary movables."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future

import pytest
from bluesky import plan_stubs as bps
from bluesky import preprocessors as bpp
from bluesky.utils import FailedStatus, Msg, MsgGenerator

from benchmarks._pilot import Moment
from flyscan.devices import HostAxis
from flyscan.errors import BusyError, ConfigurationError, LimitError
from flyscan.flight import Path
from flyscan.plans import fly_grid, rel_fly_grid
from tests.plans.rehearsal import Rehearsal

GRID = ("y", 1, 2, 3, "x", 1, 3, 5)


@pytest.fixture
def x(stage: Rehearsal) -> HostAxis:
    return connected(stage, "x")


def connected(stage: Rehearsal, axis: str) -> HostAxis:
    device = stage.nano.axis(axis)
    stage.on_RE(device.connect())
    return device


def where(stage: Rehearsal) -> dict[str, float]:
    """Positions, to the picometre."""
    found = stage.host.run(stage.box.motion.position()).result()
    return {axis: round(position, 6) for axis, position in found.items()}


def test_mv_rd_and_locate(stage: Rehearsal, x: HostAxis) -> None:
    def plan() -> MsgGenerator[None]:
        yield from bps.mv(x, 3.5)
        assert (yield from bps.rd(x)) == 3.5
        assert (yield Msg("locate", x, squeeze=True)) == {"setpoint": 3.5, "readback": 3.5}

    stage.run(plan())
    assert where(stage) == {"x": 3.5, "y": 0.0}


def test_data_key_has_units_precision_and_limits(stage: Rehearsal, x: HostAxis) -> None:
    key = stage.on_RE(x.describe())["nano-x"]
    assert (key["units"], key["precision"]) == ("um", 3)
    assert key["limits"] == {"control": {"low": -1000.0, "high": 1000.0}}
    assert x.hints == {"fields": ["nano-x"]}


def test_outside_travel_is_refused(stage: Rehearsal, x: HostAxis) -> None:
    with pytest.raises(FailedStatus) as failed:
        stage.run(bps.mv(x, 2000.0))
    assert str(failed.value.__cause__) == (
        "x: 2000 is outside travel -1000 to 1000. Remedy: choose a position inside"
    )
    assert isinstance(failed.value.__cause__, LimitError)
    assert where(stage)["x"] == 0


def test_unknown_axis_is_refused_on_connecting(stage: Rehearsal) -> None:
    with pytest.raises(ConfigurationError, match=r"nano: no axis called 'z'. Remedy: use one of x"):
        connected(stage, "z")


@pytest.mark.parametrize("kind", ["pause", "abort", "halt"])
def test_interrupted_move_comes_to_rest(kind: str, stage: Rehearsal, x: HostAxis) -> None:
    track = stage.box.motion.trajectories["x"]
    stage.at(0.1, kind, noticed=lambda: track.end < 0.3)
    halfway: list[float] = []

    def plan() -> MsgGenerator[None]:
        yield from bps.checkpoint()
        yield from bps.mv(x, 50.0)

    stage.run(plan(), paused=lambda: halfway.append(where(stage)["x"]))
    if kind == "pause":
        assert 0 < halfway[0] < 50
        assert where(stage)["x"] == 50
    else:
        stage.check_rest()
        assert 0 < where(stage)["x"] < 50


def test_moves_are_refused_while_it_flies(stage: Rehearsal, x: HostAxis, tmp_path: object) -> None:
    path = Path.from_spec(
        {"type": "Linspace", "axis": "x", "start": 0, "stop": 1, "num": 3}, period=0.01
    ).to_dict()
    call = stage.host.call
    stage.on_RE(call("open_run", flyer="nano", directory=str(tmp_path), filename="f", start={}))
    stage.on_RE(call("prepare", flyer="nano", path=path))
    with pytest.raises(BusyError, match=r"nano\.x: nano flies it at the moment"):
        stage.on_RE(call("axis_move", owner="nano", axis="x", position=1.0))
    stage.on_RE(call("close_run", flyer="nano"))
    stage.on_RE(call("axis_move", owner="nano", axis="x", position=1.0))
    assert where(stage)["x"] == 1


def test_flight_survives_that_its_own_axes_are_stopped(stage: Rehearsal, x: HostAxis) -> None:
    """Before a pause the RunEngine stops every axis that was moved in the same plan."""
    stopping: list[Future[None]] = []

    def stop_axis() -> None:
        stopping.append(asyncio.run_coroutine_threadsafe(x.stop(), stage.RE.loop))

    stage.pilot.moments.append(Moment(0.3, stop_axis, lambda: stopping[0].done()))
    stage.run(fly_grid(stage.nano, *GRID, period=0.01))
    stage.check_complete(15)


def test_baseline(stage: Rehearsal, x: HostAxis) -> None:
    y = connected(stage, "y")
    stage.run(bpp.baseline_wrapper(fly_grid(stage.nano, *GRID, period=0.01), [x, y]))
    stage.check_complete(15)
    (baseline,) = [d for d in stage.of("descriptor") if d["name"] == "baseline"]
    events = [e for e in stage.of("event") if e["descriptor"] == baseline["uid"]]
    assert len(events) == 2
    assert events[0]["data"] == {"nano-x": 0.0, "nano-y": 0.0}
    assert events[1]["data"] == pytest.approx({"nano-x": where(stage)["x"], "nano-y": 2.0})


def test_relative_set(stage: Rehearsal, x: HostAxis) -> None:
    def plan() -> MsgGenerator[None]:
        yield from bps.mv(x, 5.0)
        yield from bpp.relative_set_wrapper(bps.mv(x, 1.5), [x])

    stage.run(plan())
    assert where(stage)["x"] == 6.5


@pytest.mark.parametrize("kind", ["", "pause", "abort", "error"])
def test_relative_map_returns_to_where_it_began(kind: str, stage: Rehearsal, x: HostAxis) -> None:
    stage.run(bps.mv(x, 20.0))
    if kind:
        stage.at_message("collect", kind, 4)
    plan = rel_fly_grid(stage.nano, "y", -1, 1, 3, "x", -2, 2, 5, period=0.01)
    if kind == "error":
        with pytest.raises(RuntimeError, match="flaw"):
            stage.run(plan)
    else:
        stage.run(plan)
    if kind in ("", "pause"):
        stage.check_complete(15)
        assert stage.column("x").mean() == pytest.approx(20, abs=0.2)
    assert where(stage) == {"x": 20.0, "y": 0.0}
