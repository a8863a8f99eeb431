"""The host's own process: ``python -m flyscan.flight.host FOLDER``."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from pathlib import Path as FilePath
from typing import Any

import zmq
import zmq.asyncio

from ...errors import FlyscanError, HostError
from .._watchdog import cancel
from ._config import HostConfig
from ._restore import HostJournal
from ._state_folder import StateFolder
from ._station import Station

__all__ = ["HostServer", "main"]

LOG = logging.getLogger("flyscan.host")
MAX_MESSAGE = 64 * 2**20
HIGH_WATER = 100_000
LEASE_HOLD = "lease"


class HostServer:
    """Serves one station on a local socket that only its user can open.

    Args:
        folder: private folder holding ``config.json``; the socket is made in it.
    """

    def __init__(self, folder: FilePath) -> None:
        self._folder = folder
        self._config = HostConfig.from_dict(json.loads((folder / "config.json").read_text()))
        self._state = StateFolder()
        journal = HostJournal(self._state, self._config)
        self._station = Station(self._config, self._emit, journal=journal)
        self._context = zmq.asyncio.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._clients: set[bytes] = set()
        self._requests: set[asyncio.Task[None]] = set()
        self._outbox: asyncio.Queue[tuple[bytes, dict[str, Any]]] = asyncio.Queue(HIGH_WATER)
        self._sequence = 0
        self._leaving = asyncio.Event()
        self._heard = 0.0

    async def run(self) -> None:
        """Serve until told to leave; flights are stopped and files closed on the way out."""
        loop = asyncio.get_running_loop()
        for sig in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(sig, self._leaving.set)
        self._socket.set(zmq.MAXMSGSIZE, MAX_MESSAGE)
        self._socket.set(zmq.SNDHWM, HIGH_WATER)
        self._socket.set(zmq.LINGER, 1000)
        address = f"ipc://{self._folder}/host.sock"
        self._socket.bind(address)
        self._state.announce(address)
        self._heard = loop.time()
        tasks = [
            asyncio.create_task(job(), name=job.__name__)
            for job in (self._receive, self._send, self._watch_lease)
        ]
        sys.stdout.write(json.dumps({"ready": True}) + "\n")
        sys.stdout.flush()
        leaving = asyncio.create_task(self._leaving.wait())
        done, _ = await asyncio.wait((*tasks, leaving), return_when=asyncio.FIRST_COMPLETED)
        try:
            await self._station.close()
            await self._drain()
        finally:
            self._state.withdraw()
            await cancel(*tasks, leaving, *self._requests)
            self._context.destroy(linger=1000)
        for task in done:
            task.result()

    async def _receive(self) -> None:
        while True:
            identity, *rest = await self._socket.recv_multipart()
            self._heard = asyncio.get_running_loop().time()
            self._clients.add(identity)
            task = asyncio.create_task(self._answer(identity, rest))
            self._requests.add(task)
            task.add_done_callback(self._requests.discard)

    async def _answer(self, identity: bytes, parts: list[bytes]) -> None:
        number: Any = None
        try:
            message = _request(parts)
            number = message["id"]
            if message["method"] == "ping":
                result: Any = None
            elif message["method"] == "shutdown":
                result = self._leaving.set()
            else:
                result = await self._station.handle(message["method"], message["params"])
            reply = {"id": number, "result": result}
        except FlyscanError as exc:
            reply = {"id": number, "error": exc.to_dict()}
        except Exception as exc:
            LOG.exception("request failed")
            error = HostError(f"unexpected {type(exc).__name__}: {exc}", device="flight host")
            reply = {"id": number, "error": error.to_dict()}
        await self._outbox.put((identity, reply))

    def _emit(self, flyer: str, event: dict[str, Any]) -> None:
        self._sequence += 1
        message = {"flyer": flyer, "sequence": self._sequence, "event": event}
        for client in self._clients:
            try:
                self._outbox.put_nowait((client, message))
            except asyncio.QueueFull:
                # The client sees the gap in the sequence and fails the run; its lease ends it
                # here if it is gone altogether.
                LOG.error("a client does not read its events; it will see a gap")

    async def _send(self) -> None:
        while True:
            client, message = await self._outbox.get()
            parts = [client, json.dumps(message).encode()]
            await self._socket.send_multipart(parts)  # pyright: ignore[reportUnknownMemberType]
            self._outbox.task_done()

    async def _drain(self) -> None:
        """Let the last answers leave."""
        async with asyncio.timeout(2):
            await self._outbox.join()

    async def _watch_lease(self) -> None:
        """When the client is silent for the length of the lease: hold, then stop and leave.

        One hears nothing from a client that was killed or whose loop is blocked for good; half
        the lease later a client that comes back finds its flight held, after all of it, ended.
        """
        loop = asyncio.get_running_loop()
        lease = self._config.lease
        held = False
        while True:
            await asyncio.sleep(lease / 10)
            silent = loop.time() - self._heard
            if silent > 2 * lease:
                LOG.error("no client for %.1f s: stopping all flights", silent)
                self._leaving.set()
                return
            if silent > lease and not held:
                LOG.warning("client silent for %.1f s: holding all flights", silent)
                held = True
                await self._station.hold_all(LEASE_HOLD)
            elif silent <= lease and held:
                held = False
                self._station.release_all(LEASE_HOLD)


def _request(parts: list[bytes]) -> dict[str, Any]:
    try:
        (body,) = parts
        message = json.loads(body)
        if (
            isinstance(message["method"], str)
            and isinstance(message["params"], dict)
            and "id" in message
        ):
            return message
    except (ValueError, KeyError, TypeError) as exc:
        raise HostError(f"malformed request: {exc!r}", device="flight host") from exc
    raise HostError("malformed request", device="flight host", remedy="send id, method, params")


def main(argv: list[str] | None = None) -> int:
    """Entry point of the host's process."""
    (folder,) = sys.argv[1:] if argv is None else argv
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        filename=FilePath(folder) / "host.log",
    )
    try:
        asyncio.run(_serve(FilePath(folder)))
    except FlyscanError as exc:
        LOG.error("%s", exc)
        sys.stdout.write(json.dumps({"ready": False, "error": exc.to_dict()}) + "\n")
        return 1
    return 0


async def _serve(folder: FilePath) -> None:
    await HostServer(folder).run()
