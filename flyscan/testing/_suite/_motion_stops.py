"""Stopping a motion: at any time, any number of times, from cancelled calls."""

from __future__ import annotations

import asyncio

import pytest

from ...flight import JoinOutcome, Motion, Sweep
from .._bench import MotionBench
from ._motion_base import MotionTests, connected, ended_somehow, fly, plan, prepared, under_way

__all__ = ["MotionStops"]


class MotionStops(MotionTests):
    """Nothing may move on after stop(), and everything must work afterwards."""

    async def test_stop_is_harmless_at_rest(self, bench: MotionBench) -> None:
        motion = bench.fresh()
        await bench.timely(motion.stop())
        await bench.timely(motion.connect())
        found = (await bench.see(motion)).positions
        await bench.timely(motion.stop())
        await bench.timely(motion.stop())
        bench.check_at(await bench.check_rest(motion, "stop()"), found, "where it was")
        sweep = await prepared(bench, motion)
        await bench.timely(motion.stop())
        bench.check_at(await bench.check_rest(motion, "stop()"), sweep.origin, "the origin")
        await fly(bench, motion, sweep)

    async def test_stop_ends_a_sweep_at_once(self, bench: MotionBench) -> None:
        motion = await connected(bench)
        sweep = await under_way(bench, motion)
        joining = asyncio.create_task(ended_somehow(bench, motion))
        await bench.clock.sleep(bench.period)
        await bench.timely(_thrice(motion))
        await _check_short_of_target(bench, motion, sweep)
        assert await joining is not JoinOutcome.DONE, "join says done of a sweep that was stopped"
        await fly(bench, motion, await plan(bench, motion, bench.line()))

    async def test_stop_ends_a_curve_or_raster_line(self, bench: MotionBench) -> None:
        motion = await connected(bench)
        capable = motion.capabilities
        other = bench.slow if capable.together else None
        path = bench.curve(other) if capable.curves else bench.raster()
        sweep = await under_way(bench, motion, path)
        await bench.timely(motion.stop())
        await _check_short_of_target(bench, motion, sweep)

    async def test_stop_during_a_hold(self, bench: MotionBench) -> None:
        motion = await connected(bench)
        sweep = await under_way(bench, motion)
        holding = asyncio.create_task(bench.timely(motion.hold()))
        await asyncio.sleep(0)
        await bench.timely(motion.stop())
        await holding
        await _check_short_of_target(bench, motion, sweep)

    async def test_stop_from_a_cancelled_join(self, bench: MotionBench) -> None:
        motion = await connected(bench)
        sweep = await under_way(bench, motion)

        async def join_or_stop() -> None:
            try:
                await motion.join()
            finally:
                await bench.timely(motion.stop())

        joining = asyncio.create_task(join_or_stop())
        await bench.clock.sleep(bench.period)
        joining.cancel()
        with pytest.raises(asyncio.CancelledError):
            await joining
        await _check_short_of_target(bench, motion, sweep)

    async def test_a_cancelled_prepare_leaves_the_axes_at_rest(self, bench: MotionBench) -> None:
        motion = await connected(bench)
        sweep = await _far_from_origin(bench, motion)
        start = (await bench.see(motion)).positions[bench.fast]
        preparing = asyncio.ensure_future(motion.prepare(sweep))
        await _until_moving(bench, motion, preparing, start)
        preparing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await bench.timely(_ended(preparing))
        limit = (await motion.limits())[bench.fast]
        await bench.clock.sleep(limit.velocity / limit.acceleration + limit.settle + 0.1)
        rest = (await bench.check_rest(motion, "a cancelled prepare()"))[bench.fast]
        left = abs(sweep.origin[bench.fast] - rest)
        assert left > bench.tolerance, "a cancelled prepare() went on to the origin"
        await fly(bench, motion, sweep)


async def _thrice(motion: Motion) -> None:
    await asyncio.gather(motion.stop(), motion.stop())
    await motion.stop()


async def _ended(task: asyncio.Future[None]) -> None:
    await task


async def _check_short_of_target(bench: MotionBench, motion: Motion, sweep: Sweep) -> None:
    rest = (await bench.check_rest(motion, "stop()"))[bench.fast]
    left = abs(sweep.target[bench.fast] - rest)
    assert left > abs(bench.step), "stopped early in the line, it flew on to its end"


async def _far_from_origin(bench: MotionBench, motion: Motion) -> Sweep:
    """The sweep of the line, with the stage at the end of travel that is farther away."""
    sweep = await plan(bench, motion, bench.line())
    origin = sweep.origin[bench.fast]
    far = max(bench.travel[bench.fast], key=lambda place: abs(place - origin))
    await bench.timely(motion.move_to(bench.fast, far + 0.05 * (origin - far)))
    return sweep


async def _until_moving(
    bench: MotionBench, motion: Motion, moving: asyncio.Future[None], start: float
) -> None:
    """Wait until the fast axis has left `start`."""
    while abs((await bench.see(motion)).positions[bench.fast] - start) <= 2 * bench.tolerance:
        assert not moving.done(), "the stage arrived without being seen to move"
        await bench.clock.sleep(0.002)
