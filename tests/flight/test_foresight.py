"""The next sweep's triggers are made ready while the stage is on its way, or not at all."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from scanspec.specs import Fly, Linspace

from flyscan.errors import CaptureError
from flyscan.flight import Flight, FlightOptions, Path, State, Sweep
from flyscan.testing import ManualClock, MemoryBox, MemorySink

MAP = Fly(0.01 @ (Linspace("y", 0, 2, 3) * ~Linspace("x", 0, 4, 5)))


class Watched:
    """A flight whose calls of the capture are noted, with what the stage does meanwhile."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.box = MemoryBox(clock=self.clock, block_period=0.02)
        self.sink = MemorySink()
        self.path = Path.from_spec(MAP)
        self.calls: list[tuple[str, Sweep, bool]] = []
        for name in ("ready", "begin"):
            self._watch(name)
        self.flight = Flight(
            self.box.motion,
            self.box.capture,
            self.sink,
            self.clock,
            self.path,
            lambda event: None,
            options=FlightOptions(flush_period=0.05),
        )

    def _watch(self, name: str) -> None:
        call = getattr(self.box.capture, name)

        async def noted(sweep: Sweep) -> None:
            self.calls.append((name, sweep, self.box.motion.moving))
            await call(sweep)

        setattr(self.box.capture, name, noted)

    async def kickoff(self) -> None:
        await self.clock.run(self.flight.prepare())
        self.flight.kickoff()

    async def until_ready(self) -> Sweep:
        """Let time pass until a sweep is made ready."""
        while not self.of("ready"):
            await self.clock.advance(0.001)
        return self.of("ready")[0][0]

    async def finish(self) -> None:
        await self.clock.run(self.flight.wait())
        assert sorted(set(self.sink.column("point"))) == list(range(self.path.points))

    def of(self, name: str) -> list[tuple[Sweep, bool]]:
        return [(sweep, moving) for called, sweep, moving in self.calls if called == name]


async def test_every_line_but_the_first_is_made_ready_in_motion() -> None:
    w = Watched()
    await w.kickoff()
    await w.finish()
    ready, begun = w.of("ready"), w.of("begin")
    assert [moving for _, moving in ready] == [True, True]
    assert [moving for _, moving in begun] == [False, False, False]
    assert [id(sweep) for sweep, _ in ready] == [id(sweep) for sweep, _ in begun[1:]]


@pytest.mark.parametrize("advance", [0.0, 0.01, 0.05])
async def test_held_after_it_was_made_ready_it_is_still_what_comes_next(advance: float) -> None:
    w = Watched()
    await w.kickoff()
    ready = await w.until_ready()
    await w.clock.advance(advance)
    await w.clock.run(w.flight.hold("pause"))
    assert w.flight.state is State.HELD
    assert len(w.sink.column("point")) == 5
    await w.clock.advance(1.0)
    w.flight.release("pause")
    await w.finish()
    assert w.of("begin")[1][0].segment is ready.segment


async def test_flown_again_first_it_was_made_ready_in_vain() -> None:
    w = Watched()
    await w.kickoff()
    await w.until_ready()
    await w.clock.run(w.flight.fly_again(1, 3))
    await w.finish()
    assert [sweep.from_point for sweep, _ in w.of("begin")] == [0, 1, 5, 10]


async def test_a_failure_to_make_ready_ends_the_flight() -> None:
    w = Watched()

    async def refused(_: Sweep) -> None:
        raise CaptureError("does not like it", device="box")

    w.box.capture.ready = refused
    await w.kickoff()
    with pytest.raises(CaptureError, match="box: does not like it"):
        await w.clock.run(w.flight.wait())
    assert w.flight.state is State.FAILED
    assert len(w.of("begin")) == 1


async def test_stopped_meanwhile_nothing_is_left_under_way() -> None:
    w = Watched()

    async def endless(_: Sweep) -> None:
        await asyncio.Event().wait()

    w.box.capture.ready = endless
    await w.kickoff()
    await w.clock.advance(0.4)
    await w.clock.run(w.flight.stop())
    left: list[Any] = [t for t in asyncio.all_tasks() if t.get_name().startswith("flyscan")]
    assert left == []
    assert not w.box.motion.moving
