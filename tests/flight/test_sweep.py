"""Sweeps: run-up, cruise and run-down within the limits of the axes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyscan.errors import BadPathError, LimitError
from flyscan.flight import AxisLimits, Segment, plan_sweep, rest_to_rest
from flyscan.flight._sweep import check_resumable, transfer_times
from tests.flight.path_specs import arc, straight

LIMITS = {
    "x": AxisLimits(-100, 100, 50, 400, "um", settle=0.02),
    "y": AxisLimits(-100, 100, 50, 100, "um"),
}
SLOW = AxisLimits(-100, 100, 50, 40, "um")


def test_straight_sweep_by_hand() -> None:
    sweep = plan_sweep(straight(), 20, LIMITS)  # 20 um/s
    assert sweep.ramp == pytest.approx(20 / 400)
    assert sweep.lead == pytest.approx(0.05 + 0.02)
    assert sweep.duration == pytest.approx(2 * 0.05 + 0.02 + 0.5)
    assert sweep.origin == pytest.approx({"y": 1.0, "x": -20 * (0.025 + 0.02)})
    assert sweep.target == pytest.approx({"y": 1.0, "x": 10 + 20 * 0.025})
    assert sweep.velocity == pytest.approx({"y": 0.0, "x": 20.0})
    assert sweep.acceleration == pytest.approx({"y": 100.0, "x": 400.0})


def test_sweep_from_a_later_point_ends_at_the_same_target() -> None:
    whole, rest = plan_sweep(straight(), 20, LIMITS), plan_sweep(straight(), 23, LIMITS)
    assert rest.target == pytest.approx(whole.target)
    assert rest.points == 2
    assert rest.origin["x"] == pytest.approx(whole.origin["x"] + 6)
    assert rest.duration == pytest.approx(whole.duration - 0.3)


def test_the_slowest_axis_sets_the_ramp_of_all() -> None:
    segment = straight(start={"y": 0.0, "x": 0.0}, stop={"y": 10.0, "x": 10.0})
    sweep = plan_sweep(segment, 20, LIMITS)
    assert sweep.ramp == pytest.approx(20 / 100)
    assert sweep.acceleration == pytest.approx({"y": 100.0, "x": 100.0})
    assert sweep.lead == pytest.approx(0.2 + 0.02)


def test_a_scheduled_sweep_enters_and_leaves_at_its_own_speeds() -> None:
    segment = straight(schedule=np.array([0, 0.4, 0.6, 0.8, 1.0, 1.1]))  # 5, 10, 10, 10, 20 um/s
    sweep = plan_sweep(segment, 20, LIMITS)
    assert sweep.velocity["x"] == pytest.approx(5.0)
    assert sweep.target["x"] == pytest.approx(10 + 20 * sweep.ramp / 2)
    assert sweep.duration == pytest.approx(2 * sweep.ramp + 0.02 + 1.1)
    times, positions = sweep.curve()
    at = np.interp(sweep.lead + np.array([0, 0.4, 0.8, 1.1]), times, positions["x"])
    assert at.tolist() == pytest.approx([0, 2, 6, 10])
    later = plan_sweep(segment, 23, LIMITS)
    assert later.velocity["x"] == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("schedule", "complaint"),
    [((0, 0.02, 0.5, 1, 1.5, 2), "needs 100 um/s"), ((0, 0.06, 1, 2, 3, 4), "um/s")],
)
def test_a_schedule_beyond_the_limits_is_refused(
    schedule: tuple[float, ...], complaint: str
) -> None:
    with pytest.raises(LimitError, match=complaint):
        plan_sweep(straight(schedule=np.array(schedule)), 20, {**LIMITS, "x": SLOW})


@pytest.mark.parametrize("segment", [straight(), arc(8), arc(8, midpoints=False)])
@pytest.mark.parametrize("from_point", [20, 22, 24])
def test_curve_samples_the_trapezoid(segment: Segment, from_point: int) -> None:
    sweep = plan_sweep(segment, from_point, LIMITS)
    times, positions = sweep.curve()
    assert (times[0], times[-1]) == pytest.approx((0.0, sweep.duration))
    for axis, path in positions.items():
        assert len(path) == len(times)
        assert (path[0], path[-1]) == pytest.approx((sweep.origin[axis], sweep.target[axis]))
        v, t = sweep.velocity[axis], np.linspace(0, sweep.ramp, 17)
        ramp_up = sweep.origin[axis] + v * t**2 / (2 * sweep.ramp)
        np.testing.assert_allclose(path[:17], ramp_up, rtol=0, atol=1e-12)
        jolts = np.diff(np.diff(path) / np.diff(times))
        allowed = LIMITS[axis].acceleration * max(segment.period, sweep.ramp / 16)
        assert np.abs(jolts).max() <= allowed * (1 + 1e-9)


def test_curve_has_no_vertex_twice_without_settling_time() -> None:
    limits = {a: AxisLimits(-100, 100, 50, 400) for a in ("x", "y")}
    times, positions = plan_sweep(arc(8), 20, limits).curve()
    assert (np.diff(times) > 0).all()
    assert len(positions["x"]) == len(times) == 16 + 17 + 16


def test_curve_that_begins_and_ends_at_rest_has_no_ramp() -> None:
    bounds = {"y": np.zeros(5), "x": np.array([0.0, 0.0, 1.0, 1.0, 1.0])}
    segment = straight(
        points=4, start={"y": 0.0, "x": 0.0}, stop={"y": 0.0, "x": 1.0}, bounds=bounds
    )
    limits = {a: AxisLimits(-100, 100, 50, 400) for a in ("x", "y")}
    sweep = plan_sweep(segment, 20, limits)
    assert (sweep.ramp, sweep.lead) == (0.0, 0.0)
    assert sweep.acceleration == {"y": 400, "x": 400}
    assert sweep.curve()[0].tolist() == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


def test_dwell_needs_no_run_up() -> None:
    dwell = straight(stop={"y": 1.0, "x": 0.0})
    sweep = plan_sweep(dwell, 22, LIMITS)
    assert sweep.static
    assert sweep.origin == sweep.target == {"y": 1.0, "x": 0.0}
    assert (sweep.ramp, sweep.lead) == (0.0, 0.0)
    assert sweep.duration == pytest.approx(0.3)
    assert sweep.velocity == {"y": 0.0, "x": 0.0}


@pytest.mark.parametrize(
    ("segment", "change", "text"),
    [
        (straight(), {"x": AxisLimits(-0.8, 100, 50, 400)}, ""),
        (straight(), {"x": AxisLimits(-100, 10.4, 50, 400, "um")}, "x: segment 3 .* to 10.5 um"),
        (straight(), {"y": AxisLimits(2, 3, 50, 400)}, "y: segment 3 .*spans 1 to 1 "),
        (straight(stop={"y": 1.0, "x": 0.0}), {"y": AxisLimits(2, 3, 1, 1)}, "y: segment 3"),
        (straight(), {"x": AxisLimits(-100, 100, 19.9, 400, "um")}, "needs 20 um/s.*allows 19.9"),
        (arc(8), {"x": AxisLimits(-100, 100, 19, 400, "um")}, "x: segment 3 needs 19.6"),
        (arc(8), {"y": AxisLimits(-100, 100, 50, 38, "um")}, r"y: the curve.*needs 38.\d* um/s\^2"),
    ],
)
def test_limits_are_kept(segment: Segment, change: dict[str, AxisLimits], text: str) -> None:
    if not text:
        plan_sweep(segment, 20, LIMITS | change)
        return
    with pytest.raises(LimitError, match=text):
        plan_sweep(segment, 20, LIMITS | change)


def test_curve_that_bulges_out_of_travel_between_its_ends_is_refused() -> None:
    bounds = {"y": np.zeros(5), "x": np.array([0.0, 1.0, 1.5, 1.0, 0.0])}
    bulge = straight(points=4, start={"y": 0, "x": 0}, stop={"y": 0, "x": 0}, bounds=bounds)
    tight = {"x": AxisLimits(-3, 1.4, 50, 4000, "um")}
    with pytest.raises(LimitError, match=r"to 1\.5 um"):
        plan_sweep(bulge, 20, LIMITS | tight)


def test_axis_without_limits_is_named() -> None:
    with pytest.raises(BadPathError, match="y: the path moves an axis nobody controls"):
        plan_sweep(straight(), 20, {"x": LIMITS["x"]})


@pytest.mark.parametrize("point", [19, 25, 26])
def test_sweep_must_start_within_the_segment(point: int) -> None:
    with pytest.raises(IndexError):
        plan_sweep(straight(), point, LIMITS)


def test_check_resumable_looks_at_every_point_of_a_curve() -> None:
    check_resumable(arc(8), LIMITS)
    # From the middle of the arc the run-up goes back along the tangent, to larger x.
    tight = LIMITS | {"x": AxisLimits(-100, 10.3, 50, 400, settle=0.02)}
    plan_sweep(arc(8), 20, tight)
    failing = []
    for point in range(20, 28):
        try:
            plan_sweep(arc(8), point, tight)
        except LimitError as error:
            failing.append(str(error))
    assert failing
    with pytest.raises(LimitError) as caught:
        check_resumable(arc(8), tight)
    assert str(caught.value) == failing[0]


@given(
    st.floats(-1e4, 1e4),
    st.floats(1e-2, 1e4),
    st.floats(1e-2, 1e6),
)
def test_rest_to_rest_is_the_time_of_a_trapezoid(d: float, v: float, a: float) -> None:
    seconds = rest_to_rest(d, v, a)
    peak = min(v, math.sqrt(abs(d) * a))
    cruise = max(seconds - 2 * peak / a, 0.0)
    assert peak * (peak / a + cruise) == pytest.approx(abs(d), rel=1e-6, abs=1e-9)
    assert transfer_times(np.array([d, -d]), v, a).tolist() == [seconds, seconds]


def test_rest_to_rest_of_no_distance_takes_no_time() -> None:
    assert rest_to_rest(0.0, 10.0, 100.0) == 0.0
