"""The sweeper: flies part after part, comes to rest when told to, and goes on from there."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from typing import Protocol

from ..errors import LedgerError, WatchdogError
from ._account import SegmentAccount
from ._advance import Advance
from ._changed import Changed
from ._clock import Clock
from ._contract import Capture, JoinOutcome, Motion
from ._foresight import Foresight
from ._itinerary import Itinerary
from ._limits import AxisLimits
from ._pilot import Pilot
from ._recorder import FlightOptions, Recorder
from ._route import Route
from ._segment import Segment, Trigger
from ._shutter import Shutter
from ._state import Event, State
from ._status import Status
from ._sweep import Sweep, plan_sweep
from ._watchdog import cancel, overdue

__all__ = ["Steerable", "Sweeper"]


class Steerable(Protocol):
    """What a flight has to be told of when a pilot's changes leave the route."""

    def waive(self, first: int, stop: int) -> None:
        """Points `first` to `stop` (exclusive) will not be flown."""
        ...

    def continued(self, part: Segment, reached: float, pace: float, stride: float) -> None:
        """Fly what is left of a stretched part next, from where its last row ended."""
        ...


class Sweeper:
    """Joins one Motion and one Capture, sweep by sweep.

    Starting, resuming and going back are the same calls with another first point.
    """

    def __init__(
        self,
        motion: Motion,
        capture: Capture,
        clock: Clock,
        route: Route,
        itinerary: Itinerary,
        recorder: Recorder,
        status: Status,
        options: FlightOptions,
        changed: Changed,
        shutter: Shutter | None = None,
    ) -> None:
        self._shutter = shutter
        self._motion = motion
        self._capture = capture
        self._clock = clock
        self._itinerary = itinerary
        self._route = route
        self._recorder = recorder
        self._intake = recorder.intake
        self._status = status
        self._options = options
        self._changed = changed
        self._approach: asyncio.Task[None] | None = None
        self._triggered = 0
        self._counted_to = 0
        self._held_sweep = False
        self._begun: Segment | None = None
        self._foresight = Foresight(capture, clock)
        self._foreseen: Sweep | None = None
        self._advance: Advance | None = None
        self._overdue_at = 0.0
        self._line = -1
        self._pilot: Pilot | None = None
        self._wheel: Steerable | None = None
        self.riding: Segment | None = None
        self.pace = 1.0
        self.stride = 1.0
        self.command = asyncio.Lock()
        self.limits: Mapping[str, AxisLimits] = {}

    # --- from outside ----------------------------------------------------------------------

    def steered_by(self, pilot: Pilot, wheel: Steerable) -> None:
        """Ask `pilot` how to fly every line; `wheel` takes the consequences of its changes."""
        self._pilot, self._wheel = pilot, wheel

    async def retune(self, pace: float | None, stride: float | None) -> int | None:
        """Change speed and/or step of the sweep under way, as factors of what was planned.

        Returns:
            The first point that is surely flown so; None if nothing sweeps any more.

        Raises:
            ConfigurationError: a box cannot.
        """
        async with self.command:
            segment, advance = self.riding, self._advance
            if segment is None or advance is None or not self._status.may_fly:
                return None
            if stride is not None or segment.trigger is Trigger.TIME:
                self._route.stretch(segment.index)
            if pace is not None:
                await self._motion.retune(pace)
                left = max(0.0, self._overdue_at - self._options.margin - self._clock.now())
                self._overdue_at += left * (self.pace / pace - 1)
                self.pace = pace
            if stride is not None:
                await self._capture.retune(stride)
                self.stride = stride
            advance.change(self._clock.now(), self.pace, self.stride)
            if stride is None:
                return advance.point(self._clock.now() + self._motion.capabilities.horizon)
            return await self._capture.reached() + self._committed(segment)

    def _committed(self, segment: Segment) -> int:
        """Points that are triggered as before though the step was changed."""
        capable = self._capture.capabilities
        return capable.horizon_points + math.ceil(capable.horizon * self.pace / segment.period)

    async def go_to(self, origin: Sweep) -> None:
        """Go to the first run-up, however often it is interrupted on the way."""
        while not await self._go_to_origin(origin):
            await self._status.permission()
            async with self.command:  # a hold has it until everything rests
                pass

    async def hold_approach(self) -> None:
        """Break off the way to the first run-up; return at rest."""
        async with self.command:
            await cancel(self._approach)
            await self._motion.hold()

    async def come_to_rest(self) -> bool:
        """Hold: triggers first, then the stage, then every row that was triggered.

        Returns:
            False if the flight came to its end meanwhile.
        """
        await cancel(self._approach)
        async with self.command:
            await self._capture.hold()
            await self._motion.hold()
        self._changed.notify()
        await self._status.resting()
        if self._status.state is State.HOLDING:
            await self._recorder.settle(self._triggered, lambda: self._status.over)
        return self._status.state is State.HOLDING

    async def break_off(self) -> None:
        """Let no approach go on."""
        await cancel(self._approach)

    # --- the flight ------------------------------------------------------------------------

    async def fly(self) -> None:
        """Fly everything, then end the capture.

        Raises:
            LedgerError: the box has other rows than triggers were made.
        """
        try:
            while await self._fly_next():
                self._recorder.close_accounts()
        finally:
            await self._foresight.give_up()
        self._status.go(Event.LANDED)
        self._recorder.winding_up = True
        rows, rowless = await self._capture.disarm(), self._intake.rowless
        if rows + rowless != self._triggered:
            known = f", {rowless} of which are known to have made none" if rowless else ""
            raise LedgerError(
                f"the box captured {rows} rows for {self._triggered} triggers{known}",
                device=self._capture.name,
                remedy="a trigger was lost or doubled: check cables and gate width",
            )
        await self._recorder.settle(self._triggered, lambda: self._status.state.final)

    async def _fly_next(self) -> bool:
        """Fly the next part; False when nothing is left."""
        part = await self._planned(self._itinerary.next())
        if part is None:
            # Only when every row is in can it be said that nothing has to be flown again.
            await self._recorder.account_for(self._triggered, lambda: self._status.over)
            return bool(self._divert(None))
        account = self._intake.account(part)
        account.flown = False
        point = part.first_point
        while point < part.end_point and not self._itinerary.diverted:
            point = await self._sweep(part, point, account)
            if self._route.elastic(part.index):
                await self._go_on_elsewhere(part, point, account)
                break
        if self._itinerary.diverted:
            point = await self._leave(part, point, account)
            given_up = point == part.end_point or self._route.elastic(part.index)
            self._divert(None if given_up else part.part(point, part.end_point))
        account.flown = not self._itinerary.pending(part.index)
        await self._end_line()
        return True

    async def _planned(self, part: Segment | None) -> Segment | None:
        """The part in the way the pilot wants it flown, if it begins a line of the path."""
        if part is None or self._pilot is None or self._wheel is None:
            return part
        if not self._line < part.index < self._route.path.segment_count:
            return part
        self._line = part.index
        planned = await self._pilot.begin(part)
        if planned is not part:
            self._route.plan(planned)
        if planned.end_point < part.end_point:
            self._intake.account(part)
            self._wheel.waive(planned.end_point, part.end_point)
        return planned

    async def _end_line(self) -> None:
        """Once nothing of the line is left to fly and all its rows are in, ask for more of it."""
        if self._pilot is None or self._itinerary.pending_on(self._line):
            return
        await self._await_rows_on_the_way()
        if not self._itinerary.diverted:
            await self._pilot.end()
        if self._itinerary.diverted:
            self._divert(None)

    async def _await_rows_on_the_way(self) -> None:
        """Wait for the last rows of a line; meanwhile go where the next line is planned to begin.

        How it will be flown, or whether something else comes first, is decided with those rows;
        the way that is left then is mostly none.
        """
        upcoming = None if self._itinerary.diverted else self._itinerary.upcoming()
        way: asyncio.Task[bool] | None = None
        if upcoming is not None and self._intake.triggers < self._triggered:
            sweep = plan_sweep(upcoming, upcoming.first_point, self.limits)
            way = asyncio.create_task(self._go_to_origin(sweep), name="flyscan-ahead")
        try:
            await self._recorder.account_for(self._triggered, lambda: self._status.over)
            if way is not None:
                await way
        finally:
            await cancel(way)

    async def _go_on_elsewhere(self, part: Segment, point: int, account: SegmentAccount) -> None:
        """The rest of a stretched part begins where its last row ended, not at its next point."""
        if self._wheel is None:
            return
        point = await self._leave(part, point, account)
        await self._recorder.account_for(self._triggered, lambda: self._status.over)
        if point < part.end_point:
            self._wheel.waive(point, part.end_point)
        reached = self._intake.last_stop
        if part.trigger is Trigger.POSITION:  # a row stands for its step, however short its gate
            reached = self._intake.last_start + self.stride * part.step
        self._wheel.continued(part, reached, self.pace, self.stride)

    def _bridge(self, part: Segment) -> int:
        """Points that are flown in the time a sweep of their segment takes beside its points."""
        overhead = plan_sweep(part, part.first_point, self.limits).duration - part.duration
        return int(overhead / part.period)

    def _divert(self, rest: Segment | None) -> list[Segment]:
        again = self._itinerary.divert(rest, self._bridge)
        for part in again:
            self._intake.account(part).flown = False
        return again

    async def _leave(self, part: Segment, point: int, account: SegmentAccount) -> int:
        """Take back the triggers before going elsewhere; returns the next point by then."""
        point = await self._settled(part, point, account)
        self._held_sweep = False
        if self._begun is part:
            await self._foresight.settle()
            await self._capture.withdraw()
            point = await self._note_triggers(account)
        return point

    async def _sweep(self, part: Segment, point: int, account: SegmentAccount) -> int:
        """Fly a part of the path from `point`; returns the next point to fly."""
        point = await self._settled(part, point, account)
        if point == part.end_point or self._itinerary.diverted:
            return point
        sweep = self._plan(part, point)
        began = self._clock.now()
        there = await self._go_to_origin(sweep)
        account.spend("turnaround", self._clock.now() - began)
        if not there:
            return point
        if (passed := await self._passed_at_rest(part, point, account)) != point:
            return passed
        if not await self._start(sweep, account):
            return point
        began = self._clock.now()
        self._foresight.follow(sweep, self._following)
        outcome = await self._ride(sweep)
        await self._foresight.rested()
        if outcome is JoinOutcome.HELD:
            account.holds += 1
            point = await self._note_triggers(account)
            self._held_sweep = point < part.end_point
        elif self._route.elastic(part.index):
            # There may be fewer places for triggers than points, and a train goes on at rest.
            timed = part.trigger is Trigger.TIME
            reached = await (self._capture.hold() if timed else self._capture.end(sweep))
            await self._capture.withdraw()
            point = await self._note_triggers(account, reached)
        else:
            point = await self._note_triggers(account, await self._capture.end(sweep))
            if point < part.end_point and self._status.may_fly:
                point = await self._fell_short(part, point, account)
        if self._shutter is not None:
            await self._shutter.shut()
        account.spend("line", self._clock.now() - began)
        return point

    def _plan(self, part: Segment, point: int) -> Sweep:
        """The sweep of a part from a point on; the one that was foreseen, if that is it."""
        sweep, self._foreseen = self._foreseen, None
        if sweep is not None and sweep.segment is part and sweep.from_point == point:
            return sweep
        return plan_sweep(part, point, self.limits)

    def _following(self) -> Sweep | None:
        """What comes next if nothing comes in between; a pilot decides that on the spot."""
        if self._pilot is not None or self._itinerary.diverted:
            return None
        part = self._itinerary.upcoming()
        self._foreseen = None if part is None else self._plan(part, part.first_point)
        return self._foreseen

    async def _fell_short(self, part: Segment, point: int, account: SegmentAccount) -> int:
        """The sweep is over and triggers from `point` on did not come; the next point to fly.

        Raises:
            CaptureError: it is the same however often it is flown.
        """
        await self._capture.withdraw()
        point = await self._note_triggers(account)
        if point < part.end_point:
            self._intake.lose(part, point, part.end_point)
            self._intake.raise_hopeless()
        return point

    async def _start(self, sweep: Sweep, account: SegmentAccount) -> bool:
        """Make triggers ready and set off; False if a hold was faster."""
        began = self._clock.now()
        async with self.command:
            if not self._status.may_fly:
                return False
            await self._foresight.settle()
            await self._capture.begin(sweep)
            self._intake.begin(self._triggered, sweep.from_point)
            self._counted_to, self._begun = sweep.from_point, sweep.segment
            self._held_sweep = False
            account.spend("reconfiguration", self._clock.now() - began)
            account.sweeps += 1
            if self._shutter is not None:
                await self._shutter.open()
            self._advance = Advance(sweep, self._clock.now())
            if not sweep.static:
                await self._motion.start(sweep)
        return True

    async def _settled(self, part: Segment, point: int, account: SegmentAccount) -> int:
        """Wait until the flight may go on; returns the next point to fly by then."""
        began = self._clock.now()
        held = not self._status.may_fly
        await self._status.clearance()
        if held:
            account.spend("waiting", self._clock.now() - began)
        return await self._passed_at_rest(part, point, account)

    async def _passed_at_rest(self, part: Segment, point: int, account: SegmentAccount) -> int:
        """The next point of a sweep that was held, whose stage may have trembled past one more.

        It may until it has left for the run-up: there it is asked for the last time.
        """
        if self._held_sweep:
            point = await self._note_triggers(account)
            self._held_sweep = point < part.end_point
        return point

    async def _note_triggers(self, account: SegmentAccount, reached: int | None = None) -> int:
        """Count the triggers made since the last look; returns the next point."""
        point = await self._capture.reached() if reached is None else reached
        made = point - self._counted_to
        self._counted_to = point
        self._triggered += made
        account.triggered += made
        self._recorder.expect(self._triggered)
        return point

    async def _go_to_origin(self, sweep: Sweep) -> bool:
        """Go to the run-up; False if a hold came in between."""
        if not self._status.may_fly:
            return False
        self._approach = asyncio.create_task(self._motion.prepare(sweep), name="flyscan-approach")
        try:
            await asyncio.wait((self._approach,))
        except asyncio.CancelledError:
            await cancel(self._approach)
            raise
        if self._approach.cancelled():
            return False
        self._approach.result()
        return self._status.may_fly

    async def _ride(self, sweep: Sweep) -> JoinOutcome:
        """Wait until the sweep is over or held."""
        if sweep.static:
            return await self._dwell(sweep)
        self._overdue_at = self._clock.now() + sweep.duration + self._options.margin
        self.riding, self.pace, self.stride = sweep.segment, 1.0, 1.0
        joining = asyncio.ensure_future(self._motion.join())
        try:
            while not joining.done():
                left = self._overdue_at - self._clock.now()
                if left <= 0:
                    raise self._too_late(sweep)
                timer = asyncio.ensure_future(self._clock.sleep(left))
                await asyncio.wait((joining, timer), return_when=asyncio.FIRST_COMPLETED)
                await cancel(timer)
            return joining.result()
        finally:
            self.riding = None
            await cancel(joining)

    def _too_late(self, sweep: Sweep) -> WatchdogError:
        return overdue(
            self._motion.name,
            f"the end of segment {sweep.segment.index}",
            sweep.duration + self._options.margin,
            "check that the stage moves and is not blocked",
        )

    async def _dwell(self, sweep: Sweep) -> JoinOutcome:
        """Frames at rest: time passes instead of distance; a hold cuts it short."""
        timer = asyncio.ensure_future(self._clock.sleep(sweep.duration))
        held = asyncio.ensure_future(
            self._changed.wait_for(lambda: not self._status.may_fly and not self.command.locked())
        )
        try:
            await asyncio.wait((timer, held), return_when=asyncio.FIRST_COMPLETED)
            return JoinOutcome.HELD if held.done() else JoinOutcome.DONE
        finally:
            await cancel(timer, held)
