"""Holds of a motion, and going on from a later point by the same calls."""

from __future__ import annotations

import asyncio

import pytest

from ...flight import JoinOutcome, Motion, Path, Sweep
from .._bench import MotionBench
from ._motion_base import MotionTests, connected, end, fly, plan, prepared, under_way

__all__ = ["MotionHolds"]


class MotionHolds(MotionTests):
    """A hold must leave the stage at rest on its path, whenever it comes."""

    @pytest.mark.parametrize("phase", ["run-up", "cruise", "run-down"])
    async def test_a_hold_comes_to_rest_on_the_path(self, bench: MotionBench, phase: str) -> None:
        motion = await connected(bench)
        sweep = await prepared(bench, motion, bench.raster())
        joining = await _start(bench, motion, sweep)
        await bench.clock.sleep(_moment(sweep, phase))
        rest, outcome = await _hold(bench, motion, joining)
        _check_on_path(bench, sweep, rest)
        left = abs(sweep.target[bench.fast] - rest[bench.fast])
        if phase == "run-down" and left <= bench.tolerance:
            return  # it may have been at the target already
        assert outcome is JoinOutcome.HELD, f"join says {outcome} of a sweep held in its {phase}"
        if phase != "run-down":
            assert left > abs(bench.step), f"held in the {phase}, it flew on to the end"

    async def test_a_held_line_is_flown_on_from_later_points(self, bench: MotionBench) -> None:
        motion = await connected(bench)
        path = bench.line()
        sweep = await plan(bench, motion, path)
        for _ in range(2):
            await bench.timely(motion.prepare(sweep))
            joining = await _start(bench, motion, sweep)
            await bench.clock.sleep(sweep.lead + 0.25 * sweep.points * bench.period)
            rest, outcome = await _hold(bench, motion, joining)
            assert outcome is JoinOutcome.HELD
            sweep = await plan(bench, motion, path, 0, _next_point(bench, path, rest))
        await fly(bench, motion, sweep)

    async def test_a_held_curve_is_flown_on_from_a_later_point(self, bench: MotionBench) -> None:
        motion = await connected(bench)
        capable = motion.capabilities
        path = bench.curve(bench.slow if capable.together else None)
        if not capable.curves:
            path = path.without_curves()
        sweep = await prepared(bench, motion, path)
        joining = await _start(bench, motion, sweep)
        await bench.clock.sleep(sweep.lead + 0.4 * sweep.segment.duration)
        await _hold(bench, motion, joining)
        middle = sweep.segment.first_point + sweep.segment.points // 2
        await fly(bench, motion, await plan(bench, motion, path, 0, middle))

    async def test_a_hold_is_harmless_when_nothing_moves(self, bench: MotionBench) -> None:
        motion = await connected(bench)
        found = (await bench.see(motion)).positions
        await bench.timely(motion.hold())
        bench.check_at(await bench.check_rest(motion, "hold()"), found, "where it was")
        sweep = await prepared(bench, motion)
        await bench.timely(motion.hold())
        await bench.timely(motion.start(sweep))
        await end(bench, motion, sweep)
        await bench.timely(motion.hold())
        positions = await bench.check_rest(motion, "a hold after the end")
        bench.check_at(positions, sweep.target, "the target")
        await fly(bench, motion, sweep)

    async def test_holding_twice_is_holding_once(self, bench: MotionBench) -> None:
        motion = await connected(bench)
        sweep = await under_way(bench, motion)
        await bench.timely(_both(motion))
        assert await bench.timely(motion.join()) is JoinOutcome.HELD
        _check_on_path(bench, sweep, await bench.check_rest(motion, "two holds"))


async def _both(motion: Motion) -> None:
    await asyncio.gather(motion.hold(), motion.hold())


async def _start(bench: MotionBench, motion: Motion, sweep: Sweep) -> asyncio.Task[JoinOutcome]:
    """Start a sweep and join it, as a flight does, before anybody asks to hold."""
    await bench.timely(motion.start(sweep))
    return asyncio.create_task(bench.timely(motion.join()))


async def _hold(
    bench: MotionBench, motion: Motion, joining: asyncio.Task[JoinOutcome]
) -> tuple[dict[str, float], JoinOutcome]:
    """Hold: where the stage rests, and what join says."""
    await bench.timely(motion.hold())
    return await bench.check_rest(motion, "hold()"), await joining


def _moment(sweep: Sweep, phase: str) -> float:
    """Seconds from the start of motion to the middle of a phase; early in the cruise."""
    if phase == "run-up":
        return sweep.ramp / 2
    if phase == "run-down":
        return sweep.duration - sweep.ramp / 2
    return sweep.lead + 0.25 * sweep.segment.duration


def _check_on_path(bench: MotionBench, sweep: Sweep, rest: dict[str, float]) -> None:
    for axis, origin in sweep.origin.items():
        low, high = sorted((origin, sweep.target[axis]))
        assert low - bench.tolerance <= rest[axis] <= high + bench.tolerance, (
            f"held, {axis} rests at {rest[axis]:g}, off the path from {low:g} to {high:g}"
        )


def _next_point(bench: MotionBench, path: Path, rest: dict[str, float]) -> int:
    """The first point that begins ahead of the stage."""
    passed = (rest[bench.fast] - bench.spans[bench.fast][0]) / bench.step
    return min(max(int(passed) + 1, 0), path.points - 1)
