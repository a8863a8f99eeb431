"""Connection, limits, checks and single moves of a motion."""

from __future__ import annotations

import asyncio
import math

import pytest
from scanspec.specs import Linspace  # pyright: ignore[reportMissingTypeStubs]

from ...errors import ConfigurationError, LimitError
from ...flight import Motion, Path
from .._bench import MotionBench
from ._motion_base import MotionTests, connected, plan, same_settings

__all__ = ["MotionBasics"]


class MotionBasics(MotionTests):
    """What a motion must do apart from flying."""

    async def test_connecting_is_idempotent_and_harmless(self, bench: MotionBench) -> None:
        settings = await bench.settings()
        motion = await connected(bench)
        found = (await bench.see(motion)).positions
        await bench.timely(motion.connect())
        await bench.timely(bench.fresh().connect())
        positions = await bench.check_rest(motion, "connect()")
        bench.check_at(positions, found, "where it was before connecting")
        await same_settings(bench, settings, "connect()")
        assert motion.restore_steps() == ()

    async def test_it_can_be_closed_at_any_time_and_connected_again(
        self, bench: MotionBench
    ) -> None:
        motion = bench.fresh()
        await bench.timely(motion.close())
        for _ in range(2):
            await bench.timely(motion.connect())
            await bench.timely(motion.close())
            await bench.timely(motion.close())
            await bench.timely(motion.stop())
        await bench.timely(motion.connect())
        await plan(bench, motion, bench.line())

    async def test_axes_have_limits_and_positions_in_user_units(self, bench: MotionBench) -> None:
        motion = await connected(bench)
        limits, positions = await motion.limits(), await motion.position()
        assert len(set(motion.axes)) == len(motion.axes) > 0
        assert set(limits) == set(positions) == set(motion.axes)
        for axis, (low, high) in bench.travel.items():
            found = limits[axis]
            assert (found.low, found.high) == pytest.approx((low, high)), f"travel of {axis}"
            for name in ("velocity", "acceleration"):
                value = getattr(found, name)
                assert 0 < value < math.inf, f"{name} of {axis}"
            assert 0 <= found.settle < math.inf
            assert low - bench.tolerance <= positions[axis] <= high + bench.tolerance

    async def test_a_sound_path_passes_the_check_which_changes_nothing(
        self, bench: MotionBench
    ) -> None:
        motion = await connected(bench)
        settings, found = await bench.settings(), (await bench.see(motion)).positions
        for path in (bench.line(), bench.raster()):
            await plan(bench, motion, path)
        bench.check_at(await bench.check_rest(motion, "check()"), found, "where it was")
        await same_settings(bench, settings, "check()")

    async def test_a_path_along_an_unknown_axis_is_refused(self, bench: MotionBench) -> None:
        motion = await connected(bench)
        unknown = "".join(motion.axes) + "_"
        path = Path.from_spec(Linspace.bounded(unknown, 0.0, 1.0, 10), period=bench.period)
        with pytest.raises(ConfigurationError, match=unknown):
            await bench.timely(motion.check(path))

    @pytest.mark.parametrize("side", [0, 1], ids=["low", "high"])
    async def test_a_path_out_of_travel_is_refused(self, bench: MotionBench, side: int) -> None:
        motion = await connected(bench)
        edge, inside = bench.travel[bench.fast][side], bench.spans[bench.fast][0]
        outside = edge + (edge - inside) * 0.1
        spec = Linspace.bounded(bench.fast, inside, outside, bench.points)
        slow = abs(outside - inside) / (0.1 * (await motion.limits())[bench.fast].velocity)
        path = Path.from_spec(spec, period=slow / bench.points)
        with pytest.raises(LimitError):
            await bench.timely(motion.check(path))

    async def test_single_axes_move_where_they_are_told(self, bench: MotionBench) -> None:
        motion = await connected(bench)
        settings = await bench.settings()
        for axis, ends in bench.spans.items():
            for place in ends:
                await bench.timely(motion.move_to(axis, place))
                await bench.check_rest(motion, "move_to()")
                bench.check_at(await motion.position(), {axis: place}, "the place told")
                bench.check_at((await bench.see(motion)).positions, {axis: place}, "it, really,")
        await bench.timely(motion.restore())
        await same_settings(bench, settings, "move_to() and restore()")

    async def test_a_move_takes_its_velocity(self, bench: MotionBench) -> None:
        motion = await connected(bench)
        settings = await bench.settings()
        start, stop = bench.spans[bench.fast]
        seconds = bench.points * bench.period
        await bench.timely(motion.move_to(bench.fast, start))
        began = bench.clock.now()
        await bench.timely(motion.move_to(bench.fast, stop, abs(stop - start) / seconds))
        took = bench.clock.now() - began
        assert took >= 0.9 * seconds, f"a move of {seconds:g} s took {took:g} s"
        bench.check_at(await motion.position(), {bench.fast: stop}, "the place told")
        await bench.timely(motion.restore())
        await same_settings(bench, settings, "move_to() with a velocity and restore()")

    async def test_a_move_beyond_the_limits_is_refused(self, bench: MotionBench) -> None:
        motion = await connected(bench)
        axis, place = bench.fast, bench.spans[bench.fast][0]
        found = (await bench.see(motion)).positions
        limit = (await motion.limits())[axis]
        width = limit.high - limit.low
        for target in (limit.low - 0.1 * width, limit.high + 0.1 * width):
            await _refused(bench, motion, axis, target, None)
        for velocity in (0.0, -limit.velocity, 1.5 * limit.velocity):
            await _refused(bench, motion, axis, place, velocity)
        with pytest.raises(ConfigurationError):
            await bench.timely(motion.move_to(f"not_{axis}", place))
        positions = await bench.check_rest(motion, "refused moves")
        bench.check_at(positions, found, "where it was before refused moves")

    async def test_a_cancelled_move_comes_to_rest_on_its_way(self, bench: MotionBench) -> None:
        motion = await connected(bench)
        start, stop = bench.spans[bench.fast]
        await bench.timely(motion.move_to(bench.fast, start))
        speed = abs(bench.step) / bench.period
        move = asyncio.ensure_future(motion.move_to(bench.fast, stop, speed))
        await bench.clock.sleep(0.3 * bench.points * bench.period)
        move.cancel()
        with pytest.raises(asyncio.CancelledError):
            await bench.timely(_ended(move))
        limit = (await motion.limits())[bench.fast]
        await bench.clock.sleep(speed / limit.acceleration + limit.settle + 0.1)
        rest = (await bench.check_rest(motion, "a cancelled move_to()"))[bench.fast]
        progress = (rest - start) / (stop - start)
        assert 0.05 < progress < 0.95, f"it came to rest after {progress:.0%} of its way"


async def _ended(task: asyncio.Future[None]) -> None:
    await task


async def _refused(
    bench: MotionBench, motion: Motion, axis: str, target: float, velocity: float | None
) -> None:
    with pytest.raises(LimitError):
        await bench.timely(motion.move_to(axis, target, velocity))
