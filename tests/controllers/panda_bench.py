"""A PandA capture against the simulated box: world, server, and a stage moved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from flyscan.controllers.panda import PandaCapture
from flyscan.flight import (
    AxisLimits,
    Block,
    ManualClock,
    Path,
    Segment,
    Sweep,
    Trigger,
    plan_sweep,
)
from flyscan_sim.panda import PandaServer, PandaWiring
from flyscan_sim.world import FaultScript, World, nanoprobe_world

LIMITS = {
    "x": AxisLimits(0.0, 100.0, 2000.0, 1e5, "um", settle=0.005),
    "y": AxisLimits(0.0, 100.0, 2000.0, 1e5, "um", settle=0.005),
}
ENCODERS = {
    "x": {"encoder": "INENC1", "resolution": 0.001, "unit": "um"},
    "y": {"encoder": "INENC2", "resolution": 0.001, "unit": "um"},
}
CHANNELS = {
    "I0": {"field": "COUNTER1.OUT", "trig": "TTLIN1.VAL", "unit": "counts"},
    "Fe": {"field": "COUNTER2.OUT", "trig": "TTLIN2.VAL", "unit": "counts"},
}
WIRING = PandaWiring(
    encoders={"INENC1": "x", "INENC2": "y"}, pulses={"TTLIN1": "I0", "TTLIN2": "Fe"}
)


async def pump(clock: ManualClock, step: float = 0.001) -> None:
    """Let time pass as fast as the machine can."""
    while True:
        await clock.advance(step)


@dataclass
class Bench:
    """Everything one test needs."""

    clock: ManualClock
    world: World
    server: PandaServer
    capture: PandaCapture
    blocks: list[Block] = field(default_factory=list)
    _reader: asyncio.Task[None] | None = None

    def read(self) -> asyncio.Task[None]:
        """Collect blocks in the background."""

        async def collect() -> None:
            async for block in self.capture.blocks():
                self.blocks.append(block)

        self._reader = asyncio.create_task(collect())
        return self._reader

    async def align(self) -> None:
        """Preset the encoders, which count from power-on, from where the stage is."""
        for axis in self.capture._encoders:

            async def readback(axis: str = axis) -> float:
                return float(self.world.axes[axis].position(self.clock.now()))

            await self.capture.align(axis, readback, tolerance=0.05)

    async def go_to(self, positions: dict[str, float]) -> None:
        ends = [
            self.world.axes[a].move(p, velocity=2000.0, acceleration=1e5)
            for a, p in positions.items()
        ]
        await self.clock.sleep_until(max(ends) + 0.02)

    def start(self, sweep: Sweep) -> float:
        """Start the sweep; returns when the stage will be at rest."""
        ends = [
            self.world.axes[a].move(
                sweep.target[a],
                velocity=abs(sweep.velocity[a]),
                acceleration=sweep.acceleration[a],
            )
            for a in sweep.segment.moving
        ]
        return max(ends) + 0.01

    async def halt(self, sweep: Sweep) -> None:
        ends = [self.world.axes[a].halt() for a in sweep.segment.moving]
        await self.clock.sleep_until(max(ends, default=0.0) + 0.02)

    async def sweep(self, segment: Segment, point: int, hold_after: float | None = None) -> int:
        """Fly a segment from a point, perhaps held after some seconds; returns the next point."""
        sweep = plan_sweep(segment, point, LIMITS)
        await self.go_to(dict(sweep.origin))
        await self.capture.begin(sweep)
        done = self.clock.now() + sweep.duration if sweep.static else self.start(sweep)
        if hold_after is not None and self.clock.now() + hold_after < done:
            await self.clock.sleep(hold_after)
            await self.capture.hold()
            await self.halt(sweep)
            return await self.capture.reached()
        await self.clock.sleep_until(done)
        return await self.capture.end(sweep)

    async def fly(self, path: Path, holds: Iterable[float] = ()) -> int:
        """Fly a path, held at the given seconds into its sweeps; returns the rows captured."""
        pauses = iter(holds)
        await self.capture.check(path)
        await self.capture.save(path)
        await self.capture.arm(path, 0)
        reader = self.read()
        point = 0
        for segment in path.segments():
            while point < segment.end_point:
                hold_after = next(pauses, None)
                point = await self.sweep(segment, point, hold_after)
                if hold_after is None and point < segment.end_point:
                    raise AssertionError(f"point {point} of {segment} was not triggered")
        rows = await self.capture.disarm()
        await reader
        return rows

    def column(self, name: str) -> Any:
        import numpy as np

        return np.concatenate([block.columns[name] for block in self.blocks])


@asynccontextmanager
async def bench(
    *,
    faults: Iterable[dict[str, Any]] = (),
    block_period: float = 0.1,
    world: Callable[[ManualClock], World] | None = None,
    connect: bool = True,
    **parameters: Any,
) -> AsyncIterator[Bench]:
    """A simulated box with a connected capture, on a clock that runs as fast as it can."""
    clock = ManualClock()
    the_world = world(clock) if world else nanoprobe_world(clock, faults=FaultScript(clock, faults))
    server = PandaServer(the_world, WIRING, block_period=block_period)
    await server.start()
    capture = PandaCapture(
        "panda",
        "127.0.0.1",
        control_port=server.control_port,
        data_port=server.data_port,
        clock=clock,
        block_period=block_period,
        **({"encoders": ENCODERS, "channels": CHANNELS} | parameters),
    )
    ticking = asyncio.create_task(pump(clock))
    try:
        the_bench = Bench(clock, the_world, server, capture)
        if connect:
            await capture.connect()
            await the_bench.align()
        yield the_bench
    finally:
        await capture.close()
        await server.stop()
        ticking.cancel()
        with suppress(asyncio.CancelledError):
            await ticking


def grid(points: int = 40, lines: int = 2, period: float = 0.001, step: float = 0.05) -> Path:
    """A snake of `lines` lines of `points` points on x, lines 1 um apart on y."""
    from scanspec.specs import Fly, Linspace

    half = step * (points - 1)
    fast = Linspace("x", 40.0, 40.0 + half, points)
    spec = Fly(Linspace("y", 50.0, 50.0 + lines - 1, lines) * ~fast) if lines > 1 else Fly(fast)
    return Path.from_spec(spec, trigger=Trigger.POSITION, period=period)
