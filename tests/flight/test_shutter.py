"""The shutter is open while rows are taken, and at no other time."""

from __future__ import annotations

import numpy as np
import pytest

from flyscan.errors import FlightAbortedError, WatchdogError
from flyscan.flight import Flight, FlightOptions, Path, Shutter, State, Trigger
from flyscan.testing import ManualClock, MemoryBox, MemorySink
from tests.flight.test_flight import MAP


class MemoryShutter(Shutter):
    """Takes 10 ms to move; remembers when it was open."""

    name = "shutter"

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.is_open = False
        self.stuck = False
        self.spans: list[list[float]] = []

    async def connect(self) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        """Nothing to close."""

    async def open(self) -> None:
        if self.stuck:
            raise WatchdogError("did not open", device=self.name, remedy="check its air")
        await self._clock.sleep(0.01)
        if not self.is_open:
            self.is_open = True
            self.spans.append([self._clock.now(), np.inf])

    async def shut(self) -> None:
        if self.is_open:
            self.is_open = False
            self.spans[-1][1] = self._clock.now()


class Rehearsal:
    def __init__(self, trigger: Trigger) -> None:
        self.clock = ManualClock()
        self.box = MemoryBox(clock=self.clock, block_period=0.02)
        self.shutter = MemoryShutter(self.clock)
        self.sink = MemorySink()
        self.path = Path.from_spec(MAP, trigger=trigger)
        self.flight = Flight(
            self.box.motion,
            self.box.capture,
            self.sink,
            self.clock,
            self.path,
            lambda _: None,
            options=FlightOptions(flush_period=0.05),
            shutter=self.shutter,
        )

    async def start(self) -> None:
        await self.clock.run(self.flight.prepare())
        assert not self.shutter.is_open
        self.flight.kickoff()

    def lit(self) -> np.ndarray:
        """Whether the shutter was open at every trigger and to the end of its row."""
        times = (self.sink.column("time_ns") - self.clock.epoch_ns) / 1e9
        return np.array(
            [any(a <= t and t + 0.008 <= b for a, b in self.shutter.spans) for t in times]
        )


@pytest.mark.parametrize("trigger", list(Trigger))
async def test_it_is_open_for_every_row_and_shut_in_turnarounds(trigger: Trigger) -> None:
    r = Rehearsal(trigger)
    await r.start()
    await r.clock.run(r.flight.wait())
    assert r.lit().all()
    assert len(r.shutter.spans) == r.path.segment_count
    assert not r.shutter.is_open


async def test_it_is_shut_while_the_flight_holds() -> None:
    r = Rehearsal(Trigger.POSITION)
    await r.start()
    await r.clock.advance(0.12)
    await r.clock.run(r.flight.hold("pause"))
    assert not r.shutter.is_open
    r.flight.release("pause")
    await r.clock.run(r.flight.wait())
    assert r.sink.column("point").tolist() == list(range(r.path.points))
    assert r.lit().all()


async def test_it_is_shut_when_the_flight_is_stopped() -> None:
    r = Rehearsal(Trigger.POSITION)
    await r.start()
    await r.clock.advance(0.1)
    assert r.shutter.is_open
    await r.clock.run(r.flight.stop())
    assert not r.shutter.is_open
    with pytest.raises(FlightAbortedError):
        await r.flight.wait()


async def test_one_that_does_not_open_fails_the_flight_before_a_row_is_taken() -> None:
    r = Rehearsal(Trigger.POSITION)
    await r.start()
    r.shutter.stuck = True
    with pytest.raises(WatchdogError, match="shutter: did not open"):
        await r.clock.run(r.flight.wait())
    assert r.flight.state is State.FAILED
    assert len(r.sink.frames) == 0
    assert not r.box.motion.moving
