"""What a motion changes on its box, it puts back: after a flight, and after a crash."""

from __future__ import annotations

import pytest

from ...flight import Motion, RestoreStep
from .._bench import MotionBench
from ._motion_base import (
    MotionTests,
    connected,
    end,
    ended_somehow,
    fly,
    plan,
    same_settings,
    under_way,
)

__all__ = ["MotionSettings"]


class MotionSettings(MotionTests):
    """Every setting must be what it was before the flight, whatever became of it."""

    async def test_settings_are_saved_before_any_is_changed(self, bench: MotionBench) -> None:
        motion = await connected(bench)
        settings = await bench.settings()
        path = bench.raster()
        await bench.timely(motion.save(path))
        await same_settings(bench, settings, "save()")
        steps = motion.restore_steps()
        assert steps, "save() remembers nothing"
        for index in range(path.segment_count):
            await fly(bench, motion, await plan(bench, motion, path, index))
            assert motion.restore_steps() == steps, "what is to restore changed during the flight"
        await bench.timely(motion.save(path))
        assert motion.restore_steps() == steps, "a second save() forgot what the first one found"

    @pytest.mark.parametrize("fate", ["flown", "held", "stopped", "prepared", "saved"])
    async def test_restore_puts_back_exactly(self, bench: MotionBench, fate: str) -> None:
        motion = await connected(bench)
        settings = await bench.settings()
        await _meet(bench, motion, fate)
        changed = await bench.settings() != settings
        assert not changed or motion.restore_steps(), "settings changed, nothing to restore"
        await bench.timely(motion.restore())
        await same_settings(bench, settings, f"restore() of a sweep that was {fate}")
        assert motion.restore_steps() == (), "something left to restore after restore()"
        await bench.timely(motion.restore())
        await same_settings(bench, settings, "a second restore()")

    async def test_restore_puts_back_what_a_curve_or_raster_needed(
        self, bench: MotionBench
    ) -> None:
        motion = await connected(bench)
        capable = motion.capabilities
        settings = await bench.settings()
        other = bench.slow if capable.together else None
        path = bench.curve(other) if capable.curves else bench.raster()
        for index in range(path.segment_count):
            await fly(bench, motion, await plan(bench, motion, path, index))
        await bench.timely(motion.restore())
        await same_settings(bench, settings, "restore()")

    async def test_a_flight_needs_other_settings_than_it_found(self, bench: MotionBench) -> None:
        """Otherwise the tests of restoring prove nothing: change the bench."""
        motion = await connected(bench)
        settings = await bench.settings()
        sweep = await under_way(bench, motion)
        assert await bench.settings() != settings
        await end(bench, motion, sweep)

    async def test_a_second_flight_restores_what_the_first_found(self, bench: MotionBench) -> None:
        motion = await connected(bench)
        settings = await bench.settings()
        for _ in range(2):
            await _meet(bench, motion, "flown")
        await bench.timely(motion.restore())
        await same_settings(bench, settings, "restore() of two sweeps")
        await _meet(bench, motion, "flown")
        await bench.timely(motion.restore())
        await same_settings(bench, settings, "restore() of another flight")

    async def test_restore_works_after_close_too(self, bench: MotionBench) -> None:
        motion = await connected(bench)
        settings = await bench.settings()
        await _meet(bench, motion, "flown")
        await bench.timely(motion.close())
        await bench.timely(motion.restore())
        await same_settings(bench, settings, "close() and restore()")

    async def test_a_fresh_instance_restores_after_a_crash(self, bench: MotionBench) -> None:
        motion = await connected(bench)
        settings = await bench.settings()
        await _meet(bench, motion, "stopped")
        journal = [(step.key, step.value) for step in motion.restore_steps()]
        await bench.timely(motion.close())
        successor = bench.fresh()  # restoring connects it
        await bench.timely(successor.restore(tuple(RestoreStep(k, v) for k, v in journal)))
        await same_settings(bench, settings, "restore() from the journal in a fresh instance")
        await bench.timely(successor.connect())
        await fly(bench, successor, await plan(bench, successor, bench.line()))


async def _meet(bench: MotionBench, motion: Motion, fate: str) -> None:
    """Begin to fly the line, and let it come to the end called `fate`."""
    if fate == "saved":
        await plan(bench, motion, bench.line())
        return
    if fate == "prepared":
        await bench.timely(motion.prepare(await plan(bench, motion, bench.line())))
        return
    sweep = await under_way(bench, motion)
    if fate == "flown":
        await end(bench, motion, sweep)
    elif fate == "held":
        await bench.timely(motion.hold())
        await ended_somehow(bench, motion)
    else:
        await bench.timely(motion.stop())
