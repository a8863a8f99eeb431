"""Motor records flown over Channel Access, against the simulated records."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest
from scanspec.specs import Line

from flyscan.controllers.epics import EpicsMotion
from flyscan.errors import (
    BusyError,
    ConfigurationError,
    ConnectionLostError,
    LimitError,
    MotionError,
    NotReadyError,
)
from flyscan.flight import JoinOutcome, Path, RealClock, Sweep, plan_sweep
from tests.controllers.ca_rig import Rig, connected, put, serve


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with serve() as rig:
        yield rig


@pytest.fixture
async def motion(rig: Rig) -> AsyncIterator[EpicsMotion]:
    async with connected(rig) as motion:
        yield motion


def line(start: float, stop: float, points: int = 40, period: float = 0.05) -> Path:
    return Path.from_spec(Line.bounded("x", start, stop, points), period=period)


def snake() -> Path:
    return Path.from_spec(Line("y", 0, 1, 2) * ~Line("x", 0, 4, 40), period=0.05)


async def planned(motion: EpicsMotion, path: Path, point: int = 0) -> Sweep:
    await motion.save(path)
    return plan_sweep(path.segment(path.segment_of(point)), point, await motion.limits())


async def fly(motion: EpicsMotion, sweep: Sweep) -> JoinOutcome:
    await motion.prepare(sweep)
    await motion.start(sweep)
    return await motion.join()


def speeds_on_the_line(rig: Rig, sweep: Sweep, since: float) -> np.ndarray:
    """Commanded velocity while the stage was between the first trigger and the last point."""
    axis = rig.world.axes["coarse_x"]
    times = np.linspace(since, rig.clock.now(), 20_001)
    where = axis.commanded(times)
    low, high = sorted((sweep.segment.bound(sweep.from_point)["x"], sweep.segment.stop["x"]))
    passed = (where >= low) & (where <= high)
    toward = np.sign(axis.velocity(times)) == np.sign(sweep.velocity["x"])
    return axis.velocity(times)[passed & toward]


@pytest.mark.parametrize("ends", [(1.0, 5.0), (5.0, 1.0)])
async def test_a_sweep_crosses_the_line_at_constant_speed(
    rig: Rig, motion: EpicsMotion, ends: tuple[float, float]
) -> None:
    sweep = await planned(motion, line(*ends))
    await motion.prepare(sweep)
    assert (await motion.position())["x"] == pytest.approx(sweep.origin["x"], abs=1e-3)
    began = rig.clock.now()

    await motion.start(sweep)
    outcome = await motion.join()

    assert outcome is JoinOutcome.DONE
    np.testing.assert_allclose(
        speeds_on_the_line(rig, sweep, began), sweep.velocity["x"], rtol=1e-6
    )
    assert (await motion.position())["x"] == pytest.approx(sweep.target["x"], abs=1e-3)


async def test_every_line_of_a_snake_is_flown(rig: Rig, motion: EpicsMotion) -> None:
    path = snake()
    await motion.check(path)
    for segment in path.segments():
        sweep = plan_sweep(segment, segment.first_point, await motion.limits())
        assert await fly(motion, sweep) is JoinOutcome.DONE
        assert (await motion.position())["y"] == pytest.approx(sweep.target["y"], abs=1e-3)


async def test_a_base_speed_does_not_lengthen_the_run_up(rig: Rig, motion: EpicsMotion) -> None:
    await put(rig.pv("X.VBAS"), 0.5)
    sweep = await planned(motion, line(1.0, 5.0))
    await motion.prepare(sweep)
    began = rig.clock.now()
    await motion.start(sweep)
    await motion.join()

    np.testing.assert_allclose(
        speeds_on_the_line(rig, sweep, began), sweep.velocity["x"], rtol=1e-6
    )


async def test_a_hold_comes_to_rest_and_the_rest_is_flown_by_the_same_calls(
    rig: Rig, motion: EpicsMotion
) -> None:
    path = line(0.0, 8.0, points=80)
    sweep = await planned(motion, path)
    await motion.prepare(sweep)
    await motion.start(sweep)
    joining = asyncio.create_task(motion.join())
    axis = rig.world.axes["coarse_x"]
    while axis.position(rig.clock.now()) < 0.2:  # the hold takes a while on a busy machine
        await rig.clock.sleep(0.1)

    await motion.hold()

    assert await joining is JoinOutcome.HELD
    assert axis.velocity(rig.clock.now()) == 0
    rest = (await motion.position())["x"]
    assert 0 < rest < 8
    point = int(rest / 0.1) + 1
    assert await fly(motion, await planned(motion, path, point)) is JoinOutcome.DONE


async def test_hold_and_stop_are_harmless_at_rest(motion: EpicsMotion) -> None:
    await motion.hold()
    await motion.stop()
    await motion.stop()
    sweep = await planned(motion, line(0.0, 1.0, points=10))
    assert await fly(motion, sweep) is JoinOutcome.DONE
    await motion.hold()
    assert await motion.join() is JoinOutcome.DONE


async def test_stop_before_connecting_and_after_closing_does_nothing(rig: Rig) -> None:
    motion = rig.motion()
    await motion.stop()
    await motion.restore()
    await motion.close()
    await motion.connect()
    await motion.connect()
    await motion.close()
    await motion.close()
    await motion.stop()


async def test_stop_ends_a_sweep_at_once(rig: Rig, motion: EpicsMotion) -> None:
    sweep = await planned(motion, line(0.0, 20.0, points=200))
    await motion.prepare(sweep)
    await motion.start(sweep)

    await motion.stop()

    assert rig.world.axes["coarse_x"].velocity(rig.clock.now()) == 0
    with pytest.raises(MotionError, match=r"coarse\.x: came to rest at .* instead of"):
        await motion.join()


async def test_cancelling_prepare_leaves_the_axis_decelerating(
    rig: Rig, motion: EpicsMotion
) -> None:
    sweep = await planned(motion, line(15.0, 20.0))
    approach = asyncio.create_task(motion.prepare(sweep))
    await rig.clock.sleep(1.0)
    assert rig.world.axes["coarse_x"].velocity(rig.clock.now()) > 1

    approach.cancel()
    with pytest.raises(asyncio.CancelledError):
        await approach

    await rig.clock.sleep(0.5)
    assert rig.world.axes["coarse_x"].velocity(rig.clock.now()) == 0
    await motion.prepare(sweep)


async def test_retune_in_flight_is_refused_with_the_reason(motion: EpicsMotion) -> None:
    assert not motion.capabilities.velocity_in_flight
    with pytest.raises(ConfigurationError, match="new VELO to its next move only"):
        await motion.retune(1.5)


# --- what is refused ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("SPMG", "Pause", "set T.*:X.SPMG to Go"),
        ("SET", "Set", "set T.*:X.SET to Use"),
        ("RTRY", 3, "set T.*:X.RTRY to 0"),
        ("DLY", 0.5, "set T.*:X.DLY to 0"),
        ("BDST", 1.5, "set BDST to 0 for fly scans"),
    ],
)
async def test_a_record_that_would_spoil_the_flight_is_refused(
    rig: Rig, motion: EpicsMotion, field: str, value: float | str, text: str
) -> None:
    path = snake()
    await motion.check(path)
    await put(rig.pv(f"X.{field}"), value)

    with pytest.raises(NotReadyError, match=text):
        await motion.check(path)


async def test_records_that_take_no_part_are_not_looked_at(rig: Rig, motion: EpicsMotion) -> None:
    await put(rig.pv("Y.RTRY"), 3)

    await motion.check(line(0.0, 1.0))


async def test_a_motor_somebody_else_moves_is_busy(rig: Rig, motion: EpicsMotion) -> None:
    await put(rig.pv("X"), 10.0)

    with pytest.raises(BusyError, match=r"coarse\.x: the motor is moving.*X\.STOP"):
        await motion.check(line(0.0, 1.0))
    await motion.stop()


async def test_a_line_slower_than_the_base_speed_is_refused(rig: Rig, motion: EpicsMotion) -> None:
    await put(rig.pv("X.VBAS"), 0.5)

    with pytest.raises(LimitError, match=r"needs 0\.1 mm/s, the motor's base speed VBAS is 0\.5"):
        await motion.check(line(0.0, 1.0, points=10, period=1.0))


async def test_curves_and_diagonals_need_another_controller(motion: EpicsMotion) -> None:
    diagonal = Path.from_spec(Line("x", 0, 1, 10).zip(Line("y", 0, 1, 10)), period=0.1)

    with pytest.raises(ConfigurationError, match="moves x and y together"):
        await motion.check(diagonal)


async def test_a_clamped_velocity_is_noticed_before_the_move(rig: Rig, motion: EpicsMotion) -> None:
    sweep = await planned(motion, line(0.0, 4.0))
    await motion.prepare(sweep)
    before = await motion.position()
    await put(rig.pv("X.VMAX"), 1.0)

    with pytest.raises(LimitError, match=r"asked for VELO = 2, the record took 1"):
        await motion.start(sweep)
    assert await motion.position() == before


async def test_a_soft_limit_refuses_the_move(rig: Rig, motion: EpicsMotion) -> None:
    sweep = await planned(motion, line(10.0, 14.0))
    await put(rig.pv("X.HLM"), 5.0)

    with pytest.raises(LimitError, match=r"refuses to go to .*, soft limits are -24\.5 to 5"):
        await motion.prepare(sweep)
    assert (await motion.position())["x"] == pytest.approx(0.0, abs=1e-3)


async def test_limits_are_those_of_the_record(rig: Rig, motion: EpicsMotion) -> None:
    await put(rig.pv("X.LLM"), -3.0)
    await put(rig.pv("X.HLM"), 7.0)

    limits = (await motion.limits())["x"]

    assert (limits.low, limits.high, limits.velocity) == (-3.0, 7.0, 5.0)
    assert limits.acceleration == pytest.approx(2.0 / 0.1)
    assert (limits.unit, limits.precision) == ("mm", 4)


# --- what goes wrong in flight -----------------------------------------------------------


async def test_a_stall_is_a_motion_error(rig: Rig, motion: EpicsMotion) -> None:
    sweep = await planned(motion, line(0.0, 20.0, points=200))
    await motion.prepare(sweep)
    await motion.start(sweep)
    rig.world.faults.add("stall", at=rig.clock.now(), axis="coarse_x")

    with pytest.raises(MotionError, match=r"coarse\.x: (slip or stall|stands still)"):
        await motion.join()


async def test_somebody_elses_stop_is_a_motion_error(rig: Rig, motion: EpicsMotion) -> None:
    sweep = await planned(motion, line(0.0, 20.0, points=200))
    await motion.prepare(sweep)
    await motion.start(sweep)
    await rig.clock.sleep(1.0)
    await put(rig.pv("X.STOP"), 1)

    with pytest.raises(MotionError, match="somebody stopped it or the stage is blocked"):
        await motion.join()


async def test_a_connection_that_comes_back_in_time_does_not_end_the_sweep() -> None:
    async with serve(RealClock()) as rig, connected(rig) as motion:
        sweep = await planned(motion, line(0.0, 6.0, points=60, period=0.025))
        await motion.prepare(sweep)
        await motion.start(sweep)
        joining = asyncio.create_task(motion.join())
        await rig.clock.sleep(0.2)

        await rig.server.stop()
        await rig.clock.sleep(0.2)
        assert not joining.done()
        await rig.start()

        assert await joining is JoinOutcome.DONE


async def test_a_connection_that_stays_away_is_named(rig: Rig, motion: EpicsMotion) -> None:
    sweep = await planned(motion, line(0.0, 16.0, points=160))
    await motion.prepare(sweep)
    await motion.start(sweep)
    began = rig.clock.now()
    await rig.server.stop()

    with pytest.raises(ConnectionLostError, match=r"coarse\.x: no connection to T\d+:X for"):
        await motion.join()
    assert 15 <= rig.clock.now() - began < 45


async def test_nobody_there_is_a_lost_connection(rig: Rig) -> None:
    motion = EpicsMotion("coarse", {"x": {"pv": "NOBODY:X"}}, clock=rig.clock, timeout=0.3)

    with pytest.raises(ConnectionLostError, match=r"coarse: no answer from NOBODY:X\.VAL, .*and"):
        await motion.connect()
    with pytest.raises(NotReadyError, match="coarse: not connected"):
        await motion.limits()


async def test_a_record_that_is_no_motor_is_refused(rig: Rig) -> None:
    motion = EpicsMotion("coarse", {"x": {"pv": rig.pv("RING:CURRENT")}}, timeout=0.3)

    with pytest.raises(ConnectionLostError, match="RING:CURRENT"):
        await motion.connect()


def test_a_motion_without_axes_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="needs at least one axis"):
        EpicsMotion("coarse", {})


# --- backlash ----------------------------------------------------------------------------


@pytest.mark.parametrize("ends", [(1.0, 5.0), (5.0, 1.0)])
@pytest.mark.parametrize("distance", [0.08, -0.08])
async def test_a_backlash_correction_stays_in_the_run_down(
    rig: Rig, motion: EpicsMotion, ends: tuple[float, float], distance: float
) -> None:
    await put(rig.pv("X.BDST"), distance)
    await put(rig.pv("X.BVEL"), 0.5)
    path = line(*ends)
    await motion.check(path)
    sweep = await planned(motion, path)
    await motion.prepare(sweep)
    began = rig.clock.now()

    await motion.start(sweep)

    assert await motion.join() is JoinOutcome.DONE
    np.testing.assert_allclose(
        speeds_on_the_line(rig, sweep, began), sweep.velocity["x"], rtol=1e-6
    )


async def test_backlash_at_the_edge_of_the_travel_is_refused(rig: Rig, motion: EpicsMotion) -> None:
    await put(rig.pv("X.BDST"), 0.08)
    await put(rig.pv("X.HLM"), 5.17)

    with pytest.raises(NotReadyError, match="with backlash correction spans"):
        await motion.check(line(1.0, 5.0))


# --- restoring ---------------------------------------------------------------------------


async def test_speeds_are_put_back(rig: Rig, motion: EpicsMotion) -> None:
    assert motion.restore_steps() == ()
    await fly(motion, await planned(motion, line(0.0, 1.0, points=10, period=0.2)))
    record = rig.beamline.motors[rig.pv("X")]
    assert record.fields["VELO"] == pytest.approx(0.5)
    steps = {step.key: step.value for step in motion.restore_steps()}
    assert steps == {rig.pv("X.VELO"): "2.0", rig.pv("X.ACCL"): "0.1"}

    await motion.restore()

    assert (record.fields["VELO"], record.fields["ACCL"]) == (2.0, 0.1)
    assert motion.restore_steps() == ()


async def test_speeds_are_put_back_by_a_later_process(rig: Rig) -> None:
    async with connected(rig) as motion:
        await fly(motion, await planned(motion, line(0.0, 1.0, points=10, period=0.2)))
        steps = motion.restore_steps()
    later = rig.motion()

    await later.restore(steps)

    record = rig.beamline.motors[rig.pv("X")]
    assert (record.fields["VELO"], record.fields["ACCL"]) == (2.0, 0.1)
    await later.close()


async def test_steps_of_another_configuration_are_refused(rig: Rig, motion: EpicsMotion) -> None:
    other = EpicsMotion("other", {"z": {"pv": rig.pv("Z")}})
    await fly(motion, await planned(motion, line(0.0, 1.0, points=10)))

    with pytest.raises(ConfigurationError, match=r"other: cannot put back T.*:X\.VELO"):
        await other.restore(motion.restore_steps())


# --- single moves ------------------------------------------------------------------------


async def test_axes_move_independently(rig: Rig, motion: EpicsMotion) -> None:
    await asyncio.gather(motion.move_to("x", 3.0), motion.move_to("y", -2.0, 4.0))

    assert await motion.position() == pytest.approx({"x": 3.0, "y": -2.0}, abs=1e-3)
    assert rig.beamline.motors[rig.pv("Y")].fields["VELO"] == 2.0


async def test_cancelling_a_move_stops_that_axis_only(rig: Rig, motion: EpicsMotion) -> None:
    speeds = {"x": 0.5, "y": 4.0}  # slowly enough to be still on its way on a busy machine
    moves = [asyncio.create_task(motion.move_to(a, 10.0, speed)) for a, speed in speeds.items()]
    await rig.clock.sleep(0.5)
    moves[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await moves[0]
    await moves[1]

    where = await motion.position()
    assert 0 < where["x"] < 8
    assert where["y"] == pytest.approx(10.0, abs=1e-3)
    assert rig.beamline.motors[rig.pv("X")].fields["VELO"] == 2.0


@pytest.mark.parametrize(
    ("axis", "position", "velocity", "kind", "text"),
    [
        ("z", 0.0, None, ConfigurationError, "unknown axis 'z'"),
        ("x", 30.0, None, LimitError, r"cannot go to 30 mm, soft limits are -24\.5 to 24\.5"),
        ("x", 1.0, 9.0, LimitError, "cannot move at 9 mm/s, speeds are 0 to 5"),
        ("x", 1.0, 0.0, LimitError, "cannot move at 0 mm/s"),
    ],
)
async def test_a_bad_move_is_refused(
    motion: EpicsMotion,
    axis: str,
    position: float,
    velocity: float | None,
    kind: type[Exception],
    text: str,
) -> None:
    with pytest.raises(kind, match=text):
        await motion.move_to(axis, position, velocity)


async def test_a_paused_motor_does_not_move(rig: Rig, motion: EpicsMotion) -> None:
    await put(rig.pv("X.SPMG"), "Pause")

    with pytest.raises(NotReadyError, match="SPMG to Go"):
        await motion.move_to("x", 1.0)


async def test_retries_and_backlash_are_welcome_in_a_single_move(
    rig: Rig, motion: EpicsMotion
) -> None:
    for field, value in (("RTRY", 3), ("BDST", 0.5), ("DLY", 0.1)):
        await put(rig.pv(f"X.{field}"), value)

    await motion.move_to("x", 2.0)

    assert (await motion.position())["x"] == pytest.approx(2.0, abs=1e-3)
