"""Blocks on their way from intake to their reader, bounded by what they hold."""

from __future__ import annotations

import asyncio
from collections import deque

from ...flight import Block

__all__ = ["Backlog"]


class Backlog:
    """A queue for one writer and one reader.

    Bounded by bytes, because blocks hold anything between a row and a megabyte.

    Args:
        limit: :meth:`put` waits while this many bytes or more are waiting to be read.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._blocks: deque[Block] = deque()
        self._bytes = 0
        self._ended = False
        self._filled = asyncio.Event()
        self._room = asyncio.Event()

    async def put(self, block: Block) -> None:
        """Add a block when there is room."""
        while self._bytes >= self._limit:
            self._room.clear()
            await self._room.wait()
        self._blocks.append(block)
        self._bytes += _size(block)
        self._filled.set()

    def end(self) -> None:
        """Nothing comes any more: the reader gets what is left. Idempotent."""
        self._ended = True
        self._filled.set()

    async def get(self) -> Block | None:
        """The oldest block; None after the last one."""
        while not self._blocks:
            if self._ended:
                return None
            self._filled.clear()
            await self._filled.wait()
        block = self._blocks.popleft()
        self._bytes -= _size(block)
        self._room.set()
        return block


def _size(block: Block) -> int:
    columns = (block.time_ns, block.exposure, *block.columns.values())
    return sum(column.nbytes for column in columns)
