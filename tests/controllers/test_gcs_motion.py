"""Sweeps on simulated controllers over real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scanspec.specs import Linspace

from flyscan.controllers.gcs import GcsMotion
from flyscan.errors import (
    BusyError,
    ConfigurationError,
    ConnectionLostError,
    FlyscanError,
    LimitError,
    MotionError,
    NotReadyError,
    WatchdogError,
)
from flyscan.flight import JoinOutcome, RealClock, RestoreStep
from tests.controllers.gcs_rig import PROFILES, Rig, running

MODELS = list(PROFILES)
LINES = {
    "E-727": (Linspace("x", 40, 50, 50), 0.002),
    "C-863": (Linspace("x", 0, 2, 50), 0.004),
    "C-885": (Linspace("x", 9, 9.06, 30), 0.008),
}


async def fly(rig: Rig, sweep) -> JoinOutcome:
    await rig.motion.prepare(sweep)
    await rig.motion.start(sweep)
    return await rig.motion.join()


def stage(rig: Rig, name: str = "x"):
    return rig.world.axes[name]


async def line(rig: Rig, point: int | None = None):
    return await rig.plan(rig.path(*LINES[rig.model]), point=point)


# --- connection and configuration ------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
async def test_capabilities_come_from_the_box_and_its_profile(model: str):
    async with running(model) as rig:
        found = rig.motion.capabilities
        assert found.velocity_in_flight == (model == "C-863")
        assert found.curves == (model == "E-727")
        assert found.together == (model != "C-863")
        assert found.profiles == (model == "E-727")
        assert (found.horizon > 0) == found.velocity_in_flight


async def test_velocity_in_flight_can_be_vouched_for():
    async with running("E-727", velocity_in_flight=True) as rig:
        assert rig.motion.capabilities.velocity_in_flight


async def test_connecting_changes_and_moves_nothing():
    async with running("C-863") as rig:
        before = await rig.other_client("VEL? 1", "ACC? 1", "SVO? 1", "MOV? 1", "RON? 1")
        await rig.motion.connect()
        await rig.motion.limits()
        await rig.motion.position()
        after = await rig.other_client("VEL? 1", "ACC? 1", "SVO? 1", "MOV? 1", "RON? 1")
        assert before == after
        assert rig.motion.restore_steps() == ()


async def test_another_model_is_refused():
    async with running("E-727") as rig:
        motion = rig.make_motion(profile="C-863")
        with pytest.raises(ConfigurationError, match=r"expected a C-863, got '.*E-727"):
            await motion.connect()
        await motion.close()


async def test_an_axis_the_box_lacks_is_refused():
    async with running("E-727") as rig:
        motion = rig.make_motion(axes={"z": {"id": "7", "acceleration": 1.0}})
        with pytest.raises(ConfigurationError, match="axis 'z' is configured as '7'"):
            await motion.connect()
        await motion.close()


async def test_acceleration_must_be_known():
    async with running("E-727") as rig:
        motion = rig.make_motion(axes={"x": {"id": "1"}})
        with pytest.raises(ConfigurationError, match="does not tell its acceleration"):
            await motion.connect()
        await motion.close()


@pytest.mark.parametrize(
    ("axis", "problem"),
    [
        ({}, "'id' is missing"),
        ({"id": "1", "speed": 3}, r"unknown parameters \['speed'\]"),
        ({"id": "1", "sign": 2}, "out of range"),
        ({"id": "1", "scale": 0.0}, "out of range"),
        ({"id": "1", "velocity": -1.0}, "out of range"),
        ({"id": "1", "offset": float("nan")}, "out of range"),
        ({"id": "1", "settle": -0.1}, "out of range"),
        ({"id": "1", "scale": "1"}, "out of range"),
    ],
)
def test_bad_axis_parameters_are_named(axis: dict[str, object], problem: str):
    with pytest.raises(ConfigurationError, match=problem) as caught:
        GcsMotion("box", "127.0.0.1", axes={"x": axis})
    assert caught.value.device == "box x"


def test_no_axes_and_unknown_profiles_are_refused():
    with pytest.raises(ConfigurationError, match="no axes"):
        GcsMotion("box", "127.0.0.1", axes={})
    with pytest.raises(ConfigurationError, match=r"unknown controller profile 'E-999'") as caught:
        GcsMotion("box", "127.0.0.1", axes={"x": {"id": "1"}}, profile="E-999")
    assert "E-727, C-863, C-885" in caught.value.remedy


async def test_limits_and_positions_are_in_user_units():
    axes = {
        "x": {
            "id": "1",
            "sign": -1,
            "scale": 1000.0,
            "offset": 5.0,
            "velocity": 1e6,
            "acceleration": 1e8,
            "high": 0.0,
            "unit": "nm",
        }
    }
    async with running("E-727", axes=axes) as rig:
        limit = (await rig.motion.limits())["x"]
        assert (limit.low, limit.high) == (5.0 - 100_000.0, 0.0)
        assert (limit.velocity, limit.acceleration, limit.unit) == (1e6, 1e8, "nm")
        assert (await rig.motion.position())["x"] == pytest.approx(5.0 - 50_000, abs=20)
        await rig.motion.move_to("x", -30_000.0, velocity=2e5)
        assert stage(rig).position(rig.clock.now()) == pytest.approx(30.005, abs=0.06)


async def test_speed_limits_are_taken_from_a_box_that_tells_them():
    async with running("C-863") as rig:
        limit = (await rig.motion.limits())["x"]
        assert (limit.velocity, limit.acceleration, limit.unit) == (50.0, 500.0, "mm")


# --- sweeps ----------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
async def test_a_sweep_ends_at_its_target_in_its_time(model: str):
    async with running(model) as rig:
        sweep = await line(rig)
        await rig.motion.prepare(sweep)
        assert (await rig.motion.position())["x"] == pytest.approx(sweep.origin["x"], abs=0.05)
        began = rig.clock.now()
        await rig.motion.start(sweep)
        assert await rig.motion.join() is JoinOutcome.DONE
        ended = rig.clock.now()
        assert stage(rig).commanded(ended) == pytest.approx(sweep.target["x"], abs=1e-6)
        # Little of the turnaround is wasted: the end is noticed within milliseconds.
        assert sweep.duration - 1e-6 <= ended - began < sweep.duration + 0.003
        started = stage(rig).end_time() - sweep.duration
        passing = started + sweep.lead + np.linspace(0, 0.9, 5) * sweep.segment.duration
        speeds = np.abs(stage(rig).velocity(passing))
        np.testing.assert_allclose(speeds, abs(sweep.velocity["x"]), rtol=1e-6)
        bounds = sweep.segment.bound(sweep.from_point)
        at_first = stage(rig).commanded(started + sweep.lead)
        assert at_first == pytest.approx(bounds["x"], abs=1e-3 * abs(sweep.segment.step))


async def test_a_snake_of_two_axes():
    async with running("E-727") as rig:
        path = rig.path(Linspace("y", 40, 41, 3) * ~Linspace("x", 48, 52, 20), 0.001)
        await rig.motion.check(path)
        for index in range(path.segment_count):
            sweep = await rig.plan(path, index)
            assert await fly(rig, sweep) is JoinOutcome.DONE
            here = await rig.motion.position()
            assert here["x"] == pytest.approx(sweep.target["x"], abs=0.05)
            assert here["y"] == pytest.approx(40 + index / 2, abs=0.05)


async def test_axes_of_one_sweep_move_in_step():
    async with running("E-727") as rig:
        path = rig.path(Linspace("x", 40, 60, 40).zip(Linspace("y", 30, 35, 40)), 0.003)
        sweep = await rig.plan(path)
        assert await fly(rig, sweep) is JoinOutcome.DONE
        began = stage(rig).end_time() - sweep.duration
        t = began + sweep.lead + np.linspace(0, 1, 50) * sweep.segment.duration
        x, y = (stage(rig, name).commanded(t) for name in "xy")
        np.testing.assert_allclose(y - y[0], (x - x[0]) / 4, atol=0.01)


async def test_a_small_move_takes_little_longer_than_the_stage_needs():
    async with running("E-727") as rig:
        path = rig.path(Linspace("x", 50, 50.1, 5), 0.001)
        await rig.motion.prepare(await rig.plan(path))
        sweep = await rig.plan(path, point=1)
        began = rig.clock.now()
        await rig.motion.prepare(sweep)
        assert rig.clock.now() - began < 0.005


async def test_a_dwell_moves_nothing():
    async with running("E-727") as rig:
        sweep = await rig.plan(rig.path(Linspace("x", 30, 31, 2) * 4, 0.001))
        assert sweep.static
        await rig.motion.prepare(sweep)
        await rig.motion.start(sweep)
        assert await rig.motion.join() is JoinOutcome.DONE
        assert (await rig.motion.position())["x"] == pytest.approx(30, abs=0.05)


async def test_axes_of_other_controllers_are_ignored():
    async with running("C-863") as rig:
        path = rig.path(Linspace("other", 0, 1, 2) * Linspace("x", 0, 0.2, 5), 0.004)
        limits = dict(await rig.motion.limits())
        rig.motion.limits = lambda: asyncio.sleep(0, limits | {"other": limits["x"]})
        await rig.motion.check(path)
        sweep = await rig.plan(path)
        assert await fly(rig, sweep) is JoinOutcome.DONE


async def test_prepare_beyond_the_limits_moves_nothing():
    async with running("E-727") as rig:
        path = rig.path(Linspace("x", 40, 50, 10), 0.01)
        sweep = await rig.plan(path)
        motion = rig.make_motion(axes={"x": {"id": "1", "acceleration": 1e5, "high": 30.0}})
        await motion.connect()
        with pytest.raises(LimitError, match=r"outside the travel 0 to 30") as caught:
            await motion.prepare(sweep)
        assert caught.value.device == "box x"
        await motion.close()
        assert stage(rig).commanded(rig.clock.now()) == 50.0


async def test_a_speed_the_box_refuses_stops_the_move_that_went_out_with_it():
    async with running("C-863", axes={"x": {"id": "1", "velocity": 4000.0}}) as rig:
        with pytest.raises(FlyscanError, match=r"'VEL 1 4000, MOV 1 20' failed"):
            await rig.motion.move_to("x", 20.0, velocity=4000.0)
        now = rig.clock.now()
        assert not stage(rig).moving(now)
        assert 3.0 <= stage(rig).commanded(now) < 15.0


async def test_cancelling_prepare_leaves_the_axes_at_rest():
    async with running("C-863") as rig:
        sweep = await rig.plan(rig.path(Linspace("x", 20, 22, 10), 0.02))
        task = asyncio.ensure_future(rig.motion.prepare(sweep))
        while not stage(rig).moving(rig.clock.now()):
            await rig.clock.sleep(0.001)
        await rig.clock.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        now = rig.clock.now()
        assert not stage(rig).moving(now)
        assert 3.0 < stage(rig).commanded(now) < 15.0
        assert await fly(rig, await line(rig)) is JoinOutcome.DONE


# --- hold ------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("fraction", [0.02, 0.35, 0.8])
async def test_hold_comes_to_rest_on_the_path_without_turning_back(model: str, fraction: float):
    async with running(model) as rig:
        sweep = await line(rig)
        await rig.motion.prepare(sweep)
        await rig.motion.start(sweep)
        joined = asyncio.ensure_future(rig.motion.join())
        began = rig.clock.now()
        await rig.clock.sleep(fraction * sweep.duration)
        await rig.motion.hold()
        held = rig.clock.now()
        assert not stage(rig).moving(held)
        assert await joined is JoinOutcome.HELD
        times = np.linspace(began, held, 500)
        assert np.all(np.diff(stage(rig).commanded(times)) >= -1e-9)
        rest = stage(rig).commanded(held)
        assert sweep.origin["x"] < rest < sweep.target["x"]
        # Resuming is flying the rest: same code, later point.
        point = sweep.segment.first_point + sweep.segment.points // 2
        assert await fly(rig, await line(rig, point)) is JoinOutcome.DONE


async def test_hold_is_a_halt_where_the_box_has_one(monkeypatch: pytest.MonkeyPatch):
    async with running("C-863") as rig:
        sweep = await line(rig)
        await rig.motion.prepare(sweep)
        await rig.motion.start(sweep)
        sent: list[str] = []
        handle = rig.server.controller.handle

        def spy(request):
            sent.append(request.mnemonic)
            return handle(request)

        monkeypatch.setattr(rig.server.controller, "handle", spy)
        await rig.clock.sleep(0.05)
        await rig.motion.hold()
        assert sent.count("HLT") == 1
        assert not {"MOV", "STP", "#24"} & set(sent)
        assert await rig.other_client("ERR?") == "0\n"  # error 10 is expected and cleared
        assert await rig.motion.join() is JoinOutcome.HELD


async def test_hold_keeps_a_diagonal_straight():
    async with running("E-727") as rig:
        path = rig.path(Linspace("x", 40, 60, 40).zip(Linspace("y", 30, 35, 40)), 0.003)
        sweep = await rig.plan(path)
        await rig.motion.prepare(sweep)
        await rig.motion.start(sweep)
        joined = asyncio.ensure_future(rig.motion.join())
        await rig.clock.sleep(0.05)
        await rig.motion.hold()
        assert await joined is JoinOutcome.HELD
        here = await rig.motion.position()
        along = (here["x"] - sweep.origin["x"]) / (sweep.target["x"] - sweep.origin["x"])
        expected = sweep.origin["y"] + along * (sweep.target["y"] - sweep.origin["y"])
        assert here["y"] == pytest.approx(expected, abs=0.05)


async def test_hold_leaves_other_axes_alone():
    async with running("C-885") as rig:
        await rig.motion.prepare(await line(rig))
        sweep = await line(rig)
        await rig.motion.start(sweep)
        await rig.other_client("MOV 5 9.5")
        await rig.clock.sleep(0.05)
        await rig.motion.hold()
        assert stage(rig, "y").moving(rig.clock.now())
        assert await rig.motion.join() is JoinOutcome.HELD


async def test_hold_is_harmless_at_rest():
    async with running("E-727") as rig:
        await rig.motion.hold()
        sweep = await line(rig)
        await rig.motion.prepare(sweep)
        await rig.motion.hold()
        await rig.motion.start(sweep)
        assert await rig.motion.join() is JoinOutcome.DONE
        await rig.motion.hold()
        assert stage(rig).commanded(rig.clock.now()) == pytest.approx(sweep.target["x"])


# --- retune ----------------------------------------------------------------------------------


async def test_retune_changes_the_sweep_under_way():
    async with running("C-863") as rig:
        sweep = await rig.plan(rig.path(Linspace("x", 0, 4, 50), 0.01))
        await rig.motion.prepare(sweep)
        await rig.motion.start(sweep)
        began = rig.clock.now()
        joined = asyncio.ensure_future(rig.motion.join())
        await rig.clock.sleep(0.1)
        await rig.motion.retune(3.0)
        assert await joined is JoinOutcome.DONE
        elapsed = rig.clock.now() - began
        assert 0.1 + (sweep.duration - 0.1) / 3 - 0.02 < elapsed < 0.1 + sweep.duration / 2
        assert stage(rig).commanded(rig.clock.now()) == pytest.approx(sweep.target["x"], abs=1e-6)


async def test_a_sweep_slowed_down_is_not_taken_for_a_stall():
    async with running("C-863") as rig:
        sweep = await rig.plan(rig.path(Linspace("x", 0, 4, 50), 0.01))
        await rig.motion.prepare(sweep)
        await rig.motion.start(sweep)
        joined = asyncio.ensure_future(rig.motion.join())
        await rig.motion.retune(0.4)
        assert await joined is JoinOutcome.DONE


async def test_a_speed_that_is_confirmed_late_is_not_taken_for_a_runaway(
    monkeypatch: pytest.MonkeyPatch,
):
    """As when the connection is made anew while the stage has had its new speed for long."""
    async with running("C-863") as rig:
        sweep = await rig.plan(rig.path(Linspace("x", 0, 4, 200), 0.01))
        await rig.motion.prepare(sweep)
        await rig.motion.start(sweep)
        joined = asyncio.ensure_future(rig.motion.join())
        controller = rig.motion._controller
        set_speeds = controller.set_speeds

        async def confirmed_late(command: str, values: Mapping[str, float]) -> None:
            await set_speeds(command, values)
            async with controller.link._lock:
                await rig.clock.sleep(0.6)

        monkeypatch.setattr(controller, "set_speeds", confirmed_late)
        await rig.motion.retune(3.0)
        assert await joined is JoinOutcome.DONE


async def test_retune_beyond_the_limit_is_refused():
    async with running("C-863") as rig:
        sweep = await rig.plan(rig.path(Linspace("x", 0, 4, 50), 0.004))
        await rig.motion.prepare(sweep)
        await rig.motion.start(sweep)
        with pytest.raises(LimitError, match=r"velocity 204\.\d+ mm/s, expected above 0 up to 50"):
            await rig.motion.retune(10.0)
        assert await rig.motion.join() is JoinOutcome.DONE
        await rig.motion.retune(2.0)  # nothing under way: no matter


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan"), float("inf")])
async def test_a_factor_that_is_no_speed_is_refused(factor: float):
    async with running("C-863") as rig:
        sweep = await rig.plan(rig.path(Linspace("x", 0, 4, 50), 0.01))
        await rig.motion.prepare(sweep)
        await rig.motion.start(sweep)
        with pytest.raises(LimitError, match="expected above 0 up to 50"):
            await rig.motion.retune(factor)
        assert await rig.motion.join() is JoinOutcome.DONE


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.0, 0.2), st.floats(0.05, 4.0)), min_size=1, max_size=6),
    st.booleans(),
)
async def test_however_often_it_is_retuned_a_sweep_ends_at_its_target_or_where_it_is_held(
    retunes: list[tuple[float, float]], held: bool
):
    async with running("C-863") as rig:
        sweep = await rig.plan(rig.path(Linspace("x", 0, 4, 50), 0.01))
        await rig.motion.prepare(sweep)
        await rig.motion.start(sweep)
        joined = asyncio.ensure_future(rig.motion.join())
        for seconds, factor in retunes:
            await rig.clock.sleep(seconds)
            await rig.motion.retune(factor)
        if held:
            await rig.motion.hold()
        outcome = await joined
        assert not stage(rig).moving(rig.clock.now())
        place = float(stage(rig).commanded(rig.clock.now()))
        if outcome is JoinOutcome.DONE:
            assert place == pytest.approx(sweep.target["x"], abs=0.005)
        else:
            assert held
            assert sweep.origin["x"] <= place < sweep.target["x"]


async def test_retune_needs_the_capability():
    async with running("E-727") as rig:
        with pytest.raises(ConfigurationError, match="cannot change its velocity during a move"):
            await rig.motion.retune(1.1)


# --- fitness ---------------------------------------------------------------------------------


async def test_check_passes_a_fit_box():
    async with running("C-863") as rig:
        await rig.motion.check(rig.path(*LINES["C-863"]))


async def test_check_wants_servo_and_reference():
    async with running("C-863", homed=False) as rig:
        path = rig.path(*LINES["C-863"])
        with pytest.raises(NotReadyError) as caught:
            await rig.motion.check(path)
        assert str(caught.value) == "box x: servo is off. Remedy: run GcsMotion.servo_on()"
        await rig.motion.servo_on()
        with pytest.raises(NotReadyError) as caught:
            await rig.motion.check(path)
        assert str(caught.value) == "box x: not referenced. Remedy: run GcsMotion.reference()"
        await rig.motion.reference()
        await rig.motion.check(path)


async def test_reference_switches_reference_mode_on():
    async with running("C-863", homed=False) as rig:
        await rig.motion.servo_on("x")
        await rig.other_client("RON 1 0")
        await rig.motion.reference("x")
        assert rig.axis().referenced


async def test_reference_is_no_matter_for_absolute_sensors():
    async with running("E-727") as rig:
        await rig.motion.reference()
        assert (await rig.motion.position())["x"] == pytest.approx(50, abs=0.05)


async def test_check_notices_another_client_moving_the_stage():
    async with running("C-863") as rig:
        await rig.other_client("VEL 1 1", "MOV 1 10")
        with pytest.raises(BusyError, match="moves already") as caught:
            await rig.motion.check(rig.path(*LINES["C-863"]))
        assert caught.value.device == "box x"
        await rig.motion.stop()


async def test_check_notices_a_running_wave_generator():
    async with running("E-727") as rig:
        await rig.other_client(
            "WAV 3 X LIN 2000 0 50 2000 0 0", "WSL 1 3", "WTR 1 20 1", "WGC 1 1", "WGO 1 1"
        )
        with pytest.raises(BusyError, match="wave generator runs"):
            await rig.motion.check(rig.path(*LINES["E-727"]))
        await rig.motion.stop()


async def test_check_keeps_the_path_in_the_travel_the_box_has_now():
    async with running("E-727") as rig:
        with pytest.raises(LimitError, match="outside the travel 0 to 100"):
            await rig.motion.check(rig.path(Linspace("x", 95, 105, 10), 0.01))


async def test_check_tells_of_a_motion_fault():
    async with running("C-863") as rig:
        rig.world.faults.add("following_error", axis="x", offset=1.0, **{"for": 0.2})
        while rig.axis().servo:
            await rig.clock.sleep(0.01)
        with pytest.raises(NotReadyError, match=r"position error too large.*-1024"):
            await rig.motion.check(rig.path(*LINES["C-863"]))


# --- faults in flight ------------------------------------------------------------------------


async def flying(rig: Rig, spec, period: float) -> asyncio.Future[JoinOutcome]:
    sweep = await rig.plan(rig.path(spec, period))
    await rig.motion.prepare(sweep)
    await rig.motion.start(sweep)
    await rig.clock.sleep(0.02)
    return asyncio.ensure_future(rig.motion.join())


LONG = (Linspace("x", 40, 50, 50), 0.02)


async def test_a_stall_is_noticed():
    async with running("E-727") as rig:
        joined = await flying(rig, *LONG)
        rig.world.faults.add("stall", axis="x")
        began = rig.clock.now()
        with pytest.raises(MotionError, match="expected at") as caught:
            await joined
        assert caught.value.device == "box x"
        assert rig.clock.now() - began < 0.6
        await rig.motion.stop()


async def test_a_following_error_at_the_end_is_noticed():
    async with running("E-727") as rig:
        joined = await flying(rig, Linspace("x", 40, 50, 50), 0.002)
        await rig.clock.sleep(0.07)
        rig.world.faults.add("following_error", axis="x", offset=1.0)
        with pytest.raises(MotionError, match=r"is at 51\.\d+ um, expected at 50\.\d+ um"):
            await joined


async def test_a_servo_switched_off_in_flight_is_named():
    async with running("E-727") as rig:
        joined = await flying(rig, *LONG)
        await rig.other_client("SVO 1 0")
        with pytest.raises(MotionError, match="servo switched off in motion") as caught:
            await joined
        assert "servo_on" in caught.value.remedy


async def test_the_box_giving_up_is_named_with_its_error():
    async with running("C-863") as rig:
        joined = await flying(rig, Linspace("x", 0, 4, 50), 0.01)
        rig.world.faults.add("following_error", axis="x", offset=1.0)
        with pytest.raises(MotionError, match=r"position error too large, servo switched off"):
            await joined


async def test_a_stop_by_another_client_is_named():
    async with running("E-727") as rig:
        joined = await flying(rig, *LONG)
        await rig.other_client("STP")
        with pytest.raises(MotionError, match="stopped by another client"):
            await joined


async def test_a_motion_that_does_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("flyscan.controllers.gcs._motion.MARGIN_S", 0.05)
    async with running("E-727") as rig:
        joined = await flying(rig, Linspace("x", 40, 40.04, 20), 0.01)
        await rig.other_client("VEL 1 0.05", "MOV 1 41")
        with pytest.raises(WatchdogError, match="still moving, expected at rest after"):
            await joined
        await rig.motion.stop()


async def test_an_approach_that_does_not_end_is_given_up():
    async with running("E-727") as rig:
        sweep = await rig.plan(rig.path(*LONG))
        task = asyncio.ensure_future(rig.motion.prepare(sweep))
        while not stage(rig).moving(rig.clock.now()):
            await rig.clock.sleep(0.001)
        await rig.other_client("VEL 1 0.05", "MOV 1 60")
        with pytest.raises(WatchdogError, match="still moving, expected at rest after"):
            await task
        assert not stage(rig).moving(rig.clock.now())


async def test_an_approach_that_ends_elsewhere_is_an_error():
    async with running("E-727") as rig:
        rig.world.faults.add("following_error", axis="x", offset=1.0)
        with pytest.raises(MotionError, match=r"is at 1[01]\.?\d* um, expected at 10 um"):
            await rig.motion.move_to("x", 10.0)


async def test_a_lost_connection_does_not_end_a_sweep():
    async with running("E-727") as rig:
        joined = await flying(rig, Linspace("x", 40, 50, 50), 0.006)
        rig.world.faults.add("close_gcs", **{"for": 0.1})
        assert await joined is JoinOutcome.DONE


async def test_slow_and_garbled_answers_do_not_end_a_sweep():
    async with running("E-727", clock=RealClock(), timeout=0.1) as rig:
        joined = await flying(rig, Linspace("x", 40, 50, 50), 0.01)
        rig.world.faults.add("slow_replies", delay=0.15, **{"for": 0.1})
        rig.world.faults.add("garbage", at=rig.clock.now() + 0.2)
        assert await joined is JoinOutcome.DONE
        assert not rig.world.faults.pending("garbage")


async def test_a_box_that_stays_away_is_named():
    async with running("E-727", reconnect=0.3) as rig:
        joined = await flying(rig, *LONG)
        rig.world.faults.add("close_gcs")
        with pytest.raises(ConnectionLostError, match="controller at 127"):
            await joined
        with pytest.raises(ConnectionLostError):
            await rig.motion.stop()


# --- stop and restore ------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
async def test_stop_ends_everything_any_number_of_times(model: str):
    async with running(model) as rig:
        await rig.motion.stop()
        sweep = await line(rig)
        await rig.motion.prepare(sweep)
        await rig.motion.start(sweep)
        await rig.clock.sleep(0.05)
        await rig.motion.stop()
        now = rig.clock.now()
        assert not stage(rig).moving(now)
        assert stage(rig).commanded(now) < sweep.target["x"]
        await rig.motion.stop()
        assert await rig.other_client("ERR?") == "0\n"
        await rig.motion.move_to("x", sweep.origin["x"])
        assert await fly(rig, await line(rig)) is JoinOutcome.DONE


async def test_stop_before_connecting_and_after_closing():
    async with running("E-727") as rig:
        motion = rig.make_motion()
        await motion.stop()
        await motion.connect()
        await motion.close()
        await motion.close()
        await motion.stop()


async def test_settings_are_put_back_as_found():
    async with running("C-863") as rig:
        asked = ("VEL? 1", "ACC? 1", "DEC? 1")
        await rig.other_client("VEL 1 7.5", "ACC 1 123", "DEC 1 234")
        found = await rig.other_client(*asked)
        assert await fly(rig, await line(rig)) is JoinOutcome.DONE
        assert await rig.other_client(*asked) != found
        keys = [step.key for step in rig.motion.restore_steps()]
        assert keys == ["VEL 1", "ACC 1", "DEC 1"]
        await rig.motion.restore()
        assert await rig.other_client(*asked) == found
        assert rig.motion.restore_steps() == ()
        await rig.motion.restore()


async def test_the_way_to_the_run_up_is_as_fast_as_the_limits_allow():
    async with running("C-863") as rig:
        sweep = await line(rig)
        await rig.other_client("VEL 1 1", "ACC 1 5", "DEC 1 5")
        await rig.motion.prepare(sweep)
        found = await rig.other_client("VEL? 1", "ACC? 1", "DEC? 1")
        assert found == "1=50.0000000\n1=500.0000000\n1=500.0000000\n"


async def test_settings_are_put_back_from_a_journal():
    async with running("C-863") as rig:
        await rig.motion.prepare(await line(rig))
        steps = rig.motion.restore_steps()
        await rig.other_client("VEL 1 1", "ACC 1 1", "DEC 1 1")
        successor = rig.make_motion()
        await successor.connect()
        await successor.restore(steps)
        assert await rig.other_client("VEL? 1") == "1=50.0000000\n"
        await successor.close()


async def test_one_bad_step_does_not_keep_the_others_from_being_restored():
    async with running("C-863") as rig:
        steps = (RestoreStep("RST", "now"), RestoreStep("VEL 9", "1"), RestoreStep("VEL 1", "2"))
        with pytest.raises(ConfigurationError, match="cannot restore 'RST'"):
            await rig.motion.restore(steps)
        assert await rig.other_client("VEL? 1") == "1=2.0000000\n"


# --- single axes -----------------------------------------------------------------------------


async def test_move_to_waits_and_keeps_the_velocity():
    async with running("C-863") as rig:
        await rig.motion.move_to("x", 4.0, velocity=20.0)
        assert (await rig.motion.position())["x"] == pytest.approx(4.0, abs=0.005)
        assert np.max(stage(rig).velocity(np.linspace(0, rig.clock.now(), 2000))) <= 20.0
        assert await rig.motion.velocity("x") == 50.0
        await rig.motion.move_to("x", 3.0)


async def test_move_to_refuses_what_is_beyond_the_limits():
    async with running("C-863") as rig:
        with pytest.raises(LimitError, match=r"target 99 mm is outside the travel -25 to 25"):
            await rig.motion.move_to("x", 99.0)
        with pytest.raises(LimitError, match=r"velocity 51 mm/s"):
            await rig.motion.move_to("x", 1.0, velocity=51.0)
        with pytest.raises(LimitError, match=r"velocity 0 mm/s"):
            await rig.motion.move_to("x", 1.0, velocity=0.0)
        with pytest.raises(ConfigurationError, match="no axis called 'q'"):
            await rig.motion.move_to("q", 1.0)


async def test_move_to_is_refused_in_flight():
    async with running("E-727") as rig:
        joined = await flying(rig, *LINES["E-727"])
        with pytest.raises(BusyError, match="a sweep is under way"):
            await rig.motion.move_to("x", 10.0)
        assert await joined is JoinOutcome.DONE
        await rig.motion.move_to("x", 45.0)


@pytest.mark.parametrize("model", ["C-863", "C-885"])
async def test_halt_stops_one_axis(model: str):
    async with running(model) as rig:
        here = (await rig.motion.position())["x"]
        task = asyncio.ensure_future(rig.motion.move_to("x", here + 1, velocity=0.5))
        await rig.clock.sleep(0.1)
        await rig.motion.halt("x")
        assert not stage(rig).moving(rig.clock.now())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def test_parameters_are_json():
    """The host builds it from a configuration."""
    config = json.loads(json.dumps({"axes": PROFILES["E-727"][3], "profile": "E-727"}))
    assert GcsMotion("box", "127.0.0.1", 50000, **config).axes == ("x", "y")
