"""Putting back what a host that was killed had changed, and stopping hosts from outside."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

import zmq
import zmq.asyncio

from ...errors import FlyscanError, HostError, error_from_dict
from .._contract import Capture, Motion, RestoreStep
from ._config import ControllerConfig, HostConfig
from ._state_folder import JournalEntry, RunningHost, StateFolder

__all__ = ["HostJournal", "restore_orphans", "stop_hosts"]

STOP_TIMEOUT = 30.0


class HostJournal:
    """The restore journal of one host, in the user's state folder."""

    def __init__(self, folder: StateFolder, config: HostConfig) -> None:
        self._folder = folder
        self._config = config

    def note(self, controller: str, steps: tuple[RestoreStep, ...]) -> None:
        """Write down what to put back on a controller."""
        config = self._of(controller)
        pairs = [(step.key, step.value) for step in steps]
        self._folder.note(controller, config.cls, config.params, pairs)

    def clear(self, controller: str) -> None:
        """Everything is back on a controller."""
        self._folder.clear(controller)

    async def settle(self, controller: str, box: Motion | Capture) -> None:
        """Put back on a connected controller what a host that was killed has left changed."""
        config = self._of(controller)
        for entry in self._folder.journal():
            same = entry.cls == config.cls and dict(entry.params) == dict(config.params)
            if entry.orphaned and same and entry.controller == controller:
                await _put_back(entry, box)

    def _of(self, controller: str) -> ControllerConfig:
        return self._config.controllers[controller.partition(".")[0]]


async def restore_orphans(
    folder: StateFolder,
) -> AsyncIterator[tuple[JournalEntry, FlyscanError | None]]:
    """Put back everything that killed hosts have left; every entry is tried.

    Yields:
        Each entry, and why it could not be put back; it then stays in the journal.
    """
    for entry in list(folder.journal()):
        if not entry.orphaned:
            continue
        try:
            await _restore(entry)
        except FlyscanError as exc:
            yield entry, exc
        else:
            yield entry, None


async def _restore(entry: JournalEntry) -> None:
    name, _, part = entry.controller.partition(".")
    whole = ControllerConfig(entry.cls, entry.params).build(name, {})
    box = getattr(whole, part) if part else whole
    await box.connect()
    try:
        await _put_back(entry, box)
    finally:
        await box.close()


async def _put_back(entry: JournalEntry, box: Motion | Capture) -> None:
    """Stop what its host cannot stop any more, then write the settings back."""
    await box.stop()
    await box.restore(tuple(RestoreStep(key, value) for key, value in entry.steps))
    entry.file.unlink(missing_ok=True)


async def stop_hosts(
    hosts: Iterable[RunningHost],
) -> AsyncIterator[tuple[RunningHost, FlyscanError | None]]:
    """Stop all flights of running hosts.

    Yields:
        Each host, and why its flights could not be stopped.
    """
    for host in hosts:
        try:
            await _stop(host)
        except FlyscanError as exc:
            yield host, exc
        else:
            yield host, None


async def _stop(host: RunningHost) -> None:
    context = zmq.asyncio.Context()
    socket = context.socket(zmq.DEALER)
    socket.set(zmq.LINGER, 0)
    try:
        socket.connect(host.socket)
        request: dict[str, Any] = {"id": "stop", "method": "stop_all", "params": {}}
        await socket.send(json.dumps(request).encode())
        async with asyncio.timeout(STOP_TIMEOUT):
            answer = await _answer(socket)
    except TimeoutError:
        raise HostError(
            f"process {host.pid} did not answer within {STOP_TIMEOUT:g} s",
            device="flight host",
            remedy=f"stop the hardware by hand, then `kill {host.pid}` and `flyscan restore`",
        ) from None
    finally:
        socket.close()
        context.term()
    if "error" in answer:
        raise error_from_dict(answer["error"])


async def _answer(socket: zmq.asyncio.Socket) -> dict[str, Any]:
    """The answer to our request; events that pass by meanwhile are for others."""
    while True:
        message = json.loads(await socket.recv())
        if message.get("id") == "stop":
            return message
