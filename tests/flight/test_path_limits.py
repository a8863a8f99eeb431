"""Paths against the limits of axes and trigger: what fits, what it costs, what is refused."""

from __future__ import annotations

import pytest
from scanspec.specs import Concat, Fly, Linspace, Product, Static

from flyscan.errors import BadPathError, LimitError
from flyscan.flight import AxisLimits, Path, plan_sweep, rest_to_rest
from flyscan.flight._points import Points
from tests.flight.path_specs import WIDE, slow_times

X10 = Linspace.bounded("x", 0, 10, 10)
PIEZO = {a: AxisLimits(0, 100, 2000, 1e5, "um", settle=0.005) for a in ("x", "y")}


def snake(low: float = 10, high: float = 90, period: float = 0.001) -> Path:
    rows = Linspace("y", low, high, 5)
    return Path.from_spec(Fly(period @ (rows * ~Linspace.bounded("x", low, high, 100))))


def test_estimate_of_a_snake() -> None:
    path = snake()
    estimate = path.validate(PIEZO, min_period=0.001)
    ramp = 800 / 1e5  # seconds to 800 um/s
    step = rest_to_rest(20, 2000, 1e5)
    assert (estimate.rows, estimate.segments) == (500, 5)
    assert estimate.flying_s == pytest.approx(0.5)
    assert estimate.turnaround_s == pytest.approx(5 * (2 * ramp + 0.005) + 4 * step)
    assert estimate.duration_s == pytest.approx(estimate.flying_s + estimate.turnaround_s)


@pytest.mark.parametrize(
    ("path", "limits", "text"),
    [
        (snake(low=1), {}, "x: segment 0 with run-up and run-down spans -7.4105 to 93.9605 um"),
        (snake(high=99), {}, "travel is 0 to 100"),
        (snake(), {"y": AxisLimits(20, 100, 2000, 1e5, "um")}, "y: segment 0 with"),
        (snake(), {"y": AxisLimits(0, 60, 2000, 1e5, "um")}, "y: segment 3 with"),
        (snake(), {"x": AxisLimits(0, 100, 799, 1e5, "um")}, "x: segment 0 needs 800 um/s"),
        (snake(), {"x": AxisLimits(0, 100, 2000, 1e4, "um")}, "x: segment 0 with run-up"),
    ],
)
def test_paths_beyond_the_limits_are_refused(
    path: Path, limits: dict[str, AxisLimits], text: str
) -> None:
    with pytest.raises(LimitError) as caught:
        path.validate(PIEZO | limits)
    assert text in str(caught.value)
    assert caught.value.remedy


def test_run_down_into_the_end_of_travel_is_found_in_the_backward_lines_too() -> None:
    limits = PIEZO | {"x": AxisLimits(4, 96, 2000, 1e5, "um", settle=0.005)}
    forward_only = Path.from_spec(Fly(0.001 @ Linspace.bounded("x", 12, 90, 100)))
    forward_only.validate(limits)
    both = Linspace("y", 10, 20, 2) * ~Linspace.bounded("x", 12, 90, 100)
    with pytest.raises(LimitError, match="segment 1 "):
        Path.from_spec(Fly(0.001 @ both)).validate(limits)


@pytest.mark.parametrize("planes", [2, 3])
@pytest.mark.parametrize("rows", [[0, 1, 40, 41], [0, 30, 31]])
@pytest.mark.parametrize("snaked", [True, False])
def test_uneven_rows_of_a_lopsided_line_are_timed_exactly(
    planes: int, rows: list[float], snaked: bool
) -> None:
    fast_then_slow = Concat(Linspace.bounded("x", 0, 10, 2), Linspace.bounded("x", 20, 21, 10))
    slow = Points({"y": rows})
    spec = Linspace("z", 0, 1, planes) * (~slow if snaked else slow) * ~fast_then_slow
    path = Path.from_spec(Fly(0.01 @ spec))
    limits = {
        "x": AxisLimits(-500, 500, 1000, 1e4, settle=0.1),
        "y": AxisLimits(0, 50, 400, 1e4),
        "z": AxisLimits(0, 50, 400, 1e4),
    }
    assert path.times(limits) == pytest.approx(slow_times(path, limits), rel=1e-12)


def test_outer_positions_out_of_travel_name_their_first_segment() -> None:
    two = Concat(Linspace.bounded("x", 10, 30, 20), Linspace.bounded("x", 40, 60, 20))
    path = Path.from_spec(Fly(0.01 @ (Linspace("y", 10, 70, 7) * two)))
    limits = PIEZO | {"y": AxisLimits(0, 45, 2000, 1e5)}
    with pytest.raises(LimitError, match="y: segment 8 "):
        path.validate(limits)


def test_period_below_the_minimum_names_the_segment() -> None:
    path = Path.from_spec(Fly(Concat(0.1 @ X10, 0.01 @ Linspace.bounded("x", 10, 20, 10))))
    path.validate(WIDE, min_period=0.01)
    with pytest.raises(LimitError, match=r"trigger: segment 1 has 0\.01 s per point.*0\.02 s"):
        path.validate(WIDE, min_period=0.02)


def test_unknown_axis_is_named() -> None:
    path = Path.from_spec(Fly(0.1 @ (Linspace("wye", 0, 1, 2) * X10)))
    for check in (path.validate, path.times):
        with pytest.raises(BadPathError, match="wye: the path moves an axis nobody controls"):
            check(PIEZO)


def test_a_dwell_out_of_travel_is_refused() -> None:
    path = Path.from_spec(Fly(0.1 @ Concat(Static("x", 50.0, 3), Static("x", 101.0, 3))))
    with pytest.raises(LimitError, match=r"segment 1 .*101"):
        path.validate(PIEZO)


def test_a_curve_is_refused_for_its_corner() -> None:
    path = Path.from_spec(Fly(0.001 @ Product(2, ~Linspace.bounded("x", 40, 50, 100), gap=False)))
    with pytest.raises(LimitError, match="the curve of segment 0 needs 200000 um/s"):
        path.validate(PIEZO)
    path.without_curves().validate(PIEZO)


def test_a_curve_must_be_resumable_from_every_point() -> None:
    spec = Fly(0.1 @ Points({"x": [5.0, 4.0, 3.0, 2.0, 1.5, 1.0, 1.5, 2.0, 10.0, 30.0]}))
    path = Path.from_spec(spec)
    segment = path.segment(0)
    limits = {"x": AxisLimits(0.7, 100, 2000, 3e4, settle=0.1)}
    plan_sweep(segment, 0, limits)
    with pytest.raises(LimitError, match="segment 0 with run-up"):
        plan_sweep(segment, 8, limits)
    with pytest.raises(LimitError, match="segment 0 with run-up"):
        path.validate(limits)
