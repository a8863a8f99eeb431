"""A controller that answers by script: for what no well-behaved box does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

SINGLE_BYTES = b"\x05\x07\x09\x18"
IDENTITY = "(c) A fake controller, E-727.F, 1, 1.0"

Action = Callable[["FakeBox", str], Any]


class FakeBox:
    """Answers `*IDN?`, `ERR?` and what `replies` says; records every command.

    A reply is text, None for nothing, or a function of box and command that returns one of
    these or bytes to be sent as they are.
    """

    def __init__(self, **replies: Any) -> None:
        self.replies: dict[str, Any] = {"*IDN?": IDENTITY, **replies}
        self.error = 0
        self.received: list[str] = []
        self.connections = 0
        self.writer: asyncio.StreamWriter | None = None
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)

    @property
    def port(self) -> int:
        assert self._server is not None
        return self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self.drop()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def refuse(self, code: int) -> Action:
        """A reply that sets the error and answers nothing."""

        def action(box: FakeBox, command: str) -> None:
            box.error = code

        return action

    def drop(self) -> None:
        """Close the connection as a box does that is switched off."""
        if self.writer is not None:
            self.writer.close()

    def say(self, data: bytes) -> None:
        assert self.writer is not None
        self.writer.write(data)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.writer = writer
        line = ""
        with contextlib.suppress(ConnectionError):  # the client went first
            while data := await reader.read(4096):
                for byte in data:
                    if byte in SINGLE_BYTES:
                        self._reply(f"#{byte}")
                    elif byte == 0x0A:
                        self._reply(line)
                        line = ""
                    else:
                        line += chr(byte)
        writer.close()

    def _reply(self, command: str) -> None:
        self.received.append(command)
        reply = self.replies.get(command, self.replies.get(command.split()[0]))
        if callable(reply):
            reply = reply(self, command)
        elif reply is None and command == "ERR?":
            reply, self.error = str(self.error), 0
        if isinstance(reply, bytes):
            self.say(reply)
        elif reply is not None:
            self.say((reply.replace("\n", " \n") + "\n").encode("cp1252"))
