"""A Channel Access server on one interface and one port, for records of the simulated world.

caproto answers each circuit; sockets, name search and shut-down are done here: no beacons are
sent, nothing is bound beyond the given interface, UDP and TCP share one port, and after
:meth:`CaServer.stop` no task and no socket is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import caproto as ca
from caproto.asyncio.server import Context

from flyscan.errors import ConfigurationError

from ._channels import Circuit

__all__ = ["CaServer", "Served"]

_log = logging.getLogger(__name__)
_ATTEMPTS = 20  # UDP may be taken where TCP is free


class Served(Protocol):
    """What a server serves: channels, and a life of their own."""

    @property
    def database(self) -> Mapping[str, ca.ChannelData]:
        """Channels by full name."""
        ...

    async def run(self) -> None:
        """Live until cancelled."""
        ...


class CaServer:
    """Serves `records` until stopped.

    Args:
        records: what to serve.
        host: interface to bind.
        port: UDP and TCP port; 0 picks one.
    """

    def __init__(self, records: Sequence[Served], host: str = "127.0.0.1", port: int = 0) -> None:
        self.host = host
        self.port = port
        self._records = records
        self._bound: _Bound | None = None
        self._tasks: list[asyncio.Task[Any]] = []
        self._clients: dict[asyncio.Task[Any], _Client] = {}

    async def start(self) -> None:
        """Bind and answer.

        Raises:
            ConfigurationError: the port is taken.
        """
        database = {name: ch for r in self._records for name, ch in r.database.items()}
        context = _Context(database, [self.host])
        self._bound = await self._bind(context)
        context.port = self.port
        loops = [context.subscription_queue_loop(), *(r.run() for r in self._records)]
        self._tasks = [asyncio.create_task(loop) for loop in loops]
        for task in self._tasks:
            task.add_done_callback(_report)

    async def stop(self) -> None:
        """Close everything; safe to call again."""
        bound, self._bound = self._bound, None
        if bound is None:
            return
        bound.search.close()
        bound.tcp.close()
        ours = [*self._tasks, *self._clients]
        for circuit in bound.context.circuits:
            ours += circuit.tasks.tasks
        for task in ours:
            task.cancel()
        outcomes = await asyncio.gather(*ours, return_exceptions=True)
        await bound.tcp.wait_closed()
        context = bound.context
        for spec in list(context.subscriptions):  # the records may be served again
            await spec.db_entry.unsubscribe(context.subscription_queue, spec)
        for outcome in outcomes:
            if isinstance(outcome, Exception):  # not a cancellation: a fault of the simulator
                raise outcome

    async def _bind(self, context: _Context) -> _Bound:
        loop = asyncio.get_running_loop()
        accept = functools.partial(self._accept, context)
        attempts = 1 if self.port else _ATTEMPTS
        while True:
            attempts -= 1
            try:
                tcp = await asyncio.start_server(accept, self.host, self.port)
            except OSError as error:
                raise self._taken(error) from error
            port = tcp.sockets[0].getsockname()[1]
            try:
                search, _ = await loop.create_datagram_endpoint(
                    lambda: _Search(context), local_addr=(self.host, port)
                )
            except OSError as error:
                tcp.close()
                if not attempts:
                    raise self._taken(error) from error
            else:
                self.port = port
                return _Bound(context, tcp, search)

    def _taken(self, error: OSError) -> ConfigurationError:
        return ConfigurationError(
            f"cannot listen on {self.host}:{self.port} ({os.strerror(error.errno or 0)})",
            device="Channel Access server",
            remedy="choose a free port, or 0 to have one picked",
        )

    def _accept(
        self, context: _Context, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        client = _Client(reader, writer)
        # a task of our own: asyncio before 3.12 reports its own as an error when cancelled
        task = asyncio.create_task(context.tcp_handler(client, client.getpeername()))
        self._clients[task] = client
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._clients.pop(task).close()


def _report(task: asyncio.Task[Any]) -> None:
    """Say at once that a part of the server has died, not when it is stopped."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("a part of the Channel Access server failed", exc_info=error)


class _Context(Context):
    """caproto's server context with circuits that know writes with completion."""

    CircuitClass = Circuit


@dataclass(frozen=True)
class _Bound:
    """What a started server has open."""

    context: _Context
    tcp: asyncio.Server
    search: asyncio.DatagramTransport


class _Search(asyncio.DatagramProtocol):
    """Answers searches for channel names."""

    def __init__(self, context: _Context) -> None:
        self._context = context
        self._codec = ca.Broadcaster(our_role=ca.SERVER)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        try:
            commands = self._codec.recv(data, addr)
            self._codec.process_commands(commands)
        except ca.CaprotoError as error:
            _log.debug("search from %s not understood: %s", addr, error)
            return
        found = [c.cid for c in commands if isinstance(c, ca.SearchRequest) and self._has(c.name)]
        if found:
            version = ca.DEFAULT_PROTOCOL_VERSION
            # address None: the client takes the one this datagram comes from
            replies = [ca.SearchResponse(self._context.port, None, cid, version) for cid in found]
            buffer = self._codec.send(ca.VersionResponse(version), *replies)
            self._transport.sendto(buffer, addr)

    def _has(self, name: str) -> bool:
        try:
            return self._context[name] is not None
        except KeyError:
            return False


class _Client:
    """A connection in the form caproto's circuits expect."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def getsockname(self) -> tuple[str, int]:
        return self._writer.get_extra_info("sockname")

    def getpeername(self) -> tuple[str, int]:
        return self._writer.get_extra_info("peername")

    async def send(self, data: bytes) -> None:
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as error:
            raise ca.CaprotoNetworkError(f"cannot send to {self.getpeername()}") from error

    async def recv(self, size: int = 4096) -> bytes:
        with contextlib.suppress(OSError):  # a broken connection ends like a closed one
            return await self._reader.read(size)
        return b""

    def close(self) -> None:
        self._writer.close()
