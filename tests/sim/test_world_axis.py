"""Stage axes: profiles keep their bounds and end on target, history never changes."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flyscan.errors import LimitError
from flyscan.flight import ManualClock
from flyscan_sim.world import AxisSpec, FaultScript, StageAxis

PLAIN = AxisSpec("um", 1e-3, 0.0, 100.0, 2000.0, 1e5, start=50.0)


def make(**changes):
    clock = ManualClock()
    faults = FaultScript(clock)
    spec = replace(PLAIN, **changes)
    return StageAxis("x", spec, clock, faults, seed=3), clock, faults


positions = st.floats(0.0, 100.0)
speeds = st.floats(0.1, 2000.0)
rates = st.floats(100.0, 1e5)
commands = st.lists(
    st.one_of(
        st.tuples(st.just("move"), positions, speeds, rates),
        st.tuples(st.just("velocity"), speeds),
        st.tuples(st.just("halt"), rates),
    ),
    min_size=1,
    max_size=6,
)


def apply(axis, command, at):
    match command:
        case ("move", target, speed, rate):
            return axis.move(target, velocity=speed, acceleration=rate, at=at)
        case ("velocity", speed):
            return axis.set_velocity(speed, at=at)
        case ("halt", rate):
            return axis.halt(deceleration=rate, at=at)


@settings(deadline=None, max_examples=150)
@given(commands, st.lists(st.floats(1e-4, 0.5), min_size=6, max_size=6))
def test_any_retargeting_stays_in_bounds_and_ends_as_told(script, gaps):
    axis, _, _ = make()
    at = 0.0
    for command, gap in zip(script, gaps, strict=False):
        apply(axis, command, at)
        at += gap
    end = axis.end_time()
    t = np.linspace(0, max(end, at) + 0.1, 4001)
    x, v = axis.commanded(t), axis.velocity(t)
    assert x.min() >= -1e-6
    assert x.max() <= 100 + 1e-6
    assert np.abs(v).max() <= 2000 * (1 + 1e-9)
    assert np.abs(np.diff(x)).max() <= 2000 * (t[1] - t[0]) * (1 + 1e-6) + 1e-6
    assert axis.velocity(end + 1e-6) == 0
    moves = [c for c in script if c[0] != "velocity"]
    if moves and moves[-1][0] == "move":
        assert axis.commanded(end + 1e-6) == moves[-1][1]


@settings(deadline=None, max_examples=100)
@given(positions, positions, positions, speeds, speeds, rates, st.floats(0.0, 1.0))
def test_profile_respects_acceleration_and_lower_speed(start, first, second, v1, v2, rate, share):
    axis, _, _ = make(start=start)
    end = axis.move(first, velocity=v1, acceleration=rate)
    at = share * end
    before = abs(float(axis.velocity(at)))
    axis.move(second, velocity=v2, acceleration=rate, at=at)
    t = np.linspace(at, axis.end_time() + 1e-6, 2001)
    v = axis.velocity(t)
    assert np.abs(v).max() <= max(before, v2) * (1 + 1e-9) + 1e-9
    sharpest = max(rate, _needed(axis, at))
    assert np.abs(np.diff(v)).max() <= sharpest * (t[1] - t[0]) * (1 + 1e-6) + 1e-6
    assert abs(float(axis.commanded(axis.end_time())) - second) < 1e-6


def _needed(axis, at):
    """Deceleration needed to stay inside the travel at `at`."""
    x, v = float(axis.commanded(at)), float(axis.velocity(at))
    room = (axis.high - x) if v > 0 else (x - axis.low)
    return v * v / (2 * room) if room > 0 else 0.0


def test_trapezoid_takes_the_time_of_the_textbook():
    axis, _, _ = make()
    end = axis.move(60.0, velocity=100.0, acceleration=1000.0)
    assert end == pytest.approx(10 / 100 + 100 / 1000)
    assert axis.commanded(end / 2) == pytest.approx(55.0)
    assert axis.velocity(end / 2) == 100.0


def test_unequal_deceleration_is_used_at_the_end_only():
    axis, _, _ = make(start=0.0)
    end = axis.move(100.0, velocity=100.0, acceleration=1000.0, deceleration=200.0)
    assert axis.velocity(0.05) == pytest.approx(50.0)
    assert axis.velocity(end - 0.25) == pytest.approx(50.0)


def test_speed_changes_in_flight_and_not_at_rest():
    axis, _, _ = make(start=0.0)
    axis.set_velocity(10.0)
    assert not axis.moving(0.0)
    axis.move(100.0, velocity=10.0, acceleration=1e4)
    axis.set_velocity(50.0, at=1.0)
    assert axis.velocity(0.9) == 10.0
    assert axis.velocity(1.1) == 50.0
    assert axis.commanded(axis.end_time() + 1) == 100.0


def test_halt_keeps_to_the_path_and_inside_the_travel():
    axis, _, _ = make(start=0.0)
    axis.move(100.0, velocity=1000.0, acceleration=1e5)
    end = axis.halt(deceleration=10.0, at=0.05)  # 10 um/s^2 would need 50 mm
    assert 50 < axis.commanded(end + 1) <= 100.0
    assert not axis.moving(end)


def test_moving_begins_with_the_command_and_ends_with_the_stand():
    axis, _, _ = make()
    assert not axis.moving(0.0)
    end = axis.move(60.0, velocity=100.0, acceleration=1000.0)
    assert axis.moving(0.0)
    assert axis.moving(end - 1e-9)
    assert not axis.moving(end)
    assert axis.end_time() == end


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"target": 100.5}, "position 100.5 um is outside 0 to 100"),
        ({"target": float("nan")}, "outside"),
        ({"velocity": 2001.0}, "velocity 2001 um/s must be above 0 and at most 2000"),
        ({"velocity": 0.0}, "velocity 0"),
        ({"acceleration": 1e6}, "acceleration 1e"),
        ({"deceleration": -1.0}, "deceleration -1"),
    ],
)
def test_commands_beyond_the_limits_are_refused(arguments, text):
    axis, _, _ = make()
    allowed = {"target": 10.0, "velocity": 100.0, "acceleration": 1e3}
    with pytest.raises(LimitError, match=text):
        axis.move(**{**allowed, **arguments})
    assert not axis.moving(0.0)


async def test_history_never_changes():
    axis, clock, faults = make(lag=1e-3, jitter=0.01, backlash=0.5)
    axis.move(90.0, velocity=100.0, acceleration=1e4)
    await clock.advance(0.2)
    t = np.linspace(0, clock.now(), 1001)
    before = axis.position(t)
    axis.move(0.0, velocity=1000.0, acceleration=1e5, at=0.0)  # not before now
    faults.add("stall", axis="x", at=0.0)
    faults.add("following_error", axis="x", offset=5.0)
    np.testing.assert_array_equal(axis.position(t), before)
    await clock.advance(0.2)
    np.testing.assert_array_equal(axis.position(t), before)


def test_lag_trails_by_velocity_times_lag_and_settles():
    axis, _, _ = make(start=0.0, lag=0.01)
    end = axis.move(100.0, velocity=50.0, acceleration=1e4)
    assert axis.commanded(1.0) - axis.position(1.0) == pytest.approx(0.5, rel=1e-6)
    error = 100.0 - axis.position(end + np.array([0.0, 0.01, 0.2]))
    assert error[0] > 0.3
    assert error[1] == pytest.approx(error[0] / np.e, rel=1e-9)
    assert abs(error[2]) < 1e-6


def test_lagged_output_solves_its_equation_across_segments():
    axis, _, _ = make(lag=0.02)
    axis.move(90.0, velocity=200.0, acceleration=2000.0)
    axis.move(10.0, velocity=100.0, acceleration=5000.0, at=0.1)
    t = np.linspace(1e-3, axis.end_time() + 0.05, 20001)
    y, u = axis.position(t), axis.commanded(t)
    slope = np.gradient(y, t)
    assert np.abs(0.02 * slope - (u - y))[2:-2].max() < 0.02 * 5000 * (t[1] - t[0])


def test_backlash_takes_up_the_gap_after_a_reversal():
    axis, _, _ = make(backlash=1.0)
    axis.move(60.0, velocity=10.0, acceleration=1e4)
    there = axis.end_time()
    assert axis.position(there + 1) == pytest.approx(59.5)
    back = axis.move(59.0, velocity=10.0, acceleration=1e4, at=there + 1)
    assert axis.position(back + 1) == pytest.approx(59.5)
    back = axis.move(50.0, velocity=10.0, acceleration=1e4, at=back + 1)
    assert axis.position(back + 1) == pytest.approx(50.5)
    rest = axis.position(np.linspace(there + 1, back, 500))
    assert np.all(np.diff(rest) <= 1e-9)


@settings(deadline=None, max_examples=50)
@given(st.lists(positions, min_size=1, max_size=8), st.floats(0.1, 5.0))
def test_backlash_keeps_the_stage_within_half_the_gap(targets, gap):
    axis, _, _ = make(backlash=gap)
    at = 0.0
    for target in targets:
        axis.move(target, velocity=100.0, acceleration=1e3, at=at)
        at += 0.17  # retargets in motion
    t = np.linspace(0, axis.end_time() + 0.1, 2000)
    assert np.abs(axis.position(t) - axis.commanded(t)).max() <= gap / 2 + 1e-6


def test_waveform_is_followed_and_stands_at_its_end():
    axis, _, _ = make()
    times = np.linspace(0.1, 1.1, 101)
    wave = 50 + 20 * np.sin(2 * np.pi * (times - 0.1))
    end = axis.follow(times, wave, at=1.0)
    assert end == pytest.approx(2.1)
    np.testing.assert_allclose(axis.commanded(1.0 + times), wave, atol=1e-9)
    assert axis.moving(1.5)
    assert axis.velocity(end + 1) == 0
    assert axis.commanded(end + 1) == wave[-1]


def test_waveform_can_be_halted_and_a_pause_in_it_counts_as_motion():
    axis, _, _ = make()
    axis.follow([0.0, 1.0, 2.0, 3.0], [50.0, 60.0, 60.0, 70.0])
    assert axis.moving(1.5)
    end = axis.halt(deceleration=100.0, at=2.5)
    assert axis.commanded(end + 1) == pytest.approx(65.5)


@pytest.mark.parametrize("times", [[0.0, 0.0], [1.0, 0.5], [-1.0, 1.0], [0.0]])
def test_waveform_times_must_increase(times):
    axis, _, _ = make()
    with pytest.raises(ValueError, match="x:"):
        axis.follow(times, [1.0, 2.0])


def test_long_waveforms_are_cheap():
    axis, _, _ = make(lag=1e-3)
    times = np.arange(1, 262_145) * 5e-5
    axis.follow(times, 50 + 40 * np.sin(times))
    assert axis.commanded(times[-1]) == pytest.approx(50 + 40 * np.sin(times[-1]))


def test_encoder_has_sign_zero_quantum_and_latency():
    axis, _, _ = make(encoder_sign=-1, encoder_zero=10.0, encoder_latency=0.01, start=20.0)
    assert axis.counts(0.0) == -10_000
    axis.move(100.0, velocity=10.0, acceleration=1e5)
    t = np.array([1.0, 2.0])
    np.testing.assert_array_equal(
        axis.counts(t), -np.rint((axis.position(t - 0.01) - 10.0) / 1e-3).astype(int)
    )
    assert axis.counts(t).dtype == np.int64


def test_vibration_has_the_rms_asked_for_and_follows_the_seed():
    axis, clock, faults = make(jitter=0.002)
    t = np.linspace(0, 60, 200_001)
    noise = axis.position(t) - 50.0
    assert noise.std() == pytest.approx(0.002, rel=0.05)
    again = StageAxis("x", axis.spec, clock, faults, seed=3)
    other = StageAxis("x", axis.spec, clock, faults, seed=4)
    np.testing.assert_array_equal(again.position(t), axis.position(t))
    assert not np.allclose(other.position(t), axis.position(t))


def test_drift_is_slow_and_bounded():
    axis, _, _ = make(drift=0.1)
    t = np.linspace(0, 3600, 1001)
    away = axis.position(t) - 50.0
    assert away[0] == 0
    assert np.abs(away).max() == pytest.approx(0.1, rel=1e-3)


def test_a_stall_freezes_the_stage_and_then_lets_it_catch_up():
    axis, _, faults = make(start=0.0)
    faults.add("stall", axis="x", at=1.0, **{"for": 0.5})
    faults.add("stall", axis="y", at=0.2)
    axis.move(100.0, velocity=10.0, acceleration=1e5)
    assert axis.position(0.9) == pytest.approx(9.0, abs=0.01)
    held = axis.position(np.linspace(1.0, 1.5, 50))
    np.testing.assert_allclose(held, held[0])
    later = axis.position(np.linspace(1.5, 1.6, 500))
    assert np.all(np.diff(later) >= 0)
    assert np.diff(later).max() < 0.1
    assert axis.position(2.0) == pytest.approx(20.0, abs=0.01)


def test_a_following_error_shifts_the_stage_while_it_lasts():
    axis, _, faults = make()
    faults.add("following_error", axis="x", offset=3.0, at=1.0, **{"for": 1.0})
    np.testing.assert_allclose(axis.position(np.array([0.5, 1.5, 2.5])), [50, 53, 50])


async def test_a_jump_does_not_change_the_value_at_its_own_time():
    axis, clock, _ = make()
    await clock.advance(1.0)
    assert axis.position(1.0) == 50.0
    axis.follow([0.0, 1.0], [80.0, 90.0])
    assert axis.position(1.0) == 50.0
    assert axis.position(1.0 + 1e-9) == pytest.approx(80.0)
