"""The connection to a GCS 2.0 controller: one exchange at a time, always in step.

A refused query answers nothing. So when no answer comes, ``ERR?`` asks for the reason, and
``*IDN?``, whose answer is known and unlike any other, shows where the stream stands: answers
before it that belong to nothing else are late ones. The same brings the link back into step
after a cancelled or garbled exchange.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from typing import TypeVar

from ...errors import ConnectionLostError, ControllerError
from ...flight import Clock
from ._codec import Answer, AnswerReader, encode, parse_integer
from ._errors import gcs_error

__all__ = ["GcsLink"]

T = TypeVar("T")

_log = logging.getLogger(__name__)
_ERROR = encode("ERR?")
_IDENTITY = encode("*IDN?")
_CHUNK = 65536
_RETRY_S = 0.1


class GcsLink:
    """Queries and commands over TCP.

    A broken connection is made again, and what was under way is repeated once, unless it must
    not happen twice. Once that has been tried in vain for as long as it may take, further
    exchanges try once only, so that the end of a flight does not wait for a box that is gone.

    Args:
        device: name of the controller, for errors.
        host: its address.
        port: its TCP port.
        clock: what waiting between attempts to reconnect is measured with.
        timeout: seconds without a byte after which an answer is missed.
        reconnect: seconds for which a lost connection is tried again.
    """

    def __init__(
        self, device: str, host: str, port: int, *, clock: Clock, timeout: float, reconnect: float
    ) -> None:
        self._device = device
        self._host = host
        self._port = port
        self._clock = clock
        self._timeout = timeout
        self._patience = reconnect
        self._lock = asyncio.Lock()
        self._answers: deque[Answer] = deque()
        self._decoder = AnswerReader()
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._identity = ""
        self._in_step = False
        self._lost_at: float | None = None

    @property
    def identity(self) -> str:
        """What ``*IDN?`` answers; empty before :meth:`open` and after :meth:`close`."""
        return self._identity

    async def open(self) -> None:
        """Connect and identify. Idempotent.

        Raises:
            ConnectionLostError: nobody answers in time.
        """
        async with self._lock:
            if not self._identity:
                await self._connect()

    async def close(self) -> None:
        """Disconnect. Idempotent."""
        async with self._lock:
            self._identity = ""
            writer = self._writer
            self._drop()
            if writer is not None:
                with suppress(OSError):  # the peer may have gone first
                    await writer.wait_closed()

    async def query(self, parse: Callable[[Answer], T], command: str, *arguments: str | float) -> T:
        """Ask, and return the answer as `parse` reads it; ask again once if it cannot.

        Raises:
            FlyscanError: the controller's error, see :mod:`._errors`.
            ControllerError: two answers made no sense.
            ConnectionLostError: no connection, or no answer at all.
        """
        data = encode(command, *arguments)
        async with self._lock:
            return await self._twice(self._ask, parse, data)

    async def command(
        self,
        command: str,
        *arguments: str | float,
        accept: Collection[int] = (),
        repeat: bool = True,
    ) -> None:
        """Send a command and return once the controller has accepted it.

        Args:
            command: mnemonic.
            arguments: its arguments.
            accept: error codes that are expected.
            repeat: may be sent again when its confirmation got lost or garbled.

        Raises:
            FlyscanError: the controller's error, see :mod:`._errors`.
            ConnectionLostError: no connection, or no confirmation.
        """
        await self._command(encode(command, *arguments), accept, repeat=repeat)

    async def commands(self, *commands: tuple[str | float, ...]) -> None:
        """Send commands in one piece, mnemonic first; return once all of them are accepted.

        The controller carries out each of them whatever becomes of the others, and tells the
        last error only.

        Raises:
            FlyscanError: as for :meth:`command`.
        """
        data = b"".join(encode(str(command[0]), *command[1:]) for command in commands)
        await self._command(data, (), repeat=True)

    async def _command(self, data: bytes, accept: Collection[int], *, repeat: bool) -> None:
        async with self._lock:
            if repeat:
                code = await self._twice(self._tell, parse_integer, data)
            else:
                code = self._parsed(parse_integer, await self._tell(data), data)
        if code and code not in accept:
            raise gcs_error(code, device=self._device, command=_text(data))

    def shout(self, command: str) -> None:
        """Send a single-byte command at once, amid whatever is under way, unconfirmed."""
        if self._writer is not None:
            self._writer.write(encode(command))

    async def _twice(
        self,
        exchange: Callable[[bytes], Awaitable[Answer]],
        parse: Callable[[Answer], T],
        data: bytes,
    ) -> T:
        """Exchange, once more if the answer is garbled."""
        answer = await self._persistently(exchange, data)
        try:
            return parse(answer)
        except ControllerError as error:
            _log.warning("%s: repeating %r: %s", self._device, data, error.problem)
            self._in_step = False
        return self._parsed(parse, await self._persistently(exchange, data), data)

    async def _persistently(
        self, exchange: Callable[[bytes], Awaitable[Answer]], data: bytes
    ) -> Answer:
        try:
            answer = await exchange(data)
        except ConnectionLostError as error:
            if not self._identity:
                raise
            lost = error
        else:
            self._lost_at = None
            return answer
        _log.warning("%s; connecting again", lost)
        await self._connect_again(lost)
        answer = await exchange(data)
        self._lost_at = None
        return answer

    async def _ask(self, data: bytes) -> Answer:
        await self._get_in_step()
        self._send(data)
        answer = await self._receive()
        if answer is None:
            *late, reason = await self._until_identity(_ERROR + _IDENTITY)
            if not late:
                raise self._refusal(reason, data)
            answer = late[0]
        self._in_step = True
        return answer

    async def _tell(self, data: bytes) -> Answer:
        await self._get_in_step()
        self._send(data + _ERROR)
        answer = await self._receive()
        if answer is None:
            late = await self._until_identity(_IDENTITY)
            if not late:
                raise self._lost(f"did not confirm {_text(data)!r}")
            answer = late[0]
        self._in_step = True
        return answer

    async def _get_in_step(self) -> None:
        if self._writer is None:
            raise self._lost("is not connected")
        if not self._in_step or self._answers or self._decoder.pending:
            await self._until_identity(_IDENTITY)
        self._in_step = False  # until the exchange is complete, whatever ends it

    async def _until_identity(self, data: bytes) -> list[Answer]:
        """Send `data`, which ends in ``*IDN?``; the answers that come before its answer."""
        self._send(data)
        before: list[Answer] = []
        while (answer := await self._receive()) is not None:
            # Garbage without a line end may stick to the front of it.
            if answer[-1].endswith(self._identity):
                return before
            before.append(answer)
        self._drop()
        raise self._lost(f"gave no answer within {self._timeout:g} s")

    def _refusal(self, reason: Answer, data: bytes) -> Exception:
        self._in_step = True
        code = self._parsed(parse_integer, reason, _ERROR)
        if code:
            return gcs_error(code, device=self._device, command=_text(data))
        return ControllerError(
            f"no answer to {_text(data)!r} within {self._timeout:g} s and no error reported",
            device=self._device,
            remedy="raise the time-out if the controller is slow, or check its firmware",
        )

    def _parsed(self, parse: Callable[[Answer], T], answer: Answer, data: bytes) -> T:
        try:
            return parse(answer)
        except ControllerError as error:
            self._in_step = False
            raise ControllerError(
                f"nonsense after {_text(data)!r}: {error.problem}",
                device=self._device,
                remedy="make sure that a GCS 2.0 controller and no other client is on this line",
            ) from error

    def _send(self, data: bytes) -> None:
        if self._writer is None:
            raise self._lost("is not connected")
        self._writer.write(data)

    async def _receive(self) -> Answer | None:
        """The next answer, or None if nothing comes in time."""
        while not self._answers:
            try:
                async with asyncio.timeout(self._timeout):
                    data = await self._read()
            except TimeoutError:
                return None
            self._answers.extend(self._decoder.feed(data))
        return self._answers.popleft()

    async def _read(self) -> bytes:
        if self._reader is None:
            raise self._lost("is not connected")
        try:
            data = await self._reader.read(_CHUNK)
        except OSError as error:
            self._drop()
            raise self._lost(f"connection broke ({error})") from error
        if not data:
            self._drop()
            raise self._lost("closed the connection")
        return data

    async def _connect(self) -> None:
        self._drop()
        try:
            async with asyncio.timeout(self._timeout):
                self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        except OSError as error:  # TimeoutError is one
            raise self._lost(f"cannot be reached ({str(error) or 'time-out'})") from error
        self._send(_IDENTITY)
        answer = await self._receive()
        if answer is None or (self._identity and answer[-1] != self._identity):
            self._drop()
            got = "nothing" if answer is None else repr(answer[-1])
            raise self._lost(f"answered {got} to *IDN?, expected an identification")
        self._identity = answer[-1]
        self._in_step = True

    async def _connect_again(self, lost: ConnectionLostError) -> None:
        if self._lost_at is None:
            self._lost_at = self._clock.now()
        while True:
            try:
                return await self._connect()
            except ConnectionLostError as error:
                if self._clock.now() + _RETRY_S > self._lost_at + self._patience:
                    raise ConnectionLostError(
                        f"{lost.problem}; not connected again within {self._patience:g} s "
                        f"({error.problem})",
                        device=self._device,
                        remedy=error.remedy,
                    ) from error
            await self._clock.sleep(_RETRY_S)

    def _drop(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None
        self._answers.clear()
        self._decoder.clear()
        self._in_step = False

    def _lost(self, problem: str) -> ConnectionLostError:
        return ConnectionLostError(
            f"controller at {self._host}:{self._port} {problem}",
            device=self._device,
            remedy="check its power, the network and the configured host and port",
        )


def _text(data: bytes) -> str:
    text = data.decode("cp1252").strip("\n").replace("\n", ", ")
    return text if text.isprintable() and text else f"#{data[0]}"
