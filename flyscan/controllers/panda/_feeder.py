"""Keeps a streamed sequencer supplied with rows, ahead of the stage."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ...errors import ControllerError
from ...flight import Clock, cancel
from ._control import ControlLink
from ._feed import PIECE_S, SeqFeed
from ._lines import seq_rows
from ._settings import piece_request, table_request
from ._text import Request

__all__ = ["AHEAD_PIECES", "Feeder"]

#: Pieces the box has in hand after each look: at the fastest planned speed the last two of them
#: are still to come at the next look, 100 to 200 ms. Far fewer than its driver has room for.
AHEAD_PIECES = 3
#: Looks per piece.
LOOKS = 4


class Feeder:
    """Gives the pieces of one sweep to the box, in time.

    Args:
        name: the capture's name.
        control: the box's control port.
        table: full name of the sequencer's table.
        clock: time between looks.
        feed: what to give.
        gated: whether rows wait for a gate, too.
        most: rows the box takes at once.
    """

    def __init__(
        self,
        name: str,
        control: ControlLink,
        table: str,
        clock: Clock,
        feed: SeqFeed,
        *,
        gated: bool,
        most: int,
    ) -> None:
        self._name = name
        self._control = control
        self._table = table
        self._clock = clock
        self._feed = feed
        self._gated = gated
        self._most = most
        self._task: asyncio.Task[None] | None = None

    def first(self, before: int) -> tuple[Request, ...]:
        """Empty the table, then the first pieces, behind a wait for the stage to be in front.

        Args:
            before: counts the stage must stand before the first point.
        """
        return table_request(self._table, ()), self._next(AHEAD_PIECES, before)

    def start(self, progress: Callable[[], Awaitable[int]]) -> None:
        """Go on giving pieces; `progress` tells how many points were triggered."""
        self._task = asyncio.create_task(self._run(progress), name=f"{self._name}-feeder")

    async def stop(self) -> None:
        """Give no more. Idempotent."""
        await cancel(self._task)
        if self._task is not None and not self._task.cancelled():
            self._task.exception()  # of no interest any more

    def raise_error(self) -> None:
        """Raise what ended it, if that was an error.

        Raises:
            CaptureError: the box ran out of rows.
            FlyscanError: it could not be told or refused them.
        """
        task = self._task
        if task is not None and task.done() and not task.cancelled():
            task.result()

    async def _run(self, progress: Callable[[], Awaitable[int]]) -> None:
        while not self._feed.exhausted:
            await self._clock.sleep(PIECE_S / LOOKS)
            made = await progress()
            while not self._feed.exhausted and self._ahead(made) < (AHEAD_PIECES - 1):
                await self._give(progress)

    def _ahead(self, made: int) -> float:
        """Pieces the box has in hand."""
        return (self._feed.given - made) / self._feed.piece

    async def _give(self, progress: Callable[[], Awaitable[int]]) -> None:
        """One piece more; not once again if nobody knows whether the box has taken it."""
        try:
            await self._control.run(self._next(1), retry=False)
        except ControllerError:
            await progress()  # a box that has run dry refuses more, and says why
            raise

    def _next(self, pieces: int, before: int | None = None) -> Request:
        feed = self._feed
        room = (self._most - 1) // (2 if self._gated else 1)
        positions = feed.take(min(pieces * feed.piece, room))
        rows = seq_rows(positions, feed.direction, before, gated=self._gated)
        return piece_request(self._table, rows, last=feed.exhausted)
