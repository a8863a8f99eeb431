"""Sweeps of a motion, undisturbed: where they begin, pass and end, and how fast."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ...errors import ConfigurationError
from ...flight import FloatArray, Motion, Path, Sweep, plan_sweep
from .._bench import MotionBench
from ._motion_base import (
    MARGIN_S,
    MotionTests,
    connected,
    end,
    fly,
    plan,
    prepared,
    same_settings,
    under_way,
)

__all__ = ["MotionSweeps"]

LOOKS = 8


class MotionSweeps(MotionTests):
    """Straight sweeps and, where the capabilities promise them, others."""

    async def test_prepare_reaches_the_origin(self, bench: MotionBench) -> None:
        motion = await connected(bench)
        for _ in range(2):  # there already, the second time
            sweep = await prepared(bench, motion)
            positions = await bench.check_rest(motion, "prepare()")
            bench.check_at(positions, sweep.origin, "the origin")

    async def test_every_line_ends_at_its_target(self, bench: MotionBench) -> None:
        motion = await connected(bench)
        for index in range(2):
            await fly(bench, motion, await plan(bench, motion, bench.raster(), index))

    async def test_a_line_is_flown_at_its_velocity(self, bench: MotionBench) -> None:
        motion = await connected(bench)
        sweep = await under_way(bench, motion)
        await _check_speed(bench, motion, sweep, 1.0)
        await end(bench, motion, sweep)

    async def test_a_sweep_ends_by_itself_when_nobody_is_left(self, bench: MotionBench) -> None:
        motion = await connected(bench)
        sweep = await under_way(bench, motion)
        await bench.timely(motion.close())
        await bench.clock.sleep(sweep.duration + MARGIN_S / 2)
        successor = await connected(bench)
        positions = await bench.check_rest(successor, "the planned time")
        bench.check_at(positions, sweep.target, "the target")

    async def test_velocity_changes_in_flight_if_promised(self, bench: MotionBench) -> None:
        motion = await connected(bench)
        settings = await bench.settings()
        sweep = await under_way(bench, motion)
        if motion.capabilities.velocity_in_flight:
            # Factors count from the nominal velocity, not from the present one.
            for factor in (0.5, 0.25, 1.0):
                await bench.timely(motion.retune(factor))
                await bench.clock.sleep(motion.capabilities.horizon + sweep.ramp)
                await _check_speed(bench, motion, sweep, factor)
        else:
            with pytest.raises(ConfigurationError):
                await bench.timely(motion.retune(0.5))
        await end(bench, motion, sweep)
        await bench.timely(motion.restore())
        await same_settings(bench, settings, "retune() and restore()")

    async def test_curves_are_flown_if_promised(self, bench: MotionBench) -> None:
        motion = await connected(bench)
        capable = motion.capabilities
        if not capable.curves:
            await _refused(bench, motion, bench.curve())
            return
        sweep = await plan(bench, motion, bench.curve(bench.slow if capable.together else None))
        times, path = sweep.curve()
        dense: FloatArray = np.linspace(0.0, sweep.duration, 2000)
        line = {axis: np.interp(dense, times, values) for axis, values in path.items()}
        await _check_course(bench, motion, sweep, line, bench.rough)

    async def test_speed_varies_along_a_line_if_promised(self, bench: MotionBench) -> None:
        motion = await connected(bench)
        path = bench.line()
        line = await plan(bench, motion, path)
        # Speed grows along the line from 2/3 of the mean to twice as much.
        share = np.linspace(0.0, 1.0, line.segment.points + 1)
        schedule = line.segment.duration * np.log1p(share) / np.log(2.0)
        segment = replace(line.segment, schedule=schedule)
        sweep = plan_sweep(segment, segment.first_point, await bench.timely(motion.limits()))
        if motion.capabilities.profiles:
            await _check_profile(bench, motion, sweep)
            return
        found = (await bench.see(motion)).positions
        with pytest.raises(ConfigurationError):
            await bench.timely(motion.prepare(sweep))
        positions = await bench.check_rest(motion, "a refusal")
        bench.check_at(positions, found, "where it was before the refusal")

    async def test_axes_move_together_if_promised(self, bench: MotionBench) -> None:
        motion = await connected(bench)
        if bench.slow is None:
            assert not motion.capabilities.together, "one axis cannot move together"
            return
        path = bench.diagonal(bench.slow)
        if not motion.capabilities.together:
            await _refused(bench, motion, path)
            return
        sweep = await plan(bench, motion, path)
        share = np.linspace(0, 1, 2000)
        line = {a: lo + (sweep.target[a] - lo) * share for a, lo in sweep.origin.items()}
        await _check_course(bench, motion, sweep, line, bench.rough)


async def _refused(bench: MotionBench, motion: Motion, path: Path) -> None:
    """What cannot be flown must be refused before anything moves."""
    found = (await bench.see(motion)).positions
    with pytest.raises(ConfigurationError):
        await bench.timely(motion.check(path))
    positions = await bench.check_rest(motion, "a refusal")
    bench.check_at(positions, found, "where it was before the refusal")


async def _check_speed(bench: MotionBench, motion: Motion, sweep: Sweep, factor: float) -> None:
    """The fast axis must move at `factor` times the nominal velocity, within a tenth."""
    first = await bench.see(motion)
    await bench.clock.sleep(0.1 * sweep.segment.duration)
    second = await bench.see(motion)
    way = second.positions[bench.fast] - first.positions[bench.fast]
    highest = way / max(second.earliest - first.latest, 1e-9)
    lowest = way / (second.latest - first.earliest)
    nominal = factor * sweep.velocity[bench.fast]
    lowest, highest = sorted((lowest / nominal, highest / nominal))
    seen = f"{lowest:.3g} to {highest:.3g} of the expected velocity {nominal:g}"
    assert lowest < 1.1, f"the line is flown too fast: {seen}"
    assert highest > 0.9, f"the line is flown too slowly: {seen}"


async def _check_profile(bench: MotionBench, motion: Motion, sweep: Sweep) -> None:
    """Early and late on a line, speeds must be as planned within a tenth."""
    times, path = sweep.curve()
    await bench.timely(motion.prepare(sweep))
    began = bench.clock.now()
    await bench.timely(motion.start(sweep))
    for share in (0.1, 0.6):
        await bench.clock.sleep(began + share * sweep.duration - bench.clock.now())
        first = await bench.see(motion)
        await bench.clock.sleep(0.25 * sweep.duration)
        second = await bench.see(motion)
        seen = np.array((first.latest, second.earliest)) - began
        way = second.positions[bench.fast] - first.positions[bench.fast]
        planned = np.diff(np.interp(seen, times, path[bench.fast]))
        ratio = way / float(planned[0])
        assert 0.9 < ratio < 1.1, f"the line is flown at {ratio:.3g} times its profile"
    await end(bench, motion, sweep)


async def _check_course(
    bench: MotionBench, motion: Motion, sweep: Sweep, line: dict[str, FloatArray], rough: float
) -> None:
    """Whenever the axes are seen on their way, they must be near `line`, and in the end at rest."""
    await bench.timely(motion.prepare(sweep))
    await bench.timely(motion.start(sweep))
    for _ in range(LOOKS):
        await bench.clock.sleep(sweep.duration / (LOOKS + 1))
        seen = (await bench.see(motion)).positions
        offsets = np.stack([values - seen[axis] for axis, values in line.items()])
        distance = float(np.linalg.norm(offsets, axis=0).min())
        assert distance <= rough, f"{distance:g} off the path at {seen}"
    await end(bench, motion, sweep)
