"""A host in a process of its own: the RunEngine's loop cannot hold it up."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

import zmq
import zmq.asyncio

from ...errors import HostError, error_from_dict
from .._watchdog import cancel
from ._api import Host
from ._child import cause_of, close_pipes, exit_of, spawn
from ._config import HostConfig
from ._wire import encode_request

__all__ = ["ProcessHost"]

START_TIMEOUT = 30.0
STOP_TIMEOUT = 20.0
GRACE = 1.0


class ProcessHost(Host):
    """Starts the host's process and talks to it over a socket in a private folder.

    The process has a session of its own, so a Ctrl-C meant for the RunEngine does not reach it.
    It holds the reading end of a pipe of which this process holds the other: however this
    process ends, the host learns of it at once, stops, restores and ends.

    Args:
        config: what it may load.
    """

    def __init__(self, config: HostConfig | Mapping[str, Any]) -> None:
        super().__init__()
        self._config = config if isinstance(config, HostConfig) else HostConfig.from_dict(config)
        self._starting = asyncio.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._exit: asyncio.Future[int] | None = None
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
            if self._process is not None and self._gone is not None:
                close_pipes(self._process)
                self._process = None
                await self._disconnect()
            if self._process is None:
                await self._spawn()

    async def _spawn(self) -> None:
        self._gone, self._sequence = None, None
        self._folder = FilePath(tempfile.mkdtemp(prefix="flyscan-"))
        (self._folder / "config.json").write_text(json.dumps(self._config.to_dict()))
        process = spawn(self._folder)
        exited = exit_of(process)
        try:
            await self._await_ready(process)
        except BaseException:
            process.kill()
            await exited
            close_pipes(process)
            self._remove_folder()
            raise
        self._process, self._exit = process, exited
        self._context = zmq.asyncio.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.set(zmq.LINGER, 0)
        self._socket.connect(f"ipc://{self._folder}/host.sock")
        self._tasks = [
            asyncio.create_task(self._receive(self._socket), name="flyscan-host-receive"),
            asyncio.create_task(self._watch(process, exited), name="flyscan-host-watch"),
            asyncio.create_task(self._keep_alive(process), name="flyscan-host-lease"),
        ]

    async def _await_ready(self, process: subprocess.Popen[bytes]) -> None:
        if process.stdout is None:
            raise HostError("has no standard output", device="flight host")
        # The thread ends with the process, which is killed if this fails.
        reading = asyncio.ensure_future(asyncio.to_thread(process.stdout.readline))
        done, _ = await asyncio.wait((reading,), timeout=START_TIMEOUT)
        if not done:
            raise HostError(
                f"was not ready within {START_TIMEOUT:g} s",
                device="flight host",
                remedy="check the load of the machine",
            )
        line = reading.result()
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
        try:
            await self._socket.send(encode_request(number, method, params))
            return await future
        finally:
            self._pending.pop(number, None)

    async def close(self) -> None:
        async with self._starting:
            process, self._process = self._process, None
            if process is None or self._exit is None:
                return
            try:
                if not self._exit.done():
                    await self._ask_to_leave(process, self._exit)
            finally:
                close_pipes(process)
                await self._disconnect()

    async def _ask_to_leave(
        self, process: subprocess.Popen[bytes], exited: asyncio.Future[int]
    ) -> None:
        """SIGTERM makes it stop flights, restore and close files; SIGKILL is the last resort."""
        watch, keep_alive = self._tasks[1:]
        await cancel(watch, keep_alive)
        process.terminate()
        await asyncio.wait((exited,), timeout=STOP_TIMEOUT)
        if not exited.done():
            process.kill()
            await exited
            raise HostError(
                f"did not end within {STOP_TIMEOUT:g} s and was killed",
                device="flight host",
                remedy="check that hardware is at rest, then `flyscan restore` its settings",
            )

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
        try:
            while True:
                self._take(json.loads(await socket.recv()))
        except Exception as exc:
            self._give_up(f"what it sent was not understood: {exc!r}", "report this as a defect")
            raise

    def _take(self, message: dict[str, Any]) -> None:
        """An event or an answer."""
        if "event" in message:
            self._check_sequence(message["sequence"])
            self._deliver(message["flyer"], message["event"])
            return
        future = self._pending.get(message["id"])
        if future is None or future.done():
            return
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

    async def _keep_alive(self, process: subprocess.Popen[bytes]) -> None:
        """Renew the lease; a host that does not answer for twice that long is given up."""
        lease = self._config.lease
        while True:
            ping = asyncio.ensure_future(self.call("ping"))
            await asyncio.wait((ping,), timeout=2 * lease)
            if not ping.done():  # the answer may be there and this loop, blocked, not have read it
                await asyncio.wait((ping,), timeout=GRACE)
            if not ping.done():
                await cancel(ping)
                process.terminate()  # should it wake up once more, it is to stop and end
                self._give_up(
                    f"process {process.pid} has not answered for {2 * lease:g} s",
                    f"`kill -9 {process.pid}` if it still exists",
                )
                return
            if ping.exception() is not None:  # it is gone, and everybody has been told
                return
            await asyncio.sleep(lease / 5)

    async def _watch(self, process: subprocess.Popen[bytes], exited: asyncio.Future[int]) -> None:
        code = await asyncio.shield(exited)  # ending this task must not end the wait of others
        close_pipes(process)
        self._give_up(
            f"process {process.pid} ended unexpectedly ({cause_of(code)}): {self._last_words()}",
            "see that hardware is at rest",
        )

    def _give_up(self, problem: str, remedy: str) -> None:
        """The host is of no use any more: everybody who waits for it is told."""
        if self._gone is None:
            self._gone = HostError(
                problem,
                device="flight host",
                remedy=f"{remedy}; `flyscan restore`, or the next host, puts its settings back",
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
