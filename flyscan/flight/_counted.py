"""A capture whose triggers also reach detectors that count and store their frames themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from ..errors import CaptureError, WatchdogError
from ._block import Block
from ._clock import Clock
from ._contract import Capture
from ._path import Path
from ._segment import Trigger
from ._sweep import Sweep
from ._watchdog import within

__all__ = ["CountedCapture"]

PATIENCE = 60.0
POLL = 0.01


class CountedCapture:
    """A :class:`Capture` that lets triggers begin only when the frames of all earlier ones came.

    While triggers come, a frame that is missing cannot be told from one that is on its way, and
    the next line would hide it. So frames are counted where no triggers come: after every sweep,
    while the stage goes to the next one, and before the capture ends. An event ``count`` asks
    for it: its ``number``, the triggers of the run so far (``frames``), the ``segment`` the
    latest belong to, and whether they are the flight's ``last``. :meth:`counted` answers.

    A train of timed triggers is never cut: a detector would keep the frame of the row that was
    under way, and the capture would not. It comes to its end instead, and so does the sweep.

    A trigger that made no row ends the flight. A detector may have its frame all the same, or not;
    from there on nobody could tell by its number which row a frame belongs to.

    Whatever else the contract has is handed through.

    Args:
        capture: what makes the triggers.
        detectors: names of the detectors, for messages.
        clock: time.
        ask: gets the events.
    """

    def __init__(
        self,
        capture: Capture,
        detectors: Sequence[str],
        clock: Clock,
        ask: Callable[[dict[str, Any]], None],
    ) -> None:
        self._capture = capture
        self._detectors = ", ".join(detectors)
        self._clock = clock
        self._ask = ask
        self._point = 0
        self._segment = 0
        self._train: Sweep | None = None
        self._made = 0
        self._asked_for = 0
        self._questions = 0
        self._answers = 0
        self._answered = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._capture, name)

    def counted(self, number: int) -> None:
        """Question `number` is answered: all detectors have as many frames as it said."""
        self._answers = max(self._answers, number)
        self._answered.set()

    async def arm(self, path: Path, from_point: int) -> None:
        await self._capture.arm(path, from_point)
        self._point = from_point

    async def begin(self, sweep: Sweep) -> None:
        """Wait for the count, then as any capture.

        Raises:
            WatchdogError: nobody counts.
        """
        await self._count(last=False)
        await self._capture.begin(sweep)
        self._segment, self._point = sweep.segment.index, sweep.from_point
        timed = sweep.static or sweep.segment.trigger is Trigger.TIME
        self._train = sweep if timed else None

    async def reached(self) -> int:
        return self._note(await self._capture.reached())

    async def end(self, sweep: Sweep) -> int:
        """As any capture; asks for the count, which goes on while the stage turns around."""
        point = self._note(await self._capture.end(sweep))
        self._train = None
        self._question(last=False)
        return point

    async def hold(self) -> None:
        """As any capture, after the end of a timed train."""
        train = self._train
        while train is not None and self._train is train:
            if await self._capture.reached() >= train.segment.end_point:
                break
            await self._clock.sleep(POLL)
        await self._capture.hold()

    async def disarm(self) -> int:
        """Wait for the last count, then as any capture.

        Raises:
            WatchdogError: nobody counts.
        """
        await self._count(last=True)
        return await self._capture.disarm()

    async def captured(self) -> int:
        """As any capture.

        Raises:
            CaptureError: the latest triggers made no row.
        """
        rows = await self._capture.captured()
        if rows < self._made:
            raise self._rowless(rows, self._made)
        return rows

    async def blocks(self) -> AsyncIterator[Block]:
        """As any capture.

        Raises:
            CaptureError: triggers made no row.
        """
        expected = 0
        async for block in self._capture.blocks():
            if block.first != expected:
                raise self._rowless(expected, block.first)
            expected = block.stop
            yield block

    def _rowless(self, first: int, stop: int) -> CaptureError:
        which = f"trigger {first}" if stop == first + 1 else f"triggers {first} to {stop - 1}"
        return CaptureError(
            f"{which} of the flight made no row, so that rows and frames of {self._detectors} "
            "would not match from there on",
            device=self._capture.name,
            remedy="check the trigger wiring, and that the exposure is shorter than the time "
            "between triggers; fly again",
        )

    def _note(self, point: int) -> int:
        """Count the triggers made up to `point`."""
        if point > self._point:
            self._made += point - self._point
            self._point = point
        return point

    def _question(self, *, last: bool) -> None:
        if not last and self._asked_for == self._made:
            return
        self._asked_for = self._made
        self._questions += 1
        self._ask(
            {
                "event": "count",
                "number": self._questions,
                "frames": self._made,
                "segment": self._segment,
                "last": last,
            }
        )

    async def _count(self, *, last: bool) -> None:
        self._question(last=last)
        late = WatchdogError(
            f"nobody has counted the {self._made} frames of {self._detectors} within "
            f"{PATIENCE:g} s",
            device=self._capture.name,
            remedy="check that the RunEngine's process runs and is not kept busy by a subscriber",
        )
        await within(self._clock, PATIENCE, self._all_answered(), late)

    async def _all_answered(self) -> None:
        while self._answers < self._questions:
            self._answered.clear()
            await self._answered.wait()
