"""The controller on a TCP port (thin IO around `Controller`)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ._codec import Request, RequestDecoder
from ._controller import Controller
from ._profile import Profile

if TYPE_CHECKING:
    from flyscan_sim.world import World

__all__ = ["GcsServer"]

_TICK_S = 0.05  # how often the box looks after its motions and the script of faults
_GARBAGE = "\xff\x00?!"


class GcsServer:
    """A simulated PI controller reachable over TCP.

    All clients talk to one controller: they share its state and its one error code.

    Args:
        world: what is moved and measured; its clock is the only time there is.
        profile: the controller model.
        axes: identifier on the wire to name of the world's axis.
        host: address to listen on.
        port: TCP port, 0 to pick one.
        latency: seconds from a command to its effect and answer.
        homed: whether reference moves were made and servos switched on before.

    Raises:
        ConfigurationError: axes the model or the world does not have.
    """

    def __init__(
        self,
        world: World,
        profile: Profile,
        axes: Mapping[str, str],
        host: str = "127.0.0.1",
        port: int = 0,
        latency: float = 0.0,
        *,
        homed: bool = False,
    ) -> None:
        self.controller = Controller(world, profile, axes, homed=homed)
        self.host = host
        self.latency = latency
        self._world = world
        self._wanted_port = port
        self._server: asyncio.Server | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._clients: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    @property
    def port(self) -> int:
        """The port listened on, 0 before :meth:`start`."""
        if self._server is None or not self._server.sockets:
            return 0
        return int(self._server.sockets[0].getsockname()[1])

    def rising_edges(self, line: int, start: float, end: float) -> NDArray[np.float64]:
        """World times in ``(start, end]`` at which trigger output `line` (from 1) goes high.

        The past is kept, so slices may be asked in any way; `end` must not lie in the future.

        Raises:
            ConfigurationError: no such line.
        """
        return self.controller.rising_edges(line, start, end)

    async def start(self) -> None:
        """Begin to listen."""
        self._server = await asyncio.start_server(self._accept, self.host, self._wanted_port)
        self._ticker = asyncio.create_task(self._tick(), name=f"gcs {self.port}")

    async def stop(self) -> None:
        """Close the port and every connection; stages finish what they were told."""
        tasks: list[asyncio.Task[None]] = [*self._clients]
        if self._ticker is not None:
            tasks.append(self._ticker)
        if self._server is not None:
            self._server.close()
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()
        self._server = self._ticker = None
        for outcome in outcomes:
            if isinstance(outcome, Exception):  # not the cancellation, a fault of the simulator
                raise outcome

    async def _tick(self) -> None:
        clock = self._world.clock
        while True:
            self.controller.update()
            if self._world.faults.due("close_gcs", clock.now()):
                for writer in self._clients.values():
                    writer.transport.abort()
            await clock.sleep(_TICK_S)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._world.faults.active("close_gcs", self._world.clock.now()):
            writer.transport.abort()
            return
        # A task of our own: asyncio before 3.12 reports it as an error if its own is cancelled.
        task = asyncio.create_task(self._serve(reader, writer), name=f"gcs {self.port} client")
        self._clients[task] = writer
        # A task that is cancelled before it has begun comes to no clean-up of its own.
        task.add_done_callback(lambda done: self._clients.pop(done).transport.abort())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        decoder = RequestDecoder()
        # A client that goes away ends its connection, nothing else.
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                for request in decoder.feed(data):
                    writer.write(await self._reply(request))
                    await writer.drain()

    async def _reply(self, request: Request) -> bytes:
        clock, faults = self._world.clock, self._world.faults
        slow = faults.active("slow_replies", clock.now(), box="gcs")
        delay = self.latency + (slow.number("delay") if slow else 0.0)
        if delay > 0:
            await clock.sleep(delay)
        reply = self.controller.handle(request)
        garbage = faults.due("garbage", clock.now(), box="gcs") if reply else None
        if garbage is not None:
            return garbage.text("text", _GARBAGE).encode("cp1252", errors="replace") + b"\n"
        return reply
