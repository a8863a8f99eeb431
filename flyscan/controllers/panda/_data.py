"""Data port: `pandablocks`' sans-IO connection over our own socket handling.

Rows arrive in a buffered protocol whose intake stops when the reader is `LIMIT` bytes behind:
then TCP holds back the box, which says "Data overrun" if that lasts. (The asyncio client that
comes with `pandablocks` spins on a closed socket and has no bound.)
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from typing import cast

from ...errors import ConnectionLostError, ControllerError, WatchdogError
from ._pandablocks import Data, DataConnection, FrameData, ReadyData

__all__ = ["DataLink"]

CHUNK = 1 << 20
LIMIT = 16 << 20


class _Intake(asyncio.BufferedProtocol):
    """Parses what comes and keeps it until it is fetched."""

    def __init__(self) -> None:
        self._parser = DataConnection()
        self.request = self._parser.connect(scaled=False)
        self._buffer = memoryview(bytearray(CHUNK))
        self._transport: asyncio.Transport | None = None
        self._waiting = 0
        self._paused = False
        self.events: deque[Data] = deque()
        self.arrived = asyncio.Event()
        self.first_bytes = b""
        self.nonsense: str | None = None
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self.request)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        received = self._buffer[:nbytes]
        if not self.first_bytes:
            self.first_bytes = bytes(received[:80])
        try:
            # The annotation says bytes; any bytes-like object is appended to a bytearray.
            for event in self._parser.receive_bytes(cast(bytes, received)):
                self.events.append(event)
                self._waiting += event.data.nbytes if isinstance(event, FrameData) else 0
        except Exception as exc:
            # The parser states its expectations in many ways (assertions, struct, XML, enum):
            # whatever it is, the stream is not a PandA's any more.
            self.nonsense = f"{type(exc).__name__}: {exc}"
            if self._transport is not None:
                self._transport.abort()
        if self._waiting > LIMIT and self._transport is not None:
            self._transport.pause_reading()
            self._paused = True
        self.arrived.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self.arrived.set()

    def fetch(self) -> list[Data]:
        """Everything parsed so far; intake goes on."""
        events = list(self.events)
        self.events.clear()
        self.arrived.clear()
        self._waiting = 0
        if self._paused and self._transport is not None and not self.closed:
            self._transport.resume_reading()
        self._paused = False
        return events


class DataLink:
    """One connection to the data port, in framed raw format.

    Args:
        name: the capture's name, for messages.
        host: address of the box.
        port: its data port.
        timeout: seconds for connecting and for the box's first word.
    """

    def __init__(self, name: str, host: str, port: int, timeout: float) -> None:
        self._name = name
        self._host = host
        self._port = port
        self._timeout = timeout
        self._intake = _Intake()
        self._transport: asyncio.Transport | None = None

    @property
    def address(self) -> str:
        """Where the box's data port is."""
        return f"{self._host}:{self._port}"

    @property
    def local_address(self) -> str:
        """Our own end, as the box's list of clients shows it."""
        if self._transport is None:
            return ""
        host, port = self._transport.get_extra_info("sockname")[:2]
        return f"{host}:{port}"

    async def open(self) -> None:
        """Connect and agree on the format.

        Raises:
            ConnectionLostError: nobody answers, or the connection is closed at once.
            WatchdogError: connected, but the box says nothing.
            ControllerError: what answers is not a PandA's data port.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout):
                self._transport, _ = await loop.create_connection(
                    lambda: self._intake, self._host, self._port
                )
        except OSError as exc:  # TimeoutError is one
            raise ConnectionLostError(
                f"no connection to the data port {self.address}: {str(exc) or 'no answer'}",
                device=self._name,
                remedy="check that the box is on, its server runs, and host and port are right",
            ) from exc
        _keep_alive(self._transport.get_extra_info("socket"))
        try:
            await self._agree()
        except BaseException:  # cancelled too: left open, it would keep the box from being armed
            self.close()
            raise

    async def _agree(self) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                while not self._intake.events and not self._intake.closed:
                    await self._intake.arrived.wait()
                    self._intake.arrived.clear()
        except TimeoutError as exc:
            raise WatchdogError(
                f"the data port {self.address} did not accept the format within "
                f"{self._timeout:g} s",
                device=self._name,
                remedy="check that it is a PandA's data port and its server is not overloaded",
            ) from exc
        if self._intake.events and isinstance(self._intake.events[0], ReadyData):
            self._intake.events.popleft()
            self._intake.arrived.set()
            return
        self._raise_closed()

    async def receive(self) -> list[Data]:
        """What came since the last call, at least one event; safe to cancel.

        Raises:
            ConnectionLostError: the connection was closed and everything before is fetched.
            ControllerError: the box sent nonsense.
        """
        while not self._intake.events:
            if self._intake.closed:
                self._raise_closed()
            await self._intake.arrived.wait()
            if not self._intake.events:
                self._intake.arrived.clear()
                if self._intake.closed:
                    self._raise_closed()
        return self._intake.fetch()

    def _raise_closed(self) -> None:
        if self._intake.nonsense is not None:
            raise ControllerError(
                f"the data port {self.address} sent nonsense ({self._intake.nonsense}), "
                f"beginning with {self._intake.first_bytes!r}",
                device=self._name,
                remedy="check that it is a PandA's data port, and the network",
            )
        raise ConnectionLostError(
            f"the data connection to {self.address} was closed",
            device=self._name,
            remedy="check the network and that the server on the box still runs",
        )

    def close(self) -> None:
        """Disconnect. Idempotent."""
        if self._transport is not None:
            self._transport.abort()


def _keep_alive(sock: socket.socket) -> None:
    """Let the kernel notice a cut cable within 6 s, while no rows come for good reasons."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 3), ("TCP_KEEPINTVL", 1), ("TCP_KEEPCNT", 3)):
        # Not every platform lets these be set; the default then takes longer to notice.
        with contextlib.suppress(AttributeError, OSError):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
