"""Experiments: from ``*PCAP.ARM=`` to the completion, with the driver's block period.

The driver hands samples over when its timer has run for the block period since the start, or
when 2 MB are full; so data, header and ``*PCAP.CAPTURED?`` lag behind the triggers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._buffer import BlockBuffer, BufferState
from ._capture import CapturePlan, plan_capture
from ._device import Device
from ._engine import TICKS_PER_S, Engine
from ._fast import FastSource
from ._pcap import Batch
from ._text import CommandError

__all__ = ["Experiment"]

BLOCK_BYTES = 1 << 21
HEADER_TICKS = TICKS_PER_S
"""A read of the driver returns after 1 s even without data: the header waits no longer."""

COMPLETION_TICKS = 62_500
"""From the end of an experiment to its completion in the server, 0.5 ms."""


class Experiment:
    """Captures samples of the engine into the buffer of the data port.

    Args:
        engine: the FPGA.
        buffer: what the data port reads from.
        epoch_ns: Unix time of tick 0.
        block_period: flush interval in seconds.
        source: made-up samples instead of the engine's.
    """

    def __init__(
        self,
        engine: Engine,
        buffer: BlockBuffer,
        epoch_ns: int,
        block_period: float,
        source: FastSource | None = None,
    ) -> None:
        self.device: Device | None = None
        self.plan: CapturePlan | None = None
        self.arm_time_ns = 0
        self.start_time_ns = 0
        self.late_arm_ticks = 0
        self.clock_error_ns = 0
        self._engine = engine
        self._buffer = buffer
        self._epoch_ns = epoch_ns
        self._block_ticks = max(round(block_period * TICKS_PER_S), 1)
        self._running = False
        self._completion = "Ok"
        self._armed_tick = 0
        self._arm_at: int | None = None
        self._flush_at: int | None = None
        self._pending: list[Batch] = []
        self._source = source
        self._template: NDArray[np.void] | None = None

    # Commands

    def arm(self) -> None:
        if self._running or self._arm_at is not None:
            raise CommandError("Data capture already in progress")
        if self._buffer.active or self._buffer.state is not BufferState.IDLE:
            raise CommandError("Data clients still taking data")
        if self.device is None:
            raise CommandError("PCAP not supported with this configuration")
        self.arm_time_ns = self._unix_ns(self._engine.tick)
        self.plan = plan_capture(self.device.captures())
        if self.late_arm_ticks:
            self._arm_at = self._engine.tick + self.late_arm_ticks
        else:
            self._start(self.plan)

    def _start(self, plan: CapturePlan) -> None:
        self._running, self._arm_at, self._flush_at = True, None, None
        self._armed_tick = self._engine.tick
        self._pending.clear()
        self._engine.batches.clear()
        self._template = self._source.template(plan) if self._source else None
        self._buffer.begin()
        self._engine.arm(plan)

    def disarm(self) -> None:
        self._arm_at = None
        if self._running:
            self._engine.abort("Disarmed")

    def fail(self, completion: str) -> None:
        """End a running experiment as a fault of the box does, e.g. "Driver data overrun"."""
        if self._running:
            self._engine.abort(completion)

    def status(self) -> str:
        busy = self._buffer.state is not BufferState.IDLE
        return f"{'Busy' if busy else 'Idle'} {self._buffer.readers} {self._buffer.active}"

    def captured(self) -> int:
        return self._buffer.samples

    def completion(self) -> str:
        return "Busy" if self._running else self._completion

    @property
    def running(self) -> bool:
        """Whether an experiment is under way or about to be armed."""
        return self._running or self._arm_at is not None

    # Time

    def next_event(self) -> int | None:
        """Tick at which :meth:`service` next has something to do, if it is known."""
        if self._arm_at is not None:
            return self._arm_at
        if not self._running:
            return None
        ended = self._engine.pcap.ended
        return ended + COMPLETION_TICKS if ended is not None else self._flush_at

    def service(self) -> None:
        """Do what is due at the engine's present tick: call after every advance."""
        if self._arm_at is not None and self._engine.tick >= self._arm_at and self.plan:
            self._start(self.plan)
        if not self._running:
            return
        state = self._engine.pcap
        self._pending += self._engine.batches
        self._engine.batches.clear()
        if state.begun is not None and self._flush_at is None:
            self.start_time_ns = self._unix_ns(state.begun)
            self._flush_at = state.begun + self._block_ticks
        self._flush_due(self._engine.tick)
        self._release_header(state.begun)
        if state.ended is not None and self._engine.tick >= state.ended + COMPLETION_TICKS:
            self._finish(state.completion)

    def _flush_due(self, now: int) -> None:
        while self._flush_at is not None and self._flush_at <= now:
            self._flush(self._flush_at)
            self._flush_at += self._block_ticks
            if not self._pending and self._flush_at < now:
                self._flush_at += (now - self._flush_at) // self._block_ticks * self._block_ticks

    def endless(self, first: int) -> NDArray[np.void] | None:
        """Samples from number `first` on, for a client of a source without a pause."""
        source, plan, template = self._source, self.plan, self._template
        if source is None or source.rows_per_s or not self._running or plan is None:
            return None
        return None if template is None else source.block(plan, template, first, template.size)

    def _make_up(self, source: FastSource, until: int) -> None:
        """Hand over made-up samples up to a tick."""
        plan, template, begun = self.plan, self._template, self._engine.pcap.begun
        if source.rows_per_s is None or plan is None or template is None or begun is None:
            return
        due = (until - begun) // source.step
        while self._buffer.samples < due:
            count = min(due - self._buffer.samples, template.size)
            self._write(source.block(plan, template, self._buffer.samples, count))

    def _flush(self, until: int) -> None:
        """Hand over the samples triggered up to a tick."""
        if self._source is not None:
            self._make_up(self._source, until)
            return
        ready: list[NDArray[np.void]] = []
        rest: list[Batch] = []
        for batch in self._pending:
            cut = int(np.searchsorted(batch.ticks, until, side="right"))
            ready.append(batch.samples[:cut])
            if cut < batch.ticks.size:
                rest.append(Batch(batch.ticks[cut:], batch.samples[cut:]))
        self._pending = rest
        if any(part.size for part in ready):
            self._write(np.concatenate(ready))

    def _write(self, samples: NDArray[np.void]) -> None:
        most = BLOCK_BYTES // samples.dtype.itemsize
        for start in range(0, samples.size, most):
            part = samples[start : start + most]
            self._buffer.write(part.tobytes(), part.size)

    def _release_header(self, begun: int | None) -> None:
        if begun is None or self._buffer.released:
            return
        waited = self._engine.tick - self._armed_tick
        if self._source is not None or waited >= HEADER_TICKS * (
            1 + (begun - self._armed_tick) // HEADER_TICKS
        ):
            self._buffer.write(b"", 0)

    def _finish(self, completion: str) -> None:
        ended = self._engine.pcap.ended
        self._flush(self._engine.tick if ended is None else ended)
        if not self._buffer.released:
            self._buffer.write(b"", 0)
        self._running, self._completion = False, completion
        self._buffer.end()

    def _unix_ns(self, tick: int) -> int:
        return self._epoch_ns + tick * 8 + self.clock_error_ns
