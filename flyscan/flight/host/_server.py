"""The host's own process: ``python -m flyscan.flight.host FOLDER``."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import stat
import sys
from contextlib import suppress
from pathlib import Path as FilePath
from typing import Any

import zmq
import zmq.asyncio

from ...errors import FlyscanError, HostError
from .._watchdog import cancel
from ._config import HostConfig
from ._private import require_private
from ._restore import HostJournal
from ._state_folder import StateFolder
from ._station import Station
from ._wire import MAX_MESSAGE, decode_request

__all__ = ["HostServer", "main"]

LOG = logging.getLogger("flyscan.host")
HIGH_WATER = 100_000
LEASE_HOLD = "lease"
HOLD_PATIENCE = 5.0
DRAIN_TIMEOUT = 2.0


class HostServer:
    """Serves one station on a local socket that only its user can open.

    A client is whoever pings: it gets all events, and its silence ends the lease. Others may
    make requests, such as ``flyscan stop`` does.

    Args:
        folder: private folder holding ``config.json``; the socket is made in it.

    Raises:
        HostError: the folder is open to others.
        ConfigurationError: its configuration is incomplete.
    """

    def __init__(self, folder: FilePath) -> None:
        require_private(folder)
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
        self._why = ""
        self._client_gone = asyncio.Event()
        self._holding: asyncio.Task[None] | None = None
        self._heard = 0.0

    async def run(self) -> None:
        """Serve until told to leave; flights are stopped and files closed on the way out."""
        self._watch_signals()
        self._open()
        self._heard = asyncio.get_running_loop().time()
        tasks = [
            asyncio.create_task(job(), name=job.__name__)
            for job in (self._receive, self._send, self._watch_lease, self._watch_client)
        ]
        sys.stdout.write(json.dumps({"ready": True}) + "\n")
        sys.stdout.flush()
        leaving = asyncio.create_task(self._leaving.wait())
        done, _ = await asyncio.wait((*tasks, leaving), return_when=asyncio.FIRST_COMPLETED)
        try:
            await self._station.close(self._why or "the flight host failed, see its log")
        finally:
            await self._drain()
            self._state.withdraw()
            await cancel(*tasks, leaving, *self._requests)
            self._context.destroy(linger=1000)
        for task in done:
            task.result()

    def _watch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            name = signal.Signals(number).name
            loop.add_signal_handler(number, self._leave, f"the flight host was ended by {name}")
        # A terminal or a pipe would do; a regular file or nothing at all says nothing.
        if stat.S_ISFIFO(os.fstat(sys.stdin.fileno()).st_mode):
            loop.add_reader(sys.stdin.fileno(), self._look_at_stdin)

    def _open(self) -> None:
        self._socket.set(zmq.MAXMSGSIZE, MAX_MESSAGE)
        self._socket.set(zmq.SNDHWM, HIGH_WATER)
        self._socket.set(zmq.LINGER, 1000)
        path = self._folder / "host.sock"
        try:
            self._socket.bind(f"ipc://{path}")
        except zmq.ZMQError as exc:
            raise HostError(
                f"cannot make its socket {path}: {exc}",
                device="flight host",
                remedy="if that path has more than 100 characters, set TMPDIR to a shorter one",
            ) from exc
        path.chmod(0o600)
        self._state.announce(f"ipc://{path}")

    def _leave(self, why: str) -> None:
        if not self._leaving.is_set():
            LOG.warning("stopping all flights and leaving: %s", why)
            self._why = why
            self._leaving.set()

    # --- messages --------------------------------------------------------------------------

    async def _receive(self) -> None:
        while True:
            identity, *rest = await self._socket.recv_multipart()
            if identity in self._clients:
                self._heard = asyncio.get_running_loop().time()
            task = asyncio.create_task(self._answer(identity, rest))
            self._requests.add(task)
            task.add_done_callback(self._requests.discard)

    async def _answer(self, identity: bytes, parts: list[bytes]) -> None:
        number: Any = None
        try:
            message = decode_request(parts)
            number = message["id"]
            result = await self._handle(identity, message["method"], message["params"])
            reply = {"id": number, "result": result}
        except FlyscanError as exc:
            reply = {"id": number, "error": exc.to_dict()}
        except Exception as exc:
            LOG.exception("request failed")
            error = HostError(f"unexpected {type(exc).__name__}: {exc}", device="flight host")
            reply = {"id": number, "error": error.to_dict()}
        await self._outbox.put((identity, reply))

    async def _handle(self, identity: bytes, method: str, params: dict[str, Any]) -> Any:
        if method == "ping":
            self._clients.add(identity)
            self._heard = asyncio.get_running_loop().time()
            return None
        return await self._station.handle(method, params)

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
        try:
            async with asyncio.timeout(DRAIN_TIMEOUT):
                await self._outbox.join()
        except TimeoutError:
            LOG.error("%d messages could not be delivered", self._outbox.qsize())

    # --- the client ------------------------------------------------------------------------

    def _look_at_stdin(self) -> None:
        """The client's process holds the other end: when it is gone, however it went, it ends."""
        if not os.read(sys.stdin.fileno(), 4096):
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
            self._client_gone.set()

    async def _watch_client(self) -> None:
        """The lease cut short: nobody will come back to a client's process that has ended."""
        await self._client_gone.wait()
        LOG.warning("the client's process has ended: holding all flights")
        await asyncio.wait((self._hold(),), timeout=HOLD_PATIENCE)
        self._leave("the client's process has ended")

    @property
    def _may_release(self) -> bool:
        held = self._holding is not None and self._holding.done()
        return held and not self._client_gone.is_set()

    def _hold(self) -> asyncio.Task[None]:
        """Hold all flights; not awaited where a box slow to come to rest would be in the way."""
        if self._holding is None:
            hold = self._station.hold_all(LEASE_HOLD)
            self._holding = asyncio.create_task(hold, name="flyscan-lease-hold")
        return self._holding

    async def _watch_lease(self) -> None:
        """When the client is silent for the length of the lease: hold; twice that: leave.

        One hears nothing from a client whose process is suspended or whose loop is blocked for
        good. If it comes back in between, it finds its flights held and they go on by
        themselves; after that it finds them ended.
        """
        loop = asyncio.get_running_loop()
        lease = self._config.lease
        while True:
            await asyncio.sleep(lease / 10)
            silent = loop.time() - self._heard
            if silent > 2 * lease:
                self._leave(f"its client was silent for {silent:.1f} s, the lease is {lease:g} s")
                return
            if silent > lease and self._holding is None:
                LOG.warning("client silent for %.1f s: holding all flights", silent)
                self._hold()
            elif silent <= lease and self._may_release:
                self._holding = None
                self._station.release_all(LEASE_HOLD)


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
        return _failed(exc)
    except Exception as exc:
        LOG.exception("the host failed")
        return _failed(HostError(f"failed: {type(exc).__name__}: {exc}", device="flight host"))
    return 0


async def _serve(folder: FilePath) -> None:
    await HostServer(folder).run()


def _failed(error: FlyscanError) -> int:
    """Tell whoever waits for the host to be ready; the log tells everybody else."""
    with suppress(BrokenPipeError):  # nobody waits any more
        sys.stdout.write(json.dumps({"ready": False, "error": error.to_dict()}) + "\n")
        sys.stdout.flush()
    return 1
