"""Points whose triggers made no row are flown again: exactly those, and not for ever."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scanspec.specs import Fly, Linspace, Static

from flyscan.errors import CaptureError, LedgerError
from flyscan.flight import Block, Segment, State, Sweep, Trigger
from flyscan.testing import MemoryCapture
from tests.flight.test_flight import MAP, Rehearsal

POINTS = 15
LINE = Fly(0.02 @ Linspace("x", 0, 39, 40))
LINES = Fly(0.02 @ (Linspace("y", 0, 1, 2) * ~Linspace("x", 0, 39, 40)))
DWELL = Fly(0.01 @ (Linspace("y", 0, 2, 3) * Static("x", 1.0, 5)))


def check_retaken(r: Rehearsal, lost: dict[int, int]) -> None:
    """Frames are contiguous, the last of every point is kept, the ledger tells what was lost."""
    points = r.sink.column("point").astype(int)
    firsts = [f.first_frame for f in r.sink.frames]
    assert firsts == np.cumsum([0, *(len(f) for f in r.sink.frames[:-1])]).tolist()
    last = {point: frame for frame, point in enumerate(points.tolist())}
    assert sorted(last) == list(range(r.path.points))
    assert r.sink.superseded == set(range(len(points))) - set(last.values())
    ledger = {row.segment: row for row in r.sink.ledger}
    assert all(row.closes for row in ledger.values())
    assert sum(row.captured for row in ledger.values()) == len(points)
    progress = [e["kept"] for e in r.events if e["event"] == "flushed"]
    assert progress == sorted(progress)
    assert progress[-1] == r.path.points
    assert Counter(p for row in ledger.values() for p in row.lost) == Counter(lost)
    assert all(r.path.segment_of(p) == row.segment for row in ledger.values() for p in row.lost)
    x = r.sink.column("x")[sorted(last.values())]
    kept = points[sorted(last.values())]
    step = r.path.segment(0).step
    assert np.abs(x - r.path.setpoints(0, r.path.points)["x"][kept]).max() <= abs(step) / 2
    r.check_safe()


async def losing(lost: dict[int, int], spec: Any = MAP, trigger: Trigger = Trigger.POSITION):
    """A whole flight in which the triggers of some points make no row, so many times."""
    r = Rehearsal(spec, trigger)
    r.box.capture.lose = dict(lost)
    await r.fly()
    check_retaken(r, lost)
    return r


@pytest.mark.parametrize("trigger", list(Trigger))
@pytest.mark.parametrize("lost", [{6: 1}, {0: 1}, {4: 1}, {5: 1}, {14: 1}, {7: 3}, {14: 3}])
async def test_a_point_without_a_row_is_flown_again(trigger: Trigger, lost: dict[int, int]) -> None:
    await losing(lost, trigger=trigger)


async def test_a_dwell_is_taken_again() -> None:
    await losing({0: 1, 3: 2, 14: 1}, DWELL, Trigger.TIME)


async def test_only_what_is_lost_is_flown_again() -> None:
    r = await losing({10: 1})
    assert len(r.sink.column("point")) == r.path.points


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.integers(0, POINTS - 1), st.integers(1, 3)),
    st.sampled_from(Trigger),
    st.lists(st.floats(0, 0.4), max_size=3),
)
def test_whatever_is_lost_whenever_it_is_held(
    lost: dict[int, int], trigger: Trigger, pauses: list[float]
) -> None:
    """Points get their rows in pauses, turns and re-takes, too."""

    async def run() -> None:
        r = Rehearsal(trigger=trigger)
        r.box.capture.lose = dict(lost)
        await r.clock.run(r.flight.prepare())
        r.flight.kickoff()
        for pause in pauses:
            await r.clock.advance(pause)
            await r.clock.run(r.flight.hold("user"))
            await r.clock.advance(0.01)
            r.flight.release("user")
        await r.clock.run(r.flight.wait())
        check_retaken(r, lost)

    asyncio.run(run())


async def test_a_row_lost_right_before_a_hold_is_known_by_its_end() -> None:
    r = Rehearsal()
    r.box.capture.lose = {3: 1, 4: 1}
    await r.clock.run(r.flight.prepare())
    r.flight.kickoff()
    while await r.box.capture.reached() < 4:
        await r.clock.advance(0.001)
    await r.clock.run(r.flight.hold("user"))
    assert r.flight.state is State.HELD
    assert r.sink.column("point").tolist() == [0, 1, 2]
    r.flight.release("user")
    await r.clock.run(r.flight.wait())
    check_retaken(r, {3: 1, 4: 1})


async def test_a_point_is_given_up_after_three_retakes() -> None:
    r = Rehearsal()
    r.box.capture.lose = {6: 4}
    with pytest.raises(CaptureError) as caught:
        await r.fly()
    assert str(caught.value) == (
        "memory.capture: segment 1: point 6 got no row in 4 sweeps: the trigger did not come, or "
        "made none. Remedy: check that the encoder follows the stage, the trigger wiring, and "
        "that the exposure is shorter than the time between triggers"
    )
    r.check_safe()
    assert r.flight.state is State.FAILED
    assert [row.missing for row in r.sink.ledger if row.segment == 1][-1] == (6,)
    assert sum(row.captured for row in r.sink.ledger) == len(r.sink.column("point"))


class Blind:
    """A capture that misses every crossing from a point on, in the first sweeps over it."""

    def __init__(self, capture: MemoryCapture, point: int, sweeps: int) -> None:
        self._capture = capture
        self._point = point
        self._sweeps = sweeps
        self._begin, self._crossing = capture.begin, capture._crossing
        capture.begin = self.begin
        capture._crossing = self.crossing

    async def begin(self, sweep: Sweep) -> None:
        self._sweeps -= sweep.from_point <= self._point < sweep.segment.end_point
        await self._begin(sweep)

    def crossing(self, segment: Segment, now: float) -> float | None:
        blind = self._sweeps >= 0 and self._capture._point >= self._point
        return None if blind else self._crossing(segment, now)


async def test_points_whose_triggers_did_not_come_are_flown_again() -> None:
    r = Rehearsal()
    Blind(r.box.capture, 12, 2)
    await r.fly()
    check_retaken(r, {12: 2, 13: 2, 14: 2})
    assert r.sink.ledger[-1].sweeps == 3


async def test_triggers_that_never_come_are_given_up() -> None:
    r = Rehearsal()
    Blind(r.box.capture, 12, 99)
    with pytest.raises(CaptureError, match="segment 2: 3 points from 12 to 14 got no row in 4 swe"):
        await r.fly()
    r.check_safe()
    assert r.sink.column("point").tolist() == list(range(12))


async def test_neighbours_are_flown_in_one_sweep_where_that_is_sooner() -> None:
    """A sweep costs 0.1 s beside its points, as much as 5 of these."""
    lost = {5: 1, 9: 1, 30: 1, 31: 1, 37: 1}
    r = await losing(lost, LINE)
    points = r.sink.column("point").astype(int).tolist()
    assert points[:35] == [p for p in range(40) if p not in lost]
    assert points[35:] == [*range(5, 10), 30, 31, 37]
    assert r.sink.ledger[-1].sweeps == 4


async def test_a_retake_goes_on_with_the_rest_where_that_is_sooner() -> None:
    r = Rehearsal(LINE)
    r.box.capture.lose = {12: 1}
    await r.clock.run(r.flight.prepare())
    r.flight.kickoff()
    while len(r.sink.column("point")) < 14:
        await r.clock.advance(0.005)
    await r.clock.run(r.flight.hold("user"))
    r.flight.release("user")
    await r.clock.run(r.flight.wait())
    check_retaken(r, {12: 1})
    assert r.sink.ledger[-1].sweeps == 2


# --- triggers the box did not count ---------------------------------------------------------


def renumbered(r: Rehearsal) -> None:
    """Blocks count rows, as those of a box that does not count triggers."""
    blocks = r.box.capture.blocks

    async def counted() -> AsyncIterator[Block]:
        rows = 0
        async for block in blocks():
            yield replace(block, first=rows)
            rows += len(block)

    r.box.capture.blocks = counted


async def test_positions_tell_where_an_uncounted_trigger_was_lost() -> None:
    r = Rehearsal(LINE)
    r.box.capture._capabilities = replace(r.box.capture.capabilities, block_period=10.0)
    r.box.capture.lose = {10: 1, 11: 1, 20: 1}
    merge(r)
    renumbered(r)
    await r.fly()
    check_retaken(r, {10: 1, 11: 1, 20: 1})


def merge(r: Rehearsal) -> None:
    """Blocks that are not cut where triggers were lost."""
    blocks = r.box.capture.blocks

    async def merged() -> AsyncIterator[Block]:
        waiting: list[Block] = []
        async for block in blocks():
            waiting.append(block)
            if len(r.box.capture._times) == r.box.capture._delivered:
                yield joined(waiting)
                waiting = []

    r.box.capture.blocks = merged


def joined(blocks: list[Block]) -> Block:
    def column(name: str) -> Any:
        return np.concatenate([b.columns[name] for b in blocks])

    return Block(
        blocks[0].first,
        np.concatenate([b.time_ns for b in blocks]),
        np.concatenate([b.exposure for b in blocks]),
        {name: column(name) for name in blocks[0].columns},
    )


@pytest.mark.parametrize("lost", [{40: 1}, {39: 1}, {0: 1}])
async def test_where_positions_do_not_tell_the_flight_fails(lost: dict[int, int]) -> None:
    """At the turn of a snake the last point of a line and the first of the next are one place."""
    r = Rehearsal(LINES)
    r.box.capture.lose = dict(lost)
    renumbered(r)
    with pytest.raises(LedgerError, match=r"segment \d: the row of trigger \d+ was taken at"):
        await r.fly()
    r.check_safe()


async def test_one_noisy_row_is_no_lost_trigger() -> None:
    r = Rehearsal()
    r.box.capture.signals["x"] = lambda positions, _: (
        positions["x"] + np.where(np.arange(len(positions["x"])) == 1, 1.0, 0.0)
    )
    await r.fly()
    assert r.sink.column("point").tolist() == list(range(POINTS))
    assert [row.lost for row in r.sink.ledger] == [(), (), ()]


async def test_a_doubled_trigger_fails_the_flight() -> None:
    r = Rehearsal()
    take = r.box.capture._take

    def twice(t: float) -> None:
        if r.box.capture._point == 7 and r.box.capture._triggers == 7:
            r.box.capture._times.append(t)
            r.box.capture._numbers.append(7)
            r.box.capture._triggers += 1
        take(t)

    r.box.capture._take = twice
    with pytest.raises(LedgerError, match="the row of trigger"):
        await r.fly()
    r.check_safe()


# --- on demand ------------------------------------------------------------------------------


async def test_any_points_may_be_asked_for_again() -> None:
    r = Rehearsal()
    await r.clock.run(r.flight.prepare())
    r.flight.kickoff()
    while len(r.sink.column("point")) < 9:
        await r.clock.advance(0.005)
    r.flight.retake([8, 1, 2, 1])
    await r.clock.run(r.flight.wait())
    check_retaken(r, {})
    assert Counter(r.sink.column("point").tolist()) == Counter([*range(POINTS), 1, 2, 8])
    with pytest.raises(IndexError, match="15 to 16"):
        r.flight.retake([15])
