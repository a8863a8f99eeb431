"""A box whose stage takes velocities in flight, inside the flight host."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from flyscan.controllers.panda._capture import FRESH_BLOCKS
from flyscan.controllers.panda._rows import RowAssembler
from flyscan.controllers.panda._stream import RowStream
from flyscan.flight import AxisLimits, Block, Clock, JoinOutcome, RealClock, Sweep
from flyscan.testing._memory_motion import MemoryMotion

from ._box import CLOCK_HZ, HOST, ROW_TICKS
from ._capture import TIMEOUT, SourceCapture
from ._prompter import BLOCK_PERIOD
from ._restless import CODES, rows_told

__all__ = ["TapBox"]

SPEED = 100.0
LIMITS = {a: AxisLimits(low=-1e3, high=1e3, velocity=SPEED, acceleration=1e3) for a in ("x", "y")}


class TapMotion(MemoryMotion):
    """Sends the velocities it is told to a socket; moves until the last row has come."""

    def __init__(self, name: str, clock: Clock, port: int) -> None:
        super().__init__(name, LIMITS, clock)
        self._port = port
        self._writer: asyncio.StreamWriter | None = None
        self._over = asyncio.Event()
        self._speed = SPEED
        self.received = lambda: 0

    async def connect(self) -> None:
        if self._writer is None:
            _, self._writer = await asyncio.open_connection(HOST, self._port)

    async def close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    async def start(self, sweep: Sweep) -> None:
        self._over.clear()
        self._speed = abs(sweep.velocity["x"])
        await super().start(sweep)

    async def join(self) -> JoinOutcome:
        await self._over.wait()
        return await super().join()

    async def stop(self) -> None:
        self._over.set()
        await super().stop()

    async def retune(self, factor: float) -> None:
        """Write the velocity; with it the row it answers, for the one who measures."""
        if self._writer is None:
            return
        received = self.received()
        row = received - (received - rows_told(factor, 1.0)) % CODES
        self._writer.write(f"VEL {factor * self._speed:.10g} {row}\n".encode())
        await self._writer.drain()

    def arrive(self) -> None:
        """The last row has come."""
        self._over.set()


class TapCapture(SourceCapture):
    """Takes blocks from a box without controls."""

    def __init__(self, name: str, port: int, clock: Clock, motion: TapMotion) -> None:
        super().__init__(name, HOST, 0, port, clock)
        self._motion = motion

    async def connect(self) -> None:
        """The box is met when a sweep begins."""

    async def close(self) -> None:
        await self.stop()

    async def begin(self, sweep: Sweep) -> None:
        rows = RowAssembler(self.name, self._columns, None, CLOCK_HZ)
        rows.expect_gate(0, ROW_TICKS)
        self._stream = RowStream(
            self.name, self._link, rows, self._clock, TIMEOUT, FRESH_BLOCKS * BLOCK_PERIOD
        )
        begun = self._clock.epoch_ns + round(self._clock.now() * 1e9)
        rows.begun_between(begun, begun)
        await self._stream.open()
        self._motion.received = lambda: rows.accepted
        self._begun.set()

    async def disarm(self) -> int:
        self._disarmed.set()
        return self._rows

    async def stop(self) -> None:
        self._begun.set()
        self._disarmed.set()
        if self._stream is not None:
            await self._stream.close()

    async def blocks(self) -> AsyncIterator[Block]:
        async for block in super().blocks():
            yield block
            if block.stop >= self._rows:
                self._motion.arrive()


class TapBox:
    """Motion and capture as the host loads them."""

    def __init__(self, name: str, data: int, commands: int, clock: Clock | None = None) -> None:
        clock = clock or RealClock()
        self.motion = TapMotion(f"{name}.motion", clock, commands)
        self.capture = TapCapture(f"{name}.capture", data, clock, self.motion)
