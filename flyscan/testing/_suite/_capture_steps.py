"""Steps of a capture that change while the stage flies."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ...errors import ConfigurationError
from ...flight import Segment, Sweep
from ._capture_base import CaptureTests, check_positions, check_rows, kind
from ._flying import Flying

__all__ = ["CaptureSteps"]

#: How far from a whole step two rows may be apart, in steps.
CLOSE = 0.25


class CaptureSteps(CaptureTests):
    """Step and period, changed by :meth:`~flyscan.flight.Capture.retune`."""

    async def test_the_step_changes_in_flight_only_if_promised(self, flight: Flying) -> None:
        path = flight.bench.raster(kind(flight))
        first, second = path.segments()
        await flight.arm(path)
        sweep = await _quarter(flight, first)
        if flight.capture.capabilities.step_in_flight:
            reached = await _double(flight, sweep)
        else:
            with pytest.raises(ConfigurationError):
                await flight.bench.timely(flight.capture.retune(2.0))
            reached = await flight.land(sweep)
            assert reached == first.end_point, "a refused change changed something"
        sweep = await flight.begin(second, second.first_point)
        assert await flight.land(sweep) == second.end_point, "the next line is not as planned"
        assert await flight.disarm() == reached + second.points
        check_positions(flight, path, second.first_point, second.end_point, reached)

    async def test_the_nominal_step_changes_nothing(self, flight: Flying) -> None:
        path = flight.bench.line(kind(flight))
        await flight.arm(path)
        sweep = await _quarter(flight, path.segment(0))
        if flight.capture.capabilities.step_in_flight:
            await flight.bench.timely(flight.capture.retune(1.0))
        assert await flight.land(sweep) == path.points
        assert await flight.disarm() == path.points
        check_rows(flight, path, (0, path.points))

    async def test_what_was_reached_is_exact_after_a_change_and_a_hold(
        self, flight: Flying
    ) -> None:
        path = flight.bench.line(kind(flight))
        await flight.arm(path)
        sweep = await _quarter(flight, path.segment(0))
        if flight.capture.capabilities.step_in_flight:
            await flight.bench.timely(flight.capture.retune(2.0))
        await flight.bench.clock.sleep(0.3 * sweep.segment.duration)
        reached = await flight.hold()
        await flight.bench.timely(flight.capture.withdraw())
        assert await flight.bench.timely(flight.capture.reached()) == reached
        assert await flight.disarm() == len(flight.rows) == reached


async def _quarter(flight: Flying, segment: Segment) -> Sweep:
    """A quarter of a line flown."""
    sweep = await flight.begin(segment, segment.first_point)
    await flight.bench.clock.sleep(sweep.lead + 0.25 * segment.duration)
    return sweep


async def _double(flight: Flying, sweep: Sweep) -> int:
    """Double the step and land; the first point that was not triggered."""
    segment, capture, bench = sweep.segment, flight.capture, flight.bench
    before = await bench.timely(capture.reached())
    await bench.timely(capture.retune(2.0))
    after = await bench.timely(capture.reached())
    capable = capture.capabilities
    latest = after + capable.horizon_points + math.ceil(capable.horizon / segment.period)
    reached = await flight.land(sweep)
    names = {c.axis: c.name for c in capture.channels() if c.axis is not None}
    await bench.clock.sleep(capable.block_period + 1.0)
    assert len(flight.rows) == reached, f"{len(flight.rows)} rows, end() says {reached}"
    if latest > segment.points - 2:
        return reached  # all that was left had been committed to
    fewest = latest + (segment.points - latest) // 2 - 1
    assert reached <= fewest + 2, f"{reached} of {segment.points} points were triggered"
    if segment.fast in names:
        positions = np.asarray(flight.rows.column(names[segment.fast]), float)
        _check_doubled(segment, positions, before, latest)
    return reached


def _check_doubled(segment: Segment, rows: np.ndarray, before: int, latest: int) -> None:
    """Steps double between points `before` and `latest`, and rows go on to the end."""
    steps = np.diff(rows) / segment.step
    changed = int(np.argmax(steps > 1.5)) + 1
    assert before <= changed <= latest, f"the step changed at {changed}, not {before} to {latest}"
    off = np.abs(steps - np.where(np.arange(1, len(rows)) < changed, 1.0, 2.0))
    assert off.max() < CLOSE, f"a step is {off.max():.2g} steps off"
    left = (segment.stop[segment.fast or ""] - rows[-1]) / segment.step
    assert 0 < left < 2 + CLOSE, f"the last row was taken {left:.2g} steps before the end"
