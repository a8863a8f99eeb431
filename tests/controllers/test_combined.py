"""Several motions as one: each does its share, and the failure of one stops all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from scanspec.specs import Concat, Linspace, Spiral, Static

from flyscan.controllers._combined import CombinedMotion
from flyscan.controllers._share import share_of_path, share_of_sweep
from flyscan.errors import ConfigurationError, FlyscanError, LimitError, MotionError
from flyscan.flight import (
    AxisLimits,
    JoinOutcome,
    ManualClock,
    MotionCapabilities,
    Path,
    RestoreStep,
    Sweep,
    plan_sweep,
)
from flyscan.testing import MemoryMotion
from tests.controllers.gcs_rig import Rig, running

LIMITS = AxisLimits(low=-100.0, high=100.0, velocity=100.0, acceleration=1000.0, unit="um")
RASTER = Linspace("y", 0, 2, 3) * ~Linspace("x", 0, 4, 5)


class Part(MemoryMotion):
    """An in-memory motion that records calls and fails where told to."""

    def __init__(self, name: str, clock: ManualClock, *axes: str, **caps: Any) -> None:
        super().__init__(name, dict.fromkeys(axes, LIMITS), clock)
        self.calls: list[str] = []
        self.failures: dict[str, FlyscanError] = {}
        self.sweeps: list[Sweep] = []
        self._caps = MotionCapabilities(**caps)
        for call in ("connect", "close", "check", "prepare", "start", "join", "stop", "restore"):
            setattr(self, call, self._spied(call))

    @property
    def capabilities(self) -> MotionCapabilities:
        return self._caps

    def _spied(self, call: str):
        method = getattr(super(), call)

        async def spied(*args: Any) -> Any:
            self.calls.append(call)
            if args and isinstance(args[0], Sweep):
                self.sweeps.append(args[0])
            if call in self.failures:
                raise self.failures[call]
            return await method(*args)

        return spied


class Pair:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.fine = Part("fine", self.clock, "x", "z", velocity_in_flight=True, horizon=0.01)
        self.coarse = Part("coarse", self.clock, "y", horizon=0.5)
        self.motion = CombinedMotion("pair", {"fine": self.fine, "coarse": self.coarse})

    def path(self, spec: Any = RASTER) -> Path:
        return Path.from_spec(spec, period=0.1)

    def plan(self, spec: Any = RASTER, segment: int = 0) -> Sweep:
        limits = dict.fromkeys("xyz", LIMITS)
        found = self.path(spec).segment(segment)
        return plan_sweep(found, found.first_point, limits)

    async def run(self, awaitable: Any) -> Any:
        return await self.clock.run(awaitable)

    def where(self) -> dict[str, float]:
        now = self.clock.now()
        trajectories = self.fine.trajectories | self.coarse.trajectories
        return {axis: trajectory.at(now)[0] for axis, trajectory in trajectories.items()}


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    pair = Pair()
    yield pair
    assert len(asyncio.all_tasks()) == 1, "a task was left behind"


# --- configuration ---------------------------------------------------------------------------


async def test_axes_limits_and_positions_are_joined(pair: Pair):
    assert pair.motion.axes == ("x", "z", "y")
    assert await pair.motion.limits() == dict.fromkeys("xyz", LIMITS)
    assert await pair.motion.position() == dict.fromkeys("xyz", 0.0)


def test_an_axis_has_one_owner():
    clock = ManualClock()
    parts = {"a": Part("a", clock, "x", "y"), "b": Part("b", clock, "y")}
    with pytest.raises(ConfigurationError, match="axis 'y' belongs to a and to b"):
        CombinedMotion("pair", parts)


def test_there_must_be_something_to_combine():
    with pytest.raises(ConfigurationError, match="no axes"):
        CombinedMotion("pair", {})


def test_it_is_built_from_a_configuration():
    axes = {"y": {"id": "1", "acceleration": 10.0}}
    config = {
        "class": "flyscan.controllers.gcs:GcsMotion",
        "params": {"host": "127.0.0.1", "axes": axes, "profile": "C-863"},
    }
    clock = ManualClock()
    motion = CombinedMotion("pair", {"fine": Part("fine", clock, "x"), "m": config}, clock=clock)
    assert motion.axes == ("x", "y")
    with pytest.raises(ConfigurationError, match="m: its class is missing"):
        CombinedMotion("pair", {"m": {"params": {}}})


async def test_capabilities_are_those_of_the_part_that_sweeps(pair: Pair):
    assert pair.motion.capabilities == MotionCapabilities(horizon=0.5)
    await pair.motion.check(pair.path())
    assert pair.motion.capabilities == MotionCapabilities(velocity_in_flight=True, horizon=0.01)
    await pair.motion.check(pair.path(Linspace("x", 0, 1, 2) * Linspace("y", 0, 1, 5)))
    assert not pair.motion.capabilities.velocity_in_flight


def test_a_single_part_keeps_what_several_cannot_have():
    part = Part("a", ManualClock(), "x", "y", curves=True, together=True)
    found = CombinedMotion("one", {"a": part}).capabilities
    assert found.curves
    assert found.together


# --- checks ----------------------------------------------------------------------------------


async def test_each_part_checks_its_own_axes(pair: Pair):
    await pair.motion.check(pair.path())  # an in-memory motion refuses foreign axes
    assert pair.fine.calls == pair.coarse.calls == ["check"]
    await pair.motion.check(pair.path(Linspace("x", 0, 1, 5)))
    assert pair.fine.calls == ["check", "check"]
    assert pair.coarse.calls == ["check"]


async def test_an_unknown_axis_is_named(pair: Pair):
    with pytest.raises(ConfigurationError, match="no axis called 'q'") as caught:
        await pair.motion.check(pair.path(Linspace("q", 0, 1, 5)))
    assert caught.value.remedy == "use one of x, z, y"
    with pytest.raises(ConfigurationError, match="no axis called 'q'"):
        await pair.motion.move_to("q", 1.0)


async def test_a_sweep_across_controllers_is_refused_before_anything_moves(pair: Pair):
    diagonal = Linspace("x", 0, 1, 5).zip(Linspace("y", 0, 1, 5))
    with pytest.raises(ConfigurationError, match=r"segment 0 moves .*nothing keeps these in step"):
        await pair.motion.check(pair.path(diagonal))
    with pytest.raises(ConfigurationError, match="nothing keeps these in step"):
        await pair.motion.prepare(pair.plan(diagonal))
    assert "prepare" not in pair.fine.calls + pair.coarse.calls


async def test_axes_of_one_part_may_sweep_together(pair: Pair):
    diagonal = Linspace("y", 0, 1, 2) * Linspace("x", 0, 1, 5).zip(Linspace("z", 0, 1, 5))
    await pair.motion.check(pair.path(diagonal))
    await pair.run(pair.motion.prepare(pair.plan(diagonal)))


async def test_lines_of_different_parts_one_after_the_other(pair: Pair):
    along_x = Linspace("x", 0, 4, 5).zip(Static("y", 1, 5))
    along_y = Static("x", 6, 5).zip(Linspace("y", 2, 5, 5))
    spec = Concat(along_x, along_y)
    await pair.motion.check(pair.path(spec))
    assert not pair.motion.capabilities.velocity_in_flight
    for segment, mover in ((0, pair.fine), (1, pair.coarse)):
        sweep = pair.plan(spec, segment)
        await pair.run(pair.motion.prepare(sweep))
        await pair.motion.start(sweep)
        assert mover.moving
        assert await pair.run(pair.motion.join()) is JoinOutcome.DONE


# --- sweeps ----------------------------------------------------------------------------------


async def test_a_raster_moves_each_part_in_its_turn(pair: Pair):
    for index in range(3):
        sweep = pair.plan(segment=index)
        await pair.run(pair.motion.prepare(sweep))
        assert pair.where() == pytest.approx({"x": sweep.origin["x"], "y": index, "z": 0.0})
        await pair.motion.start(sweep)
        assert await pair.run(pair.motion.join()) is JoinOutcome.DONE
        assert pair.where() == pytest.approx({"x": sweep.target["x"], "y": index, "z": 0.0})
    assert "start" not in pair.coarse.calls


async def test_parts_approach_the_run_up_at_the_same_time(pair: Pair):
    sweep = pair.plan(segment=2)
    pair.fine.trajectories["x"].go_to(0.0, 90.0, LIMITS)
    pair.coarse.trajectories["y"].go_to(0.0, -90.0, LIMITS)
    await pair.clock.advance(5.0)
    began = pair.clock.now()
    await pair.run(pair.motion.prepare(sweep))
    assert pair.clock.now() - began < 1.2  # each alone takes about a second


async def test_a_dwell_and_a_join_without_start(pair: Pair):
    sweep = pair.plan(Linspace("y", 1, 2, 2) * Linspace("x", 3, 4, 2) * 3)
    await pair.run(pair.motion.prepare(sweep))
    await pair.motion.start(sweep)
    assert await pair.motion.join() is JoinOutcome.DONE
    assert pair.where() == pytest.approx({"x": 3, "y": 1, "z": 0})


async def test_hold_and_retune_reach_the_part_that_moves(pair: Pair):
    sweep = pair.plan(Linspace("x", 0, 40, 50))
    await pair.run(pair.motion.prepare(sweep))
    await pair.motion.start(sweep)
    await pair.clock.advance(1.0)
    before = pair.where()["x"]
    await pair.motion.retune(2.0)
    joined = asyncio.ensure_future(pair.motion.join())
    await pair.clock.advance(1.0)
    gained = 2 * sweep.velocity["x"]  # less what it takes to get faster
    assert pair.where()["x"] - before == pytest.approx(gained, rel=0.01)
    await pair.run(pair.motion.hold())
    assert await pair.run(joined) is JoinOutcome.HELD


async def test_retune_at_rest_is_harmless(pair: Pair):
    await pair.motion.retune(2.0)
    assert not pair.fine.moving


async def test_move_to_goes_to_the_owner(pair: Pair):
    await pair.run(pair.motion.move_to("y", 7.0, 50.0))
    assert pair.where() == pytest.approx({"x": 0, "z": 0, "y": 7})


# --- failures --------------------------------------------------------------------------------


def moved(clock: ManualClock, part: Part, axis: str) -> None:
    part.trajectories[axis].go_to(clock.now(), 90.0, LIMITS)


async def test_a_failed_approach_stops_the_others(pair: Pair):
    moved(pair.clock, pair.fine, "x")
    await pair.clock.advance(5.0)
    pair.coarse.failures["prepare"] = error = LimitError("outside", device="coarse")
    with pytest.raises(LimitError) as caught:
        await pair.run(pair.motion.prepare(pair.plan()))
    assert caught.value is error
    assert not pair.fine.moving
    assert 50 < pair.where()["x"] <= 90
    assert "stop" in pair.fine.calls
    assert "stop" in pair.coarse.calls


@pytest.mark.parametrize("call", ["start", "join"])
async def test_a_failed_sweep_stops_all(pair: Pair, call: str):
    sweep = pair.plan()
    await pair.run(pair.motion.prepare(sweep))
    moved(pair.clock, pair.coarse, "y")
    pair.fine.failures[call] = MotionError("stalled", device="fine")

    async def fly() -> None:
        await pair.motion.start(sweep)
        await pair.motion.join()

    with pytest.raises(MotionError, match="stalled"):
        await pair.run(fly())
    assert not pair.fine.moving
    assert not pair.coarse.moving


async def test_a_failed_stop_is_noted_and_spares_nobody(pair: Pair):
    sweep = pair.plan()
    await pair.run(pair.motion.prepare(sweep))
    pair.fine.failures |= {
        "start": MotionError("stalled", device="fine"),
        "stop": MotionError("deaf", device="fine"),
    }
    moved(pair.clock, pair.coarse, "y")
    with pytest.raises(MotionError, match="stalled") as caught:
        await pair.run(pair.motion.start(sweep))
    assert caught.value.__notes__ == ["stopping failed too: fine: deaf"]
    assert not pair.coarse.moving


@pytest.mark.parametrize("call", ["connect", "stop", "close", "restore"])
async def test_every_part_is_told_although_one_fails(pair: Pair, call: str):
    pair.fine.failures[call] = MotionError("first", device="fine")
    pair.coarse.failures[call] = MotionError("second", device="coarse")
    with pytest.raises(MotionError, match="first") as caught:
        await getattr(pair.motion, call)()
    assert caught.value.__notes__ == ["also: coarse: second"]
    assert pair.fine.calls == pair.coarse.calls == [call]


async def test_a_cancelled_approach_leaves_all_decelerating(pair: Pair):
    moved(pair.clock, pair.fine, "x")
    moved(pair.clock, pair.coarse, "y")
    await pair.clock.advance(5.0)
    task = asyncio.ensure_future(pair.motion.prepare(pair.plan()))
    await pair.clock.advance(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await pair.clock.advance(0.2)
    assert not pair.fine.moving
    assert not pair.coarse.moving
    assert pair.where()["x"] > 10


# --- restore ---------------------------------------------------------------------------------


async def test_settings_of_all_parts_are_put_back(pair: Pair):
    sweep = pair.plan()
    await pair.motion.save(pair.path())
    await pair.run(pair.motion.prepare(sweep))
    await pair.motion.start(sweep)
    steps = pair.motion.restore_steps()
    assert {step.key for step in steps} == {"fine/x", "fine/z", "coarse/y"}
    await pair.run(pair.motion.join())
    assert pair.fine.settings["x"] != 100.0
    await pair.motion.restore()
    assert pair.fine.settings["x"] == 100.0
    assert pair.motion.restore_steps() == ()


async def test_settings_are_put_back_from_a_journal(pair: Pair):
    steps = (RestoreStep("fine/x", "12.0"), RestoreStep("coarse/y", "13.0"))
    await pair.motion.restore(steps)
    assert (pair.fine.settings["x"], pair.coarse.settings["y"]) == (12.0, 13.0)
    with pytest.raises(ConfigurationError, match="cannot restore 'other/x'"):
        await pair.motion.restore((RestoreStep("other/x", "1"),))


# --- shares ----------------------------------------------------------------------------------


def test_a_share_of_a_path_has_all_its_points():
    path = Path.from_spec(RASTER, period=0.1)
    own = share_of_path(path, ["x", "q"])
    assert own.axes == ("x",)
    assert (own.points, own.segment_count) == (path.points, path.segment_count)
    assert own.extents() == {"x": path.extents()["x"]}
    assert path.axes == ("y", "x")
    for mine, whole in zip(own.segments(), path.segments(), strict=True):
        assert mine.start == {"x": whole.start["x"]}
        assert mine.trigger == whole.trigger


def test_a_share_of_a_curve():
    path = Path.from_spec(Linspace("z", 0, 1, 2) * Spiral("x", 0, 5, 1, "y", 0), period=0.1)
    limits = dict.fromkeys("xyz", AxisLimits(-100, 100, 1000, 1e5))
    sweep = plan_sweep(path.segment(0), 0, limits)
    curve = share_of_sweep(sweep, ["x", "y"])
    times, positions = curve.curve()
    whole_times, whole = sweep.curve()
    np.testing.assert_array_equal(times, whole_times)
    assert set(positions) == {"x", "y"}
    np.testing.assert_array_equal(positions["x"], whole["x"])
    still = share_of_sweep(sweep, ["z"])
    assert still.static
    assert still.segment.bounds is None
    assert still.origin == {"z": 0.0}


# --- on simulated controllers ----------------------------------------------------------------


async def test_a_piezo_and_a_motor_fly_a_map():
    async with running("E-727") as piezo, motor(piezo) as coarse:
        parts = {"piezo": piezo.motion, "motor": coarse.motion}
        motion = CombinedMotion("stage", parts)
        path = Path.from_spec(
            Linspace("height", 3, 3.2, 3) * ~Linspace("x", 40, 44, 20), period=0.001
        )
        await motion.connect()
        await motion.check(path)
        await motion.save(path)
        limits = await motion.limits()
        path.validate(limits)
        for segment in path.segments():
            sweep = plan_sweep(segment, segment.first_point, limits)
            await motion.prepare(sweep)
            await motion.start(sweep)
            assert await motion.join() is JoinOutcome.DONE
            here = await motion.position()
            assert here["x"] == pytest.approx(sweep.target["x"], abs=0.05)
            assert here["height"] == pytest.approx(sweep.target["height"], abs=0.005)
        await motion.stop()
        await motion.restore()
        assert motion.restore_steps() == ()


def motor(piezo: Rig):
    axes = {"height": {"id": "1", "acceleration": 500.0}}
    return running("C-863", axes=axes)
