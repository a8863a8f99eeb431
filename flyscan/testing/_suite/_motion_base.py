"""What all tests of motions share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager

import pytest
import pytest_asyncio

from ...errors import FlyscanError
from ...flight import JoinOutcome, Motion, Path, Sweep, plan_sweep
from .._bench import MotionBench, opened

__all__ = [
    "MotionTests",
    "connected",
    "end",
    "ended_somehow",
    "fly",
    "plan",
    "prepared",
    "same_settings",
    "under_way",
]

#: Seconds of the clock beyond the planned ones within which a motion must have ended.
MARGIN_S = 3.0


@pytest.mark.asyncio
class MotionTests(ABC):
    """Base of the parts of :class:`MotionSuite`."""

    @abstractmethod
    def make_bench(self) -> AbstractAsyncContextManager[MotionBench]:
        """The box to test and its surroundings, for one test."""

    @pytest_asyncio.fixture
    async def bench(self) -> AsyncGenerator[MotionBench]:
        """The bench of a test."""
        async with opened(self.make_bench()) as bench:
            yield bench


async def connected(bench: MotionBench) -> Motion:
    """A connected motion."""
    motion = bench.fresh()
    await bench.timely(motion.connect())
    return motion


async def plan(
    bench: MotionBench, motion: Motion, path: Path, segment: int = 0, point: int | None = None
) -> Sweep:
    """Check a path and save settings as a flight does, and plan one of its sweeps."""
    limits = await bench.timely(motion.limits())
    path.validate(limits)
    await bench.timely(motion.check(path))
    await bench.timely(motion.save(path))
    await bench.timely(motion.save(path))
    found = path.segment(segment)
    return plan_sweep(found, found.first_point if point is None else point, limits)


async def prepared(bench: MotionBench, motion: Motion, path: Path | None = None) -> Sweep:
    """The first sweep of a path, by default the line, with the stage at its origin."""
    sweep = await plan(bench, motion, bench.line() if path is None else path)
    await bench.timely(motion.prepare(sweep))
    return sweep


async def under_way(bench: MotionBench, motion: Motion, path: Path | None = None) -> Sweep:
    """The first sweep of a path, in the first part of its line."""
    sweep = await prepared(bench, motion, path)
    await bench.timely(motion.start(sweep))
    await bench.clock.sleep(sweep.lead + 0.2 * sweep.segment.duration)
    return sweep


async def fly(bench: MotionBench, motion: Motion, sweep: Sweep) -> None:
    """Fly a sweep undisturbed to its end."""
    await bench.timely(motion.prepare(sweep))
    began = bench.clock.now()
    await bench.timely(motion.start(sweep))
    await end(bench, motion, sweep)
    took = bench.clock.now() - began
    assert took >= 0.9 * sweep.duration, f"a sweep of {sweep.duration:g} s took {took:g} s"
    assert took <= sweep.duration + MARGIN_S, f"a sweep of {sweep.duration:g} s took {took:g} s"


async def end(bench: MotionBench, motion: Motion, sweep: Sweep) -> None:
    """A sweep under way must end at its target."""
    outcome = await bench.timely(motion.join())
    assert outcome is JoinOutcome.DONE, f"join says {outcome} of an undisturbed sweep"
    positions = await bench.check_rest(motion, "the end of a sweep")
    bench.check_at(positions, sweep.target, "the target")


async def same_settings(bench: MotionBench, before: object, after: str) -> None:
    """The settings must be what they were."""
    assert await bench.settings() == before, f"settings differ after {after}"


async def ended_somehow(bench: MotionBench, motion: Motion) -> JoinOutcome | None:
    """How a sweep that was interfered with ended; None for an error of ours."""
    try:
        return await bench.timely(motion.join())
    except FlyscanError:
        return None
