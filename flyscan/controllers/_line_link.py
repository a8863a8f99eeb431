"""Questions and answers of one line each over TCP, as many stage controllers speak."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from ..errors import ConnectionLostError, ControllerError
from ..flight import shielded

__all__ = ["LineLink"]


class LineLink:
    """A line-by-line dialogue with a box: every question has one answer.

    One exchange runs at a time, so that concurrent callers get their own answers. A cancelled
    call ends its exchange before the cancellation is handed on, and a connection that fell
    silent is given up, so that no late answer is taken for that of another question. A lost
    connection is opened again by the next question.

    Args:
        device: the controller's name, for errors.
        host: address of the box.
        port: its TCP port.
        timeout: seconds for connecting and answering.
        refusal: how an answer begins that refuses a question, if the box has such.
    """

    def __init__(
        self,
        device: str,
        host: str,
        port: int,
        *,
        timeout: float = 1.0,
        refusal: str | None = None,
    ) -> None:
        self._device = device
        self._host = host
        self._port = port
        self._timeout = timeout
        self._refusal = refusal
        self._turn = asyncio.Lock()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, question: str) -> str:
        """Send a line; the line that comes back, without white space around it.

        Raises:
            ConnectionLostError: no connection, or no answer in time.
            ControllerError: the box refuses.
        """
        answer = await shielded(self._exchange(question))
        if self._refusal is not None and answer.startswith(self._refusal):
            raise ControllerError(
                f"answered {answer!r} to {question!r}",
                device=self._device,
                remedy="look the reason up in the manual of the box",
            )
        return answer

    async def numbers(self, question: str, count: int = 1) -> list[float]:
        """Ask for `count` numbers with white space between them.

        Raises:
            ConnectionLostError: as for :meth:`ask`.
            ControllerError: the answer is a refusal, or something else.
        """
        answer = await self.ask(question)
        try:
            numbers = [float(word) for word in answer.split()]
        except ValueError:
            numbers = []
        if len(numbers) != count:
            raise ControllerError(
                f"answered {answer!r} to {question!r}, expected {count} number(s)",
                device=self._device,
                remedy="check that the binding is made for this model and firmware",
            )
        return numbers

    async def close(self) -> None:
        """Disconnect once the exchange under way is over. Idempotent."""
        async with self._turn:
            await self._hang_up()

    async def _exchange(self, question: str) -> str:
        async with self._turn:
            try:
                async with asyncio.timeout(self._timeout):
                    reader, writer = await self._connected()
                    writer.write(f"{question}\n".encode())
                    answer = await reader.readuntil()
            except (OSError, EOFError, asyncio.LimitOverrunError) as error:
                await self._hang_up()
                raise ConnectionLostError(
                    f"{self._host}:{self._port} did not answer {question!r} within "
                    f"{self._timeout:g} s ({error!r})",
                    device=self._device,
                    remedy="check its power, the network and the configured host and port",
                ) from error
        return answer.decode(errors="replace").strip()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None or self._streams[0].at_eof():
            await self._hang_up()
            self._streams = await asyncio.open_connection(self._host, self._port)
        return self._streams

    async def _hang_up(self) -> None:
        streams, self._streams = self._streams, None
        if streams is not None:
            streams[1].close()
            with suppress(OSError):  # it is given up, whatever state it was in
                await streams[1].wait_closed()
