"""What all tests of captures share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager

import numpy as np
import pytest
import pytest_asyncio

from ...flight import Channel, Path, Trigger
from .._bench import CaptureBench, opened
from ._flying import Flying, flying

__all__ = [
    "CaptureTests",
    "check_positions",
    "check_rows",
    "kind",
    "line",
    "same_settings",
    "supports",
]

#: How far from where it should be a row may have been taken, in steps: a lost or repeated
#: trigger is a whole step, a row taken while decelerating at most half of one.
SHIFT = 0.75


@pytest.mark.asyncio
class CaptureTests(ABC):
    """Base of the parts of :class:`CaptureSuite`."""

    @abstractmethod
    def make_bench(self) -> AbstractAsyncContextManager[CaptureBench]:
        """The box to test and its surroundings, for one test."""

    @pytest_asyncio.fixture
    async def bench(self) -> AsyncGenerator[CaptureBench]:
        """The bench of a test."""
        async with opened(self.make_bench()) as bench:
            yield bench

    @pytest_asyncio.fixture
    async def flight(self, bench: CaptureBench) -> AsyncGenerator[Flying]:
        """The box with its stage, ready to fly."""
        async with flying(bench) as flight:
            yield flight


def supports(flight: Flying, trigger: Trigger) -> bool:
    """Whether the box says it can trigger this way."""
    capable = flight.capture.capabilities
    return capable.position if trigger is Trigger.POSITION else capable.time


def kind(flight: Flying) -> Trigger:
    """How the box can trigger while the stage moves: by position, if it can."""
    return Trigger.POSITION if supports(flight, Trigger.POSITION) else Trigger.TIME


def line(flight: Flying) -> Path:
    """The bench's line, triggered as the box can."""
    return flight.bench.line(kind(flight))


def check_rows(flight: Flying, path: Path, *stretches: tuple[int, int]) -> None:
    """Points of every stretch (first, stop) must have exactly one row each, in order.

    Raises:
        AssertionError: rows were lost, repeated, shifted or malformed.
    """
    rows = flight.rows
    lengths = [len(block) for block in rows.blocks]
    firsts = [block.first for block in rows.blocks]
    assert firsts == [sum(lengths[:i]) for i in range(len(lengths))], "gaps between blocks"
    expected = sum(stop - first for first, stop in stretches)
    assert len(rows) == expected, f"{len(rows)} rows for {expected} points"
    if not expected:
        return
    assert np.all(np.diff(rows.time_ns) > 0), "times of rows do not increase"
    assert np.all(rows.exposure > 0), "rows without live time"
    for channel in flight.capture.channels():
        _check_column(flight, channel, expected)
    row = 0
    for first, stop in stretches:
        check_positions(flight, path, first, stop, row)
        row += stop - first


def _check_column(flight: Flying, channel: Channel, rows: int) -> None:
    column = flight.rows.column(channel.name)
    found = (column.dtype, column.shape)
    expected = (np.dtype(channel.dtype), (rows, *channel.shape))
    assert found == expected, f"channel {channel.name} is {found}, described as {expected}"


def check_positions(flight: Flying, path: Path, from_point: int, stop: int, row: int) -> None:
    """Rows from number `row` on must have been taken at the points from `from_point` on."""
    names = {c.axis: c.name for c in flight.capture.channels() if c.axis is not None}
    for segment in path.segments(from_point):
        first, last = max(from_point, segment.first_point), min(stop, segment.end_point)
        fast = segment.fast
        if first >= last or fast not in names or segment.trigger is not Trigger.POSITION:
            continue
        part = slice(row + first - from_point, row + last - from_point)
        begin = segment.setpoints(first, last)[fast] - segment.step / 2
        exposed = segment.velocity[fast] * flight.rows.exposure[part]
        seen = np.asarray(flight.rows.column(names[fast])[part], float)
        off = (seen - begin - exposed / 2) / segment.step
        worst = int(np.argmax(np.abs(off)))
        assert abs(off[worst]) <= SHIFT, (
            f"row {part.start + worst} was taken {off[worst]:.2g} steps from point {first + worst}"
        )


async def same_settings(bench: CaptureBench, before: object, after: str) -> None:
    """The settings must be what they were."""
    assert await bench.settings() == before, f"settings differ after {after}"
