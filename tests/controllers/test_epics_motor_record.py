"""What the fields of a motor record mean for a flight."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyscan.controllers.epics._motor_record import (
    AxisSettings,
    MotorRecord,
    Speed,
    faults,
    ready_problem,
)
from flyscan.errors import ConfigurationError

PV = "BL:X"
SETTINGS = AxisSettings(PV, settle=0.05)
FIT = MotorRecord(
    val=1.0,
    rbv=1.0,
    velo=2.0,
    vmax=5.0,
    vbas=0.0,
    accl=0.5,
    hlm=25.0,
    llm=-25.0,
    dhlm=25.0,
    dllm=-25.0,
    dir=0.0,
    bdst=0.0,
    bvel=1.0,
    mres=1e-4,
    rdbd=1e-3,
    rtry=0.0,
    dly=0.0,
    spmg=3.0,
    set=0.0,
    lvio=0.0,
    dmov=1.0,
    msta=0x2,
    prec=4.0,
    egu="mm",
)


def test_a_fit_record_has_no_problem() -> None:
    assert ready_problem(FIT, PV, SETTINGS) is None


@pytest.mark.parametrize(
    ("change", "problem", "remedy"),
    [
        ({"spmg": 0.0}, "SPMG = Go (3), got 0", "set BL:X.SPMG to Go"),
        ({"spmg": 1.0}, "stopped or paused", "set BL:X.SPMG to Go"),
        ({"spmg": 2.0}, "got 2", "set BL:X.SPMG to Go"),
        ({"set": 1.0}, "redefine the position", "set BL:X.SET to Use"),
        ({"rtry": 10.0}, "RTRY = 0, got 10", "set BL:X.RTRY to 0"),
        ({"dly": 0.2}, "DLY = 0 s, got 0.2 s", "set BL:X.DLY to 0"),
        ({"lvio": 1.0}, "LVIO = 1", "BL:X.LLM..BL:X.HLM"),
        ({"dllm": 3.0, "dhlm": 1.0}, "exclude every position", "BL:X.LLM below BL:X.HLM"),
        ({"velo": 0.0}, "positive VELO", "set BL:X.VELO"),
        ({"accl": 0.0}, "positive VELO and ACCL", "BL:X.ACCL"),
        ({"msta": float(0x40)}, "stall", "BL:X.MSTA"),
        ({"msta": float(0x200)}, "driver reports a problem", "BL:X.MSTA"),
        ({"msta": float(0x1000)}, "does not answer its IOC", "BL:X.MSTA"),
        ({"msta": float(0x4)}, "plus limit switch", "BL:X.MSTA"),
        ({"msta": float(0x2000)}, "minus limit switch", "BL:X.MSTA"),
        ({"msta": float(0x800)}, "position loop is off", "BL:X.CNEN"),
    ],
)
def test_what_would_spoil_a_flight_is_named_with_its_remedy(
    change: dict[str, float], problem: str, remedy: str
) -> None:
    found = ready_problem(replace(FIT, **change), PV, SETTINGS)

    assert found is not None
    assert problem in found[0]
    assert remedy in found[1]


def test_a_powered_closed_loop_motor_is_fit() -> None:
    assert ready_problem(replace(FIT, msta=float(0x800 | 0x20)), PV, SETTINGS) is None


def test_homing_is_asked_for_only_when_configured() -> None:
    homed = replace(SETTINGS, homed=True)

    assert ready_problem(FIT, PV, SETTINGS) is None
    assert ready_problem(replace(FIT, msta=float(0x4000)), PV, homed) is None
    problem = ready_problem(FIT, PV, homed)
    assert problem is not None
    assert "not been homed" in problem[0]


def test_every_fault_bit_is_spelled_out() -> None:
    assert faults(0x2 | 0x20 | 0x100 | 0x800 | 0x4000) == ()
    assert faults(0x40 | 0x4) == ("slip or stall detected", "the plus limit switch is hit")


def test_limits_come_from_the_record() -> None:
    limits = FIT.limits(SETTINGS, FIT.speed)

    assert (limits.low, limits.high) == (-25.0, 25.0)
    assert limits.velocity == 5.0
    assert limits.acceleration == 4.0
    assert (limits.unit, limits.settle, limits.precision) == ("mm", 0.05, 4)


def test_vmax_zero_means_no_maximum_and_the_speed_found_counts() -> None:
    unlimited = replace(FIT, vmax=0.0, velo=0.01)

    assert unlimited.limits(SETTINGS, Speed(2.0, 0.5)).velocity == 2.0
    assert unlimited.limits(replace(SETTINGS, velocity=7.0), Speed(2.0, 0.5)).velocity == 7.0


def test_a_configured_velocity_never_exceeds_vmax() -> None:
    assert FIT.limits(replace(SETTINGS, velocity=7.0), FIT.speed).velocity == 5.0
    assert FIT.limits(replace(SETTINGS, velocity=3.0), FIT.speed).velocity == 3.0


def test_dial_limits_of_zero_mean_no_limits() -> None:
    free = replace(FIT, dhlm=0.0, dllm=0.0, hlm=10.0, llm=10.0)

    assert free.travel == (-math.inf, math.inf)


@given(
    velocity=st.floats(0.02, 10.0),
    seconds=st.floats(0.01, 5.0),
    share=st.floats(0.0, 0.999),
)
def test_a_ramp_ends_within_the_planned_run_up(
    velocity: float, seconds: float, share: float
) -> None:
    record = replace(FIT, vbas=share * velocity)
    speed = record.ramped(velocity, seconds)

    travelled = (record.vbas + speed.velo) / 2 * speed.accl
    assert travelled <= velocity * seconds / 2 * (1 + 1e-12)
    assert record.acceleration(speed) == pytest.approx(velocity / seconds)


@pytest.mark.parametrize("base", [0.0, 2.0])
def test_without_a_rise_above_base_speed_accl_is_the_ramp(base: float) -> None:
    assert replace(FIT, vbas=base).ramped(2.0, 0.5) == Speed(2.0, 0.5)


@pytest.mark.parametrize(
    ("bdst", "direction", "leg"),
    [(0.0, 0, 0.0), (5e-5, 0, 0.0), (0.1, 0, 0.1), (-0.1, 0, -0.1), (0.1, 1, -0.1)],
)
def test_backlash_is_in_user_direction_and_needs_a_motor_step(
    bdst: float, direction: int, leg: float
) -> None:
    assert replace(FIT, bdst=bdst, dir=float(direction)).backlash == leg


def test_a_move_in_the_backlash_direction_aims_beyond_the_target() -> None:
    record = replace(FIT, bdst=0.1)

    assert record.aim(0.0, 5.0) == pytest.approx(5.1)
    assert record.aim(5.0, 0.0) == 0.0
    assert FIT.aim(0.0, 5.0) == 5.0


def test_a_backlash_leg_takes_time() -> None:
    assert FIT.leg_time() == 0.0
    assert replace(FIT, bdst=0.5).leg_time() == pytest.approx(0.5 / 1.0 + 2 * 0.5)


def test_standing_at_a_target_needs_rest_and_both_positions() -> None:
    assert FIT.stands_at(1.0, 1e-3)
    assert not FIT.stands_at(1.1, 1e-3)
    assert not replace(FIT, rbv=1.01).stands_at(1.0, 1e-3)
    assert not replace(FIT, val=1.01).stands_at(1.0, 1e-3)
    assert not replace(FIT, dmov=0.0).stands_at(1.0, 1e-3)


def test_tolerance_is_the_retry_deadband_but_at_least_two_steps() -> None:
    assert FIT.tolerance(SETTINGS) == 1e-3
    assert replace(FIT, mres=0.01).tolerance(SETTINGS) == 0.02
    assert FIT.tolerance(replace(SETTINGS, tolerance=0.5)) == 0.5


@pytest.mark.parametrize(
    ("given_settings", "text"),
    [
        ({}, "needs the name of its record"),
        ({"pv": ""}, "needs the name of its record"),
        ({"pv": PV, "sttle": 1}, "unknown setting sttle"),
        ({"pv": PV, "velocity": -1}, "velocity must be a finite positive number, got -1"),
        ({"pv": PV, "acceleration": 0}, "acceleration must be a finite positive number"),
        ({"pv": PV, "settle": math.nan}, "settle must be a finite number, got nan"),
        ({"pv": PV, "tolerance": "1"}, "tolerance must be"),
    ],
)
def test_bad_settings_are_refused(given_settings: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigurationError, match=f"stage.x: .*{text}"):
        AxisSettings.parse("stage.x", given_settings)


def test_settings_from_json() -> None:
    assert AxisSettings.parse("x", {"pv": PV, "settle": 0, "acceleration": None}) == AxisSettings(
        PV, settle=0
    )
