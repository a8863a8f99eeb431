"""Paths: what each kind of Spec becomes, and what is refused with which words."""

from __future__ import annotations

import json
import math
import time
import tracemalloc
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from scanspec.specs import (
    Concat,
    ConstantDuration,
    Ellipse,
    Fly,
    Linspace,
    Polygon,
    Product,
    Range,
    Spec,
    Spiral,
    Squash,
    Static,
)

from flyscan.errors import BadPathError
from flyscan.flight import Path, Trigger
from flyscan.flight._points import Points
from tests.flight.path_specs import WIDE, slow_times

X10 = Linspace.bounded("x", 0, 10, 10)


def ends(path: Path, axis: str = "x") -> list[tuple[float, float]]:
    return [(s.start[axis], s.stop[axis]) for s in path.segments()]


def test_line_is_one_straight_segment() -> None:
    (segment,) = Path.from_spec(Fly(0.1 @ X10)).segments()
    assert (segment.start, segment.stop) == ({"x": 0.0}, {"x": 10.0})
    assert (segment.points, segment.period, segment.step) == (10, 0.1, 1.0)
    assert segment.bounds is None
    assert segment.trigger == Trigger.POSITION


def test_raster_flies_every_line_the_same_way() -> None:
    path = Path.from_spec(Fly(0.1 @ (Linspace("y", 1, 3, 3) * X10)))
    assert ends(path) == [(0, 10)] * 3
    assert [s.start["y"] for s in path.segments()] == [1, 2, 3]
    assert [s.stop["y"] for s in path.segments()] == [1, 2, 3]


def test_snake_flies_every_other_line_backwards() -> None:
    path = Path.from_spec(Fly(0.1 @ (Linspace("y", 1, 3, 3) * ~X10)))
    assert ends(path) == [(0, 10), (10, 0), (0, 10)]
    np.testing.assert_allclose(path.setpoints(9, 11)["x"], [9.5, 9.5])


def test_start_document_fields_of_a_grid() -> None:
    path = Path.from_spec(Fly(0.1 @ (Linspace("z", 0, 1, 2) * ~Linspace("y", 1, 3, 3) * ~X10)))
    assert path.axes == ("z", "y", "x")
    assert path.shape == (2, 3, 10)
    assert path.snaking == (False, True, True)
    assert path.dimensions == (("z",), ("y",), ("x",))
    assert path.extents() == {"z": (0, 1), "y": (1, 3), "x": (0, 10)}
    assert repr(path) == "<Path z[2] x ~y[3] x ~x[10], 60 points in 6 segments>"


def test_zipped_axes_share_a_dimension() -> None:
    path = Path.from_spec(Fly(0.1 @ X10.zip(Linspace("y", 0, 9, 10))))
    assert (path.shape, path.dimensions) == ((10,), (("x", "y"),))
    (segment,) = path.segments()
    assert segment.bounds is None
    assert segment.moving == ("x", "y")


@pytest.mark.parametrize(
    ("spec", "shape", "dimensions"),
    [
        (Product(3, ~X10), (30,), (("x",),)),
        (Linspace("y", 0, 1, 2) * X10 * 4, (2, 40), (("y",), ("x",))),
        (Linspace("y", 0, 1, 2) * Product(5, X10), (10, 10), (("y",), ("x",))),
    ],
)
def test_repeats_without_axis_are_no_dimension(
    spec: Spec[str], shape: tuple[int, ...], dimensions: tuple[tuple[str, ...], ...]
) -> None:
    path = Path.from_spec(Fly(0.1 @ spec))
    assert (path.shape, path.dimensions) == (shape, dimensions)
    assert math.prod(path.shape) == path.points
    assert not path.snaking[0]


def test_step_points_are_flown_along_the_innermost_dimension() -> None:
    spec = Linspace("y", 1, 3, 3) * ~X10
    flown, stepped = Path.from_spec(Fly(0.1 @ spec)), Path.from_spec(0.1 @ spec)
    assert ends(stepped) == ends(flown)


def test_repeats_inside_dwell_at_every_point() -> None:
    path = Path.from_spec(Fly(0.1 @ (Linspace("x", 0, 4, 5) * 3)))
    segments = list(path.segments())
    assert [(s.points, s.start["x"], s.static, s.trigger) for s in segments] == [
        (3, float(i), True, Trigger.TIME) for i in range(5)
    ]


def test_dwells_are_triggered_by_time_among_lines_triggered_by_position() -> None:
    path = Path.from_spec(Fly(0.1 @ Concat(X10, Static("x", 30, 4))))
    assert [(s.points, s.trigger) for s in path.segments()] == [
        (10, Trigger.POSITION),
        (4, Trigger.TIME),
    ]


def test_spiral_is_one_curve_through_its_midpoints() -> None:
    path = Path.from_spec(Fly(0.1 @ Spiral("x", 0, 10, 1, "y", 0)))
    (segment,) = path.segments()
    assert segment.bounds is not None
    assert segment.midpoints is not None
    assert len(segment.bounds["x"]) == path.points + 1
    np.testing.assert_array_equal(segment.midpoints["x"], path.setpoints(0, path.points)["x"])


def test_contiguous_lines_are_one_curve_with_its_corner() -> None:
    corner = Concat(
        Linspace.bounded("x", 0, 2, 2).zip(Static("y", 0.0, 2)),
        Static("x", 2.0, 2).zip(Linspace.bounded("y", 0, 2, 2)),
    )
    path = Path.from_spec(Fly(0.1 @ corner))
    (segment,) = path.segments()
    assert segment.bounds is not None
    assert segment.midpoints is None
    assert segment.bounds["x"].tolist() == [0, 1, 2, 2, 2]
    pieces = list(path.without_curves().segments())
    assert [(p.points, p.moving) for p in pieces] == [(2, ("x",)), (2, ("y",))]


def test_a_gapless_snake_is_one_curve_there_and_back() -> None:
    path = Path.from_spec(Fly(0.1 @ Product(3, ~X10, gap=False)))
    (segment,) = path.segments()
    assert segment.points == 30
    assert segment.bounds is not None
    assert (segment.bounds["x"][10], segment.bounds["x"][20]) == (10, 0)
    assert ends(path.without_curves()) == [(0, 10), (10, 0), (0, 10)]


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_rounding_does_not_make_a_line_a_curve(scale: float) -> None:
    line = Linspace("x", 1000.1, 1000.1 + 7 * scale / 3, 100_000)
    path = Path.from_spec(Fly(0.001 @ line))
    assert path.segment(0).bounds is None


def test_a_step_one_part_in_a_million_off_makes_a_curve() -> None:
    even = Points({"x": [0.0, 1.0, 2.0, 3.0]})
    off = Points({"x": [0.0, 1.0, 2.0 + 1e-6, 3.0]})
    assert Path.from_spec(Fly(0.1 @ even)).segment(0).bounds is None
    assert Path.from_spec(Fly(0.1 @ off)).segment(0).bounds is not None


def test_a_slow_bend_is_cut_until_straight() -> None:
    angle = np.linspace(0, 1e-5, 1001)
    arc = Points({"x": (1e3 * np.sin(angle)).tolist(), "y": (1e3 * np.cos(angle)).tolist()})
    path = Path.from_spec(Fly(0.1 @ arc)).without_curves()
    pieces = list(path.segments())
    assert 1 < len(pieces) < 200
    assert sum(p.points for p in pieces) == 1001
    points = path.setpoints(0, 1001)
    for piece in pieces:
        part = piece.setpoints(piece.first_point, piece.end_point)
        np.testing.assert_allclose(
            part["y"], points["y"][piece.first_point : piece.end_point], rtol=0, atol=1e-9
        )


def test_regions_have_a_line_per_row() -> None:
    for spec in (
        Ellipse("x", 0, 6, 1, "y", 0, 4, snake=True),
        Polygon("x", "y", [(0, 0), (6, 0), (3, 4)], 1, snake=True),
    ):
        path = Path.from_spec(Fly(0.1 @ spec))
        rows = {s.start["y"] for s in path.segments()}
        assert path.segment_count == len(rows) > 3
        assert all(s.bounds is None for s in path.segments())
        assert path.dimensions == (("y", "x"),)


def test_three_nested_dimensions_and_squash_agree() -> None:
    grid = Linspace("z", 0, 1, 2) * ~Linspace("y", 1, 4, 4) * ~X10
    nested, squashed = Path.from_spec(Fly(0.1 @ grid)), Path.from_spec(Fly(0.1 @ Squash(grid)))
    assert ends(nested) == ends(squashed)
    assert ends(nested, "y") == ends(squashed, "y")
    assert nested.times(WIDE) == pytest.approx(squashed.times(WIDE))


def test_points_are_flown_through_or_stopped_at() -> None:
    listed = Points({"y": [0, 1, 1, 3], "x": [0, 0, 2, 4]})
    (curve,) = Path.from_spec(Fly(0.1 @ listed)).segments()
    assert curve.bounds is not None
    assert curve.bounds["x"].tolist() == [0, 0, 1, 3, 5]
    dwells = list(Path.from_spec(Fly(0.1 @ (listed * 1))).segments())
    assert [(d.start["y"], d.start["x"], d.static) for d in dwells] == [
        (0, 0, True),
        (1, 0, True),
        (1, 2, True),
        (3, 4, True),
    ]
    round_trip = Path.from_spec(json.loads(json.dumps(Fly(0.1 @ ~listed).serialize())))
    assert round_trip.axes == ("y", "x")
    (alone,) = Path.from_spec(Fly(0.1 @ Points({"x": [7.0]}))).segments()
    assert (alone.start, alone.static) == ({"x": 7.0}, True)


def test_lists_of_points_run_on_where_they_close() -> None:
    closed, opened = Points({"x": [0.5, 1.5, 1.5, 0.5]}), Points({"x": [0.5, 1.5, 2.5, 3.5]})
    assert [p.calculate(bounds=True)[0].gap[0] for p in (closed, opened)] == [False, True]
    assert Path.from_spec(Fly(0.1 @ Product(3, closed, gap=False))).segment_count == 1
    assert Path.from_spec(Fly(0.1 @ Product(3, opened, gap=False))).segment_count == 3


def test_reversing_a_dimension_that_stands_still_reverses_nothing_else() -> None:
    loop = Concat(Linspace.bounded("x", 0, 4, 2), Linspace.bounded("x", 4, 2, 2))
    loop = Concat(loop, Linspace.bounded("x", 2, 0, 1))
    path = Path.from_spec(Fly(0.1 @ (Linspace("z", 0, 1, 2) * ~Static("y", 1, 3) * loop)))
    assert [s.points for s in path.segments()] == [15, 15]
    np.testing.assert_allclose(path.setpoints(15, 20)["x"], [1, 3, 3.5, 2.5, 1])
    np.testing.assert_allclose(path.segment(1).setpoints(15, 20)["x"], [1, 3, 3.5, 2.5, 1])


def test_frames_that_sweep_a_step_again_begin_a_segment() -> None:
    again = Squash(Fly(Linspace.bounded("x", 0, 2, 2)) * 2)
    assert ends(Path.from_spec(0.1 @ again)) == [(0, 1), (0, 2), (1, 2)]


def test_a_single_point_is_a_dwell() -> None:
    path = Path.from_spec(Fly(0.1 @ (Linspace("y", 5, 5, 1) * Linspace("x", 7, 7, 1))))
    (segment,) = path.segments()
    assert (segment.start, segment.static) == ({"y": 5.0, "x": 7.0}, True)


def test_any_mapping_will_do() -> None:
    spec = Fly(0.1 @ X10)
    assert ends(Path.from_spec(MappingProxyType(dict(spec.serialize())))) == [(0, 10)]


def test_a_period_given_beside_the_spec_survives_the_round_trip() -> None:
    path = Path.from_spec(Fly(X10), period=0.25).without_curves()
    assert Path.from_dict(path.to_dict()).period == 0.25


def test_devices_as_axes_go_by_their_name() -> None:
    class Motor:
        name = "stage-x"

    spec: Spec[Any] = Fly(0.1 @ Linspace(Motor(), 0, 1, 3))
    assert Path.from_spec(spec).axes == ("stage-x",)


# Durations -------------------------------------------------------------------------------------


def test_period_comes_from_the_spec_or_the_argument() -> None:
    assert Path.from_spec(Fly(0.25 @ X10)).period == 0.25
    assert Path.from_spec(Fly(X10), period=0.25).period == 0.25
    assert Path.from_spec(Fly(0.25 @ X10), period=0.25).period == 0.25
    assert Path.from_spec(Fly(X10.zip(ConstantDuration(0.25))), period=None).period == 0.25


def test_a_change_of_duration_ends_a_segment() -> None:
    spec = Concat(0.1 @ X10, 0.2 @ Linspace.bounded("x", 10, 20, 10))
    path = Path.from_spec(Fly(spec))
    assert [(s.points, s.period) for s in path.segments()] == [(10, 0.1), (10, 0.2)]
    assert path.period == 0.1
    assert path.times(WIDE)[0] == pytest.approx(3.0)


def test_durations_may_change_with_an_outer_dimension() -> None:
    slow_then_fast = Concat(0.2 @ Linspace("y", 0, 1, 2), 0.1 @ Linspace("y", 2, 3, 2))
    path = Path.from_spec(Fly(slow_then_fast * ~X10))
    assert [s.period for s in path.segments()] == [0.2, 0.2, 0.1, 0.1]
    assert ends(path) == [(0, 10), (10, 0)] * 2
    assert path.times(WIDE) == pytest.approx(slow_times(path, WIDE))


def test_durations_follow_their_points_backwards() -> None:
    changing = Concat(0.1 @ X10, 0.2 @ Linspace.bounded("x", 10, 20, 10))
    path = Path.from_spec(Fly(Linspace("y", 0, 1, 2) * ~changing))
    assert [s.period for s in path.segments()] == [0.1, 0.2, 0.2, 0.1]
    assert ends(path) == [(0, 10), (10, 20), (20, 10), (10, 0)]


# Refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "period", "text"),
    [
        (Fly(X10), None, "how long a point takes"),
        (Fly(0.1 @ X10), 0.2, "the Spec says 0.1 s per point, the period argument 0.2 s"),
        (Fly(Concat(0.1 @ X10, 0.2 @ X10)), 0.1, "the Spec says 0.2 s per point"),
        (Fly(0.0 @ X10), None, "a point cannot take 0 s"),
        (Fly(X10), -1.0, "a point cannot take -1 s"),
        (Fly(X10), math.nan, "a point cannot take nan s"),
        (Fly(math.inf @ X10), None, "a point cannot take inf s"),
        (Fly(0.1 @ Linspace("x", 5, 5, 10)), None, "10 points from 5 to 5 has zero length"),
        (Fly(0.1 @ Linspace.bounded("x", 5, 5, 10)), None, "zero length"),
        (Fly(0.1 @ (Linspace("y", 1, 1, 2) * X10)), None, "y: the line of 2 points"),
        (Fly(0.1 @ Range("x", 5, 5)), None, "scanspec cannot make a path"),
        (Fly(0.1 @ Linspace("x", math.nan, 5, 10)), None, "x: frame 0 of its dimension is at nan"),
        (Fly(0.1 @ Linspace("x", 0, math.inf, 10)), None, "expected finite positions"),
        (Fly(0.1 @ (Linspace("y", 0, math.inf, 10) * X10)), None, "y: frame"),
        (Fly(0.1 @ Static("x", math.nan, 10)), None, "x: frame 0"),
        (Fly(0.1 @ Range("x", 0, math.inf, 1)), None, "scanspec cannot make a path"),
        (Fly(0.1 @ Spiral("x", 0, 10, 0.0, "y", 0)), None, "scanspec cannot make a path"),
        (Fly(0.1 @ (X10 * X10)), None, "x: the axis appears twice"),
        (ConstantDuration(0.1), None, "the path has no axis"),
        (0.1 @ (Fly(Linspace("y", 0, 1, 2)) * X10), None, "y: Fly() around an outer dimension"),
        (0.1 @ Points({"x": [1], "y": [1, 2]}), None, "the same number of points"),
        (0.1 @ Points({"x": []}), None, "at least 1"),
        ({"type": "Nonsense"}, None, "scanspec cannot make a path"),
        ({}, 0.1, "scanspec cannot make a path"),
    ],
)
def test_unusable_specs_are_refused_at_construction(
    spec: Spec[str] | dict[str, Any], period: float | None, text: str
) -> None:
    with pytest.raises(BadPathError) as caught:
        Path.from_spec(spec, period=period)
    assert text in str(caught.value)
    assert caught.value.remedy


def test_empty_region_is_refused() -> None:
    with pytest.raises(BadPathError, match="y, x: the path is empty"):
        Path.from_spec(Fly(0.1 @ Polygon("x", "y", [(0, 0), (0, 0), (0, 0)], 1)))


@pytest.mark.parametrize("data", [{}, {"trigger": "position", "period": 1, "spec": {}}])
def test_what_is_not_a_path_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(BadPathError, match=r"not a path.*Path\.to_dict"):
        Path.from_dict(data)


def test_points_and_segments_out_of_range() -> None:
    path = Path.from_spec(Fly(0.1 @ X10))
    for wrong in (-1, 10):
        with pytest.raises(IndexError, match=f"no point {wrong} in a path of 10"):
            path.segment_of(wrong)
    for wrong in (-1, 1):
        with pytest.raises(IndexError, match=f"no segment {wrong} in a path of 1"):
            path.segment(wrong)
    for first, last in ((-1, 3), (3, 11), (5, 4)):
        with pytest.raises(IndexError, match="no points"):
            path.setpoints(first, last)
    assert list(path.segments(from_point=10)) == []
    with pytest.raises(IndexError, match="no point 11"):
        path.segments(from_point=11)


def test_segments_from_a_point_start_with_the_one_that_holds_it() -> None:
    path = Path.from_spec(Fly(0.1 @ (Linspace("y", 1, 3, 3) * ~X10)))
    assert [s.index for s in path.segments(from_point=19)] == [1, 2]
    assert [s.index for s in path.segments(from_point=20)] == [2]


# Laziness --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spec",
    [
        Linspace("y", 1, 99, 3162) * ~Linspace("x", 1, 99, 3162),
        Linspace("y", 1, 99, 3162) * Linspace("x", 1, 99, 3162) * 1,
        Linspace("z", 0, 1, 10) * ~Linspace("y", 1, 99, 1000) * ~Linspace("x", 1, 99, 1000),
        Product(1000, Linspace("y", 1, 99, 101) * ~Linspace("x", 1, 99, 99), gap=False),
        Product(10_000, Linspace("x", 1, 99, 1000), gap=False),
    ],
)
def test_ten_million_points_cost_next_to_nothing(spec: Spec[str]) -> None:
    tracemalloc.start()
    began = time.perf_counter()
    path = Path.from_spec(Fly(0.01 @ spec))
    path.validate(WIDE)
    path.extents()
    path.segment(path.segment_count - 1)
    path.setpoints(path.points - 1000, path.points)
    taken = time.perf_counter() - began
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert path.points == pytest.approx(10e6, rel=0.01)
    assert taken < 0.2
    assert peak < 5e6
