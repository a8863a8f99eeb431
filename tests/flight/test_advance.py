"""How far a sweep can have come, against the stage that is as fast as it may be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scanspec.specs import Line

from flyscan.flight import AxisLimits, Path, Trigger
from flyscan.flight._advance import Advance
from flyscan.flight._sweep import plan_sweep

LIMITS = {"x": AxisLimits(low=-100, high=100, velocity=50, acceleration=100, settle=0.1)}
PERIOD = 0.01


def sweep(trigger: str, from_point: int = 0):
    path = Path.from_spec(Line("x", 0, 10, 101), trigger=Trigger(trigger), period=PERIOD)
    return plan_sweep(path.segment(0), from_point, LIMITS)


@pytest.mark.parametrize("trigger", list(Trigger))
def test_before_the_run_up_is_over_nothing_is_triggered(trigger):
    flown = sweep(trigger.value, 30)
    assert Advance(flown, 5.0).point(5.0 + flown.lead - flown.ramp / 2) == 31


@given(st.floats(0.0, 3.0), st.integers(0, 100))
def test_a_sweep_as_planned_is_never_ahead(after, from_point):
    flown = sweep("position", from_point)
    times, positions = flown.curve()
    at = np.interp(after, times, positions["x"])
    made = sum(1 for p in range(from_point, 101) if flown.segment.points and at > 0.1 * p - 0.05)
    bound = Advance(flown, 7.0).point(7.0 + after)
    assert from_point + made <= bound <= min(101, from_point + made + flown.ramp / PERIOD + 2)


def test_speed_counts_for_positions_and_not_for_times():
    ways = {"position": 1 + 20 + 30, "time": 1 + 20 + 60}
    for trigger, expected in ways.items():
        flown = sweep(trigger)
        start = flown.lead - flown.ramp / 2
        advance = Advance(flown, 0.0)
        advance.change(start + 20 * PERIOD, 0.5, 1.0)
        assert advance.point(start + 79.999 * PERIOD) == expected


def test_a_wider_step_takes_longer_and_the_end_is_the_end():
    flown = sweep("position")
    advance = Advance(flown, 0.0)
    advance.change(0.0, 1.0, 2.0)
    assert advance.point(flown.lead - flown.ramp / 2 + 19.999 * PERIOD) == 11
    assert advance.point(1e6) == flown.segment.end_point
