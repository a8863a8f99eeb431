"""Waiting with a limit, on an injected clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from ..errors import FlyscanError, WatchdogError
from ._clock import Clock

__all__ = ["cancel", "shielded", "within"]

T = TypeVar("T")


async def cancel(*tasks: asyncio.Future[Any] | None) -> None:
    """Cancel tasks and wait until they have ended; their own errors are not of interest here."""
    live = [task for task in tasks if task is not None and not task.done()]
    for task in live:
        task.cancel()
    for task in live:
        # The caller has decided to give these up: whatever they end with is discarded.
        with suppress(asyncio.CancelledError, Exception):
            await task


async def within(
    clock: Clock,
    seconds: float,
    awaitable: Awaitable[T],
    error: FlyscanError | Callable[[], FlyscanError],
) -> T:
    """Await something for at most `seconds` of `clock`.

    Raises:
        FlyscanError: the given `error`, when time is up; what was awaited is cancelled.
    """
    task = asyncio.ensure_future(awaitable)
    timer = asyncio.ensure_future(clock.sleep(seconds))
    try:
        await asyncio.wait((task, timer), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise error() if callable(error) else error
    finally:
        await cancel(task, timer)


async def shielded(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run to the end even if the caller is cancelled; the cancellation is handed on afterwards."""
    task = asyncio.ensure_future(coroutine)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as exc:
            if task.cancelled():
                raise
            cancelled = exc
        except Exception:
            break
    if cancelled is not None:
        raise cancelled
    return task.result()


def overdue(device: str, expected: str, seconds: float, remedy: str) -> WatchdogError:
    """The error of a wait that took too long."""
    return WatchdogError(
        f"{expected} did not come within {seconds:g} s", device=device, remedy=remedy
    )
