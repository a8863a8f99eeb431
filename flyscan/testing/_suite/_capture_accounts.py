"""Undisturbed flights of a capture: every point one row, in order, and in time."""

from __future__ import annotations

import numpy as np
import pytest

from ...errors import ConfigurationError
from ...flight import Path, Trigger
from ._capture_base import CaptureTests, check_rows, kind, line, supports
from ._flying import Flying

__all__ = ["CaptureAccounts"]

#: Seconds of the clock beyond the box's block period within which rows must have come.
LATE_S = 1.0


class CaptureAccounts(CaptureTests):
    """Rows of flights that nobody disturbs."""

    @pytest.mark.parametrize("trigger", list(Trigger))
    async def test_every_point_of_a_line_has_one_row(
        self, flight: Flying, trigger: Trigger
    ) -> None:
        path = flight.bench.line(trigger)
        if await _refused(flight, path):
            return
        began = flight.bench.clock.now()
        await _fly(flight, path)
        period = np.median(np.diff(flight.rows.time_ns)) * 1e-9
        assert period == pytest.approx(path.period, rel=0.1), "rows come at another period"
        since = (flight.rows.time_ns[[0, -1]] - flight.bench.clock.epoch_ns) * 1e-9
        assert began - LATE_S < since[0] < since[1] < flight.bench.clock.now() + LATE_S, (
            f"hardware times {since} are not those of the flight"
        )

    @pytest.mark.parametrize("trigger", list(Trigger))
    async def test_every_point_of_a_raster_has_one_row(
        self, flight: Flying, trigger: Trigger
    ) -> None:
        path = flight.bench.raster(trigger)
        if not await _refused(flight, path):
            await _fly(flight, path)

    async def test_every_point_of_a_dwell_has_one_row(self, flight: Flying) -> None:
        path = flight.bench.dwell()
        if not await _refused(flight, path):
            await _fly(flight, path)

    @pytest.mark.parametrize("trigger", list(Trigger))
    async def test_a_flight_from_a_later_point(self, flight: Flying, trigger: Trigger) -> None:
        path = flight.bench.raster(trigger)
        if not await _refused(flight, path):
            await _fly(flight, path, path.points // 3)
            await _fly(flight, path, path.points * 2 // 3)

    async def test_rows_count_from_zero_again_in_the_next_flight(self, flight: Flying) -> None:
        for _ in range(2):
            await _fly(flight, line(flight))

    async def test_what_was_reached_is_known_while_flying(self, flight: Flying) -> None:
        path = line(flight)
        await flight.arm(path)
        assert await flight.bench.timely(flight.capture.reached()) == 0
        sweep = await flight.begin(path.segment(0), 0)
        seen = [await flight.bench.timely(flight.capture.reached())]
        for _ in range(8):
            await flight.bench.clock.sleep(sweep.duration / 9)
            seen.append(await flight.bench.timely(flight.capture.reached()))
        assert seen == sorted(seen), f"reached() goes back: {seen}"
        assert any(0 < point < path.points for point in seen), f"reached() is not live: {seen}"
        assert await flight.land(sweep) == path.points
        assert await flight.bench.timely(flight.capture.reached()) == path.points
        assert await flight.disarm() == path.points

    async def test_rows_come_while_the_box_is_armed(self, flight: Flying) -> None:
        path = line(flight)
        await flight.arm(path)
        assert flight.capture.end_reason is None
        await flight.sweeps(path)
        await flight.bench.clock.sleep(flight.capture.capabilities.block_period + LATE_S)
        check_rows(flight, path, (0, path.points))
        assert flight.capture.end_reason is None, "the capture ended before disarm()"
        assert await flight.disarm() == path.points

    async def test_a_capture_ended_early_delivers_what_was_triggered(self, flight: Flying) -> None:
        path = flight.bench.raster(kind(flight))
        await flight.arm(path)
        await flight.land(await flight.begin(path.segment(0), 0))
        assert await flight.disarm() == path.segment(0).end_point
        check_rows(flight, path, (0, path.segment(0).end_point))
        _check_end(flight, path.segment(0).end_point)

    async def test_a_capture_without_any_trigger_ends_too(self, flight: Flying) -> None:
        path = line(flight)
        await flight.arm(path)
        assert await flight.disarm() == 0
        assert len(flight.rows) == 0
        _check_end(flight, 0)
        await _fly(flight, path)


async def _refused(flight: Flying, path: Path) -> bool:
    """Whether the box lacks the trigger of a path, which it must then refuse."""
    if supports(flight, path.segment(0).trigger):
        return False
    with pytest.raises(ConfigurationError):
        flight.capture.validate(path)
    return True


async def _fly(flight: Flying, path: Path, from_point: int = 0) -> None:
    expected = path.points - from_point
    assert await flight.fly(path, from_point) == expected, "disarm() counts other rows"
    check_rows(flight, path, (from_point, path.points))
    _check_end(flight, expected)


def _check_end(flight: Flying, rows: int) -> None:
    reason = flight.capture.end_reason
    assert reason is not None, "no reason for the end"
    assert (reason.ok, reason.rows) == (True, rows), f"ended by {reason}, expected {rows} rows"
