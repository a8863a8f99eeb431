"""The PandA binding's way from socket to blocks as a Capture, for a source without triggers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

from flyscan.controllers._axis_map import AxisMap
from flyscan.controllers.panda._columns import channel_column, encoder_columns
from flyscan.controllers.panda._config import ChannelSpec
from flyscan.controllers.panda._control import ControlLink
from flyscan.controllers.panda._data import DataLink
from flyscan.controllers.panda._rows import RowAssembler
from flyscan.controllers.panda._stream import RowStream
from flyscan.flight import (
    Block,
    Capture,
    CaptureCapabilities,
    Channel,
    Clock,
    EndReason,
    Path,
    RealClock,
    RestoreStep,
    Sweep,
)

from ._box import CAPTURES, CLOCK_HZ, ROW_TICKS

__all__ = ["SourceCapture"]

TIMEOUT = 5.0
END_TIMEOUT = 300.0


def _columns() -> tuple:
    encoders = {
        axis: AxisMap(encoder=f"INENC{i}", resolution=0.001, unit="um")
        for i, axis in enumerate(("x", "y"), 1)
    }
    positions = [
        c for a, m in encoders.items() for c in encoder_columns(a, m, "panda://", CLOCK_HZ)
    ]
    plain = ("counts", "1", "0")
    counts = [
        channel_column(name, ChannelSpec(f"COUNTER{i}.OUT", "Diff"), plain, "panda://")
        for i, name in enumerate(("I0", "Fe"), 1)
    ]
    return (*positions, *counts)


class SourceCapture(Capture):
    """Captures dwells from a box that makes up its rows.

    Args:
        name: for messages.
        host, control, data: where the box is.
        clock: real time if not given.
    """

    def __init__(
        self, name: str, host: str, control: int, data: int, clock: Clock | None = None
    ) -> None:
        self.name = name
        self._clock = clock or RealClock()
        self._control = ControlLink(name, host, control, TIMEOUT)
        self._link = partial(DataLink, name, host, data, TIMEOUT)
        self._columns = _columns()
        self._rows = 0
        self._stream: RowStream | None = None
        self._begun = asyncio.Event()
        self._disarmed = asyncio.Event()

    @property
    def capabilities(self) -> CaptureCapabilities:
        return CaptureCapabilities(min_period=0.0, block_period=0.1, position=False)

    def channels(self) -> tuple[Channel, ...]:
        return tuple(column.channel for column in self._columns)

    async def connect(self) -> None:
        await self._control.open()

    async def close(self) -> None:
        await self.stop()
        await self._control.close()

    def validate(self, path: Path) -> tuple[str, ...]:
        return ()

    async def check(self, path: Path) -> None:
        pass

    async def align(
        self,
        axis: str,
        readback: Callable[[], Awaitable[float]],
        *,
        tolerance: float,
        move: Callable[[float], Awaitable[None]] | None = None,
        distance: float = 0.0,
    ) -> float:
        return 0.0

    async def arm(self, path: Path, from_point: int) -> None:
        self._begun.clear()
        self._disarmed.clear()
        self._rows = path.points - from_point

    async def begin(self, sweep: Sweep) -> None:
        rows = RowAssembler(self.name, self._columns, None, CLOCK_HZ)
        rows.expect_gate(0, ROW_TICKS)
        self._stream = RowStream(self.name, self._link, rows, self._clock, TIMEOUT)
        await self._control.run(*CAPTURES)
        await self._stream.open()
        await self._control.run("*PCAP.ARM=")
        self._begun.set()

    async def reached(self) -> int:
        return 0 if self._stream is None else min(self._rows, self._stream.rows.accepted)

    async def hold(self) -> None:
        pass

    async def withdraw(self) -> None:
        pass

    async def end(self, sweep: Sweep) -> int:
        if self._stream is not None:
            await self._stream.wait_seen(self._rows, END_TIMEOUT)
        return sweep.segment.end_point

    async def retune(self, factor: float) -> None:
        pass

    async def captured(self) -> int:
        return await self.reached()

    async def disarm(self) -> int:
        await self._control.run("*PCAP.DISARM=")
        self._disarmed.set()
        return self._rows

    async def blocks(self) -> AsyncIterator[Block]:
        await self._begun.wait()
        if self._stream is None:
            return
        async for block in self._stream.blocks():
            yield block.rows(block.first, self._rows)
            if block.stop >= self._rows:
                break
        await self._stream.close()
        await self._disarmed.wait()

    @property
    def end_reason(self) -> EndReason | None:
        return None

    async def stop(self) -> None:
        self._begun.set()
        self._disarmed.set()
        if self._stream is not None:
            await self._stream.close()
            await self._control.run("*PCAP.DISARM=")

    async def save(self, path: Path) -> None:
        pass

    def restore_steps(self) -> tuple[RestoreStep, ...]:
        return ()

    async def restore(self, steps: tuple[RestoreStep, ...] | None = None) -> None:
        pass
