"""A host in a process of its own: the RunEngine's loop cannot hold it up."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

import zmq
import zmq.asyncio

from ...errors import HostError, error_from_dict
from .._watchdog import cancel
from ._api import Host
from ._config import HostConfig

__all__ = ["ProcessHost"]

START_TIMEOUT = 30.0
STOP_TIMEOUT = 20.0


class ProcessHost(Host):
    """Starts the host's process and talks to it over a socket in a private folder.

    The process has a session of its own, so a Ctrl-C meant for the RunEngine does not reach it.

    Args:
        config: what it may load.
    """

    def __init__(self, config: HostConfig | Mapping[str, Any]) -> None:
        super().__init__()
        self._config = config if isinstance(config, HostConfig) else HostConfig.from_dict(config)
        self._starting = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._folder: FilePath | None = None
        self._context: zmq.asyncio.Context | None = None
        self._socket: zmq.asyncio.Socket | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._numbers = itertools.count()
        self._pending: dict[int, asyncio.Future[Any]] = {}
        self._sequence: int | None = None
        self._gone: HostError | None = None

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        async with self._starting:
            if self._process is None:
                await self._spawn()

    async def _spawn(self) -> None:
        self._gone, self._sequence = None, None
        self._folder = FilePath(tempfile.mkdtemp(prefix="flyscan-"))
        (self._folder / "config.json").write_text(json.dumps(self._config.to_dict()))
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "flyscan.flight.host",
            str(self._folder),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            await self._await_ready(process)
        except BaseException:
            if process.returncode is None:
                process.kill()
            await process.wait()
            self._remove_folder()
            raise
        self._process = process
        self._context = zmq.asyncio.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.set(zmq.LINGER, 0)
        self._socket.connect(f"ipc://{self._folder}/host.sock")
        self._tasks = [
            asyncio.create_task(self._receive(self._socket), name="flyscan-host-receive"),
            asyncio.create_task(self._watch(process), name="flyscan-host-watch"),
            asyncio.create_task(self._keep_alive(), name="flyscan-host-lease"),
        ]

    async def _await_ready(self, process: asyncio.subprocess.Process) -> None:
        if process.stdout is None:
            raise HostError("has no standard output", device="flight host")
        try:
            async with asyncio.timeout(START_TIMEOUT):
                line = await process.stdout.readline()
        except TimeoutError:
            raise HostError(
                f"was not ready within {START_TIMEOUT:g} s",
                device="flight host",
                remedy="check the load of the machine",
            ) from None
        answer = json.loads(line or b"{}")
        if not answer.get("ready"):
            if "error" in answer:
                raise error_from_dict(answer["error"])
            raise HostError(
                f"ended while starting: {self._last_words()}",
                device="flight host",
                remedy="check the host's configuration",
            )

    async def call(self, method: str, **params: Any) -> Any:
        if self._gone is not None:
            raise self._gone
        if self._socket is None:
            raise HostError("not running", device="flight host", remedy="start it first")
        number = next(self._numbers)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._pending[number] = future
        message = {"id": number, "method": method, "params": params}
        try:
            await self._socket.send(json.dumps(message).encode())
            return await future
        finally:
            self._pending.pop(number, None)

    async def close(self) -> None:
        async with self._starting:
            process, self._process = self._process, None
            if process is None:
                return
            try:
                if process.returncode is None:
                    await self._ask_to_leave(process)
            finally:
                await self._disconnect()

    async def _ask_to_leave(self, process: asyncio.subprocess.Process) -> None:
        """SIGTERM makes it stop flights, restore and close files; SIGKILL is the last resort."""
        watch = self._tasks[1]
        watch.cancel()
        process.terminate()
        try:
            async with asyncio.timeout(STOP_TIMEOUT):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise HostError(
                f"did not end within {STOP_TIMEOUT:g} s and was killed",
                device="flight host",
                remedy="check that hardware is at rest; restore its settings",
            ) from None

    async def _disconnect(self) -> None:
        await cancel(*self._tasks)
        self._tasks = []
        self._fail_pending(HostError("closed", device="flight host"))
        if self._socket is not None:
            self._socket.close()
        if self._context is not None:
            self._context.term()
        self._socket = self._context = None
        self._remove_folder()

    def _remove_folder(self) -> None:
        folder, self._folder = self._folder, None
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)

    async def _receive(self, socket: zmq.asyncio.Socket) -> None:
        while True:
            message = json.loads(await socket.recv())
            if "event" in message:
                self._check_sequence(message["sequence"])
                self._deliver(message["flyer"], message["event"])
                continue
            future = self._pending.get(message["id"])
            if future is None or future.done():
                continue
            if "error" in message:
                future.set_exception(error_from_dict(message["error"]))
            else:
                future.set_result(message["result"])

    def _check_sequence(self, sequence: int) -> None:
        expected = sequence if self._sequence is None else self._sequence + 1
        self._sequence = sequence
        if sequence != expected:
            error = HostError(
                f"events {expected} to {sequence - 1} were lost",
                device="flight host",
                remedy="a subscriber blocked this process too long; data are in the file",
            )
            self._deliver_all({"event": "ended", "error": error.to_dict()})

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(self._config.lease / 5)
            await self.call("ping")

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        code = await process.wait()
        self._gone = HostError(
            f"process {process.pid} ended unexpectedly (exit code {code}): {self._last_words()}",
            device="flight host",
            remedy="hardware stops at the end of its segment; check it before flying again",
        )
        self._fail_pending(self._gone)
        self._deliver_all({"event": "ended", "error": self._gone.to_dict()})

    def _fail_pending(self, error: HostError) -> None:
        for future in self._pending.values():
            if not future.done():
                future.set_exception(error)

    def _last_words(self) -> str:
        log = None if self._folder is None else self._folder / "host.log"
        if log is None or not log.exists():
            return "it left no log"
        lines = log.read_text().splitlines()
        return lines[-1] if lines else "its log is empty"
