"""Control port: pipelined requests over `pandablocks`' sans-IO connection and our own IO."""

from __future__ import annotations

import asyncio
import contextlib
from typing import cast

from ...errors import ConnectionLostError, ControllerError, FlyscanError, WatchdogError
from ...flight import Clock, RealClock
from ._pandablocks import CommandError, ControlConnection, NoContextAvailableError, Raw
from ._text import Reply, Request

__all__ = ["ControlLink"]

RETRY = 0.05


class ControlLink:
    """One connection to the control port.

    Requests of one :meth:`run` go out in one piece and are answered in order, so a
    reconfiguration costs one round trip. A broken or silent connection is made again, and what
    was under way is sent again. Once that has been tried in vain for as long as it may take,
    further calls try once only, so that the end of a flight does not wait for a box that is gone.

    Args:
        name: the capture's name, for messages.
        host: address of the box.
        port: its control port.
        timeout: seconds for connecting, and for each answer of a call.
        patience: seconds after its loss for which a connection is tried again.
        clock: what these seconds are measured with; real time if not given.
    """

    def __init__(
        self,
        name: str,
        host: str,
        port: int,
        timeout: float,
        *,
        patience: float = 0.0,
        clock: Clock | None = None,
    ) -> None:
        self.name = name
        self.address = f"{host}:{port}"
        self._host = host
        self._port = port
        self._timeout = timeout
        self._patience = patience
        self._clock = clock or RealClock()
        self._lost_at: float | None = None
        self._protocol = ControlConnection()
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._lock = asyncio.Lock()
        self.connections = 0

    @property
    def local_address(self) -> str:
        """Our own end, as the box's list of clients shows it."""
        return _address(self._writer) if self._writer is not None else ""

    async def open(self) -> None:
        """Connect, if not connected.

        Raises:
            ConnectionLostError: nobody answers.
        """
        async with self._lock:
            if self._writer is None:
                await self._connect()

    async def close(self) -> None:
        """Disconnect. Idempotent."""
        writer, self._reader, self._writer = self._writer, None, None
        if writer is not None:
            writer.close()
            # The peer may have gone first; there is nothing left to lose on this connection.
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def run(self, *requests: Request, strict: bool = True, retry: bool = True) -> list[Reply]:
        """Send requests and return the replies in their order.

        Args:
            requests: lines such as ``"PCOMP1.START=5"`` or ``"PCOMP1.STATE?"``, or tables.
            strict: raise for the first refused request.
            retry: when the connection breaks, connect anew and send all of them again.

        Raises:
            ConnectionLostError: the connection broke and could not be remade.
            WatchdogError: no answer in time, over a new connection either.
            ControllerError: a request was refused, or the answer was no PandA's.
        """
        async with self._lock:
            exchange = self._persistently if retry else self._exchange
            replies = await exchange(requests)
        return [reply.check() for reply in replies] if strict else replies

    async def values(self, *fields: str) -> list[str]:
        """Present values of fields."""
        return [r.value for r in await self.run(*(f"{f}?" for f in fields))]

    async def _persistently(self, requests: tuple[Request, ...]) -> list[Reply]:
        """Exchange; over a new connection as soon as there is one, if the present one breaks.

        Silence may be a connection whose packets are swallowed, which nobody closes: once more.
        """
        try:
            return await self._exchange(requests)
        except (ConnectionLostError, WatchdogError) as exc:
            lost = exc
        if self._lost_at is None:
            self._lost_at = self._clock.now()
        while True:
            try:
                await self._connect()
                replies = await self._exchange(requests)
            except ConnectionLostError as exc:
                if self._clock.now() + RETRY > self._lost_at + self._patience:
                    raise self._gone(lost, exc) from exc
                await self._clock.sleep(RETRY)
            else:
                self._lost_at = None
                return replies

    async def _connect(self) -> None:
        await self.close()
        try:
            async with asyncio.timeout(self._timeout):
                self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        except OSError as exc:  # TimeoutError is one
            raise ConnectionLostError(
                f"no connection to the control port {self.address}: {str(exc) or 'no answer'}",
                device=self.name,
                remedy="check that the box is on, its server runs, and host and port are right",
            ) from exc
        self._protocol = ControlConnection()
        self.connections += 1

    async def _exchange(self, requests: tuple[Request, ...]) -> list[Reply]:
        if self._writer is None:
            raise self._lost("it was closed")
        commands = [Raw([r] if isinstance(r, str) else list(r)) for r in requests]
        data = b"".join(self._protocol.send(c) for c in commands)  # pyright: ignore[reportUnknownMemberType]
        replies: list[Reply] = []
        try:
            async with asyncio.timeout(self._timeout):
                self._writer.write(data)
                await self._writer.drain()
            while len(replies) < len(commands):  # a slow box may need long for many requests
                async with asyncio.timeout(self._timeout):
                    await self._receive(commands, replies)
        except TimeoutError as exc:
            waiting = commands[len(replies)].inp[0]
            await self.close()
            raise WatchdogError(
                f"no answer to {waiting!r} within {self._timeout:g} s",
                device=self.name,
                remedy=f"check the network and the server on the box at {self.address}",
            ) from exc
        except OSError as exc:
            await self.close()
            raise self._lost(str(exc)) from exc
        return replies

    async def _receive(self, commands: list[Raw], replies: list[Reply]) -> None:
        """Take in some bytes; answers to requests of a cancelled earlier call are passed over."""
        reader = self._reader
        chunk = await reader.read(1 << 16) if reader is not None else b""
        if not chunk:
            await self.close()
            raise self._lost("the box closed it")
        try:
            self._protocol.receive_bytes(chunk)
            # pandablocks leaves the type of a command's result open.
            responses = cast(
                list[tuple[object, object]],
                list(self._protocol.responses()),  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
            )
        except (AssertionError, NoContextAvailableError, UnicodeDecodeError) as exc:
            await self.close()
            raise ControllerError(
                f"expected a PandA's answer, got {chunk[:40]!r}",
                device=self.name,
                remedy=f"check that {self.address} is the control port of a PandA",
            ) from exc
        for answered, result in responses:
            if len(replies) < len(commands) and answered is commands[len(replies)]:
                replies.append(self._reply(commands[len(replies)], result))

    def _reply(self, command: Raw, result: object) -> Reply:
        if isinstance(result, CommandError):
            raise ControllerError(str(result), device=self.name, remedy="report this")
        return Reply(self.name, command.inp[0], tuple(cast(list[str], result)))

    def _gone(self, lost: FlyscanError, last: ConnectionLostError) -> ConnectionLostError:
        return ConnectionLostError(
            f"{lost.problem}; not remade within {self._patience:g} s ({last.problem})",
            device=self.name,
            remedy=last.remedy,
        )

    def _lost(self, why: str) -> ConnectionLostError:
        return ConnectionLostError(
            f"the connection to the control port {self.address} broke: {why}",
            device=self.name,
            remedy="check the network and that the server on the box still runs",
        )


def _address(writer: asyncio.StreamWriter) -> str:
    host, port = writer.get_extra_info("sockname")[:2]
    return f"{host}:{port}"
