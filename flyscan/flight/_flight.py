"""A flight: one Motion and one Capture taken along one path, held, resumed, stopped."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping

from ..errors import CaptureError, FlightAbortedError, FlyscanError, LedgerError
from ._align import Alignment, align_axes
from ._belongings import Belongings
from ._changed import Changed
from ._clock import Clock
from ._contract import Capture, JoinOutcome, Motion
from ._frames import Sink
from ._intake import Intake, SegmentAccount
from ._journal import Journal
from ._limits import AxisLimits
from ._monitor import Monitor
from ._path import Path
from ._recorder import FlightOptions, Listener, Recorder
from ._segment import Segment
from ._state import Event, State, next_state
from ._sweep import Sweep, plan_sweep
from ._watchdog import cancel, overdue, within

__all__ = ["Flight"]

GO_BACK = "go back"


class Flight:
    """One kickoff to complete.

    Events go to `listener` as JSON-able dicts with an ``"event"`` key: ``state`` (state, holds,
    point), ``flushed`` (frames readable in the file, counted through the run), ``preview``
    (row), ``ledger`` (row), ``failed`` (error).

    Args:
        number: number of the flight in its run.
        first_frame: frame number of its first frame.
        alignments: axes whose encoders are aligned before it.
        holds: reasons to hold from the beginning: nothing moves before they end.
        journal: where to note what a later process must put back if this one is killed.
    """

    def __init__(
        self,
        motion: Motion,
        capture: Capture,
        sink: Sink,
        clock: Clock,
        path: Path,
        listener: Listener,
        *,
        monitors: tuple[Monitor, ...] = (),
        number: int = 0,
        first_frame: int = 0,
        options: FlightOptions | None = None,
        alignments: Mapping[str, Alignment] | None = None,
        holds: frozenset[str] = frozenset(),
        journal: Journal | None = None,
    ) -> None:
        self._motion = motion
        self._capture = capture
        self._sink = sink
        self._clock = clock
        self._path = path
        self._listener = listener
        self._number = number
        self._options = options or FlightOptions()
        self._alignments = alignments or {}
        self._belongings = Belongings((motion, capture), journal)
        self._changed = Changed()
        self._intake = Intake(path, capture.channels(), flight=number, first_frame=first_frame)
        self._recorder = Recorder(
            capture, sink, monitors, self._intake, clock, listener, self._options, self._changed
        )
        self._state = State.IDLE
        self._holds = set(holds)
        self._may_fly = asyncio.Event()
        if not holds:
            self._may_fly.set()
        self._command = asyncio.Lock()
        self._resting = False
        self._parts: deque[Segment] = deque()
        self._diverted: list[tuple[int, int]] = []
        self._triggered = 0
        self._counted_to = 0
        self._held_sweep = False
        self._begun: Segment | None = None
        self._limits: Mapping[str, AxisLimits] = {}
        self._preparing: asyncio.Task[None] | None = None
        self._approach: asyncio.Task[None] | None = None
        self._flying: asyncio.Task[None] | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._closing = False
        self._finished = asyncio.Event()
        self._cause: BaseException | None = None
        self.error: FlyscanError | None = None

    # --- what others see -------------------------------------------------------------------

    @property
    def state(self) -> State:
        """Where the flight is."""
        return self._state

    @property
    def holds(self) -> frozenset[str]:
        """Why the flight does not go on; empty when it may."""
        return frozenset(self._holds)

    @property
    def path(self) -> Path:
        """What is flown."""
        return self._path

    @property
    def stop_frame(self) -> int:
        """Frame number after the last frame received."""
        return self._intake.stop_frame

    # --- commands --------------------------------------------------------------------------

    async def prepare(self) -> None:
        """Check everything, then arm and go to the first run-up.

        Raises:
            FlyscanError: any reason not to fly, before hardware moves.
        """
        self._go(Event.PREPARE)
        preparing = self._preparing = asyncio.create_task(self._prepare(), name="flyscan-prepare")
        try:
            await asyncio.wait((preparing,))
        except asyncio.CancelledError:
            await self.stop()
            raise
        if self._state is not State.PREPARING:
            await self._finished.wait()
            raise self.error or FlightAbortedError("stopped while preparing", device="flight")
        if preparing.cancelled() or preparing.exception() is not None:
            await self._end(_outcome(preparing))
            raise self.error or FlightAbortedError("preparation was cancelled", device="flight")
        self._go(Event.PREPARED)

    async def _prepare(self) -> None:
        await self._belongings.settle()
        self._limits = await self._motion.limits()
        self._path.validate(self._limits, min_period=self._capture.capabilities.min_period)
        self._capture.validate(self._path)
        await self._motion.check(self._path)
        await self._capture.check(self._path)
        await self._belongings.save(self._path)
        await self._may_fly.wait()
        async with self._command:
            await align_axes(self._motion, self._capture, self._alignments, self._limits)
        await self._sink.begin_flight(self._number, self._path.to_dict())
        await self._capture.arm(self._path, 0)
        first = plan_sweep(self._path.segment(0), 0, self._limits)
        while not await self._go_to_origin(first):
            await self._may_fly.wait()
            async with self._command:  # a hold has it until everything rests
                pass

    def kickoff(self) -> None:
        """Start; :meth:`wait` tells the end."""
        self._go(Event.KICKOFF)
        self._supervisor = asyncio.create_task(self._supervise(), name="flyscan-flight")

    async def wait(self) -> None:
        """Wait for the end.

        Raises:
            FlyscanError: what the flight failed of, or FlightAbortedError when it was stopped.
        """
        await self._finished.wait()
        if self.error is not None:
            raise self.error

    async def hold(self, reason: str) -> None:
        """Add a reason to hold; return at rest, with every frame captured so far readable.

        While preparing it interrupts the way to the first run-up, and from then to kickoff the
        flight will wait there; at the end it returns when the flight has finished, since then
        nothing moves any more.
        """
        if self._state.final:
            return
        if self._state in (State.ENDING, State.STOPPING):
            await self._finished.wait()
            return
        self._holds.add(reason)
        self._may_fly.clear()
        if self._state is State.FLYING:
            self._go(Event.HOLD)
            try:
                await self._come_to_rest()
            except FlyscanError as exc:
                self._fail(exc)
                raise
        elif self._state is State.PREPARING:
            self._report_state()
            await self._hold_approach()
        elif self._state is State.HOLDING:
            await self._changed.wait_for(lambda: self._state is not State.HOLDING)
        else:
            self._report_state()

    def release(self, reason: str) -> None:
        """Take a reason away; the flight goes on when none is left."""
        self._holds.discard(reason)
        if not self._holds and self._state is not State.HOLDING:
            if self._state is State.HELD:
                self._go(Event.RELEASE)
            self._may_fly.set()
        self._report_state()

    async def fly_again(self, first: int, stop: int) -> None:
        """Come to rest, fly points `first` to `stop` (exclusive) again, and go on.

        The new frames stand for these points from then on; the old ones stay in the file.

        Raises:
            IndexError: the path has no such points.
        """
        if not 0 <= first < stop <= self._path.points:
            raise IndexError(f"points {first} to {stop} are not on a path of {self._path.points}")
        self._diverted.append((first, stop))
        if not self._state.final:
            await self.hold(GO_BACK)
            self.release(GO_BACK)

    async def stop(self) -> None:
        """Stop motion and triggers now, keep what was captured, put settings back."""
        if self._state.final:
            return
        if self._state is not State.STOPPING and not self._closing:
            preparing = self._supervisor is None
            self._go(Event.STOP)
            await cancel(self._preparing)
            await cancel(self._approach)
            if preparing:
                await self._end(None)
            else:
                await cancel(self._flying)
        await self._finished.wait()

    # --- start to end ----------------------------------------------------------------------

    async def _supervise(self) -> None:
        """Run the tasks; whatever happens, hardware ends safe and restored."""
        flying = self._flying = asyncio.create_task(self._fly(), name="flyscan-fly")
        intake = asyncio.create_task(self._recorder.run(), name="flyscan-intake")
        flush = asyncio.create_task(self._recorder.flush_regularly(), name="flyscan-flush")
        pending = {flying, intake, flush}
        cause: BaseException | None = None
        try:
            while not {flying, intake}.isdisjoint(pending) and cause is None:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                cause = next((o for o in map(_outcome, done) if o is not None), None)
        except asyncio.CancelledError as exc:  # the loop is being closed
            cause = exc
            raise
        finally:
            await cancel(flying, flush)
            await self._end(cause, intake)

    async def _end(
        self, cause: BaseException | None, intake: asyncio.Task[None] | None = None
    ) -> None:
        """Leave hardware safe, data complete and the state final."""
        self._closing = True  # too late for anybody else to stop it
        stopping = self._state is State.STOPPING
        cause = self._cause or (None if stopping else cause)
        if stopping or cause is not None:
            await self._make_safe(intake)
        problems = [p for p in [await self._try(step) for step in self._closing_steps] if p]
        self.error = _named(cause or (problems[0] if problems else None))
        if self.error is not None:
            self.error = self._belongings.told(self.error)
        if stopping and self.error is None:
            self.error = FlightAbortedError(
                f"stopped after {self._intake.rows} of {self._path.points} frames",
                device="flight",
                remedy="frames captured so far are in the file",
            )
            self._go(Event.STOPPED)
        elif self.error is not None:
            self._go(Event.FAIL)
            self._listener({"event": "failed", "error": self.error.to_dict()})
        else:
            self._go(Event.FINISHED)
        self._finished.set()
        self._changed.notify()

    async def _make_safe(self, intake: asyncio.Task[None] | None) -> None:
        """Stop motion and triggers, then take in what was captured until then.

        One of them failing must not spare the other, and both have been told by then; their
        complaints are secondary to the cause.
        """
        self._recorder.winding_up = True
        await asyncio.gather(self._motion.stop(), self._capture.stop(), return_exceptions=True)
        if intake is not None and not intake.done():
            timer = asyncio.ensure_future(
                self._clock.sleep(self._capture.capabilities.block_period + 2.0)
            )
            await asyncio.wait((intake, timer), return_when=asyncio.FIRST_COMPLETED)
            await cancel(intake, timer)
        if intake is not None and not intake.cancelled():
            intake.exception()  # taken note of: what came first is the cause

    @property
    def _closing_steps(self) -> tuple[Callable[[], Awaitable[None]], ...]:
        return (
            self._recorder.finish,
            lambda: self._belongings.restore(self._motion),
            lambda: self._belongings.restore(self._capture),
        )

    async def _try(self, step: Callable[[], Awaitable[None]]) -> BaseException | None:
        """Run one closing step; every one is tried, whatever became of the others."""
        try:
            await step()
        except Exception as exc:
            return exc
        return None

    def _fail(self, cause: BaseException) -> None:
        """Fail the flight for a reason found outside its own tasks."""
        if self._cause is None and not self._state.final:
            self._cause = cause
            if self._flying is not None:
                self._flying.cancel()

    # --- the sweeps ------------------------------------------------------------------------

    async def _fly(self) -> None:
        segments = self._path.segments()
        while True:
            part = self._next_part(segments)
            if part is None:
                # Only when every row is in can it be said that nothing has to be flown again.
                await self._recorder.await_last(self._triggered, lambda: self._over)
                self._divert(None)
                if not self._parts:
                    break
                continue
            account = self._intake.account(part)
            account.flown = False
            point = part.first_point
            while point < part.end_point and not self._diverted:
                point = await self._sweep(part, point, account)
            if self._diverted:
                point = await self._settled(point, account)
                if self._begun is part:
                    await self._capture.withdraw()
                    point = await self._note_triggers(account)
                self._divert(part.part(point, part.end_point) if point < part.end_point else None)
            self._intake.account(part).flown = all(p.index != part.index for p in self._parts)
            self._recorder.close_accounts()
        self._go(Event.LANDED)
        self._recorder.winding_up = True
        rows = await self._capture.disarm()
        if rows != self._triggered:
            raise LedgerError(
                f"the box captured {rows} rows for {self._triggered} triggers",
                device=self._capture.name,
                remedy="a trigger was lost or doubled: check cables and gate width",
            )
        await self._recorder.settle(rows, lambda: self._state.final)

    def _next_part(self, segments: Iterator[Segment]) -> Segment | None:
        """What to fly next: first what has to be flown again, then the path."""
        if self._parts:
            return self._parts.popleft()
        return next(segments, None)

    def _divert(self, rest: Segment | None) -> None:
        """Put what has to be flown again before the `rest` of what was interrupted for it."""
        wanted, self._diverted = self._diverted, []
        parts = [p for first, stop in wanted for p in self._cut(first, stop)]
        if rest is not None and parts and parts[-1].end_point == rest.first_point:
            whole = self._path.segment(rest.index)
            if parts[-1].index == rest.index:
                rest = whole.part(parts.pop().first_point, rest.end_point)
        self._parts.extendleft(reversed([*parts, *([rest] if rest is not None else [])]))
        for part in parts:
            self._intake.account(part).flown = False

    def _cut(self, first: int, stop: int) -> Iterator[Segment]:
        """Points `first` to `stop` as parts of their segments."""
        while first < stop:
            segment = self._path.segment(self._path.segment_of(first))
            end = min(stop, segment.end_point)
            yield segment.part(first, end)
            first = end

    async def _sweep(self, part: Segment, point: int, account: SegmentAccount) -> int:
        """Fly a part of the path from `point`; returns the next point to fly."""
        point = await self._settled(point, account)
        if point == part.end_point or self._diverted:
            return point
        sweep = plan_sweep(part, point, self._limits)
        if not await self._approach_origin(sweep, account):
            return point
        began = self._clock.now()
        async with self._command:
            if not self._may_fly.is_set():
                return point
            await self._capture.begin(sweep)
            self._intake.begin(self._triggered, point)
            self._counted_to, self._begun = point, part
            account.spend("reconfiguration", self._clock.now() - began)
            account.sweeps += 1
            began = self._clock.now()
            if not sweep.static:
                await self._motion.start(sweep)
        outcome = await self._ride(sweep)
        if outcome is JoinOutcome.HELD:
            account.holds += 1
            self._held_sweep = True
            point = await self._note_triggers(account)
        else:
            point = await self._note_triggers(account, await self._capture.end(sweep))
            if point < part.end_point and self._may_fly.is_set():
                raise self._missed(sweep, point)
        account.spend("line", self._clock.now() - began)
        return point

    async def _settled(self, point: int, account: SegmentAccount) -> int:
        """Wait until the flight may go on; returns the next point to fly by then."""
        await self._clearance(account)
        if not self._held_sweep:
            return point
        self._held_sweep = False  # a trembling stage may have passed one more point meanwhile
        return await self._note_triggers(account)

    async def _note_triggers(self, account: SegmentAccount, reached: int | None = None) -> int:
        """Count the triggers made since the last look; returns the next point."""
        point = await self._capture.reached() if reached is None else reached
        made = point - self._counted_to
        self._counted_to = point
        self._triggered += made
        account.triggered += made
        self._recorder.expect(self._triggered)
        return point

    async def _clearance(self, account: SegmentAccount) -> None:
        """Wait until no reason to hold is left."""
        if self._may_fly.is_set():
            return
        began = self._clock.now()
        if self._state is State.FLYING:  # held before kickoff: it is at rest already
            self._go(Event.HOLD)
            self._go(Event.RESTED)
        self._resting = True
        self._changed.notify()
        try:
            await self._may_fly.wait()
        finally:
            self._resting = False
        account.spend("waiting", self._clock.now() - began)

    async def _approach_origin(self, sweep: Sweep, account: SegmentAccount) -> bool:
        """Go to the run-up; False if a hold came in between."""
        began = self._clock.now()
        there = await self._go_to_origin(sweep)
        account.spend("turnaround", self._clock.now() - began)
        return there

    async def _go_to_origin(self, sweep: Sweep) -> bool:
        if not self._may_fly.is_set():
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
        return self._may_fly.is_set()

    async def _ride(self, sweep: Sweep) -> JoinOutcome:
        """Wait until the sweep is over or held."""
        if sweep.static:
            return await self._dwell(sweep)
        limit = sweep.duration + self._options.margin
        late = overdue(
            self._motion.name,
            f"the end of segment {sweep.segment.index}",
            limit,
            "check that the stage moves and is not blocked",
        )
        return await within(self._clock, limit, self._motion.join(), late)

    async def _dwell(self, sweep: Sweep) -> JoinOutcome:
        """Frames at rest: time passes instead of distance; a hold cuts it short."""
        timer = asyncio.ensure_future(self._clock.sleep(sweep.duration))
        held = asyncio.ensure_future(
            self._changed.wait_for(
                lambda: not self._may_fly.is_set() and not self._command.locked()
            )
        )
        try:
            await asyncio.wait((timer, held), return_when=asyncio.FIRST_COMPLETED)
            return JoinOutcome.HELD if held.done() else JoinOutcome.DONE
        finally:
            await cancel(timer, held)

    async def _hold_approach(self) -> None:
        """Break off the way to the first run-up; return at rest."""
        async with self._command:
            await cancel(self._approach)
            await self._motion.hold()

    async def _come_to_rest(self) -> None:
        """Hold: triggers first, then the stage, then every row that was triggered."""
        await cancel(self._approach)
        async with self._command:
            await self._capture.hold()
            await self._motion.hold()
        self._changed.notify()
        await self._changed.wait_for(lambda: self._resting or self._over)
        if self._state is not State.HOLDING:
            await self._finished.wait()
            return
        await self._recorder.settle(self._triggered, lambda: self._over)
        if self._state is not State.HOLDING:
            await self._finished.wait()
            return
        self._go(Event.RESTED)
        if not self._holds:
            self._go(Event.RELEASE)
            self._may_fly.set()
        self._changed.notify()

    @property
    def _over(self) -> bool:
        return self._state.final or self._state in (State.ENDING, State.STOPPING)

    def _missed(self, sweep: Sweep, point: int) -> CaptureError:
        segment = sweep.segment
        return CaptureError(
            f"segment {segment.index} ended with {segment.end_point - point} of "
            f"{segment.points} triggers missing, from point {point} on",
            device=self._capture.name,
            remedy="check that the encoder follows the stage and that the run-up begins before "
            "the first trigger",
        )

    # --- state -----------------------------------------------------------------------------

    def _go(self, event: Event) -> None:
        self._state = next_state(self._state, event)
        self._changed.notify()
        self._report_state()

    def _report_state(self) -> None:
        self._listener(
            {
                "event": "state",
                "state": self._state.value,
                "holds": sorted(self._holds),
                "point": self._intake.next_point,
            }
        )


def _outcome(task: asyncio.Task[None]) -> BaseException | None:
    """What a finished task ended with, if not with success."""
    if task.cancelled():
        return asyncio.CancelledError()
    return task.exception()


def _named(cause: BaseException | None) -> FlyscanError | None:
    """Every error leaves a flight as one of ours."""
    if cause is None or isinstance(cause, FlyscanError):
        return cause
    if isinstance(cause, asyncio.CancelledError):
        return FlightAbortedError("the flight's task was cancelled", device="flight")
    return FlyscanError(
        f"unexpected {type(cause).__name__}: {cause}",
        device="flight",
        remedy="this is a defect of flyscan or of a controller binding; report it",
    )
