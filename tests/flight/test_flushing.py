"""When what has come is made readable: soon, and never in the way of a decision."""

from __future__ import annotations

import pytest
from scanspec.specs import Fly, Linspace

from flyscan.flight import Flight, FlightOptions, Frames, Path, Steered, Trigger
from flyscan.testing import ManualClock, MemoryBox, MemorySink
from tests.flight.onlooker import Onlooker

BLOCK_PERIOD, FLUSH_PERIOD = 0.03, 0.1


class TimedSink(MemorySink):
    """Notes when it gets frames, and when it is to make them readable."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self._clock = clock
        self.appended: list[float] = []
        self.flushes: list[float] = []

    async def append(self, frames: Frames) -> None:
        self.appended.append(self._clock.now())
        await super().append(frames)

    async def flush(self) -> int:
        self.flushes.append(self._clock.now())
        return await super().flush()


async def flown(*, steered: bool, hold: float = 0.0) -> TimedSink:
    """A line of a second, perhaps held in the middle for some seconds."""
    clock = ManualClock()
    box, sink = MemoryBox(clock=clock, block_period=BLOCK_PERIOD), TimedSink(clock)
    flight = Flight(
        box.motion,
        box.capture,
        sink,
        clock,
        Path.from_spec(Fly(0.01 @ Linspace("x", 1, 2, 100)), trigger=Trigger.POSITION),
        lambda _: None,
        options=FlightOptions(flush_period=FLUSH_PERIOD),
        steered=Steered(lambda _: Onlooker()) if steered else None,
    )
    await clock.run(flight.prepare())
    flight.kickoff()
    if hold:
        await clock.advance(0.5)
        await clock.run(flight.hold("user"))
        await clock.advance(hold)
        flight.release("user")
    await clock.run(flight.wait())
    assert sink.column("point").tolist() == list(range(100))
    return sink


async def test_a_steered_flight_flushes_right_behind_a_decision() -> None:
    sink = await flown(steered=True)
    regular = [t for t in sink.flushes if sink.appended[0] < t < sink.appended[-2]]
    assert len(regular) >= 5
    assert set(regular) <= set(sink.appended)


async def test_flights_that_nobody_steers_flush_when_the_time_has_come() -> None:
    sink = await flown(steered=False)
    regular = [t for t in sink.flushes if sink.appended[0] < t < sink.appended[-2]]
    assert not set(regular) <= set(sink.appended)


@pytest.mark.parametrize("steered", [False, True])
async def test_while_nothing_comes_flushes_go_on(steered: bool) -> None:
    sink = await flown(steered=steered, hold=2.0)
    gaps = [later - t for t, later in zip(sink.flushes, sink.flushes[1:], strict=False)]
    assert len(sink.flushes) > 20
    assert max(gaps) <= FLUSH_PERIOD + BLOCK_PERIOD + 1e-9
