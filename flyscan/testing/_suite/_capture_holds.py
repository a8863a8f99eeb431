"""Holds of a capture: whenever they come, every point has exactly one row in the end."""

from __future__ import annotations

import pytest

from ...flight import Path, Trigger
from ._capture_base import CaptureTests, check_rows, line, supports
from ._flying import Flying

__all__ = ["CaptureHolds"]


class CaptureHolds(CaptureTests):
    """Held and begun again at the next untriggered point, the box stays armed."""

    @pytest.mark.parametrize("trigger", list(Trigger))
    @pytest.mark.parametrize("share", [0.0, 0.02, 0.35, 0.8])
    async def test_a_line_held_once(self, flight: Flying, trigger: Trigger, share: float) -> None:
        await _fly_held(flight, flight.bench.line(trigger), [share])

    @pytest.mark.parametrize("trigger", list(Trigger))
    async def test_a_raster_held_often(self, flight: Flying, trigger: Trigger) -> None:
        await _fly_held(flight, flight.bench.raster(trigger), [0.3, 0.4, 0.0, 0.5, 0.1, 0.6, 0.3])

    async def test_a_dwell_held_often(self, flight: Flying) -> None:
        await _fly_held(flight, flight.bench.dwell(), [0.3, 0.5, 0.0, 0.5])

    async def test_a_hold_before_any_trigger_is_harmless(self, flight: Flying) -> None:
        path = line(flight)
        await flight.arm(path)
        assert await flight.hold() == 0
        await flight.sweeps(path)
        assert await flight.hold() == path.points
        assert await flight.disarm() == path.points
        check_rows(flight, path, (0, path.points))

    @pytest.mark.parametrize("what", [*Trigger, "dwell"])
    async def test_nothing_is_triggered_while_held(self, flight: Flying, what: str) -> None:
        path = flight.bench.dwell() if what == "dwell" else flight.bench.line(Trigger(what))
        if not supports(flight, path.segment(0).trigger):
            return  # that it is refused then is tested elsewhere
        held = await _held_amid(flight, path)
        await flight.bench.clock.sleep(3 * flight.bench.period)
        assert await flight.bench.timely(flight.capture.reached()) == held, "triggered while held"
        assert await flight.disarm() == held
        check_rows(flight, path, (0, held))

    async def test_withdrawn_nothing_is_triggered_wherever_the_stage_goes(
        self, flight: Flying
    ) -> None:
        path = line(flight)
        held = await _held_amid(flight, path)
        await flight.bench.timely(flight.capture.withdraw())
        start, stop = flight.bench.spans[flight.bench.fast]
        for place in (stop, start):
            await flight.bench.timely(flight.bench.motion.move_to(flight.bench.fast, place))
        reached = await flight.bench.timely(flight.capture.reached())
        assert reached == held, f"withdrawn at point {held}, it went on to {reached}"
        await flight.sweeps(path, held)
        assert await flight.disarm() == path.points
        check_rows(flight, path, (0, path.points))

    async def test_going_back_triggers_points_again(self, flight: Flying) -> None:
        path = line(flight)
        held = await _held_amid(flight, path)
        back = held // 2
        await flight.bench.timely(flight.capture.withdraw())
        await flight.sweeps(path, back)
        rows, expected = await flight.disarm(), held + path.points - back
        assert rows == expected, f"gone back from {held} to {back}, {rows} rows for {expected}"
        check_rows(flight, path, (0, held), (back, path.points))

    async def test_a_capture_held_can_be_armed_anew_from_there(self, flight: Flying) -> None:
        path = line(flight)
        held = await _held_amid(flight, path)
        assert await flight.disarm() == held
        check_rows(flight, path, (0, held))
        assert await flight.fly(path, held) == path.points - held
        check_rows(flight, path, (held, path.points))


async def _fly_held(flight: Flying, path: Path, holds: list[float]) -> None:
    if not supports(flight, path.segment(0).trigger):
        return  # that it is refused then is tested elsewhere
    assert await flight.fly(path, holds=holds) == path.points, "disarm() counts other rows"
    check_rows(flight, path, (0, path.points))


async def _held_amid(flight: Flying, path: Path) -> int:
    """Arm a path and hold its first sweep after a third of it; the next point not triggered."""
    await flight.arm(path)
    sweep = await flight.begin(path.segment(0), 0)
    await flight.bench.clock.sleep(sweep.lead + 0.3 * sweep.segment.duration)
    held = await flight.hold()
    assert 0 < held < path.points, f"held amid the line, reached() says {held}"
    return held
