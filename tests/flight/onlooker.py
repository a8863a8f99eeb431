"""A pilot to build on."""

from __future__ import annotations

import asyncio

from flyscan.flight import Frames, Pilot, Segment

__all__ = ["Onlooker"]


class Onlooker(Pilot):
    """Changes nothing."""

    async def open(self) -> None: ...

    async def begin(self, line: Segment) -> Segment:
        return line

    def take(self, frames: Frames) -> None: ...

    async def steer(self) -> None:
        await asyncio.Event().wait()

    async def end(self) -> None: ...

    async def close(self) -> None: ...
