"""A manual clock that is advanced for whoever sleeps on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from ..flight import ManualClock, cancel

__all__ = ["passing"]


@asynccontextmanager
async def passing(clock: ManualClock | None = None) -> AsyncGenerator[ManualClock]:
    """Let time jump from deadline to deadline, for as long as the block runs.

    A box simulated in this process and the binding that talks to it over a socket both wait on
    the clock, so a test of seconds of motion takes milliseconds.

    Args:
        clock: the clock to advance; a new one if not given.
    """
    clock = clock or ManualClock()
    pump = asyncio.create_task(_pass(clock), name="flyscan-passing-time")
    try:
        yield clock
    finally:
        await cancel(pump)


async def _pass(clock: ManualClock) -> None:
    """Advance whenever sockets have come to rest."""
    while True:
        await clock.advance_to(clock.next_deadline or clock.now())
