"""A simulated Tern controller, as docs/how-to/write-a-controller.md describes its protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from flyscan.errors import LimitError
from flyscan.flight import Clock
from flyscan_sim.world import AxisSpec, FaultScript, StageAxis

STAGE = AxisSpec("um", 1e-3, 0.0, 100.0, 200.0, 2000.0, start=20.0)


class TernServer:
    """The box: a stage, its settings, and what it answers."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.stage = StageAxis("x", STAGE, clock, FaultScript(clock))
        self.identity = "TERN 1"
        self.velocity = 33.0
        self.power = True
        self.heard = asyncio.Event()  # set by every question
        self.speaking = asyncio.Event()  # cleared, it keeps its answers back
        self.speaking.set()
        self.values: dict[str, str] = {}  # answers given whatever is true
        self.port = 0
        self._clients: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    def answer(self, question: str) -> str:
        """What the box says to a line."""
        try:
            match question.split():
                case [query] if query.endswith("?"):
                    return self._value(query)
                case ["VEL", value]:
                    self.stage.set_velocity(float(value))
                    self.velocity = float(value)
                case ["GO", target] if self.power:
                    limits = {"velocity": self.velocity, "acceleration": STAGE.max_acceleration}
                    self.stage.move(float(target), **limits)
                case ["HALT"]:
                    self.stage.halt()
                case _:
                    return "ERR cannot do that"
        except (LimitError, ValueError) as error:
            return f"ERR {error}"
        return "OK"

    def _value(self, query: str) -> str:
        now = self.clock.now()
        values = {
            "ID?": self.identity,
            "LIMITS?": f"{STAGE.low} {STAGE.high} {STAGE.max_velocity} {STAGE.max_acceleration}",
            "POS?": f"{float(self.stage.position(now)):.6f}",
            "BUSY?": f"{self.stage.moving(now):d}",
            "POWER?": f"{self.power:d}",
            "VEL?": f"{self.velocity:.9g}",
        }
        return (values | self.values).get(query, "ERR unknown")

    async def cut(self) -> None:
        """Break every connection."""
        self.speaking.set()
        clients = dict(self._clients)
        for writer in clients.values():
            writer.close()
        await asyncio.gather(*clients)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one client until it hangs up."""
        task = asyncio.current_task()
        assert task is not None
        self._clients[task] = writer
        try:
            while line := await reader.readline():
                self.heard.set()
                await self.speaking.wait()
                writer.write(f"{self.answer(line.decode())}\n".encode())
        finally:
            del self._clients[task]
            writer.close()


@asynccontextmanager
async def tern_server(clock: Clock) -> AsyncGenerator[TernServer]:
    """A box on a port of its own."""
    box = TernServer(clock)
    server = await asyncio.start_server(box.serve, "127.0.0.1", 0)
    box.port = server.sockets[0].getsockname()[1]
    try:
        yield box
    finally:
        server.close()
        await box.cut()
