"""Triggers that make no row: a capture says which, and never shifts the others."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ...flight import Path, Trigger
from ._capture_base import CaptureTests, check_positions, line, supports
from ._flying import Flying

__all__ = ["CaptureLosses"]


class CaptureLosses(CaptureTests):
    """With triggers lost, if the bench can lose them, every other row still has its number."""

    @pytest.mark.parametrize("trigger", list(Trigger))
    @pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
    async def test_the_number_of_a_lost_trigger_is_left_out(
        self, flight: Flying, trigger: Trigger, share: float
    ) -> None:
        lose = _losing(flight)
        if not supports(flight, trigger):
            return  # that it is refused then is tested elsewhere
        path = flight.bench.line(trigger)
        lost = round(share * (path.points - 1))
        lose(lost)
        rows = await flight.fly(path)
        _check_numbers(flight, path, {lost}, rows)

    async def test_triggers_lost_before_a_hold_stay_lost(self, flight: Flying) -> None:
        lose = _losing(flight)
        path = line(flight)
        for number in (1, 2):
            lose(number)
        rows = await flight.fly(path, holds=[0.6])
        _check_numbers(flight, path, {1, 2}, rows)

    async def test_rows_captured_are_known_without_the_lost_ones(self, flight: Flying) -> None:
        lose = _losing(flight)
        path = line(flight)
        lose(path.points - 1)
        await flight.arm(path)
        assert await flight.bench.timely(flight.capture.captured()) == 0
        await flight.sweeps(path)
        await flight.bench.clock.sleep(2 * flight.capture.capabilities.block_period)
        known = await flight.bench.timely(flight.capture.captured())
        rows = await flight.disarm()
        assert known == rows, f"captured() says {known}, disarm() {rows}"
        assert await flight.bench.timely(flight.capture.captured()) == rows
        _check_numbers(flight, path, {path.points - 1}, rows)


def _losing(flight: Flying) -> Callable[[int], None]:
    """Makes a trigger of the next arm lose its row; skips the test if nothing can."""
    if flight.bench.lose is None:
        pytest.skip("the bench cannot make the box lose a trigger")
    return flight.bench.lose


def _check_numbers(flight: Flying, path: Path, lost: set[int], rows: int) -> None:
    """All triggers but the lost ones, and at most the one after each, have their rows."""
    numbers = [n for block in flight.rows.blocks for n in range(block.first, block.stop)]
    assert numbers == sorted(set(numbers)), "numbers of blocks overlap or go back"
    assert rows == len(numbers), f"{len(numbers)} rows were delivered, disarm() counts {rows}"
    hidden = sorted(lost & set(numbers))
    assert not hidden, f"the row of trigger {hidden} was lost, yet there is one of that number"
    spared = set(range(path.points)) - lost - {number + 1 for number in lost}
    assert spared <= set(numbers), f"no rows of triggers {sorted(spared - set(numbers))}"
    cuts = np.flatnonzero(np.diff(numbers) > 1) + 1
    row = 0
    for run in np.split(np.array(numbers), cuts):
        check_positions(flight, path, int(run[0]), int(run[-1]) + 1, row)
        row += len(run)
