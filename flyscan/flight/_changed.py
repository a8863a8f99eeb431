"""Waiting for a condition that several parts of a flight can bring about."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["Changed"]


class Changed:
    """Wakes everybody who waits for a condition whenever something changed.

    ``asyncio.Condition`` without the lock: all parts live on one loop, so a notification can
    be given from ordinary functions.
    """

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []

    def notify(self) -> None:
        """Something changed."""
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def wait_for(self, predicate: Callable[[], bool]) -> None:
        """Return when `predicate` is true."""
        while not predicate():
            future = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future
