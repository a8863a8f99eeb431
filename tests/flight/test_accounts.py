"""A segment's account against one that is kept point by point."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flyscan.flight import Segment, Trigger
from flyscan.flight._account import SegmentAccount

FIRST, POINTS = 100, 12

stretches = st.lists(
    st.tuples(st.integers(0, POINTS - 1), st.integers(1, POINTS)).map(
        lambda s: (FIRST + s[0], FIRST + min(POINTS, sum(s)))
    ),
    max_size=8,
)


@given(stretches)
def test_the_newest_frame_of_a_point_stands_for_it(flown: list[tuple[int, int]]) -> None:
    segment = Segment(3, FIRST, POINTS, {"x": 0.0}, {"x": 1.2}, 0.001, Trigger.TIME)
    account = SegmentAccount(segment)
    stands: dict[int, int] = {}
    frame = 1000
    for first, stop in flown:
        superseded = account.keep(first, stop, frame)
        points = range(first, stop)
        assert sorted(superseded.tolist()) == sorted(stands[p] for p in points if p in stands)
        stands |= {point: frame + i for i, point in enumerate(points)}
        frame += len(points)

    assert account.missing() == tuple(p for p in range(FIRST, FIRST + POINTS) if p not in stands)
