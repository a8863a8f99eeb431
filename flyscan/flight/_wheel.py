"""The helm of a flight: what its pilot may look at and do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from math import ceil, floor
from typing import Any

import numpy as np

from ..errors import FlyscanError
from ._block import FloatArray, IntArray
from ._clock import Clock
from ._frames import Frames, Sink
from ._intake import Intake
from ._itinerary import Itinerary
from ._monitor import Monitor
from ._pilot import Helm, Scene
from ._places import Discarded
from ._recorder import Listener
from ._route import Route, rest_of, stretch_of
from ._segment import Segment
from ._status import Status
from ._sweep import check_resumable
from ._sweeper import Sweeper
from ._watchdog import cancel

__all__ = ["Wheel"]

PILOT = "pilot"
GO_BACK = "go back"


class Wheel(Helm):
    """Turns a pilot's wishes into changes of the route, of the sweep under way, and into holds.

    Args:
        hold: comes to rest for a reason; see :meth:`Flight.hold`.
        release: takes a reason away.
        epoch_ns: Unix nanoseconds from which times in the run's file count.
    """

    def __init__(
        self,
        scene: Scene,
        route: Route,
        itinerary: Itinerary,
        intake: Intake,
        sweeper: Sweeper,
        status: Status,
        monitors: tuple[Monitor, ...],
        sink: Sink,
        clock: Clock,
        listener: Listener,
        hold: Callable[[str], Coroutine[Any, Any, None]],
        release: Callable[[str], None],
        epoch_ns: int,
    ) -> None:
        self._scene = scene
        self._route = route
        self._itinerary = itinerary
        self._intake = intake
        self._sweeper = sweeper
        self._status = status
        self._monitors = monitors
        self._sink = sink
        self._clock = clock
        self._listener = listener
        self._hold = hold
        self._release = release
        self._epoch_ns = epoch_ns
        self._records: list[dict[str, Any]] = []
        self._superseded: list[IntArray] = []
        self._flagged: list[IntArray] = []
        self._doubtful: list[int] = []
        self._holding: set[asyncio.Task[None]] = set()

    @property
    def scene(self) -> Scene:
        return self._scene

    def now(self) -> float:
        return (self._clock.epoch_ns - self._epoch_ns) / 1e9 + self._clock.now()

    def row_seconds(self, frames: Frames) -> FloatArray:
        return (frames.block.time_ns - self._epoch_ns) / 1e9 + frames.block.exposure

    @property
    def line(self) -> Segment | None:
        return self._sweeper.riding

    @property
    def pace(self) -> float:
        return self._sweeper.pace

    @property
    def stride(self) -> float:
        return self._sweeper.stride

    @property
    def held(self) -> bool:
        return not self._status.may_fly

    async def clearance(self) -> None:
        await self._status.clearance()

    @property
    def next_point(self) -> int:
        return self._intake.next_point

    def monitors(self) -> dict[str, float]:
        now = np.array([self._clock.epoch_ns + round(self._clock.now() * 1e9)])
        return {m.channel.name: float(m.join(now)[0]) for m in self._monitors}

    def line_of(self, segment: int) -> int:
        return self._route.line_of(segment)

    def pass_of(self, segment: int) -> int:
        return self._route.pass_of(segment)

    def fits(self, segment: Segment) -> str:
        shortest = self._scene.capture.min_period
        if segment.period < shortest * (1 - 1e-9):
            return f"{segment.period:g} s between triggers, the box needs {shortest:g} s"
        try:
            check_resumable(segment, self._scene.limits)
        except FlyscanError as exc:
            return str(exc)
        return ""

    async def retune(self, pace: float | None, stride: float | None) -> int | None:
        return await self._sweeper.retune(pace, stride)

    def detour(self, segment: Segment, line: int, number: int) -> Segment:
        own = self._append(segment, line, number)
        self._itinerary.detour(own)
        self._interrupt(GO_BACK)
        return own

    def _append(self, segment: Segment, line: int, number: int) -> Segment:
        own = self._route.append(segment, line=line, number=number)
        self.note(_appended(own, line, number))
        return own

    async def hold(self, refly_from: int | None) -> bool:
        frame = None if refly_from is None else self._intake.frame_of(refly_from)
        coming = self._intake.stop_frame
        if frame is None and refly_from == self._intake.next_point:
            frame = coming
        if frame is not None:
            self._doubtful.append(frame)
            self._itinerary.again_later(lambda: self._again_since(frame))
        self._status.hold(PILOT)
        self._keep(self._hold(PILOT))
        await asyncio.sleep(0)  # begun before anybody can take the reason away again
        return frame is not None and frame < coming

    @property
    def reflying(self) -> bool:
        return bool(self._doubtful)

    def _again_since(self, frame: int) -> list[tuple[int, int]]:
        """Discard frames from `frame` on; what of it is flown again point by point.

        Where rows are not where their points are, what is flown again is the stretch they were
        taken on.
        """
        again: list[tuple[int, int]] = []
        stretches: list[Segment] = []
        for lost in self._discard(frame):
            index = self._route.segment_of(lost.first)
            if not self._route.elastic(index):
                again.append((lost.first, lost.stop))
                continue
            self.waive(lost.first, lost.stop)
            stretch = self._taken_again(lost, self._route.segment(index))
            if stretch is not None:
                stretches.append(self._append(stretch, self.line_of(index), self.pass_of(index)))
        self._itinerary.detour(*stretches, first=True)
        return again

    def _discard(self, frame: int) -> list[Discarded]:
        self._doubtful.remove(frame)
        found = self._intake.discard(frame)
        for lost in found:
            self._superseded.append(np.arange(lost.frame, lost.frame + lost.stop - lost.first))
        return found

    def release(self) -> None:
        self._release(PILOT)

    def flag(self, first: int, stop: int) -> None:
        frames = np.arange(first, min(stop, self._intake.stop_frame))
        if len(frames):
            self._flagged.append(frames)
            self.note({"event": "flagged", "frames": frames.tolist()})

    def finish(self, line: int | None) -> None:
        self._itinerary.finish(line, self.waive)
        self._interrupt(GO_BACK)

    def waive(self, first: int, stop: int) -> None:
        """Points `first` to `stop` (exclusive) will not be flown."""
        for begin, end in self._intake.waive(first, stop):
            self.note({"event": "waived", "first": begin, "stop": end})

    def continued(self, part: Segment, reached: float, pace: float, stride: float) -> None:
        """Fly what is left of a stretched part next, from where its last row ended.

        As fast as it was, if that leaves room for the ramps, else as planned.
        """
        for speed, length in ((pace, stride), (1.0, stride), (1.0, 1.0)):
            rest = rest_of(part, reached, speed, length)
            if rest is None:
                return
            if not self.fits(rest):
                break
        if self.fits(rest):  # its last row ends beyond the line, and that is too far
            if rest.points == 1:
                return
            rest = rest.part(rest.first_point, rest.end_point - 1)
        own = self._append(rest, self.line_of(part.index), self.pass_of(part.index))
        self._itinerary.detour(own)

    def _taken_again(self, lost: Discarded, planned: Segment) -> Segment | None:
        """The stretch that discarded rows of a stretched segment were taken on; None beyond it."""
        fast, rows = planned.fast or "", lost.stop - lost.first
        end = planned.stop[fast]
        if (end - lost.begin) * planned.step <= 0:
            return None
        end = lost.end if (end - lost.end) * planned.step > 0 else end
        again = stretch_of(planned, lost.begin, end, rows, self._sweeper.pace)
        if not self.fits(again):
            return again
        shortest = max(self._scene.capture.min_period, 1e-9)
        most = (end - lost.begin) / planned.velocity[fast] / shortest
        rows = min(max(rows, ceil((end - lost.begin) / planned.step)), max(1, floor(most)))
        return stretch_of(planned, lost.begin, end, rows, 1.0)

    def note(self, record: Mapping[str, Any]) -> None:
        self._records.append({**record, "flight": self._scene.flight})

    def report(self, row: Mapping[str, Any]) -> None:
        self._listener({"event": "tuning", "row": {**row, "flight": self._scene.flight}})

    async def store(self) -> None:
        """Hand the records so far to the file, and what has become of frames in it."""
        superseded, self._superseded = self._superseded, []
        for frames in superseded:
            await self._sink.supersede(frames)
        flagged, self._flagged = self._flagged, []
        for frames in flagged:
            await self._sink.flag(frames)
        records, self._records = self._records, []
        for record in records:
            await self._sink.add_tuning(record)

    async def close(self) -> None:
        """Nothing the pilot asked for is under way any more.

        What it wanted flown again stands for nothing, even if the flight was stopped before.
        """
        await cancel(*self._holding)
        for frame in tuple(self._doubtful):
            self._discard(frame)
        await self.store()

    def _interrupt(self, reason: str) -> None:
        """Have a sweep under way interrupted, so that the route can be changed."""
        if self._sweeper.riding is None:
            return

        async def rest_and_go_on() -> None:
            try:
                await self._hold(reason)
            finally:
                self._release(reason)

        self._status.hold(reason)
        self._keep(rest_and_go_on())

    def _keep(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine, name="flyscan-pilot-hold")
        self._holding.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._holding.discard(task)
        if not task.cancelled():
            task.exception()  # a hold that fails has failed the flight, which says so


def _appended(segment: Segment, line: int, number: int) -> dict[str, Any]:
    return {
        "event": "segment",
        "index": segment.index,
        "first_point": segment.first_point,
        "points": segment.points,
        "start": dict(segment.start),
        "stop": dict(segment.stop),
        "period": segment.period,
        "trigger": segment.trigger.value,
        "line": line,
        "pass": number,
    }
