"""Time as an injected object: real, scaled, or moved by hand in tests and simulators."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Awaitable
from typing import Protocol, TypeVar, runtime_checkable

T = TypeVar("T")

__all__ = ["Clock", "ManualClock", "RealClock", "ScaledClock"]


@runtime_checkable
class Clock(Protocol):
    """What everything that waits for hardware uses instead of ``time`` and ``asyncio.sleep``."""

    @property
    def epoch_ns(self) -> int:
        """Unix time in nanoseconds at which :meth:`now` was 0."""
        ...

    def now(self) -> float:
        """Monotonic seconds since the clock's epoch."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return when `seconds` of this clock have passed; at least one turn of the loop."""
        ...

    async def sleep_until(self, when: float) -> None:
        """Return when :meth:`now` has reached `when`; at least one turn of the loop."""
        ...


class RealClock:
    """Wall-clock time."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self.epoch_ns = time.time_ns()

    def now(self) -> float:
        return time.monotonic() - self._start

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))

    async def sleep_until(self, when: float) -> None:
        await self.sleep(when - self.now())


class ScaledClock:
    """Wall-clock time running `speed` times as fast."""

    def __init__(self, speed: float) -> None:
        if not 0 < speed < float("inf"):
            raise ValueError(f"speed must be positive and finite, got {speed}")
        self._real = RealClock()
        self._speed = speed
        self.epoch_ns = self._real.epoch_ns

    def now(self) -> float:
        return self._real.now() * self._speed

    async def sleep(self, seconds: float) -> None:
        await self._real.sleep(seconds / self._speed)

    async def sleep_until(self, when: float) -> None:
        await self.sleep(when - self.now())


class ManualClock:
    """Time that moves only when told to: tests jump it, simulators are stepped with it.

    Everything that sleeps on it must live on one event loop. :meth:`advance` wakes sleepers
    in order of their deadlines and lets the loop settle after each, so that what they start
    sees the time of its cause, not the end of the jump.
    """

    SETTLE_TURNS = 20

    def __init__(self, epoch_ns: int = 1_700_000_000_000_000_000) -> None:
        self.epoch_ns = epoch_ns
        self._now = 0.0
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> float:
        return self._now

    @property
    def next_deadline(self) -> float | None:
        """When the next sleeper wakes, or None if nobody sleeps."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    async def sleep(self, seconds: float) -> None:
        await self.sleep_until(self._now + max(0.0, seconds))

    async def sleep_until(self, when: float) -> None:
        if when <= self._now:
            await asyncio.sleep(0)
            return
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (when, next(self._order), future))
        await future

    async def advance(self, seconds: float) -> None:
        """Move time forward, waking everybody whose deadline is passed, in order."""
        await self.advance_to(self._now + seconds)

    async def advance_to(self, when: float) -> None:
        """Move time forward to `when` seconds."""
        await self._settle()
        while (deadline := self.next_deadline) is not None and deadline <= when:
            self._now = max(self._now, deadline)
            _, _, future = heapq.heappop(self._sleepers)
            future.set_result(None)
            await self._settle()
        self._now = max(self._now, when)
        await self._settle()

    async def run(self, awaitable: Awaitable[T]) -> T:
        """Jump from deadline to deadline until `awaitable` is done; its result.

        Raises:
            RuntimeError: it waits for something that no passing of time will bring.
        """
        task = asyncio.ensure_future(awaitable)
        while True:
            await self._settle()
            if task.done():
                return task.result()
            deadline = self.next_deadline
            if deadline is None:
                await self._wait_for_threads(task)
            else:
                await self.advance_to(deadline)

    async def _wait_for_threads(self, task: asyncio.Future[T]) -> None:
        """Nobody sleeps on the clock: a worker thread or a socket must bring the next step."""
        for _ in range(1000):
            await asyncio.sleep(0.005)
            if task.done() or self.next_deadline is not None:
                return
        task.cancel()
        raise RuntimeError("nothing is waiting for the clock, yet the task is not done")

    async def _settle(self) -> None:
        for _ in range(self.SETTLE_TURNS):
            await asyncio.sleep(0)
