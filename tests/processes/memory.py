"""A host in a process of its own that flies boxes in memory, and connections of strangers to it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import zmq
import zmq.asyncio
from scanspec.specs import Fly, Linspace

import flyscan.flight as flight
from flyscan.errors import error_from_dict
from flyscan.flight.host import ProcessHost, StateFolder

CONFIG = {
    "controllers": {"box": {"class": "flyscan.testing:MemoryBox"}},
    "flyers": {"nano": {"motion": "box.motion", "capture": "box.capture"}},
}


def line(points: int, period: float = 0.01) -> dict[str, Any]:
    spec = Fly(Linspace("x", 0.0, 0.1 * (points - 1), points))
    return flight.Path.from_spec(spec, period=period).to_dict()


@asynccontextmanager
async def host(**options: Any) -> AsyncIterator[ProcessHost]:
    served = ProcessHost({**CONFIG, **options})
    try:
        await served.start()
        yield served
    finally:
        await served.close()


class Flight:
    """A flight under way, without a RunEngine."""

    def __init__(self, served: ProcessHost, directory: Path) -> None:
        self._host = served
        self._directory = str(directory)
        self.ended: asyncio.Future[dict[str, Any] | None] = asyncio.Future()
        self.events: list[dict[str, Any]] = []
        self._news = asyncio.Event()
        self.file = ""

    async def take_off(self, path: dict[str, Any]) -> None:
        self._host.subscribe("nano", self._on_event)
        call = self._host.call
        answer = await call(
            "open_run", flyer="nano", directory=self._directory, filename="run", start={}
        )
        self.file = answer["file"]
        await call("prepare", flyer="nano", path=path)
        await call("kickoff", flyer="nano")

    def _on_event(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        self._news.set()
        if event["event"] == "ended" and not self.ended.done():
            self.ended.set_result(event["error"])

    async def has_flushed(self, frames: int) -> None:
        async with asyncio.timeout(10):
            while not any(e["event"] == "flushed" and e["frames"] >= frames for e in self.events):
                self._news.clear()
                await self._news.wait()

    async def lands(self, within: float) -> None:
        """Wait for the end.

        Raises:
            FlyscanError: what it failed of.
        """
        error = await asyncio.wait_for(asyncio.shield(self.ended), within)
        if error is not None:
            raise error_from_dict(error)


@asynccontextmanager
async def stranger() -> AsyncIterator[zmq.asyncio.Socket]:
    """A connection to the one host that is noted in the state folder."""
    (running,) = StateFolder().hosts()
    context = zmq.asyncio.Context()
    socket = context.socket(zmq.DEALER)
    socket.set(zmq.LINGER, 0)
    socket.connect(running.socket)
    try:
        yield socket
    finally:
        socket.close()
        context.term()


async def answer_to(socket: zmq.asyncio.Socket, *frames: bytes) -> dict[str, Any]:
    await socket.send_multipart(frames)
    return json.loads(await asyncio.wait_for(socket.recv(), 5))


def request(method: Any, params: Any, number: Any = 1) -> bytes:
    return json.dumps({"id": number, "method": method, "params": params}).encode()
