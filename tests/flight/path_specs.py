"""Random Specs and the plain, slow reading of them that the path modules are held against."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st
from scanspec.core import Path as ScanPath
from scanspec.core import Slice
from scanspec.specs import (
    Concat,
    Ellipse,
    Fly,
    Linspace,
    Polygon,
    Product,
    Snake,
    Spec,
    Spiral,
    Squash,
    Static,
)

from flyscan.flight import AxisLimits, Path, Segment, plan_sweep, rest_to_rest
from flyscan.flight._points import Points

positions = st.integers(-400, 400).map(lambda i: i / 16) | st.floats(-20, 20, width=32)
WIDE = {a: AxisLimits(-1e4, 1e4, 1e6, 1e9, "um", settle=0.01) for a in ("x", "y", "z", "w")}


@st.composite
def lines(draw: st.DrawFn, axis: str, most: int = 5) -> Spec[str]:
    num = draw(st.integers(1, most))
    start = draw(positions)
    stop = draw(positions.filter(lambda v: abs(v - start) > 1e-3))
    return Linspace(axis, start, stop, num)


@st.composite
def polylines(draw: st.DrawFn) -> Spec[str]:
    """Straight stretches of x, one after the other, contiguous or not, with dwells."""
    at = draw(positions)
    spec: Spec[str] | None = None
    for _ in range(draw(st.integers(1, 4))):
        to = draw(positions)
        num = draw(st.integers(1, 4))
        if abs(to - at) > 1e-3:
            part: Spec[str] = Linspace.bounded("x", at, to, num)
        else:
            part = Static("x", at, num)
        spec = part if spec is None else Concat(spec, part)
        at = to if draw(st.booleans()) else draw(positions)
    assert spec is not None
    return spec


there_and_back = Concat(Linspace.bounded("x", 0, 4, 2), Linspace.bounded("x", 4, 0, 3))

innermost = st.one_of(
    st.just(there_and_back),
    st.just(Snake(there_and_back)),
    lines("x"),
    lines("x").map(Snake),
    polylines(),
    polylines().map(Snake),
    st.builds(lambda a, b: a.zip(b), st.just(Linspace("x", 0, 3, 4)), st.just(Static("w", 2.5))),
    st.builds(lambda n: Static("x", 1.5, n), st.integers(1, 4)),
    st.builds(lambda d: Spiral("x", 1, d, 2, "w", -1), st.floats(2, 8)),
    st.builds(lambda d: Snake(Spiral("x", 1, d, 2, "w", -1)), st.floats(2, 6)),
    st.builds(
        lambda s, v: Ellipse("x", 0, 6, 1, "w", 0, 4, snake=s, vertical=v),
        st.booleans(),
        st.booleans(),
    ),
    st.just(Polygon("x", "w", [(0, 0), (5, 0), (2.5, 4)], 1, snake=True)),
    st.just(Squash(Linspace("w", 0, 1, 2) * Snake(Linspace("x", 0, 3, 4)))),
    st.integers(1, 3).map(lambda n: Product(Linspace("x", 0, 1, 3), n)),
)


def outers(axis: str) -> st.SearchStrategy[Spec[str]]:
    """Outer dimensions: even and uneven steps, and standing still."""
    uneven = st.lists(positions, min_size=1, max_size=4).map(lambda v: Points({axis: v}))
    still = st.builds(Static, st.just(axis), st.just(1.5), st.integers(1, 3))
    return st.one_of(lines(axis, most=3), uneven, still)


@st.composite
def specs(draw: st.DrawFn) -> Spec[str]:
    """Up to four nested dimensions, with repeats and snakes anywhere."""
    spec = draw(innermost)
    for axis in draw(st.lists(st.sampled_from(("y", "z", "repeat")), max_size=3, unique=True)):
        if axis == "repeat":
            spec = Product(draw(st.integers(1, 3)), spec, gap=draw(st.booleans()))
        else:
            outer = draw(outers(axis))
            spec = Product(Snake(outer) if draw(st.booleans()) else outer, spec)
    spec = Fly(0.01 @ spec)
    assume(_calculable(spec))
    return spec


def _calculable(spec: Spec[str]) -> bool:
    """False for what scanspec refuses: odd numbers of snakes, squashed, inside a dimension."""
    try:
        spec.calculate(bounds=True)
    except ValueError:
        return False
    return True


def expanded(spec: Spec[str]) -> Slice[str]:
    """Every point, as scanspec gives it."""
    return ScanPath(spec.calculate(bounds=True)).consume()


def slow_times(path: Path, limits: dict[str, AxisLimits]) -> tuple[float, float]:
    """Flying and turnaround seconds, sweep by sweep."""
    flying = turnaround = 0.0
    before = None
    for segment in path.segments():
        sweep = plan_sweep(segment, segment.first_point, limits)
        flying += segment.duration
        turnaround += sweep.duration - segment.duration
        if before is not None:
            turnaround += max(
                rest_to_rest(
                    sweep.origin[a] - before.target[a],
                    limits[a].velocity,
                    limits[a].acceleration,
                )
                for a in path.axes
            )
        before = sweep
    return flying, turnaround


def straight(**kwargs: Any) -> Segment:
    """A straight segment of x, 0 to 10 um in 5 points of 0.1 s, numbered from 20."""
    values: dict[str, Any] = {
        "index": 3,
        "first_point": 20,
        "points": 5,
        "start": {"y": 1.0, "x": 0.0},
        "stop": {"y": 1.0, "x": 10.0},
        "period": 0.1,
        "trigger": "position",
    }
    return Segment(**(values | kwargs))


def arc(points: int = 8, *, midpoints: bool = True) -> Segment:
    """A quarter of a circle of radius 10 um around the origin, from (10, 0) to (0, 10)."""
    bounds = np.linspace(0, np.pi / 2, points + 1)
    middle = (bounds[1:] + bounds[:-1]) / 2
    return straight(
        points=points,
        start={"y": 0.0, "x": 10.0},
        stop={"y": 10.0, "x": 10 * np.cos(np.pi / 2)},
        bounds={"y": 10 * np.sin(bounds), "x": 10 * np.cos(bounds)},
        midpoints={"y": 10 * np.sin(middle), "x": 10 * np.cos(middle)} if midpoints else None,
    )
