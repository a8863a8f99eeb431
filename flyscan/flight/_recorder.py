"""The recorder: takes blocks from the capture to storage, preview and ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..errors import CaptureError, FlyscanError, WatchdogError
from ._block import Block
from ._changed import Changed
from ._clock import Clock
from ._contract import Capture
from ._dead_time import DeadTimes
from ._frames import Sink
from ._intake import Intake
from ._ledger import LedgerRow
from ._monitor import Monitor
from ._pilot import Pilot
from ._preview import PreviewSampler
from ._watchdog import overdue, within

__all__ = ["FlightOptions", "Listener", "Recorder"]

GRACE = 1.0

Listener = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class FlightOptions:
    """Times a flight goes by, in seconds.

    Args:
        flush_period: how often stored frames are made readable and reported.
        preview_period: shortest time between preview rows.
        data_timeout: how late a triggered row may arrive beyond the box's block period; longer
            than the box keeps rows for a reader that reconnects.
        margin: added to planned durations before a watchdog bites.
    """

    flush_period: float = 0.25
    preview_period: float = 0.1
    data_timeout: float = 12.0
    margin: float = 10.0


class Recorder:
    """Everything that happens to the rows of one flight after the box has captured them."""

    def __init__(
        self,
        capture: Capture,
        sink: Sink,
        monitors: tuple[Monitor, ...],
        intake: Intake,
        clock: Clock,
        listener: Listener,
        options: FlightOptions,
        changed: Changed,
        dead_times: DeadTimes,
    ) -> None:
        self._capture = capture
        self._sink = sink
        self._monitors = monitors
        self.intake = intake
        self._clock = clock
        self._listener = listener
        self._options = options
        self._changed = changed
        self._dead_times = dead_times
        captured = capture.channels()
        channels = (*captured, *dead_times.channels(captured), *(m.channel for m in monitors))
        self._preview = PreviewSampler(channels, options.preview_period)
        self._due: list[tuple[int, float]] = []
        self._closing: list[tuple[int, LedgerRow]] = []
        self._pilot: Pilot | None = None
        self._records: Callable[[], Awaitable[None]] | None = None
        self._taken = 0
        self.winding_up = False

    def steered_by(self, pilot: Pilot, records: Callable[[], Awaitable[None]]) -> None:
        """Show every frame to `pilot`; `records` hands what it notes to the file."""
        self._pilot, self._records = pilot, records

    async def run(self) -> None:
        """Take in blocks until the capture ends.

        Raises:
            CaptureError: it ended without being asked to, or a point gets no row.
        """
        async for block in self._capture.blocks():
            frames, superseded = self.intake.number(self._joined(block))
            await self._sink.append(frames)
            if len(superseded):
                await self._sink.supersede(superseded)
            if self._pilot is not None:
                self._pilot.take(frames)
                await asyncio.sleep(0)  # it decides first: nothing else of this is in a hurry
            self._emit(self._preview.add(frames))
            self.close_accounts()
            self._taken += 1
            self._changed.notify()
            if self._records is not None:  # few at a time: many at once would delay a decision
                await self._records()
            self.intake.raise_hopeless()
        if not self.winding_up:
            reason = self._capture.end_reason
            raise CaptureError(
                f"the capture ended by itself ({reason.text if reason else 'no reason given'}) "
                f"after {self.intake.rows} rows",
                device=self._capture.name,
                remedy="somebody else disarmed the box, or it was restarted; fly again",
            )

    async def flush_regularly(self) -> None:
        """Flush for ever; complain about rows that do not come."""
        while True:
            await self._clock.sleep(self._options.flush_period)
            if self._pilot is not None:
                await self._lull()
            await self.flush()
            await self._check_arrivals()

    async def _lull(self) -> None:
        """Wait until a block has just been decided on, or until none has come when one should.

        The thread that writes the file shares the interpreter with us: a decision that comes due
        meanwhile would wait for milliseconds. So it writes while the next block is not due yet.
        """
        taken = self._taken
        come = self._changed.wait_for(lambda: self._taken > taken)
        block_period = self._capture.capabilities.block_period
        with suppress(WatchdogError):  # there may be nothing to take: a flush is due all the same
            await within(self._clock, block_period, come, lambda: self._late(self.intake.triggers))

    async def flush(self) -> None:
        """Make everything received readable, then report it and the segments it completes."""
        for monitor in self._monitors:
            times, values = monitor.drain()
            if len(times):
                await self._sink.add_monitor(monitor.name, times, values)
        if self._records is not None:
            await self._records()
        frames = await self._sink.flush()
        self._listener({"event": "flushed", "frames": frames, "kept": self.intake.kept})
        while self._closing and self._closing[0][0] <= frames:
            _, row = self._closing.pop(0)
            await self._sink.add_ledger(row)
            self._listener({"event": "ledger", "row": row.to_dict()})

    async def finish(self) -> None:
        """Store and report what is left, unfinished segments included."""
        self._emit(self._preview.finish())
        for row in self.intake.abandoned():
            self._closing.append((self.intake.stop_frame, row))
        await self.flush()

    async def account_for(self, triggers: int, given_up: Callable[[], bool]) -> None:
        """Wait until every one of `triggers` has its row, or is known to have made none.

        Raises:
            WatchdogError: rows that the box has did not come in time.
            CaptureError: a point gets no row.
        """

        async def settled() -> None:
            await self._changed.wait_for(lambda: self.intake.triggers >= triggers or given_up())

        with suppress(WatchdogError):  # too late for rows that are under way: the box is asked
            await within(self._clock, self._delivery, settled(), lambda: self._late(triggers))
        if self.intake.triggers < triggers and not given_up():
            await self._find_out(triggers, given_up)

    async def _find_out(self, triggers: int, given_up: Callable[[], bool]) -> None:
        """Rows are late: either the box has them and they come, or their triggers made none."""
        rows = await self._capture.captured()
        come = self._changed.wait_for(lambda: self.intake.rows >= rows or given_up())
        await within(self._clock, self._patience, come, lambda: self._late(triggers))
        if not given_up():
            self.intake.lose_until(triggers)
            self.intake.raise_hopeless()
            self.close_accounts()
            self._changed.notify()

    async def settle(self, triggers: int, given_up: Callable[[], bool]) -> None:
        """Wait until all of `triggers` are accounted for (or `given_up`), then flush.

        Raises:
            WatchdogError, CaptureError: as :meth:`account_for`.
        """
        await self.account_for(triggers, given_up)
        self._emit(self._preview.finish())
        await self.flush()

    def expect(self, triggers: int) -> None:
        """Note that `triggers` triggers have been made by now, and their rows must come soon."""
        self._due.append((triggers, self._clock.now()))

    def close_accounts(self) -> None:
        """Queue the ledger rows of segments that are complete until their frames are flushed."""
        self._closing.extend((self.intake.stop_frame, row) for row in self.intake.closed())

    @property
    def _patience(self) -> float:
        return self._capture.capabilities.block_period + self._options.data_timeout

    def _joined(self, block: Block) -> Block:
        """The block with corrected counts, and the monitors' values at its rows' times."""
        more = {m.channel.name: m.join(block.time_ns) for m in self._monitors}
        more |= self._dead_times.columns(block)
        if not more:
            return block
        return Block(block.first, block.time_ns, block.exposure, {**block.columns, **more})

    @property
    def _delivery(self) -> float:
        """Seconds within which rows come unless something is wrong."""
        return 2 * self._capture.capabilities.block_period + GRACE

    def _late(self, triggers: int) -> FlyscanError:
        return overdue(
            self._capture.name,
            f"the row of trigger {self.intake.triggers} of {triggers}",
            self._patience,
            "check the data connection to the box",
        )

    async def _check_arrivals(self) -> None:
        due = self._due = [(n, since) for n, since in self._due if n > self.intake.triggers]
        if due and self._clock.now() - due[0][1] > self._patience:
            await self._find_out(due[0][0], lambda: self.intake.triggers >= due[0][0])

    def _emit(self, row: dict[str, Any] | None) -> None:
        if row is not None:
            self._listener({"event": "preview", "row": row})
