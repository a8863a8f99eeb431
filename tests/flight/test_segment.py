"""Segments: positions of points on straight lines, curves and dwells."""

from __future__ import annotations

import math

import numpy as np
import pytest

from flyscan.flight import Segment
from tests.flight.path_specs import arc, straight


def test_straight_segment_divides_evenly() -> None:
    segment = straight()
    assert segment.end_point == 25
    assert segment.duration == pytest.approx(0.5)
    assert segment.velocity == {"y": 0.0, "x": pytest.approx(20.0)}
    assert (segment.fast, segment.step) == ("x", 2.0)
    assert segment.moving == ("x",)
    assert not segment.static
    assert [segment.bound(p)["x"] for p in range(20, 26)] == [0, 2, 4, 6, 8, 10]
    assert segment.setpoints(21, 23)["x"].tolist() == [3, 5]
    assert segment.setpoints(21, 23)["y"].tolist() == [1, 1]
    assert segment.length() == 10


def test_step_is_signed() -> None:
    assert straight(start={"x": 10.0}, stop={"x": 0.0}).step == -2.0


def test_bounds_of_the_ends_are_exact() -> None:
    segment = straight(start={"x": 0.7}, stop={"x": 0.1}, points=3)
    assert 0.7 + (0.1 - 0.7) != 0.1
    assert segment.bound(20) == {"x": 0.7}
    assert segment.bound(23) == {"x": 0.1}


def test_dwell_moves_nothing() -> None:
    dwell = straight(stop={"y": 1.0, "x": 0.0})
    assert dwell.static
    assert (dwell.fast, dwell.step, dwell.moving) == (None, 0.0, ())
    assert dwell.bound(22) == {"y": 1.0, "x": 0.0}


def test_fast_axis_is_the_one_that_travels_farthest() -> None:
    assert straight(stop={"y": -20.0, "x": 10.0}).fast == "y"


def test_fast_axis_of_a_closed_curve_counts_there_and_back() -> None:
    bounds = {"y": np.array([0.0, 1.0, 1.0, 0.0]), "x": np.array([0.0, 0.0, 5.0, 0.0])}
    loop = straight(points=3, stop={"y": 0.0, "x": 0.0}, start={"y": 0.0, "x": 0.0}, bounds=bounds)
    assert loop.fast == "x"
    assert loop.moving == ("y", "x")
    assert not loop.static


def test_curve_takes_its_bounds_and_midpoints() -> None:
    segment = arc(8)
    for p in range(20, 29):
        angle = (p - 20) * math.pi / 16
        assert segment.bound(p) == pytest.approx(
            {"y": 10 * math.sin(angle), "x": 10 * math.cos(angle)}
        )
    middle = segment.setpoints(20, 28)
    np.testing.assert_allclose(np.hypot(middle["x"], middle["y"]), 10)


def test_curve_without_midpoints_takes_the_middle_of_its_bounds() -> None:
    segment = arc(8, midpoints=False)
    assert segment.bounds is not None
    x = segment.bounds["x"]
    np.testing.assert_allclose(segment.setpoints(20, 28)["x"], (x[1:] + x[:-1]) / 2)


def test_curve_that_leaves_its_bounds_only_between_them_moves() -> None:
    still = np.zeros(2)
    segment = straight(
        points=1,
        start={"x": 0.0},
        stop={"x": 0.0},
        bounds={"x": still},
        midpoints={"x": np.array([1.0])},
    )
    assert segment.moving == ("x",)


@pytest.mark.parametrize(
    ("segment", "seconds", "x"),
    [
        (straight(), [0, 0.3], [4, 10]),
        (arc(4, midpoints=False), [0, 0.1, 0.2], None),
        (arc(4), [0, 0.05, 0.1, 0.15, 0.2], None),
    ],
)
def test_knots_are_evenly_spaced_in_time(segment, seconds, x) -> None:
    times, knots = segment.knots(22)
    assert times.tolist() == pytest.approx(seconds)
    assert len(knots["x"]) == len(seconds)
    assert knots["x"][0] == segment.bound(22)["x"]
    assert knots["x"][-1] == segment.stop["x"]
    if x is not None:
        assert knots["x"].tolist() == x


@pytest.mark.parametrize("point", [19, 26])
def test_points_outside_are_refused(point: int) -> None:
    with pytest.raises(IndexError, match=f"point {point} is not in segment 3.*20 to 24"):
        straight().bound(point)
    with pytest.raises(IndexError, match=f"point {point}"):
        straight().setpoints(*sorted((22, point)))


def scheduled() -> Segment:
    """Five points of 2 um: 1 s, 0.5 s, and three times 0.25 s."""
    return straight(schedule=np.array([0, 1, 1.5, 1.75, 2, 2.25]))


def test_a_schedule_says_when_the_evenly_spaced_points_begin() -> None:
    segment = scheduled()
    assert segment.curved
    assert segment.duration == 2.25
    assert segment.velocity["x"] == pytest.approx(10 / 2.25)
    assert segment.bound(22)["x"] == 4.0
    seconds, knots = segment.knots(21)
    assert seconds.tolist() == [0, 0.5, 0.75, 1.0, 1.25]
    assert knots["x"].tolist() == [2, 4, 6, 8, 10]


def test_a_part_of_a_scheduled_segment_keeps_its_share_of_the_schedule() -> None:
    part = scheduled().part(21, 23)
    assert part.schedule is not None
    assert part.schedule.tolist() == [0, 0.5, 0.75]
    assert (part.start["x"], part.stop["x"]) == (2.0, 6.0)
