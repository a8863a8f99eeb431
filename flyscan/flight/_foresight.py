"""Foresight: the next sweep's triggers are made ready while the stage is still on its way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ._clock import Clock
from ._contract import Capture
from ._sweep import Sweep
from ._watchdog import cancel

__all__ = ["Foresight"]


class Foresight:
    """Follows a sweep to its last trigger, then makes the next one ready.

    All of it may be in vain: what counts is what the flight does next. So it may be given up at
    any time, except that what is being written to the box is written to its end.

    Args:
        capture: makes the triggers.
        clock: time of the flight.
    """

    def __init__(self, capture: Capture, clock: Clock) -> None:
        self._capture = capture
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._writing = False

    def follow(self, sweep: Sweep, following: Callable[[], Sweep | None]) -> None:
        """Begin with a sweep that has just started; `following` plans the next one."""
        work = self._follow(sweep, following)
        self._task = asyncio.create_task(work, name="flyscan-foresight")

    async def _follow(self, sweep: Sweep, following: Callable[[], Sweep | None]) -> None:
        self._writing = False
        # The run-down is as long as the run-up; a dwell has neither.
        await self._clock.sleep(sweep.duration - sweep.ramp)
        await self._capture.triggered(sweep)
        upcoming = following()
        if upcoming is not None:
            self._writing = True
            await self._capture.ready(upcoming)

    async def rested(self) -> None:
        """The sweep is over, however it ended: no trigger is waited for any more."""
        task = self._task
        if task is not None and not task.done() and not self._writing:
            await self.give_up()

    async def settle(self) -> None:
        """Nothing is under way any more when this returns.

        Raises:
            FlyscanError: what following or preparing failed of.
        """
        await self.rested()
        task, self._task = self._task, None
        if task is not None:
            await task

    async def give_up(self) -> None:
        """Break it off, whatever it does. Idempotent."""
        task, self._task = self._task, None
        await cancel(task)
        if task is not None and not task.cancelled():
            task.exception()  # nobody needs what was foreseen
