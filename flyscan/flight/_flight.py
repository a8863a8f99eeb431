"""A flight: one Motion and one Capture taken along one path, held, resumed, stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping

import numpy as np

from ..errors import FlightAbortedError, FlyscanError
from ._align import Alignment, align_axes
from ._belongings import Belongings
from ._changed import Changed
from ._clock import Clock
from ._contract import Capture, Motion
from ._dead_time import DeadTimes
from ._facts import Facts
from ._frames import Sink
from ._intake import Intake
from ._itinerary import Itinerary
from ._journal import Journal
from ._monitor import Monitor
from ._path import Path
from ._pilot import Pilot, Scene, Steered
from ._recorder import FlightOptions, Listener, Recorder
from ._route import Route
from ._shutter import Shutter
from ._state import Event, State
from ._status import Status
from ._sweep import plan_sweep
from ._sweeper import Sweeper
from ._watchdog import cancel
from ._wheel import Wheel

__all__ = ["Flight"]

GO_BACK = "go back"


class Flight:
    """One kickoff to complete.

    Events go to `listener` as JSON-able dicts with an ``"event"`` key: ``state`` (state, holds,
    point), ``flushed`` (frames readable in the file, counted through the run; points of the
    flight kept), ``preview`` (row), ``ledger`` (row), ``failed`` (error).

    Args:
        number: number of the flight in its run.
        first_frame: frame number of its first frame.
        alignments: axes whose encoders are aligned before it.
        holds: reasons to hold from the beginning: nothing moves before they end.
        journal: where to note what a later process must put back if this one is killed.
        steered: what steers it; None for a flight that goes as planned.
        dead_times: of detectors whose counts are to be corrected.
        shutter: keeps the beam off while no rows are taken; None if there is none.
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
        steered: Steered | None = None,
        dead_times: DeadTimes | None = None,
        shutter: Shutter | None = None,
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
        self._route = Route(path)
        self._itinerary = Itinerary(self._route)
        self._intake = Intake(
            self._route,
            capture.channels(),
            self._take_again,
            device=capture.name,
            flight=number,
            first_frame=first_frame,
            facts=None if steered is None else _facts(capture, steered),
        )
        self._monitors = monitors
        self._steered = steered
        self._pilot: Pilot | None = None
        self._wheel: Wheel | None = None
        self._shutter = shutter
        self._dead_times = dead_times or DeadTimes("flight", {})
        self._recorder = Recorder(
            capture,
            sink,
            monitors,
            self._intake,
            clock,
            listener,
            self._options,
            self._changed,
            self._dead_times,
        )
        self._status = Status(listener, self._changed, lambda: self._intake.next_point, holds)
        self._sweeper = Sweeper(
            motion,
            capture,
            clock,
            self._route,
            self._itinerary,
            self._recorder,
            self._status,
            self._options,
            self._changed,
            shutter,
        )
        self._preparing: asyncio.Task[None] | None = None
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
        return self._status.state

    @property
    def holds(self) -> frozenset[str]:
        """Why the flight does not go on; empty when it may."""
        return self._status.holds

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
        self._status.go(Event.PREPARE)
        preparing = self._preparing = asyncio.create_task(self._prepare(), name="flyscan-prepare")
        try:
            await asyncio.wait((preparing,))
        except asyncio.CancelledError:
            await self.stop()
            raise
        if self.state is not State.PREPARING:
            await self._finished.wait()
            raise self.error or FlightAbortedError("stopped while preparing", device="flight")
        if preparing.cancelled() or preparing.exception() is not None:
            await self._end(_outcome(preparing))
            raise self.error or FlightAbortedError("preparation was cancelled", device="flight")
        self._status.go(Event.PREPARED)

    async def _prepare(self) -> None:
        await self._belongings.settle()
        limits = self._sweeper.limits = await self._motion.limits()
        self._path.validate(limits, min_period=self._capture.capabilities.min_period)
        self._capture.validate(self._path)
        await self._motion.check(self._path)
        await self._capture.check(self._path)
        if self._steered is not None:
            await self._board(self._steered)
        await self._belongings.save(self._path)
        await self._status.permission()
        async with self._sweeper.command:
            await align_axes(self._motion, self._capture, self._alignments, limits)
        await self._sink.begin_flight(self._number, self._path.to_dict())
        await self._capture.arm(self._path, 0)
        await self._sweeper.go_to(plan_sweep(self._path.segment(0), 0, limits))

    async def _board(self, steered: Steered) -> None:
        """Let the pilot look at what is to be flown, and refuse it."""
        captured = self._capture.channels()
        derived = self._dead_times.channels(captured)
        channels = (*captured, *derived, *(m.channel for m in self._monitors))
        scene = Scene(
            path=self._path,
            limits=self._sweeper.limits,
            motion=self._motion.capabilities,
            capture=self._capture.capabilities,
            channels=tuple(c.name for c in channels if c.shape == ()),
            positions={c.axis: c.name for c in channels if c.axis is not None},
            flight=self._number,
        )
        wheel = self._wheel = Wheel(
            scene,
            self._route,
            self._itinerary,
            self._intake,
            self._sweeper,
            self._status,
            self._monitors,
            self._sink,
            self._clock,
            self._listener,
            self.hold,
            self.release,
            steered.epoch_ns,
        )
        pilot = self._pilot = steered.pilot(wheel)
        await pilot.open()
        self._recorder.steered_by(pilot, wheel.store)
        self._sweeper.steered_by(pilot, wheel)

    def kickoff(self) -> None:
        """Start; :meth:`wait` tells the end."""
        self._status.go(Event.KICKOFF)
        # Made here and not by its supervisor: a stop may come before that has run at all.
        self._flying = asyncio.create_task(self._sweeper.fly(), name="flyscan-fly")
        self._supervisor = asyncio.create_task(self._supervise(self._flying), name="flyscan-flight")

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
        if self.state.final:
            return
        if self.state in (State.ENDING, State.STOPPING):
            await self._finished.wait()
            return
        self._status.hold(reason)
        if self.state is State.FLYING:
            self._status.go(Event.HOLD)
            await self._rest()
        elif self.state is State.PREPARING:
            self._status.report()
            await self._sweeper.hold_approach()
        elif self.state is State.HOLDING:
            await self._changed.wait_for(lambda: self.state is not State.HOLDING)
        else:
            self._status.report()

    async def _rest(self) -> None:
        try:
            resting = await self._sweeper.come_to_rest()
        except FlyscanError as exc:
            self._fail(exc)
            raise
        if resting:
            self._status.rested()
        else:
            await self._finished.wait()

    def release(self, reason: str) -> None:
        """Take a reason away; the flight goes on when none is left."""
        self._status.release(reason)

    def _take_again(self, first: int, stop: int) -> None:
        """Fly points again that got no row, unless nobody knows any more where they were."""
        if self._wheel is not None and self._route.elastic(self._route.segment_of(first)):
            self._wheel.waive(first, stop)
        else:
            self._itinerary.again(first, stop)

    def retake(self, points: Iterable[int]) -> None:
        """Fly some points again after the sweep under way, and go on; see :meth:`fly_again`.

        Raises:
            IndexError: the path has no such points.
        """
        found = np.unique(np.fromiter(points, np.int64))
        for stretch in np.split(found, np.flatnonzero(np.diff(found) > 1) + 1):
            if len(stretch):
                self._itinerary.again(int(stretch[0]), int(stretch[-1]) + 1)

    async def fly_again(self, first: int, stop: int) -> None:
        """Come to rest, fly points `first` to `stop` (exclusive) again, and go on.

        The new frames stand for these points from then on; the old ones stay in the file.

        Raises:
            IndexError: the path has no such points.
        """
        self._itinerary.again(first, stop)
        if not self.state.final:
            await self.hold(GO_BACK)
            self.release(GO_BACK)

    async def stop(self) -> None:
        """Stop motion and triggers now, keep what was captured, put settings back."""
        if self.state.final:
            return
        if self.state is not State.STOPPING and not self._closing:
            preparing = self._supervisor is None
            self._status.go(Event.STOP)
            await cancel(self._preparing)
            await self._sweeper.break_off()
            if preparing:
                await self._end(None)
            else:
                await cancel(self._flying)
        await self._finished.wait()

    # --- start to end ----------------------------------------------------------------------

    async def _supervise(self, flying: asyncio.Task[None]) -> None:
        """Run the tasks; whatever happens, hardware ends safe and restored."""
        intake = asyncio.create_task(self._recorder.run(), name="flyscan-intake")
        flush = asyncio.create_task(self._recorder.flush_regularly(), name="flyscan-flush")
        pending = {flying, intake, flush}
        if self._pilot is not None:
            steering = asyncio.create_task(self._pilot.steer(), name="flyscan-pilot")
            pending.add(steering)
        every = tuple(pending)
        cause: BaseException | None = None
        try:
            while not {flying, intake}.isdisjoint(pending) and cause is None:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                cause = next((o for o in map(_outcome, done) if o is not None), None)
        except asyncio.CancelledError as exc:  # the loop is being closed
            cause = exc
            raise
        finally:
            await cancel(*(task for task in every if task is not intake))
            await self._end(cause, intake)

    async def _end(
        self, cause: BaseException | None, intake: asyncio.Task[None] | None = None
    ) -> None:
        """Leave hardware safe, data complete and the state final."""
        self._closing = True  # too late for anybody else to stop it
        stopping = self.state is State.STOPPING
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
            self._status.go(Event.STOPPED)
        elif self.error is not None:
            self._status.go(Event.FAIL)
            self._listener({"event": "failed", "error": self.error.to_dict()})
        else:
            self._status.go(Event.FINISHED)
        self._finished.set()
        self._changed.notify()

    async def _make_safe(self, intake: asyncio.Task[None] | None) -> None:
        """Stop motion and triggers, then take in what was captured until then.

        One of them failing must not spare the other, and both have been told by then; their
        complaints are secondary to the cause.
        """
        self._recorder.winding_up = True
        stops = [self._motion.stop(), self._capture.stop(), self._shut()]
        await asyncio.gather(*stops, return_exceptions=True)
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
            self._leave_helm,
            self._shut,
            self._recorder.finish,
            lambda: self._belongings.restore(self._motion),
            lambda: self._belongings.restore(self._capture),
        )

    async def _shut(self) -> None:
        if self._shutter is not None:
            await self._shutter.shut()

    async def _leave_helm(self) -> None:
        if self._pilot is not None and self._wheel is not None:
            await self._pilot.close()
            await self._wheel.close()

    async def _try(self, step: Callable[[], Awaitable[None]]) -> BaseException | None:
        """Run one closing step; every one is tried, whatever became of the others."""
        try:
            await step()
        except Exception as exc:
            return exc
        return None

    def _fail(self, cause: BaseException) -> None:
        """Fail the flight for a reason found outside its own tasks."""
        if self._cause is None and not self.state.final:
            self._cause = cause
            if self._flying is not None:
                self._flying.cancel()


def _facts(capture: Capture, steered: Steered) -> Facts:
    return Facts(capture.channels(), steered.i0, steered.nominal)


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
