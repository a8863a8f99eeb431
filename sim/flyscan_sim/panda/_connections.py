"""One client connection of each port: asyncio around the sessions without IO."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ._buffer import BlockBuffer, Reader
from ._control import ControlSession
from ._data import DataSession

__all__ = ["serve_control", "serve_data"]

HIGH_WATER = 1 << 18
"""Bytes waiting in this process for a slow client; what it leaves unread fills the buffer."""

Alter = Callable[[bytes], Awaitable[bytes]]
"""What faults make of bytes on their way out."""


async def serve_control(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    session: ControlSession,
    alter: Alter,
    done: Callable[[], None],
) -> None:
    """Answer lines until the client hangs up; `done` is called after each command."""
    while True:
        line = await reader.readline()
        if not line.endswith(b"\n"):
            return
        reply = session.handle(line[:-1].decode(errors="replace"))
        if reply is not None:
            done()
            writer.write(await alter(reply.encode()))
            await writer.drain()


async def serve_data(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    session: DataSession,
    buffer: BlockBuffer,
    alter: Alter,
) -> None:
    """Send experiments until the client hangs up or has the one it wanted."""
    writer.transport.set_write_buffer_limits(high=HIGH_WATER)
    request = await reader.readline()
    if not request.endswith(b"\n"):
        return
    wake = asyncio.Event()
    place: list[Reader] = []

    def connect() -> Reader:
        place.append(buffer.connect(wake.set))
        return place[0]

    writer.write(session.request(request[:-1].decode(errors="replace"), connect))
    gone = asyncio.ensure_future(_until_gone(reader))
    try:
        while not session.closed and not gone.done():
            wake.clear()
            for chunk in session.output():
                writer.write(await alter(chunk))
                await writer.drain()
                await asyncio.sleep(0)  # a fast client must not keep the others waiting
            if not session.closed:
                await _either(gone, wake)
        await writer.drain()
    finally:
        gone.cancel()
        for one in place:
            buffer.disconnect(one)


async def _until_gone(reader: asyncio.StreamReader) -> None:
    """Return when the client hangs up; whatever else it sends is ignored."""
    while await reader.read(4096):
        pass


async def _either(gone: asyncio.Future[None], wake: asyncio.Event) -> None:
    waiter = asyncio.ensure_future(wake.wait())
    try:
        await asyncio.wait({gone, waiter}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiter.cancel()
