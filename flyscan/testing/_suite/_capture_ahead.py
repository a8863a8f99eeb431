"""A sweep made ready while the stage is still on its way: the rows are those of any other."""

from __future__ import annotations

import asyncio

import pytest

from ...flight import JoinOutcome, Path, Segment, Sweep, Trigger, cancel
from ._capture_base import CaptureTests, check_rows, kind, supports
from ._flying import Flying

__all__ = ["CaptureAhead"]


class CaptureAhead(CaptureTests):
    """Boxes that cannot make anything ready beforehand pass, too: nothing is what they do then."""

    @pytest.mark.parametrize("trigger", list(Trigger))
    @pytest.mark.parametrize("share", [None, 0.4])
    async def test_a_raster_made_ready_line_by_line(
        self, flight: Flying, trigger: Trigger, share: float | None
    ) -> None:
        if not supports(flight, trigger):
            return  # that it is refused then is tested elsewhere
        path = flight.bench.raster(trigger)
        await flight.arm(path)
        upcoming: Sweep | None = None
        for segment in path.segments():
            point = segment.first_point
            if share is not None:
                sweep = upcoming or await flight.plan(segment, point)
                await _start(flight, sweep)
                point, upcoming = await _held(flight, sweep, share), None
            sweep = upcoming or await flight.plan(segment, point)
            await _start(flight, sweep)
            upcoming = await _land(flight, sweep, _after(path, segment))
        assert await flight.disarm() == path.points
        check_rows(flight, path, (0, path.points))

    async def test_made_ready_nothing_is_triggered_wherever_the_stage_goes(
        self, flight: Flying
    ) -> None:
        path, upcoming = await _one_line_and_the_next(flight)
        done = path.segment(0).end_point
        start, stop = flight.bench.spans[flight.bench.fast]
        for place in (start, stop, start):
            await flight.bench.timely(flight.bench.motion.move_to(flight.bench.fast, place))
        reached = await flight.bench.timely(flight.capture.reached())
        assert reached == done, f"made ready at point {done}, it went on to {reached}"
        await _start(flight, upcoming)
        await _land(flight, upcoming, None)
        assert await flight.disarm() == path.points, "triggered before it began"
        check_rows(flight, path, (0, path.points))

    async def test_what_was_made_ready_may_be_left(self, flight: Flying) -> None:
        path, _ = await _one_line_and_the_next(flight)
        done = path.segment(0).end_point
        back = done // 2
        await flight.bench.timely(flight.capture.withdraw())
        await flight.sweeps(path, back)
        assert await flight.disarm() == done + path.points - back
        check_rows(flight, path, (0, done), (back, path.points))


def _after(path: Path, segment: Segment) -> Segment | None:
    following = segment.index + 1
    return path.segment(following) if following < path.segment_count else None


async def _one_line_and_the_next(flight: Flying) -> tuple[Path, Sweep]:
    """Fly the first line of a raster; the second is made ready, if the box can."""
    path = flight.bench.raster(kind(flight))
    await flight.arm(path)
    sweep = await flight.plan(path.segment(0), 0)
    await _start(flight, sweep)
    upcoming = await _land(flight, sweep, path.segment(1))
    assert upcoming is not None
    return path, upcoming


async def _start(flight: Flying, sweep: Sweep) -> None:
    bench = flight.bench
    await bench.timely(bench.motion.prepare(sweep))
    await bench.timely(flight.capture.begin(sweep))
    await bench.timely(bench.motion.start(sweep))


async def _held(flight: Flying, sweep: Sweep, share: float) -> int:
    """Hold a sweep amid its line, while its last trigger is waited for."""
    waiting = asyncio.create_task(flight.capture.triggered(sweep))
    await flight.bench.clock.sleep(sweep.lead + share * sweep.segment.duration)
    point = await flight.hold()
    assert not waiting.done(), "triggered() returned amid the line"
    await cancel(waiting)
    assert sweep.from_point < point < sweep.segment.end_point
    return point


async def _land(flight: Flying, sweep: Sweep, following: Segment | None) -> Sweep | None:
    """Wait for the end of a sweep; the next one is made ready as soon as the box knows it over."""
    bench, end = flight.bench, sweep.segment.end_point
    upcoming = None if following is None else await flight.plan(following, following.first_point)
    ahead = asyncio.create_task(_foresee(flight, sweep, upcoming))
    assert await bench.timely(bench.motion.join()) is JoinOutcome.DONE
    reached = await bench.timely(flight.capture.end(sweep))
    assert reached == end, f"end() says {reached} of {end}"
    if upcoming is not None:
        await bench.timely(bench.motion.prepare(upcoming))
    if ahead.done():
        await ahead
    await cancel(ahead)
    return upcoming


async def _foresee(flight: Flying, sweep: Sweep, upcoming: Sweep | None) -> None:
    end = sweep.segment.end_point
    await flight.capture.triggered(sweep)
    reached = await flight.capture.reached()
    assert reached == end, f"triggered() returned at point {reached} of {end}"
    if upcoming is not None:
        await flight.capture.ready(upcoming)
