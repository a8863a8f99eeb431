"""Flies a capture the way a flight does, and keeps what it delivers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

import numpy as np
import numpy.typing as npt

from ...flight import (
    Block,
    Capture,
    FloatArray,
    IntArray,
    JoinOutcome,
    Path,
    Segment,
    Sweep,
    cancel,
    plan_sweep,
)
from .._bench import CaptureBench

__all__ = ["Flying", "Rows", "flying"]


class Rows:
    """The blocks delivered since arming."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []

    def __len__(self) -> int:
        return sum(map(len, self.blocks))

    @property
    def time_ns(self) -> IntArray:
        """Hardware time of every row."""
        return np.concatenate([np.empty(0, np.int64), *(b.time_ns for b in self.blocks)])

    @property
    def exposure(self) -> FloatArray:
        """Live time of every row in seconds."""
        return np.concatenate([np.empty(0), *(b.exposure for b in self.blocks)])

    def column(self, name: str) -> npt.NDArray[np.generic]:
        """All values of a channel."""
        return np.concatenate([b.columns[name] for b in self.blocks])


class Flying:
    """One capture with its stage."""

    def __init__(self, bench: CaptureBench, capture: Capture) -> None:
        self.bench = bench
        self.capture = capture
        self.rows = Rows()
        self._reader: asyncio.Task[None] | None = None
        self._aligned = False

    async def ready(self) -> None:
        """Connect stage and box."""
        bench = self.bench
        await bench.timely(bench.motion.connect())
        await bench.timely(self.capture.connect())

    async def _align(self) -> None:
        """Bring encoders and motors to agree, once."""
        bench = self.bench
        if self._aligned:
            return
        self._aligned = True
        measured = [c.axis for c in self.capture.channels() if c.axis is not None]
        for axis in measured:
            await bench.timely(
                self.capture.align(axis, self.readback(axis), tolerance=bench.tolerance)
            )

    def readback(self, axis: str) -> Callable[[], Awaitable[float]]:
        """Gives the motor's position."""

        async def readback() -> float:
            return (await self.bench.motion.position())[axis]

        return readback

    async def plan(self, segment: Segment, point: int) -> Sweep:
        """The sweep of a segment from a point."""
        return plan_sweep(segment, point, await self.bench.motion.limits())

    # --- steps of a flight -----------------------------------------------------------------

    async def arm(self, path: Path, from_point: int = 0) -> None:
        """Check, save, align, arm and begin to read."""
        bench = self.bench
        limits = await bench.timely(bench.motion.limits())
        path.validate(limits, min_period=self.capture.capabilities.min_period)
        self.capture.validate(path)
        await bench.timely(self.capture.check(path))
        await bench.timely(self.capture.save(path))
        await self._align()
        await bench.timely(self.capture.save(path))
        await bench.timely(self.capture.arm(path, from_point))
        self.rows = Rows()
        self._reader = asyncio.create_task(self._read(self.rows))

    async def _read(self, rows: Rows) -> None:
        async for block in self.capture.blocks():
            rows.blocks.append(block)

    async def begin(self, segment: Segment, point: int) -> Sweep:
        """Go to the origin, make triggers ready and start; returns the sweep under way."""
        bench = self.bench
        sweep = await self.plan(segment, point)
        await bench.timely(bench.motion.prepare(sweep))
        await bench.timely(self.capture.begin(sweep))
        if not sweep.static:
            await bench.timely(bench.motion.start(sweep))
        return sweep

    async def land(self, sweep: Sweep) -> int:
        """Wait for the end of a sweep; the next point not triggered."""
        bench = self.bench
        if sweep.static:
            await bench.clock.sleep(sweep.duration)
        else:
            assert await bench.timely(bench.motion.join()) is JoinOutcome.DONE
        return await bench.timely(self.capture.end(sweep))

    async def hold(self) -> int:
        """Hold triggers, then motion; the next point not triggered."""
        bench = self.bench
        await bench.timely(self.capture.hold())
        await bench.timely(bench.motion.hold())
        await bench.timely(bench.motion.join())
        return await bench.timely(self.capture.reached())

    async def disarm(self) -> int:
        """End the capture and read to the end; rows captured."""
        rows = await self.bench.timely(self.capture.disarm())
        await self.read_to_end("disarm()")
        return rows

    async def read_to_end(self, after: str) -> None:
        """blocks() must end by itself; what it raises is raised here."""
        if self._reader is not None:
            done, _ = await asyncio.wait((self._reader,), timeout=self.bench.patience)
            assert done, f"blocks() did not end within {self.bench.patience:g} s after {after}"
            self._reader.result()

    async def give_up(self) -> None:
        """Stop reading."""
        await cancel(self._reader)

    # --- flights ---------------------------------------------------------------------------

    async def fly(self, path: Path, from_point: int = 0, holds: Iterable[float] = ()) -> int:
        """Arm and fly a path from a point, held after parts of its points; rows captured."""
        await self.arm(path, from_point)
        await self.sweeps(path, from_point, holds)
        return await self.disarm()

    async def sweeps(self, path: Path, from_point: int = 0, holds: Iterable[float] = ()) -> None:
        """Fly every sweep of a path; each hold comes at that share of what is left of a sweep."""
        pauses, point = iter(holds), from_point
        for segment in path.segments(from_point):
            while point < segment.end_point:
                point = await self._sweep(segment, point, next(pauses, None))

    async def _sweep(self, segment: Segment, point: int, share: float | None) -> int:
        sweep = await self.begin(segment, point)
        if share is None:
            reached = await self.land(sweep)
            assert reached == segment.end_point, f"end() says {reached} of {segment.end_point}"
            return reached
        await self.bench.clock.sleep(share * (sweep.lead + sweep.points * segment.period))
        reached = await self.hold()
        assert point <= reached <= segment.end_point, f"held, reached() says {reached}"
        return reached


@asynccontextmanager
async def flying(bench: CaptureBench) -> AsyncGenerator[Flying]:
    """A capture with its stage, ready to fly."""
    flight = Flying(bench, bench.fresh())
    try:
        await flight.ready()
        yield flight
    finally:
        await flight.give_up()
