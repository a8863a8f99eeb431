"""The recorder: takes blocks from the capture to storage, preview and ledger."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..errors import CaptureError, FlyscanError, WatchdogError
from ._block import Block
from ._changed import Changed
from ._clock import Clock
from ._contract import Capture
from ._frames import Sink
from ._intake import Intake
from ._ledger import LedgerRow
from ._monitor import Monitor
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
    ) -> None:
        self._capture = capture
        self._sink = sink
        self._monitors = monitors
        self.intake = intake
        self._clock = clock
        self._listener = listener
        self._options = options
        self._changed = changed
        channels = (*capture.channels(), *(m.channel for m in monitors))
        self._preview = PreviewSampler(channels, options.preview_period)
        self._due: list[tuple[int, float]] = []
        self._closing: list[tuple[int, LedgerRow]] = []
        self.winding_up = False

    async def run(self) -> None:
        """Take in blocks until the capture ends.

        Raises:
            CaptureError: it ended without being asked to.
        """
        async for block in self._capture.blocks():
            frames, superseded = self.intake.number(self._joined(block))
            await self._sink.append(frames)
            if len(superseded):
                await self._sink.supersede(superseded)
            self._emit(self._preview.add(frames))
            self.close_accounts()
            self._changed.notify()
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
            await self.flush()
            self._check_arrivals()

    async def flush(self) -> None:
        """Make everything received readable, then report it and the segments it completes."""
        for monitor in self._monitors:
            times, values = monitor.drain()
            if len(times):
                await self._sink.add_monitor(monitor.name, times, values)
        frames = await self._sink.flush()
        self._listener({"event": "flushed", "frames": frames, "point": self.intake.next_point})
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

    async def await_last(self, rows: int, given_up: Callable[[], bool]) -> None:
        """Give the last rows the time they need to arrive; whether they do shows when disarming."""
        arrived = self._changed.wait_for(lambda: self.intake.rows >= rows or given_up())
        with suppress(WatchdogError):  # the capture's own count tells more precisely what is lost
            await within(
                self._clock,
                2 * self._capture.capabilities.block_period + GRACE,
                arrived,
                lambda: self._late(rows),
            )

    async def settle(self, rows: int, given_up: Callable[[], bool]) -> None:
        """Wait until `rows` rows have arrived (or `given_up`), then make them readable.

        Raises:
            WatchdogError: they did not come in time.
        """
        await within(
            self._clock,
            self._patience,
            self._changed.wait_for(lambda: self.intake.rows >= rows or given_up()),
            lambda: self._late(rows),
        )
        self._emit(self._preview.finish())
        await self.flush()

    def expect(self, rows: int) -> None:
        """Note that `rows` rows have been triggered by now and must arrive soon."""
        self._due.append((rows, self._clock.now()))

    def close_accounts(self) -> None:
        """Queue the ledger rows of segments that are complete until their frames are flushed."""
        self._closing.extend((self.intake.stop_frame, row) for row in self.intake.closed())

    @property
    def _patience(self) -> float:
        return self._capture.capabilities.block_period + self._options.data_timeout

    def _joined(self, block: Block) -> Block:
        """The block with the monitors' values at its rows' times."""
        if not self._monitors:
            return block
        joined = {m.channel.name: m.join(block.time_ns) for m in self._monitors}
        return Block(block.first, block.time_ns, block.exposure, {**block.columns, **joined})

    def _late(self, rows: int) -> FlyscanError:
        return overdue(
            self._capture.name,
            f"row {self.intake.rows} of the {rows} triggered",
            self._patience,
            "check the data connection to the box",
        )

    def _check_arrivals(self) -> None:
        self._due = [(rows, since) for rows, since in self._due if rows > self.intake.rows]
        if self._due and self._clock.now() - self._due[0][1] > self._patience:
            raise self._late(self._due[0][0])

    def _emit(self, row: dict[str, Any] | None) -> None:
        if row is not None:
            self._listener({"event": "preview", "row": row})
