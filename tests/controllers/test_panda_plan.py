"""Which segments stand for all, and what a path's rounding is said to be."""

from __future__ import annotations

import pytest
from scanspec.specs import Fly, Linspace, Spec

from flyscan.controllers.panda._plan import distinct
from flyscan.errors import LimitError
from flyscan.flight import Path, Segment
from tests.controllers.panda_bench import bench, grid

X, Y, Z = Linspace("x", 40.0, 42.0, 5), Linspace("y", 0.0, 3.0, 4), Linspace("z", 0.0, 1.0, 3)


def key(segment: Segment) -> tuple[object, ...]:
    fast = segment.fast
    ends = (segment.start[fast], segment.stop[fast]) if fast is not None else ()
    return (fast, ends, segment.points, segment.period, segment.trigger)


@pytest.mark.parametrize(
    "spec",
    [
        Fly(X),
        Fly(Y * X),
        Fly(Y * ~X),
        Fly(Z * ~Y * ~X),
        Y * ~X * 3,
        Fly(Y * ~X.concat(Linspace("x", 50.0, 51.0, 3))),
        Fly((Y * X).concat(Linspace("y", 7.0, 8.0, 2) * Linspace("x", 1.0, 2.0, 5))),
    ],
    ids=repr,
)
def test_the_segments_looked_at_stand_for_all(spec: Spec[str]):
    path = Path.from_spec(spec, period=0.01)
    assert {key(s) for s in distinct(path)} == {key(s) for s in path.segments()}


def test_of_a_map_of_ten_million_points_a_few_lines_are_looked_at(
    monkeypatch: pytest.MonkeyPatch,
):
    spec = Fly(Linspace("z", 0, 90, 10) * Linspace("y", 0, 90, 1000) * ~Linspace("x", 0, 90, 1000))
    path = Path.from_spec(spec, period=1e-3)
    made: list[int] = []
    segment = Path.segment
    monkeypatch.setattr(Path, "segment", lambda p, index: made.append(index) or segment(p, index))
    assert len(list(distinct(path))) == 2
    assert made == [0, 1, 2]


async def test_remarks_tell_the_rounding():
    async with bench() as b:
        assert b.capture.validate(grid()) == ()
        path = Path.from_spec(Fly(Linspace("x", 40.0, 40.0 + 0.050005 * 40, 41)), period=0.002)
        assert b.capture.validate(path) == (
            "x: the step of 50.005000 counts is rounded to 50, which adds up to 0.200 counts at "
            "the end of a line",
        )
        path = Path.from_spec(Fly(Linspace("x", 40.0, 40.0 + 0.0505 * 40, 41)), period=0.002)
        assert b.capture.validate(path) == (
            "x: every position is rounded to counts by itself (SEQ), at most 0.0005 um off",
        )


async def test_the_period_is_checked_against_the_gate():
    async with bench(exposure=0.002) as b:
        b.capture.validate(grid(period=0.003))
        with pytest.raises(LimitError, match="does not fit between triggers"):
            b.capture.validate(grid(period=0.002))
