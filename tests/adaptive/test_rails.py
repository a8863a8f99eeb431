"""No command leaves the limits, whatever is proposed."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyscan.adaptive import (
    Finish,
    Flag,
    GoBack,
    GuardRail,
    Hold,
    Plan,
    Profile,
    Proposal,
    Resume,
    Retune,
)
from flyscan.adaptive._rails import bounded_retunes
from flyscan.errors import ConfigurationError
from tests.adaptive.lines import RAIL, line, now

DECISIONS = int(os.environ.get("FLYSCAN_FUZZ", "100000"))
ANYTHING = st.one_of(st.floats(), st.floats(1e-3, 20.0), st.just(0.0), st.just(-1.0))


@pytest.mark.parametrize("trigger", ["time", "position"])
def test_fuzzed_retunes_stay_within_limits(trigger: str) -> None:
    rng = np.random.default_rng(1)
    context = line(trigger=trigger, step_in_flight=True, min_period=5e-4, max_period=0.2)

    def wild(scale: float) -> np.ndarray:
        values = scale * np.exp(rng.normal(0, 5, DECISIONS))
        odd = rng.integers(0, 20, DECISIONS)
        for number, value in enumerate((np.nan, np.inf, -np.inf, 0.0, -1.0)):
            values[odd == number] = value
        return values

    at_v = rng.uniform(context.v_min, context.v_max, DECISIONS)
    period = rng.uniform(context.min_period, context.max_period, DECISIONS)
    stale = rng.integers(0, 2, DECISIONS).astype(float)
    v, s = bounded_retunes(wild(1.0), wild(0.002), at_v, at_v * period, stale, context, 1.5)
    assert np.all((v >= context.v_min) & (v <= context.v_max))
    assert np.all(v <= 1.5 * at_v * (1 + 1e-12))
    assert np.all(v[stale > 0] <= at_v[stale > 0])
    assert np.all(s > 0)
    if trigger == "position":
        assert np.all(s / v >= context.min_period * (1 - 1e-12))
        assert np.all(s / v <= context.max_period * (1 + 1e-12))


@given(
    velocity=st.none() | ANYTHING,
    step=st.none() | ANYTHING,
    at=st.floats(-0.5, 1.5),
    speed=st.floats(0.02, 10.0),
    age=st.floats(0, 10),
    flags=st.tuples(*[st.booleans()] * 4),
)
def test_any_retune_is_bounded_or_refused_with_a_reason(
    velocity: float | None,
    step: float | None,
    at: float,
    speed: float,
    age: float,
    flags: tuple[bool, bool, bool, bool],
) -> None:
    context = line(velocity_in_flight=flags[0], step_in_flight=flags[1])
    moment = now(
        position=at, velocity=speed, step=speed / 500, age=age, held=flags[2], at_end=flags[3]
    )
    ruling = RAIL.check(Retune("fuzz", velocity, step), moment, context)
    if not isinstance(ruling.allowed, Retune):
        assert any("refused" in reason for reason in ruling.reasons)
        return
    assert not flags[2]
    assert not flags[3]
    if ruling.allowed.velocity is not None:
        assert flags[0]
        assert context.v_min <= ruling.allowed.velocity <= context.v_max
        assert ruling.allowed.velocity <= speed * RAIL.max_raise * (1 + 1e-12)
    if ruling.allowed.step is not None:
        assert flags[1]
        assert ruling.allowed.step > 0
    changed = velocity is not None and ruling.allowed.velocity not in (velocity, None)
    assert ruling.reasons or not changed


@given(
    ends=st.tuples(st.floats(-0.2, 1.2), st.floats(-0.2, 1.2)),
    speeds=st.tuples(st.floats(1e-3, 20.0), st.floats(1e-3, 20.0)),
)
def test_a_way_back_stays_within_limits(
    ends: tuple[float, float], speeds: tuple[float, float]
) -> None:
    if abs(ends[0] - ends[1]) < 1e-6:
        return
    context = line()
    profile = Profile(ends, speeds)
    ruling = RAIL.check(GoBack("fuzz", *ends, profile), now(), context)
    sound = all(0 <= end <= 1 for end in ends)
    sound = sound and all(context.v_min <= speed <= context.v_max for speed in speeds)
    sound = sound and profile.peak_acceleration <= context.acceleration
    if sound:
        assert ruling.allowed is not None
    if ruling.allowed is not None:
        assert all(-1e-6 <= end <= 1 + 1e-6 for end in ends)
        assert max(speeds) <= context.v_max * (1 + 1e-5)
        assert profile.peak_acceleration <= context.acceleration * (1 + 1e-2)
    else:
        assert ruling.reasons[0].startswith("refused: ")


def test_stale_data_never_speeds_up() -> None:
    ruling = RAIL.check(Retune("faster", velocity=1.2), now(age=9.0), line())
    assert ruling.allowed is None
    assert "stale data" in ruling.reasons[0]
    slower = RAIL.check(Retune("slower", velocity=0.5), now(age=9.0), line())
    assert slower.allowed == Retune("slower", velocity=0.5)


@pytest.mark.parametrize(
    ("moment", "why"),
    [
        ({"held": True}, "refused: the flight holds"),
        ({"at_end": True}, "refused: the line is over"),
    ],
)
def test_no_retune_of_a_stage_that_stands(moment: dict[str, Any], why: str) -> None:
    assert RAIL.check(Retune("on", velocity=0.5), now(**moment), line()).reasons == (why,)


def test_a_command_that_acts_after_the_end_is_refused() -> None:
    ruling = RAIL.check(Retune("late", velocity=1.2), now(position=0.995), line(latency=0.01))
    assert ruling.reasons == ("refused: it would act after the end of the line",)


@pytest.mark.parametrize(
    ("profile", "why"),
    [
        (Profile((0.0, 1.0), (11.0, 11.0)), "speed 11 above 10"),
        (Profile((0.0, 1.0), (0.01, 1.0)), "speed 0.01 below 0.02"),
        (Profile((0.0, 0.001, 1.0), (1.0, 3.0, 3.0)), "acceleration 4000 above 1000"),
        (Profile((0.1, 1.0), (1.0, 1.0)), "not the line"),
        (Profile((0.0, 0.3, 0.6, 1.0), (1.0, 2.0, 2.0, 1.0)), "3 pieces, the box takes 2"),
    ],
)
def test_a_profile_out_of_limits_becomes_a_uniform_line(profile: Profile, why: str) -> None:
    plan, reasons = RAIL.check_plan(Plan(profile, "test", gain=3.0), line(profile_pieces=2))
    assert plan.profile is None
    assert plan.gain == 1.0
    assert why in reasons[0]


def test_triggers_by_position_bound_the_speed_of_profiles() -> None:
    context = line(trigger="position", period=0.002, min_period=0.001)
    plan, reasons = RAIL.check_plan(Plan(Profile((0.0, 1.0), (3.0, 3.0)), "test"), context)
    assert plan.profile is None
    assert "above 2" in reasons[0]


def test_a_profile_whose_ramps_leave_travel_is_refused() -> None:
    rail = GuardRail(-0.01, 1.01)
    plan, reasons = rail.check_plan(Plan(Profile((0.0, 1.0), (9.0, 9.0)), "test"), line())
    assert plan.profile is None
    assert "leaves travel" in reasons[0]


@pytest.mark.parametrize(
    ("proposal", "moment", "allowed"),
    [
        (Hold("beam", refly_from=300), {}, Hold("beam", refly_from=300)),
        (Hold("beam", refly_from=0.5), {}, None),  # type: ignore[arg-type]
        (Hold("beam"), {"held": True}, Hold("beam")),
        (Resume("beam"), {}, None),
        (Resume("beam"), {"held": True}, Resume("beam")),
        (Finish("enough"), {}, Finish("enough")),
        (Flag("bad", 3, 5), {"held": True}, Flag("bad", 3, 5)),
        (Flag("bad", 5, 5), {}, None),
        (Flag("bad", 0.5, 5), {}, None),  # type: ignore[arg-type]
        (Proposal("nothing"), {}, None),
        (Retune("nothing"), {}, None),
    ],
)
def test_what_fits_the_moment(
    proposal: Proposal, moment: dict[str, Any], allowed: Proposal | None
) -> None:
    assert RAIL.check(proposal, now(**moment), line()).allowed == allowed


def test_a_flight_that_cannot_go_back_does_not() -> None:
    back = GoBack("look", 0.4, 0.2, Profile((0.4, 0.2), (0.5, 0.5)))
    assert RAIL.check(back, now(), line()).allowed == back
    assert RAIL.check(back, now(), line(goes_back=False)).allowed is None
    assert RAIL.check(back, now(held=True), line()).allowed is None
    assert RAIL.check(replace(back, start=0.5), now(), line()).allowed is None


@pytest.mark.parametrize(
    "limits",
    [
        {"low": 1.0, "high": 1.0},
        {"low": math.nan, "high": 1.0},
        {"low": 0.0, "high": 1.0, "max_raise": 0.5},
    ],
)
def test_contradictory_rails_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match="contradictory"):
        GuardRail(**limits)


@pytest.mark.parametrize(
    "limits",
    [
        {"v_min": 2.0, "v_max": 1.0},
        {"velocity": 0.0},
        {"velocity": 20.0},
        {"acceleration": 0.0},
        {"acceleration": math.nan},
        {"stop": 0.0},
        {"period": 0.0},
        {"min_period": 2.0, "max_period": 1.0},
        {"trigger": "hope"},
    ],
)
def test_contradictory_lines_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="zero, contradictory or undefined"):
        line(**limits)
