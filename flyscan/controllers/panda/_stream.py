"""The stream of rows of one arm: reads the data port, survives its loss, hands on blocks."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Awaitable, Callable

import numpy as np

from ...errors import CaptureError, ConnectionLostError, FlyscanError, WatchdogError
from ...flight import Block, Clock, EndReason, within
from ._backlog import Backlog
from ._columns import Words
from ._data import DataLink
from ._ends import PLANNED, end_error
from ._pandablocks import Data, EndData, FrameData, PandaEnd, StartData
from ._rows import RowAssembler

__all__ = ["RowStream"]

#: Bytes waiting for the reader of :meth:`RowStream.blocks` before intake stops.
QUEUED = 8 << 20
#: Bytes of rows from which on a block is made without looking for more: what comes at once when
#: the reader was late would make blocks that no cache holds.
FULL = 1 << 20
#: In raw format the box checks a frame only after sending it and says `Data overrun` right
#: behind a spoilt one; so after a lag the newest frame waits this long (s) to be believed.
GRACE = 0.002
RETRY = 0.05
#: Seconds within which the box greets a reader that comes back with a header, if it still
#: captures: it sends one at once.
RESUMED = 2.0


class RowStream:
    """Rows of one arm.

    Args:
        name: the capture's name, for messages.
        connect: makes a new, unopened data link.
        rows: numbers and converts the rows.
        clock: time of the reconnection attempts.
        patience: seconds for which a lost data connection is tried again; the box keeps rows
            for about 9 s.
        fresh: lag in seconds up to which no frame can be spoilt: a box overwrites a block only
            after all others of its ring.
        captured: asks the box how many rows a capture had that has come to its planned end; None
            if it has not. The box tells so only those who are connected then.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], DataLink],
        rows: RowAssembler,
        clock: Clock,
        patience: float,
        fresh: float = 0.0,
        captured: Callable[[], Awaitable[int | None]] | None = None,
    ) -> None:
        self._name = name
        self._connect = connect
        self._clock = clock
        self._patience = patience
        self._fresh = fresh
        self._captured = captured
        self._link = connect()
        self._backlog = Backlog(QUEUED)
        self._held: FrameData | None = None
        self._believed: list[Words] = []
        self._believed_bytes = 0
        self._task: asyncio.Task[None] | None = None
        self._streaming = False
        self._resuming = False
        self.rows = rows
        self.ending = False
        self.error: FlyscanError | None = None
        self.reason: EndReason | None = None

    @property
    def local_address(self) -> str:
        """Our own end of the data connection, as the box's list of clients shows it."""
        return self._link.local_address

    @property
    def over(self) -> bool:
        """True when no more rows come: ended, failed or closed."""
        return self._task is None or self._task.done()

    async def open(self) -> None:
        """Connect before the box is armed, however often it takes, and start reading.

        Raises:
            ConnectionLostError, WatchdogError: nobody answered for as long as a connection that
                is lost later would be tried again.
        """
        deadline = self._clock.now() + self._patience
        while True:
            try:
                await self._link.open()
                break
            except (ConnectionLostError, WatchdogError):
                self._link.close()
                if self._clock.now() > deadline:
                    raise
            await self._clock.sleep(RETRY)
            self._link = self._connect()
        self._task = asyncio.create_task(self._run(), name=f"{self._name}-rows")

    async def close(self) -> None:
        """Stop reading and disconnect. Idempotent."""
        self._link.close()
        if self._task is not None and not self._task.done():
            self._task.cancel()
            # We have just cancelled it ourselves.
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._backlog.end()

    def raise_error(self) -> None:
        """Raise what the stream failed of, if it did."""
        if self.error is not None:
            raise self.error

    async def wait_seen(self, rows: int, seconds: float) -> None:
        """Wait until `rows` captured rows have come.

        Raises:
            WatchdogError: they did not come in time.
        """
        deadline = self._clock.now() + seconds
        while self.rows.seen < rows:
            self.raise_error()
            if self._clock.now() > deadline:
                raise WatchdogError(
                    f"{self.rows.seen} of {rows} triggered rows arrived within {seconds:g} s",
                    device=self._name,
                    remedy="check that blocks are being read and the data connection is alive",
                )
            await self._clock.sleep(0.002)

    async def reaches(self, edges: int, seconds: float) -> bool:
        """Wait for the rows of `edges` edges; False if they have not come in time."""
        deadline = self._clock.now() + seconds
        while self.rows.edges < edges:
            self.raise_error()
            if self._clock.now() > deadline:
                return False
            await self._clock.sleep(0.002)
        return True

    async def wait_streaming(self, seconds: float) -> None:
        """Wait until the box sends to us, so that the end of the capture will reach us.

        Raises:
            CaptureError: the data connection was lost and could not be remade.
            WatchdogError: it did not begin to send in time.
        """
        deadline = self._clock.now() + seconds
        while not self._streaming:
            self.raise_error()
            if self._clock.now() > deadline:
                raise WatchdogError(
                    f"the box did not begin to send rows within {seconds:g} s",
                    device=self._name,
                    remedy="check the data connection, and that the box's server is not overloaded",
                )
            await self._clock.sleep(0.002)

    async def wait_over(self, seconds: float) -> None:
        """Wait for the end.

        Raises:
            WatchdogError: it did not come in time.
        """
        deadline = self._clock.now() + seconds
        while not self.over:
            if self._clock.now() > deadline:
                raise WatchdogError(
                    f"the end of the capture did not come within {seconds:g} s after "
                    f"{self.rows.seen} rows",
                    device=self._name,
                    remedy="check that blocks are being read and the data connection is alive",
                )
            await self._clock.sleep(0.002)
        self.raise_error()

    async def blocks(self) -> AsyncIterator[Block]:
        """Blocks in order; ends after the last one of a planned end.

        Raises:
            CaptureError, ConnectionLostError: see :meth:`flyscan.flight.Capture.blocks`.
        """
        while (block := await self._backlog.get()) is not None:
            yield block
        self.raise_error()

    # --- reading ---------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while self.reason is None:
                try:
                    await self._read()
                except ConnectionLostError as exc:
                    await self._recover(exc)
        except FlyscanError as exc:
            self.error = exc
            self.reason = self.reason or EndReason(False, self.rows.accepted, exc.problem)
        except Exception as exc:
            # Nobody awaits this task: without this, a defect would leave its readers waiting.
            self.error = CaptureError(
                f"unexpected {type(exc).__name__} while reading rows: {exc}",
                device=self._name,
                remedy="report this with the firmware version and the capture's configuration",
            )
            self.reason = EndReason(False, self.rows.accepted, self.error.problem)
        finally:
            self._link.close()
            self._backlog.end()

    async def _read(self) -> None:
        """Take in events until the end, or until the connection is lost."""
        while self.reason is None:
            for event in await self._events():
                await self._take(event)
            if self._held is not None and self._lag() < self._fresh:
                await self._believe()
            else:
                await self._hand_on()

    async def _events(self) -> list[Data]:
        if self._resuming:
            header = self._link.receive()
            try:
                events = await within(self._clock, RESUMED, header, self._not_resumed)
            except CaptureError:
                if not await self._complete():
                    raise
                return []
            self._resuming = False
            return events
        if self._held is None:
            return await self._link.receive()
        try:
            async with asyncio.timeout(GRACE):
                return await self._link.receive()
        except (TimeoutError, ConnectionLostError):
            await self._believe()
            return []

    def _lag(self) -> float:
        """Seconds since the newest row that is known to be good, or since the begin."""
        newest = self.rows.newest_ns()
        now = self._clock.epoch_ns + round(self._clock.now() * 1e9)
        return math.inf if newest is None else 1e-9 * (now - newest)

    async def _take(self, event: Data) -> None:
        if isinstance(event, FrameData):
            if self._held is not None:
                self._accept(self._held)
                if self._believed_bytes >= FULL:
                    await self._hand_on()
            self._held = event
        elif isinstance(event, StartData):
            self.rows.start(event)
            self._streaming = True
        elif isinstance(event, EndData):
            await self._end(event)

    def _accept(self, frame: FrameData) -> None:
        self._believed.append(frame.data)
        self._believed_bytes += frame.data.nbytes

    async def _believe(self) -> None:
        """Hand on the newest frame too, now that the box has not taken it back."""
        if self._held is not None:
            self._accept(self._held)
            self._held = None
        await self._hand_on()

    async def _hand_on(self) -> None:
        """Make one block of the frames that came together: small ones cost as much as large."""
        frames, self._believed, self._believed_bytes = self._believed, [], 0
        if not frames:
            return
        for block in self.rows.feed(frames[0] if len(frames) == 1 else _joined(frames)):
            await self._backlog.put(block)

    async def _end(self, event: EndData) -> None:
        if event.reason is PandaEnd.DATA_OVERRUN:
            self._held = None
        await self._believe()
        planned = self.ending and event.reason in PLANNED
        if planned:
            self.rows.end(event.samples)
        self.reason = EndReason(planned, self.rows.accepted, event.reason.value)
        if not planned:
            raise end_error(self._name, event.reason, self.rows.accepted)

    # --- recovery --------------------------------------------------------------------------

    async def _recover(self, lost: ConnectionLostError) -> None:
        """Connect again; the box sends once more what it still has, motion is not touched.

        Raises:
            CaptureError: the box did not come back in time.
        """
        # Before its first row the box may have nothing to tell yet.
        self._resuming, self._streaming = self._streaming or self._resuming, False
        deadline = self._clock.now() + self._patience
        while not await self._complete():
            link = self._connect()
            try:
                await link.open()
            except (ConnectionLostError, WatchdogError) as exc:
                link.close()
                if self._clock.now() > deadline:
                    raise CaptureError(
                        f"the data connection was lost and not remade within "
                        f"{self._patience:g} s ({lost.problem}; then {exc.problem}); rows from "
                        f"{self.rows.seen} on are missing",
                        device=self._name,
                        remedy="check the network and that the server on the box still runs",
                    ) from exc
                await self._clock.sleep(RETRY)
            else:
                self._link = link
                return

    async def _complete(self) -> bool:
        """Whether a lost connection had brought all rows, only the word of the end is missing."""
        if not self.ending or self._captured is None:
            return False
        rows = await self._captured()
        if rows is None or rows != self.rows.seen:
            return False
        self.reason = EndReason(True, self.rows.accepted, PandaEnd.OK.value)
        return True

    def _not_resumed(self) -> CaptureError:
        return CaptureError(
            f"the data connection was remade, but the box did not go on within {RESUMED:g} s; "
            f"rows from {self.rows.seen} on are missing",
            device=self._name,
            remedy="it does not capture any more: it was restarted, or somebody disarmed it; "
            "fly again",
        )


def _joined(frames: list[Words]) -> Words:
    """Frames of one capture in one; as bytes, for numpy copies structures field by field."""
    return np.frombuffer(b"".join(frame.data for frame in frames), frames[0].dtype)
