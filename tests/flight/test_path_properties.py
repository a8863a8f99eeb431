"""Whatever the Spec, a path is what scanspec says, in segments that can be flown."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scanspec.specs import Spec

from flyscan.errors import LimitError
from flyscan.flight import AxisLimits, Path, Trigger, plan_sweep
from tests.flight.path_specs import WIDE, expanded, slow_times, specs

many = settings(max_examples=150, deadline=None)


@many
@given(specs())
def test_every_point_is_in_exactly_one_segment(spec: Spec[str]) -> None:
    path = Path.from_spec(spec)
    point = 0
    for index, segment in enumerate(path.segments()):
        assert (segment.index, segment.first_point) == (index, point)
        assert segment.points >= 1
        assert {path.segment_of(p) for p in range(point, segment.end_point)} == {index}
        point = segment.end_point
    assert (point, index + 1) == (path.points, path.segment_count)


@many
@given(specs())
def test_segments_end_at_scanspecs_gaps(spec: Spec[str]) -> None:
    path = Path.from_spec(spec)
    gap = expanded(spec).gap
    gap[0] = True
    assert [s.first_point for s in path.segments()] == np.flatnonzero(gap).tolist()


@many
@given(specs(), st.booleans())
def test_set_points_are_scanspecs_midpoints(spec: Spec[str], curves: bool) -> None:
    path = Path.from_spec(spec)
    path = path if curves else path.without_curves()
    expected = expanded(spec).midpoints
    points = path.setpoints(0, path.points)
    for axis in path.axes:
        np.testing.assert_allclose(points[axis], expected[axis], rtol=0, atol=1e-12)
        by_segment = [s.setpoints(s.first_point, s.end_point)[axis] for s in path.segments()]
        np.testing.assert_allclose(np.concatenate(by_segment), expected[axis], rtol=0, atol=1e-9)


@many
@given(specs())
def test_bounds_are_scanspecs_bounds(spec: Spec[str]) -> None:
    path = Path.from_spec(spec)
    every = expanded(spec)
    for segment in path.segments():
        for p in range(segment.first_point, segment.end_point):
            for axis in path.axes:
                assert segment.bound(p)[axis] == pytest.approx(every.lower[axis][p], abs=1e-9)
                assert segment.bound(p + 1)[axis] == pytest.approx(every.upper[axis][p], abs=1e-9)
        assert segment.bound(segment.first_point) == segment.start
        assert segment.bound(segment.end_point) == segment.stop


@many
@given(specs())
def test_without_curves_everything_is_straight(spec: Spec[str]) -> None:
    path = Path.from_spec(spec).without_curves()
    assert all(segment.bounds is None for segment in path.segments())
    steps = expanded(spec)
    for segment in path.segments():
        for axis in path.axes:
            step = steps.upper[axis] - steps.lower[axis]
            even = (segment.stop[axis] - segment.start[axis]) / segment.points
            part = step[segment.first_point : segment.end_point]
            np.testing.assert_allclose(part, even, rtol=0, atol=1e-9)


@many
@given(specs())
def test_json_round_trip(spec: Spec[str]) -> None:
    path = Path.from_spec(spec, trigger=Trigger.TIME).without_curves()
    again = Path.from_dict(json.loads(json.dumps(path.to_dict())))
    assert again.to_dict() == path.to_dict()
    for a, b in itertools.zip_longest(path.segments(), again.segments()):
        assert (a.start, a.stop, a.points, a.period) == (b.start, b.stop, b.points, b.period)
        assert a.trigger == b.trigger == Trigger.TIME


@many
@given(specs(), st.booleans())
def test_times_are_those_of_sweep_after_sweep(spec: Spec[str], curves: bool) -> None:
    path = Path.from_spec(spec)
    path = path if curves else path.without_curves()
    limits = {
        "x": AxisLimits(-1e4, 1e4, 2000, 1e6, settle=0.01),
        "y": AxisLimits(-1e4, 1e4, 50, 100),
        "z": AxisLimits(-1e4, 1e4, 5, 20, settle=0.5),
        "w": AxisLimits(-1e4, 1e4, 2000, 1e6),
    }
    try:
        slow = slow_times(path, limits)
    except LimitError:  # the fastest of the random lines
        limits = WIDE
        slow = slow_times(path, limits)
    assert path.times(limits) == pytest.approx(slow, rel=1e-9)


@many
@given(specs())
def test_extents_enclose_the_bounds_tightly(spec: Spec[str]) -> None:
    path = Path.from_spec(spec)
    every = expanded(spec)
    for axis, extent in path.extents().items():
        seen = np.concatenate((every.lower[axis], every.midpoints[axis], every.upper[axis]))
        assert extent == pytest.approx((seen.min(), seen.max()), abs=1e-12)


@many
@given(specs(), st.floats(5, 40), st.floats(100, 5000), st.sampled_from((1e3, 1e5, 1e7)))
def test_validate_refuses_exactly_what_cannot_be_flown_from_some_point(
    spec: Spec[str], reach: float, velocity: float, acceleration: float
) -> None:
    path = Path.from_spec(spec)
    limits = {a: AxisLimits(-reach, reach, velocity, acceleration, settle=0.001) for a in path.axes}
    refused: dict[int, str] = {}
    for segment in path.segments():
        for point in range(segment.first_point, segment.end_point):
            try:
                sweep = plan_sweep(segment, point, limits)
            except LimitError as error:
                refused.setdefault(segment.index, str(error))
                continue
            for positions in sweep.curve()[1].values():
                assert np.abs(positions).max() <= reach * (1 + 2e-9)
    if refused:
        with pytest.raises(LimitError) as caught:
            path.validate(limits)
        first = min(refused)
        assert f"segment {first} " in str(caught.value)
    else:
        estimate = path.validate(limits)
        assert (estimate.rows, estimate.segments) == (path.points, path.segment_count)


@many
@given(specs(), st.data())
def test_sweep_passes_the_trigger_position_at_lead(spec: Spec[str], data: st.DataObject) -> None:
    path = Path.from_spec(spec)
    point = data.draw(st.integers(0, path.points - 1))
    segment = path.segment(path.segment_of(point))
    sweep = plan_sweep(segment, point, WIDE)
    times, positions = sweep.curve()
    assert (np.diff(times) > 0).all()
    assert times[-1] == pytest.approx(sweep.duration)
    for axis, path_positions in positions.items():
        at = np.interp([0, sweep.lead, sweep.duration], times, path_positions)
        expected = (sweep.origin[axis], segment.bound(point)[axis], sweep.target[axis])
        assert at == pytest.approx(expected, abs=1e-9)
        ramped = sweep.origin[axis] + sweep.velocity[axis] * (sweep.lead - sweep.ramp / 2)
        assert ramped == pytest.approx(segment.bound(point)[axis], abs=1e-9)
