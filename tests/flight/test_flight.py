"""A flight on the in-memory box: every frame once, whatever interrupts it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scanspec.specs import Fly, Linspace, Static

from flyscan.errors import FlightAbortedError, LimitError, StorageError
from flyscan.flight import (
    AxisLimits,
    Flight,
    FlightOptions,
    Path,
    RunFile,
    Segment,
    State,
    Steered,
    Sweep,
    Trigger,
)
from flyscan.testing import ManualClock, MemoryBox, MemorySink
from tests.flight.onlooker import Onlooker

MAP = Fly(0.01 @ (Linspace("y", 0, 2, 3) * ~Linspace("x", 0, 4, 5)))


class Rehearsal:
    """A flight with everything around it."""

    def __init__(
        self,
        spec: Any = MAP,
        trigger: Trigger = Trigger.POSITION,
        steered: Steered | None = None,
    ) -> None:
        self.clock = ManualClock()
        self.box = MemoryBox(clock=self.clock, block_period=0.02)
        self.sink = MemorySink()
        self.events: list[dict[str, Any]] = []
        self.path = Path.from_spec(spec, trigger=trigger)
        self.flight = Flight(
            self.box.motion,
            self.box.capture,
            self.sink,
            self.clock,
            self.path,
            self.events.append,
            options=FlightOptions(flush_period=0.05),
            steered=steered,
        )

    async def fly(self) -> None:
        await self.clock.run(self.flight.prepare())
        self.flight.kickoff()
        await self.clock.run(self.flight.wait())

    def check_complete(self) -> None:
        points = self.sink.column("point")
        assert points.tolist() == list(range(self.path.points))
        assert [f.first_frame for f in self.sink.frames] == np.cumsum(
            [0, *(len(f) for f in self.sink.frames[:-1])]
        ).tolist()
        assert [r.segment for r in self.sink.ledger] == list(range(self.path.segment_count))
        assert all(r.closes for r in self.sink.ledger)
        self.check_safe()

    def check_safe(self) -> None:
        assert not self.box.motion.moving
        assert self.box.motion.settings == {"x": 100.0, "y": 100.0}
        assert self.box.capture.settings == {"armed": "0", "step": "0"}

    def positions(self) -> np.ndarray:
        return np.array([self.sink.column("x"), self.sink.column("y")])


@pytest.fixture
async def no_task_left() -> AsyncIterator[None]:
    yield
    left = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
    assert [t for t in left if "flyscan" in t.get_name()] == []


@pytest.mark.usefixtures("no_task_left")
@pytest.mark.parametrize("trigger", list(Trigger))
async def test_snake_map_is_flown_once(trigger: Trigger) -> None:
    r = Rehearsal(trigger=trigger)
    await r.fly()
    r.check_complete()
    assert r.flight.state is State.DONE
    setpoints = r.path.setpoints(0, r.path.points)
    # exposed for 0.8 of the period from the lower bound on: 0.1 of a step before the midpoint
    assert np.abs(r.sink.column("x") - setpoints["x"]).max() == pytest.approx(0.1, abs=1e-6)
    assert np.abs(r.sink.column("y") - setpoints["y"]).max() == pytest.approx(0, abs=1e-9)


async def test_dwells_are_flown() -> None:
    r = Rehearsal(Fly(0.01 @ (Linspace("x", 0, 2, 3) * Static("y", 1.0, 4))))
    assert [segment.static for segment in r.path.segments()] == [True] * 3
    await r.fly()
    r.check_complete()


def interrupted(moment: float, again: float, trigger: Trigger) -> tuple[np.ndarray, Rehearsal]:
    async def run() -> Rehearsal:
        r = Rehearsal(trigger=trigger)
        await r.clock.run(r.flight.prepare())
        r.flight.kickoff()
        for pause in (moment, again):
            await r.clock.advance(pause)
            await r.clock.run(r.flight.hold("pause"))
            held = r.sink.flushed
            if r.flight.state is State.HELD:
                assert not r.box.motion.moving
                assert held == r.flight.stop_frame == await r.box.capture.reached()
                await r.clock.advance(1.0)
                assert r.sink.flushed == held
            r.flight.release("pause")
        await r.clock.run(r.flight.wait())
        r.check_complete()
        return r

    r = asyncio.run(run())
    return r.positions(), r


UNDISTURBED = {t: interrupted(1e3, 1e3, t)[0] for t in Trigger}


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 0.5), st.floats(0, 0.3), st.sampled_from(Trigger))
def test_exact_resume_whenever_held(moment: float, again: float, trigger: Trigger) -> None:
    positions, _ = interrupted(moment, again, trigger)
    # rows under way while the stage slows down are exposed over a shorter way
    assert np.abs(positions - UNDISTURBED[trigger]).max() < 0.5


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 0.6), st.sampled_from(Trigger))
def test_stop_leaves_hardware_safe_and_rows_stored(moment: float, trigger: Trigger) -> None:
    async def run() -> None:
        r = Rehearsal(trigger=trigger)
        await r.clock.run(r.flight.prepare())
        r.flight.kickoff()
        await r.clock.advance(moment)
        await r.clock.run(r.flight.stop())
        r.check_safe()
        end = r.box.capture.end_reason
        assert end is not None
        assert r.sink.column("point").tolist() == list(range(end.rows))
        assert sum(row.captured for row in r.sink.ledger) == end.rows
        if r.flight.state is State.STOPPED:
            with pytest.raises(FlightAbortedError, match=r"stopped after \d+ of 15 frames"):
                await r.flight.wait()

    asyncio.run(run())


async def test_hold_before_kickoff_waits_at_the_run_up() -> None:
    r = Rehearsal()
    await r.clock.run(r.flight.prepare())
    await r.flight.hold("beam")
    r.flight.kickoff()
    await r.clock.advance(5)
    assert (r.flight.state, r.flight.stop_frame) == (State.HELD, 0)
    r.flight.release("beam")
    await r.clock.run(r.flight.wait())
    r.check_complete()


async def test_hold_while_preparing_interrupts_the_way_to_the_run_up() -> None:
    r = Rehearsal(Fly(0.01 @ Linspace("x", 100, 104, 5)))
    preparing = asyncio.create_task(r.flight.prepare())
    await r.clock.advance(0.2)
    assert r.box.motion.moving
    await r.clock.run(r.flight.hold("user"))
    assert not r.box.motion.moving
    await r.clock.advance(10)
    assert (r.flight.state, r.flight.holds) == (State.PREPARING, {"user"})
    assert not r.box.motion.moving
    r.flight.release("user")
    await r.clock.run(preparing)
    r.flight.kickoff()
    await r.clock.run(r.flight.wait())
    r.check_complete()


async def test_stop_right_after_kickoff_does_not_fly_the_path() -> None:
    """It comes before anything that the kickoff has started has had its first turn."""
    r = Rehearsal()
    await r.clock.run(r.flight.prepare())
    stopping = asyncio.create_task(r.flight.stop())
    r.flight.kickoff()
    began = r.clock.now()
    await r.clock.run(stopping)
    assert r.clock.now() - began < 0.02
    assert (r.flight.state, r.flight.stop_frame) == (State.STOPPED, 0)
    r.check_safe()


async def test_stop_while_closing_waits_for_the_end() -> None:
    r = Rehearsal()
    stopped: list[asyncio.Task[None]] = []

    async def restore() -> None:
        stopped.append(asyncio.create_task(r.flight.stop()))
        await asyncio.sleep(0)

    r.box.motion.restore = restore  # type: ignore[method-assign]
    await r.fly()
    await asyncio.wait_for(stopped[0], 1)
    assert (r.flight.state, r.flight.error) == (State.DONE, None)


@pytest.mark.parametrize("moment", ["held", "on the way"])
@pytest.mark.parametrize("passed", [1, 2])
@pytest.mark.parametrize("held_at", [0.08, 0.085])
async def test_a_stage_that_trembles_past_points_while_held_takes_none_twice(
    moment: str, passed: int, held_at: float
) -> None:
    """Position triggers stay armed at rest: what passes one is a trigger, until the stage left."""
    r = Rehearsal()
    await r.clock.run(r.flight.prepare())
    r.flight.kickoff()
    await r.clock.advance(held_at)
    await r.clock.run(r.flight.hold("user"))
    segment = r.path.segment(0)
    stage, prepare = r.box.motion.trajectories["x"], r.box.motion.prepare

    async def tremble() -> None:
        beyond = segment.bound(await r.box.capture.reached() + passed - 1)["x"] + 0.01
        stage.go_to(r.clock.now(), beyond, AxisLimits(-10.0, 200.0, 100.0, 1000.0))
        await r.clock.sleep_until(stage.end)

    async def tremble_first(sweep: Sweep) -> None:
        r.box.motion.prepare = prepare  # type: ignore[method-assign]
        await tremble()
        await prepare(sweep)

    reached = await r.box.capture.reached()
    assert 0 < reached <= segment.end_point - passed
    if moment == "held":
        await r.clock.run(tremble())
    else:
        r.box.motion.prepare = tremble_first  # type: ignore[method-assign]
    r.flight.release("user")
    await r.clock.run(r.flight.wait())
    r.check_complete()
    assert r.box.motion.prepare == prepare or moment == "held"


class Shortener(Onlooker):
    """Has all points of every line flown but the last."""

    async def begin(self, line: Segment) -> Segment:
        return line.part(line.first_point, line.end_point - 1)


async def test_trembling_past_the_last_point_of_a_line_says_nothing_about_the_next() -> None:
    """Which does not begin with the point after it."""
    r = Rehearsal(steered=Steered(lambda _: Shortener()))
    await r.sink.open(RunFile("/", "run", (), {}, {}, 0, tuned=True))
    await r.clock.run(r.flight.prepare())
    r.flight.kickoff()
    await r.clock.advance(0.085)
    await r.clock.run(r.flight.hold("user"))
    assert await r.box.capture.reached() == 3
    stage, line = r.box.motion.trajectories["x"], r.path.segment(0)
    stage.go_to(r.clock.now(), line.bound(3)["x"] + 0.01, AxisLimits(-10.0, 200.0, 100.0, 1000.0))
    await r.clock.run(r.clock.sleep_until(stage.end))
    assert await r.box.capture.reached() == 4
    r.flight.release("user")
    await r.clock.run(r.flight.wait())
    assert r.sink.column("point").tolist() == [*range(4), *range(5, 9), *range(10, 14)]
    r.check_safe()


async def test_holds_are_a_set() -> None:
    r = Rehearsal()
    await r.clock.run(r.flight.prepare())
    r.flight.kickoff()
    await r.clock.advance(0.1)
    await r.clock.run(asyncio.gather(r.flight.hold("user"), r.flight.hold("beam")))
    r.flight.release("user")
    await r.clock.advance(1)
    assert (r.flight.state, r.flight.holds) == (State.HELD, {"beam"})
    r.flight.release("beam")
    await r.clock.run(r.flight.wait())
    r.check_complete()


async def test_release_while_decelerating_goes_on() -> None:
    r = Rehearsal()
    await r.clock.run(r.flight.prepare())
    r.flight.kickoff()
    await r.clock.advance(0.13)
    holding = asyncio.create_task(r.flight.hold("user"))
    await asyncio.sleep(0)
    r.flight.release("user")
    await r.clock.run(holding)
    await r.clock.run(r.flight.wait())
    r.check_complete()


async def test_storage_failure_stops_the_flight() -> None:
    r = Rehearsal()
    await r.clock.run(r.flight.prepare())
    r.flight.kickoff()
    await r.clock.advance(0.1)
    r.sink.fail = StorageError("disk full", device="file")
    with pytest.raises(StorageError, match="disk full"):
        await r.clock.run(r.flight.wait())
    r.check_safe()
    assert r.events[-1]["event"] == "failed"


async def test_outside_travel_is_refused_before_motion() -> None:
    r = Rehearsal(Fly(0.01 @ Linspace("x", 0, 1000, 11)))
    with pytest.raises(LimitError, match="x: segment 0"):
        await r.clock.run(r.flight.prepare())
    assert (await r.box.motion.position())["x"] == 0
    r.check_safe()


async def test_preview_and_ledger_events() -> None:
    r = Rehearsal()
    await r.fly()
    rows = [e["row"] for e in r.events if e["event"] == "preview"]
    assert [row["frame"] for row in rows][-1] == 14
    assert all(b["time"] > a["time"] for a, b in itertools.pairwise(rows))
    ledger = [e["row"] for e in r.events if e["event"] == "ledger"]
    assert [row["captured"] for row in ledger] == [5, 5, 5]
    assert all(set(row["phases"]) == {"turnaround", "reconfiguration", "line"} for row in ledger)


def check_flown_again(r: Rehearsal) -> None:
    """Every point has one kept frame, the last one taken; superseded frames stay in the file."""
    points = r.sink.column("point").astype(int)
    last = {point: frame for frame, point in enumerate(points)}
    assert sorted(last) == list(range(r.path.points))
    assert r.sink.superseded == set(range(len(points))) - set(last.values())
    ledger = {row.segment: row for row in r.sink.ledger}  # the last row of a segment counts
    assert sorted(ledger) == list(range(r.path.segment_count))
    assert all(row.closes for row in ledger.values())
    assert sum(row.captured for row in ledger.values()) == len(points)
    r.check_safe()


fractions = st.floats(0, 1, exclude_max=True)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 0.3), fractions, fractions), min_size=1, max_size=3),
    st.sampled_from(Trigger),
)
def test_points_are_flown_again_whenever_asked(
    requests: list[tuple[float, float, float]], trigger: Trigger
) -> None:
    async def run() -> None:
        r = Rehearsal(trigger=trigger)
        await r.clock.run(r.flight.prepare())
        r.flight.kickoff()
        for pause, begin, length in requests:
            await r.clock.advance(pause)
            reached = int(r.sink.column("point").max(initial=-1)) + 1
            if reached and r.flight.state is State.FLYING:
                first = int(begin * reached)
                stop = first + 1 + int(length * (reached - first))
                await r.clock.run(r.flight.fly_again(first, stop))
        await r.clock.run(r.flight.wait())
        check_flown_again(r)

    asyncio.run(run())


async def test_flown_again_up_to_the_present_point_is_one_sweep() -> None:
    r = Rehearsal()
    await r.clock.run(r.flight.prepare())
    r.flight.kickoff()
    while len(r.sink.column("point")) < 4:
        await r.clock.advance(0.005)
    reached = await r.box.capture.reached()
    await r.clock.run(r.flight.fly_again(2, reached))
    await r.clock.run(r.flight.wait())
    check_flown_again(r)
    assert r.sink.ledger[0].sweeps == 2
    points = r.sink.column("point").astype(int).tolist()
    assert points[:5] == list(range(reached))[:5]
    assert points[reached] == 2


async def test_points_beyond_the_path_cannot_be_flown_again() -> None:
    r = Rehearsal()
    with pytest.raises(IndexError, match="points 3 to 16 are not on a route of 15"):
        await r.flight.fly_again(3, 16)
