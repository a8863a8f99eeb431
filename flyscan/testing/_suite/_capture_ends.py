"""Stopping a capture and putting its settings back."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from ...errors import CaptureError
from ...flight import Capture, Path, RestoreStep
from .._bench import CaptureBench
from ._capture_base import CaptureTests, check_rows, line, same_settings
from ._flying import Flying, flying

__all__ = ["CaptureEnds"]


class CaptureEnds(CaptureTests):
    """However a capture ends, it leaves the box idle and as it was found."""

    async def test_stop_is_harmless_when_idle(self, bench: CaptureBench) -> None:
        settings = await bench.settings()
        capture = bench.fresh()
        await bench.timely(capture.stop())
        await bench.timely(capture.connect())
        await bench.timely(capture.stop())
        await bench.timely(capture.stop())
        await bench.timely(capture.restore())
        await same_settings(bench, settings, "stop() and restore() of an idle box")

    async def test_stop_ends_a_capture_at_once(self, flight: Flying) -> None:
        path = await _under_way(flight)
        await flight.bench.timely(_thrice(flight.capture))
        await flight.bench.timely(flight.bench.motion.stop())
        rows = await _check_stopped(flight, path)
        assert 0 < rows < path.points, f"stopped amid the line, it has {rows} rows"
        await _fly_again(flight, path)

    async def test_stop_of_a_capture_that_waits(self, flight: Flying) -> None:
        path = line(flight)
        await flight.arm(path)
        await flight.bench.timely(flight.capture.stop())
        assert await _check_stopped(flight, path) == 0
        await _fly_again(flight, path)

    async def test_stop_from_a_cancelled_end(self, flight: Flying) -> None:
        path = await _under_way(flight)
        sweep = await flight.plan(path.segment(0), 0)

        async def end_or_stop() -> None:
            try:
                await flight.bench.timely(flight.bench.motion.join())
                await flight.capture.end(sweep)
            finally:
                await flight.bench.timely(flight.capture.stop())

        ending = asyncio.create_task(end_or_stop())
        await flight.bench.clock.sleep(flight.bench.period)
        ending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ending
        await flight.bench.timely(flight.bench.motion.stop())
        assert await _check_stopped(flight, path) < path.points
        await _fly_again(flight, path)

    async def test_settings_are_saved_before_any_is_changed(self, flight: Flying) -> None:
        settings, path = await flight.bench.settings(), line(flight)
        await flight.bench.timely(flight.capture.save(path))
        await same_settings(flight.bench, settings, "save()")
        steps = flight.capture.restore_steps()
        assert steps, "save() remembers nothing"
        await flight.fly(path)
        assert flight.capture.restore_steps() == steps, "what is to restore changed meanwhile"
        await flight.bench.timely(flight.capture.restore())
        await same_settings(flight.bench, settings, "save() and restore()")

    @pytest.mark.parametrize("fate", ["armed", "flown", "held", "stopped"])
    async def test_restore_puts_back_exactly(self, flight: Flying, fate: str) -> None:
        settings = await flight.bench.settings()
        await _meet(flight, fate)
        changed = await flight.bench.settings() != settings
        assert not changed or flight.capture.restore_steps(), "changed, but nothing to restore"
        await flight.bench.timely(flight.capture.restore())
        await same_settings(flight.bench, settings, f"restore() of a capture that was {fate}")
        assert flight.capture.restore_steps() == (), "something left to restore after restore()"
        await flight.bench.timely(flight.capture.restore())
        await same_settings(flight.bench, settings, "a second restore()")

    async def test_a_flight_needs_other_settings_than_it_found(self, flight: Flying) -> None:
        """Otherwise the tests of restoring prove nothing: change the bench."""
        settings = await flight.bench.settings()
        await _under_way(flight)
        assert await flight.bench.settings() != settings

    async def test_a_second_flight_restores_what_the_first_found(self, flight: Flying) -> None:
        settings = await flight.bench.settings()
        for _ in range(2):
            await _meet(flight, "flown")
        await flight.bench.timely(flight.capture.restore())
        await same_settings(flight.bench, settings, "restore() of two flights")

    async def test_a_fresh_instance_restores_after_a_crash(self, bench: CaptureBench) -> None:
        settings = await bench.settings()
        async with flying(bench) as crashed:
            await _under_way(crashed)
            journal = [(step.key, step.value) for step in crashed.capture.restore_steps()]
            await bench.timely(crashed.capture.close())
        await bench.timely(bench.motion.stop())
        async with flying(bench) as flight:
            steps = tuple(RestoreStep(key, value) for key, value in journal)
            await bench.timely(flight.capture.restore(steps))
            await same_settings(bench, settings, "restore() from the journal in a fresh instance")
            await _fly_again(flight, line(flight))


async def _under_way(flight: Flying) -> Path:
    """The line, flown to about a third."""
    path = line(flight)
    await flight.arm(path)
    sweep = await flight.begin(path.segment(0), 0)
    await flight.bench.clock.sleep(sweep.lead + 0.3 * sweep.segment.duration)
    return path


async def _meet(flight: Flying, fate: str) -> None:
    """Begin to fly the line, and let it come to the end called `fate`."""
    if fate == "flown":
        await flight.fly(line(flight))
    elif fate == "armed":
        await flight.arm(line(flight))
    else:
        await _under_way(flight)
        if fate == "held":
            await flight.hold()
            await flight.disarm()
        else:
            await flight.bench.timely(flight.capture.stop())
            await flight.bench.timely(flight.bench.motion.stop())


async def _thrice(capture: Capture) -> None:
    await asyncio.gather(capture.stop(), capture.stop())
    await capture.stop()


async def _check_stopped(flight: Flying, path: Path) -> int:
    """After stop() reading ends, with a gap-free beginning of the path; how many rows of it."""
    with suppress(CaptureError):  # it may complain that it was stopped
        await flight.read_to_end("stop()")
    reason = flight.capture.end_reason
    assert reason is not None, "stopped, but no reason for the end"
    rows = len(flight.rows)
    assert reason.rows == rows, f"{rows} rows delivered, the end reason counts {reason.rows}"
    check_rows(flight, path, (0, rows))
    return rows


async def _fly_again(flight: Flying, path: Path) -> None:
    """A box that was stopped must be good for another flight."""
    await flight.bench.timely(flight.capture.restore())
    assert await flight.fly(path) == path.points
    check_rows(flight, path, (0, path.points))
