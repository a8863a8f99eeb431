"""A box that answers every block with a velocity, inside the flight host."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np

from flyscan.controllers.panda._capture import FRESH_BLOCKS
from flyscan.controllers.panda._rows import RowAssembler
from flyscan.controllers.panda._stream import RowStream
from flyscan.flight import AxisLimits, Block, Clock, RealClock, Sweep
from flyscan.testing._memory_motion import MemoryMotion

from ._box import CLOCK_HZ, HOST, ROW_TICKS
from ._capture import TIMEOUT, SourceCapture
from ._prompter import BLOCK_PERIOD, COUNTS

__all__ = ["TapBox"]

SPEED = 100.0
LIMITS = {a: AxisLimits(low=-1e3, high=1e3, velocity=SPEED, acceleration=1e3) for a in ("x", "y")}


class TapMotion(MemoryMotion):
    """Stands still, and sends the velocities it is told to a socket."""

    def __init__(self, name: str, clock: Clock, port: int) -> None:
        super().__init__(name, LIMITS, clock)
        self._port = port
        self._writer: asyncio.StreamWriter | None = None
        self.row = 0

    async def connect(self) -> None:
        if self._writer is None:
            _, self._writer = await asyncio.open_connection(HOST, self._port)

    async def close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    async def retune(self, factor: float) -> None:
        """Write the velocity; with it the row it answers, for the one who measures."""
        if self._writer is not None:
            self._writer.write(f"VEL {factor * SPEED:.6g} {self.row}\n".encode())
            await self._writer.drain()


class TapCapture(SourceCapture):
    """Takes blocks from a box without controls, and answers one when the recorder is done with it.

    The recorder asks for the next block once it has numbered one, checked it and handed it to
    storage; what comes then is the earliest at which anything in the host could react to it.
    """

    def __init__(self, name: str, port: int, clock: Clock, motion: TapMotion) -> None:
        super().__init__(name, HOST, 0, port, clock)
        self._motion = motion
        self._factor = 1.0

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
            self._motion.row = block.stop
            await self._motion.retune(self._decide(block))

    def _decide(self, block: Block) -> float:
        """A policy of the simplest kind: constant counts per point, the change limited."""
        wanted = float(np.mean(block.columns["I0"])) / COUNTS
        self._factor = float(np.clip(wanted, 0.9 * self._factor, 1.1 * self._factor))
        return min(1.0, self._factor)


class TapBox:
    """Motion and capture as the host loads them."""

    def __init__(self, name: str, data: int, commands: int, clock: Clock | None = None) -> None:
        clock = clock or RealClock()
        self.motion = TapMotion(f"{name}.motion", clock, commands)
        self.capture = TapCapture(f"{name}.capture", data, clock, self.motion)
