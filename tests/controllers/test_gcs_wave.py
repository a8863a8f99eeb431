"""Curves by the wave generator, from the plan to the simulated stage."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scanspec.specs import Linspace, Spiral

from flyscan.controllers.gcs._generator import WaveGenerator
from flyscan.controllers.gcs._profile import WaveMemory
from flyscan.controllers.gcs._progress import Progress
from flyscan.controllers.gcs._wave import plan_wave, points_commands
from flyscan.errors import ConfigurationError, ControllerError, LimitError, MotionError
from flyscan.flight import AxisLimits, JoinOutcome, Path, Sweep, plan_sweep
from tests.controllers.gcs_rig import Rig, running

MEMORY = WaveMemory(cycle=50e-6, points=262144)
LIMITS = AxisLimits(0.0, 100.0, 2000.0, 1e5, settle=0.002)
SPIRAL = Spiral("x", 50, 20, 3, "y", 50)


def spiral(period: float = 0.01) -> Sweep:
    return plan_sweep(
        Path.from_spec(SPIRAL, period=period).segment(0), 0, {"x": LIMITS, "y": LIMITS}
    )


# --- planning --------------------------------------------------------------------------------


@given(
    st.lists(st.floats(0, 100), min_size=2, max_size=30),
    st.floats(1e-3, 0.05),
    st.sampled_from([0.01, 0.1, 1.0]),
)
def test_tables_trace_the_curve_within_tolerance(
    corners: list[float], spacing: float, tolerance: float
):
    times, curve = spacing * np.arange(len(corners)), np.array(corners)
    wave = plan_wave(
        times, {"x": curve}, memory=MEMORY, tolerances={"x": tolerance}, device="piezo"
    )
    grid = wave.rate * MEMORY.cycle * np.arange(len(wave.tables["x"]))
    assert grid[-1] >= times[-1] - 1e-12
    off = np.abs(np.interp(times, grid, wave.tables["x"]) - curve)
    # Corners between two servo cycles cannot be met better than the stage moves in one.
    steepest = np.max(np.abs(np.diff(curve))) / spacing * MEMORY.cycle
    assert off.max() <= max(tolerance, steepest)
    assert wave.tables["x"][0] == curve[0]
    assert wave.tables["x"][-1] == pytest.approx(curve[-1], abs=1e-9)


def test_a_straight_line_needs_few_points():
    times = np.array([0.0, 1.0])
    wave = plan_wave(
        times, {"x": 10 * times}, memory=MEMORY, tolerances={"x": 0.01}, device="piezo"
    )
    assert len(wave.tables["x"]) <= 17


def test_a_curve_too_long_for_the_memory_is_refused():
    times = np.linspace(0, 10, 5001)
    curve = 50 + 10 * np.sin(2000 * times)
    with pytest.raises(
        LimitError, match=r"wave points for each of 2 axes, the controller has 9000"
    ):
        plan_wave(
            times,
            {"x": curve, "y": curve},
            memory=WaveMemory(50e-6, 9000),
            tolerances={"x": 1e-3, "y": 1e-3},
            device="piezo",
        )


@given(st.integers(1, 100))
def test_a_table_is_written_in_commands_of_at_most_32_arguments(count: int):
    points = np.arange(count) / 7
    commands = list(points_commands("2", points))
    assert all(len(command) <= 32 for command in commands)
    assert [command[1] for command in commands] == ["X"] + ["&"] * (len(commands) - 1)
    written: list[float] = []
    for table, _, kind, first, number, *values in commands:
        assert (table, kind, first, number) == ("2", "PNT", len(written) + 1, len(values))
        written += values
    np.testing.assert_array_equal(written, points)


# --- where a sweep should be -----------------------------------------------------------------


def test_progress_follows_the_plan():
    sweep = plan_sweep(
        Path.from_spec(Linspace("x", 10, 20, 100), period=0.01).segment(0), 0, {"x": LIMITS}
    )
    progress = Progress(sweep, now=5.0)
    low, high = progress.span("x", 5.0 + sweep.lead + 0.5, 5.0 + sweep.lead + 0.5)
    speed = sweep.velocity["x"]
    middle = sweep.segment.start["x"] + 0.5 * speed
    assert low == pytest.approx(middle - 0.25 * speed)
    assert high == pytest.approx(middle + 0.25 * speed)
    assert progress.remaining(5.0) == pytest.approx(sweep.duration)
    assert progress.span("x", 100.0, 100.0) == (pytest.approx(sweep.target["x"]),) * 2


def test_a_late_answer_may_tell_of_any_moment_since_it_was_asked_for():
    sweep = plan_sweep(
        Path.from_spec(Linspace("x", 10, 20, 100), period=0.01).segment(0), 0, {"x": LIMITS}
    )
    progress = Progress(sweep, now=5.0)
    asked, answered = 5.0 + sweep.lead + 0.3, 5.0 + sweep.lead + 0.7
    low, high = progress.span("x", asked, answered)
    assert low == progress.span("x", asked, asked)[0]
    assert high == progress.span("x", answered, answered)[1]


def test_progress_runs_faster_when_retuned():
    progress = Progress(spiral(), now=0.0)
    whole = progress.remaining(0.0)
    progress.retune(2.0, sent=0.1, confirmed=0.1)
    assert progress.elapsed(0.2) == pytest.approx(0.3)
    assert progress.remaining(0.1) == pytest.approx((whole - 0.1) / 2)
    progress.retune(0.5, sent=0.2, confirmed=0.2)
    assert progress.elapsed(0.4) == pytest.approx(0.4)


@given(
    st.floats(0.0, 2.0), st.floats(0.0, 1.0),
    st.floats(0.0, 2.0), st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.floats(0.2, 5.0),
    st.floats(0.0, 3.0),
)  # fmt: skip
def test_a_stage_is_expected_wherever_it_is_whenever_commands_took_effect(
    confirming: float, started: float,
    later: float, retuning: float, retuned: float, factor: float,
    after: float,
):  # fmt: skip
    """It starts, and takes another speed, at some moment from a command to its confirmation."""
    sweep = plan_sweep(
        Path.from_spec(Linspace("x", 10, 60, 500), period=0.01).segment(0), 0, {"x": LIMITS}
    )
    progress = Progress(sweep, now=5.0)
    began = 5.0 + started * confirming
    progress.begun(5.0 + confirming)
    sent = 5.0 + confirming + later
    changed = sent + retuned * retuning
    progress.retune(factor, sent, sent + retuning)
    now = sent + retuning + after
    plan = (changed - began) + (now - changed) * factor
    times, curve = sweep.curve()
    low, high = progress.span("x", now, now)
    assert low - 1e-9 <= np.interp(plan, times, curve["x"]) <= high + 1e-9
    assert progress.remaining(now) >= (sweep.duration - plan) / factor - 1e-9


def test_a_curve_is_expected_anywhere_it_goes_in_the_meantime():
    sweep = spiral()
    times, curve = sweep.curve()
    low, high = Progress(sweep, now=0.0).span("x", times[-1] / 2, times[-1] / 2)
    near = np.abs(times - times[-1] / 2) < 0.24
    assert low <= curve["x"][near].min() < curve["x"][near].max() <= high


# --- on the simulated box --------------------------------------------------------------------


async def prepared(rig: Rig, period: float = 0.01) -> Sweep:
    sweep = await rig.plan(rig.path(SPIRAL, period))
    await rig.motion.check(rig.path(SPIRAL, period))
    await rig.motion.prepare(sweep)
    return sweep


async def test_a_curve_is_flown_as_planned():
    async with running("E-727") as rig:
        await rig.other_client("WOS 1 5 2 -5", "WGC 1 3 2 3")  # left by somebody else
        sweep = await prepared(rig)
        asked = rig.clock.now()
        await rig.motion.start(sweep)
        began = rig.clock.now()
        assert await rig.motion.join() is JoinOutcome.DONE
        assert 0 <= rig.clock.now() - asked - sweep.duration < 0.05
        assert shape_error(rig, sweep, asked, began) < 0.02
        for axis, place in (await rig.motion.position()).items():
            assert place == pytest.approx(sweep.target[axis], abs=0.05)


def shape_error(rig: Rig, sweep: Sweep, earliest: float, latest: float, axes: str = "xy") -> float:
    """How far the set-points were from the curve, wherever in between it was started.

    The simulator reads its clock anew for each axis, so each has its own start.
    """
    times, curve = sweep.curve()

    def error(axis: str, start: float) -> float:
        flown = rig.world.axes[axis].commanded(start + times)
        return float(np.abs(flown - curve[axis]).max())

    starts = np.arange(earliest, latest + 1e-3, 1e-5)
    return max(min(error(axis, start) for start in starts) for axis in axes)


@pytest.mark.parametrize(("seconds", "most"), [(0.2, 12), (1.0, 20), (10.0, 40)])
async def test_a_speed_profile_takes_few_commands(seconds: float, most: int):
    """Loading is dead time: a line that slows down to a third in its middle, and back."""
    async with running("E-727") as rig:
        path = rig.path(Linspace.bounded("x", 40.0, 60.0, 100), seconds / 100)
        share = np.linspace(0.0, 1.0, 101)
        pace = 1 / (1 + 2 * np.exp(-(((share - 0.5) / 0.1) ** 2)))
        between = 1 / ((pace[1:] + pace[:-1]) / 2)
        times = np.concatenate(([0.0], np.cumsum(between))) * seconds / between.sum()
        planned = replace(path.segment(0), schedule=times)
        sweep = plan_sweep(planned, 0, await rig.motion.limits())
        sent: list[str] = []
        tell = rig.motion._controller.link.command

        async def noted(command: str, *arguments: str | float, **options: bool) -> None:
            sent.append(command)
            await tell(command, *arguments, **options)

        rig.motion._controller.link.command = noted
        await rig.motion.save(path)
        await rig.motion.prepare(sweep)
        assert 1 <= sent.count("WAV") <= most
        asked = rig.clock.now()
        await rig.motion.start(sweep)
        began = rig.clock.now()
        assert await rig.motion.join() is JoinOutcome.DONE
        assert shape_error(rig, sweep, asked, began, "x") < 0.015


async def test_a_curve_in_user_units():
    axes = {
        "x": {"id": "2", "sign": -1, "scale": 1.0, "offset": 90.0},
        "y": {"id": "1"},
    }
    for axis in axes.values():
        axis |= {"velocity": 2000.0, "acceleration": 1e5}
    async with running("E-727", axes=axes) as rig:
        sweep = await prepared(rig)
        await rig.motion.start(sweep)
        assert await rig.motion.join() is JoinOutcome.DONE
        assert rig.axis("2").position(rig.clock.now()) == pytest.approx(
            90 - sweep.target["x"], abs=0.05
        )


async def test_hold_stops_a_curve_and_the_rest_is_a_new_curve():
    async with running("E-727") as rig:
        sweep = await prepared(rig)
        await rig.motion.start(sweep)
        joined = asyncio.ensure_future(rig.motion.join())
        await rig.clock.sleep(sweep.duration / 2)
        await rig.motion.hold()
        assert await joined is JoinOutcome.HELD
        now = rig.clock.now()
        assert not any(rig.world.axes[axis].moving(now) for axis in "xy")
        point = sweep.segment.points // 2
        rest = await rig.plan(rig.path(SPIRAL, 0.01), point=point)
        await rig.motion.prepare(rest)
        await rig.motion.start(rest)
        assert await rig.motion.join() is JoinOutcome.DONE


async def test_a_curve_cannot_be_retuned_even_where_moves_can():
    async with running("E-727", velocity_in_flight=True) as rig:
        sweep = await prepared(rig)
        await rig.motion.start(sweep)
        with pytest.raises(ConfigurationError, match="a curve under way cannot be retuned"):
            await rig.motion.retune(1.1)
        assert await rig.motion.join() is JoinOutcome.DONE


async def test_settings_of_the_generator_are_put_back():
    asked = ("WTR? 1 2", "WSL? 1 2", "WGC? 1 2", "WOS? 1 2", "VEL? 1 2")
    async with running("E-727") as rig:
        await rig.other_client("WTR 1 7 0", "WGC 2 5", "WOS 1 0.25", "WAV 3 X PNT 1 1 0", "WSL 2 3")
        found = await rig.other_client(*asked)
        sweep = await prepared(rig)
        await rig.motion.start(sweep)
        await rig.motion.join()
        assert await rig.other_client(*asked) != found
        await rig.motion.restore()
        assert await rig.other_client(*asked) == found


async def test_stop_ends_a_curve():
    async with running("E-727") as rig:
        await rig.motion.start(await prepared(rig))
        await rig.clock.sleep(0.05)
        await rig.motion.stop()
        assert await rig.other_client("\x09\x05") == "0\n0\n"


async def test_a_curve_interrupted_by_another_client_is_noticed():
    async with running("E-727") as rig:
        await rig.motion.start(await prepared(rig))
        await rig.clock.sleep(0.05)
        await rig.other_client("WGO 1 0 2 0")
        with pytest.raises(MotionError, match="expected at"):
            await rig.motion.join()


async def test_tables_written_by_somebody_else_are_noticed(monkeypatch: pytest.MonkeyPatch):
    async with running("E-727") as rig:
        write = WaveGenerator._write

        async def spoiled(self: WaveGenerator, table: str, points: np.ndarray) -> None:
            await write(self, table, points)
            await rig.other_client(f"WAV {table} X LIN {len(points)} 10 0 {len(points)} 0 0")

        monkeypatch.setattr(WaveGenerator, "_write", spoiled)
        with pytest.raises(ControllerError, match="wave table 1 differs from what was written"):
            await prepared(rig)


async def test_a_box_without_generator_refuses_curves():
    async with running("C-885") as rig:
        path = rig.path(Spiral("x", 9, 0.1, 0.02, "y", 9), 1.0)
        with pytest.raises(ConfigurationError, match=r"cannot fly in one sweep") as caught:
            await rig.motion.check(path)
        assert "without_curves" in caught.value.remedy
        with pytest.raises(ConfigurationError, match="no wave generator to fly a curve with"):
            await rig.motion.prepare(await rig.plan(path))
