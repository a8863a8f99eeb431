"""Stopping the flights of running hosts from outside."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

import zmq
import zmq.asyncio

from ...errors import FlyscanError, HostError, error_from_dict
from ._state_folder import RunningHost
from ._wire import encode_request

__all__ = ["stop_hosts"]

STOP_TIMEOUT = 30.0


async def stop_hosts(
    hosts: Iterable[RunningHost], why: str = "stopped by `flyscan stop`"
) -> AsyncIterator[tuple[RunningHost, FlyscanError | None]]:
    """Stop all flights of running hosts, all at the same time: none waits for a stuck one.

    Args:
        hosts: which ones.
        why: told to whoever flies.

    Yields:
        Each host as it is done, and why its flights could not be stopped.
    """
    for result in asyncio.as_completed([_outcome(host, why) for host in hosts]):
        yield await result


async def _outcome(host: RunningHost, why: str) -> tuple[RunningHost, FlyscanError | None]:
    try:
        await _stop(host, why)
    except FlyscanError as exc:
        return host, exc
    return host, None


async def _stop(host: RunningHost, why: str) -> None:
    context = zmq.asyncio.Context()
    socket = context.socket(zmq.DEALER)
    socket.set(zmq.LINGER, 0)
    try:
        socket.connect(host.socket)
        await socket.send(encode_request("stop", "stop_all", {"why": why}))
        async with asyncio.timeout(STOP_TIMEOUT):
            answer = await _answer(socket)
    except TimeoutError:
        raise HostError(
            f"process {host.pid} did not answer within {STOP_TIMEOUT:g} s",
            device="flight host",
            remedy=f"stop the hardware by hand, then `kill -9 {host.pid}` and `flyscan restore`",
        ) from None
    finally:
        socket.close()
        context.term()
    if "error" in answer:
        raise error_from_dict(answer["error"])


async def _answer(socket: zmq.asyncio.Socket) -> dict[str, Any]:
    """The answer to our request; whatever passes by meanwhile is for others."""
    while True:
        message = json.loads(await socket.recv())
        if message.get("id") == "stop":
            return message
