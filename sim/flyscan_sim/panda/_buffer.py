"""The server's data buffer: blocks of samples, kept for late and reconnected readers.

Counts as PandABlocks-server does: 128 slots of which a reader starts at most 95 back, readers
connected and readers taking data, and a new experiment only when nobody takes data any more.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["BlockBuffer", "Reader", "ReaderState"]

SLOTS = 128
KEPT = 95
"""Oldest block a new reader is given: a quarter of the slots stay ahead of it."""


class BufferState(enum.Enum):
    IDLE = "idle"
    ACTIVE = "active"
    CLEARING = "clearing"


class ReaderState(enum.Enum):
    """Where a reader stands in the experiment it reads."""

    WAITING = "waiting"
    READING = "reading"
    OVERRUN = "overrun"
    ALL_READ = "all read"


@dataclass(slots=True)
class _Block:
    data: bytes
    samples: int


@dataclass(eq=False, slots=True)
class Reader:
    """One client's place in the buffer; `cycle` counts experiments."""

    notify: Callable[[], None]
    cycle: int
    next: int = 0
    state: ReaderState = ReaderState.WAITING


class BlockBuffer:
    """Blocks of the present experiment and the readers of the data port."""

    def __init__(self) -> None:
        self.state = BufferState.IDLE
        self.samples = 0
        self.active = 0
        self._readers: list[Reader] = []
        self._blocks: deque[_Block] = deque(maxlen=SLOTS)
        self._written = 0
        self._cycle = 0

    @property
    def readers(self) -> int:
        return len(self._readers)

    # The writing side

    def begin(self) -> None:
        """Start an experiment: every connected reader takes part."""
        self.active = len(self._readers)
        self.state = BufferState.ACTIVE
        self.samples = 0
        self._written = 0
        self._blocks.clear()
        self._notify()

    def write(self, data: bytes, samples: int) -> None:
        """Add a block; an empty one releases the header."""
        self._blocks.append(_Block(data, samples))
        self._written += 1
        self.samples += samples
        self._notify()

    def end(self) -> None:
        """The experiment is complete; idle again when all readers have it."""
        if self.active:
            self.state = BufferState.CLEARING
        else:
            self._idle()
        self._notify()

    def overrun(self) -> None:
        """Let every reader that is taking data have lost its place."""
        for reader in self._readers:
            if reader.state is ReaderState.READING:
                reader.state = ReaderState.OVERRUN
        self._notify()

    @property
    def released(self) -> bool:
        """Whether readers have been let in: header or data are there."""
        return self._written > 0

    # The reading side

    def connect(self, notify: Callable[[], None]) -> Reader:
        """Add a reader; `notify` is called when there may be something for it."""
        reader = Reader(notify, self._cycle)
        self._readers.append(reader)
        if self.state is not BufferState.IDLE:
            self.active += 1
        return reader

    def disconnect(self, reader: Reader) -> None:
        """Remove a reader."""
        self._readers.remove(reader)
        if self.state is not BufferState.IDLE and reader.cycle == self._cycle:
            self._complete()

    def open(self, reader: Reader) -> int | None:
        """Begin reading the present experiment.

        Returns:
            samples that are gone already, or None if there is nothing to read yet.
        """
        ready = self.state is not BufferState.IDLE and reader.cycle == self._cycle
        if not ready or not self.released:
            return None
        reader.next = max(self._written - KEPT, 0)
        reader.state = ReaderState.READING
        return self.samples - sum(block.samples for block in self._from(reader.next))

    def read(self, reader: Reader) -> tuple[bytes, int] | None:
        """The next block and its samples, or None: then look at the state of the reader."""
        if reader.state is not ReaderState.READING:
            return None
        if reader.next < self._written - len(self._blocks):
            reader.state = ReaderState.OVERRUN
            return None
        if reader.next == self._written:
            if self.state is BufferState.CLEARING:
                reader.state = ReaderState.ALL_READ
            return None
        block = self._blocks[reader.next - self._written]
        reader.next += 1
        return block.data, block.samples

    def close(self, reader: Reader) -> None:
        """The reader is done with this experiment."""
        reader.state = ReaderState.WAITING
        reader.cycle += 1
        self._complete()

    def _from(self, index: int) -> list[_Block]:
        return list(self._blocks)[index - self._written :] if index < self._written else []

    def _complete(self) -> None:
        self.active -= 1
        if self.active == 0 and self.state is BufferState.CLEARING:
            self._idle()

    def _idle(self) -> None:
        self.state = BufferState.IDLE
        self._cycle += 1

    def _notify(self) -> None:
        for reader in self._readers:
            reader.notify()
