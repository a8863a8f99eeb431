"""The capture half of the in-memory box: exact triggers, on any clock."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import numpy as np

from ..errors import BusyError, ConfigurationError, LimitError, NotReadyError
from ..flight import (
    Block,
    Capture,
    CaptureCapabilities,
    Channel,
    Clock,
    EndReason,
    FloatArray,
    Path,
    RestoreStep,
    Segment,
    Sweep,
    Trigger,
)
from ._memory_motion import MemoryMotion

__all__ = ["MemoryCapture"]

#: Triggers come at least this far, in steps, before the end of the line: the rounding of floats.
SHORT = 1e-9

#: Value of every row, from axis to its mean position and from the clock's seconds at its trigger.
Signal = Callable[[Mapping[str, FloatArray], FloatArray], FloatArray]


class MemoryCapture(Capture):
    """Captures positions at exact crossings of the trigger positions, or at exact times.

    Attributes:
        signals: name of each channel beside the positions to what it shows.
    """

    def __init__(
        self,
        name: str,
        motion: MemoryMotion,
        clock: Clock,
        min_period: float,
        block_period: float,
        duty: float,
    ) -> None:
        self.name = name
        self._motion = motion
        self._clock = clock
        self._capabilities = CaptureCapabilities(
            min_period=min_period,
            block_period=block_period,
            step_in_flight=True,
            horizon_points=1,
            holds_armed=True,
        )
        self._duty = duty
        self.signals: dict[str, Signal] = {"signal": _ripple}
        self.settings = {"armed": "0", "step": "0"}
        self._found: dict[str, str] | None = None
        self._path: Path | None = None
        self._segment: Segment | None = None
        self._retuned: tuple[int, float, float] | None = None
        self._point = 0
        self._seen = 0.0
        self._train: float | None = None
        self._times: list[float] = []
        self._delivered = 0
        self._running = False
        self._ending = asyncio.Event()
        self._end: EndReason | None = None
        self._numbers: list[int] = []
        self._triggers = 0
        #: Point to how many of its triggers make no row from now on.
        self.lose: dict[int, int] = {}

    @property
    def capabilities(self) -> CaptureCapabilities:
        return self._capabilities

    def channels(self) -> tuple[Channel, ...]:
        axes = tuple(
            Channel(a, unit="um", axis=a, source=f"memory://{self.name}/{a}")
            for a in self._motion.axes
        )
        signals = tuple(Channel(s, source=f"memory://{self.name}/{s}") for s in self.signals)
        return axes + signals

    async def connect(self) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        """Nothing to close."""

    def validate(self, path: Path) -> tuple[str, ...]:
        unknown = set(path.axes) - set(self._motion.axes)
        if unknown:
            raise ConfigurationError(
                f"no encoder for axis {', '.join(sorted(unknown))}",
                device=self.name,
                remedy="wire it, or trigger by time",
            )
        if path.period < self._capabilities.min_period:
            raise LimitError(
                f"{path.period:g} s per point, the triggers need {self._capabilities.min_period:g}",
                device=self.name,
                remedy="use a longer period per point",
            )
        return ()

    async def check(self, path: Path) -> None:
        if self.settings["armed"] == "1":
            raise BusyError("armed by another flight", device=self.name, remedy="stop that first")

    async def save(self, path: Path) -> None:
        self._found = self._found or dict(self.settings)

    async def align(
        self,
        axis: str,
        readback: Callable[[], Awaitable[float]],
        *,
        tolerance: float,
        move: Callable[[float], Awaitable[None]] | None = None,
        distance: float = 0.0,
    ) -> float:
        """Verify that the motor follows; the encoder is the stage itself and needs no setting."""
        if axis not in self._motion.trajectories:
            raise ConfigurationError(
                f"no encoder for axis {axis}",
                device=self.name,
                remedy=f"use one of {', '.join(self._motion.axes)}",
            )
        off = await self._compare(axis, readback, tolerance)
        if move is None:
            return off
        here = self._encoder(axis)
        await move(here + distance)
        try:
            await self._compare(axis, readback, tolerance)
        finally:
            await move(here)
        return await self._compare(axis, readback, tolerance)

    def _encoder(self, axis: str) -> float:
        return self._motion.trajectories[axis].at(self._clock.now())[0]

    async def _compare(
        self, axis: str, readback: Callable[[], Awaitable[float]], tolerance: float
    ) -> float:
        """Encoder minus motor position."""
        motor, encoder = await readback(), self._encoder(axis)
        if abs(encoder - motor) > tolerance:
            raise NotReadyError(
                f"the encoder is at {encoder:g}, the motor at {motor:g}; they may differ by "
                f"{tolerance:g}",
                device=axis,
                remedy="check that the encoder belongs to this axis",
            )
        return encoder - motor

    async def arm(self, path: Path, from_point: int) -> None:
        self.settings["armed"] = "1"
        self._path, self._point, self._segment = path, from_point, None
        self._times, self._numbers, self._triggers = [], [], 0
        self._delivered, self._train = 0, None
        self._running, self._end = True, None
        self._ending.clear()

    async def begin(self, sweep: Sweep) -> None:
        self._catch_up()
        self._segment, self._point, self._retuned = sweep.segment, sweep.from_point, None
        self.settings["step"] = repr(sweep.segment.step)
        self._seen = self._clock.now()
        self._train = self._seen if sweep.static else None

    async def triggered(self, sweep: Sweep) -> None:
        period = sweep.segment.period
        while (left := sweep.segment.end_point - await self.reached()) > 0:
            await self._clock.sleep(left * period / 2)
        exposed = self._times[-1] + self._duty * period if self._times else 0.0
        await self._clock.sleep_until(exposed)

    async def ready(self, sweep: Sweep) -> None:
        self._catch_up()
        self._segment = None

    async def reached(self) -> int:
        self._catch_up()
        return self._point

    async def hold(self) -> None:
        self._catch_up()
        if self._segment is not None and self._segment.trigger is Trigger.TIME:
            self._train = None
            self._segment = None

    async def withdraw(self) -> None:
        self._catch_up()
        self._segment = None

    async def end(self, sweep: Sweep) -> int:
        self._catch_up()
        return self._point

    async def retune(self, factor: float) -> None:
        """The next point stays where it is, those behind it come at the new step."""
        if not 0 < factor < math.inf:
            raise LimitError(
                f"cannot fly at {factor:g} times the step", device=self.name, remedy="use another"
            )
        self._catch_up()
        segment = self._segment
        if segment is None or segment.fast is None:
            return
        if segment.trigger is Trigger.TIME:
            raise ConfigurationError(
                "cannot change the period of a train under way",
                device=self.name,
                remedy="trigger by position, or change the speed",
            )
        if self._point < segment.end_point:
            place = self._place(segment, segment.fast)
            self._retuned = self._point, place, factor * segment.step

    async def captured(self) -> int:
        self._catch_up()
        return len(self._times)

    async def disarm(self) -> int:
        self._finish("Ok")
        return len(self._times)

    async def blocks(self) -> AsyncIterator[Block]:
        while True:
            timer = asyncio.ensure_future(self._clock.sleep(self._capabilities.block_period))
            ending = asyncio.ensure_future(self._ending.wait())
            try:
                await asyncio.wait((timer, ending), return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (timer, ending):
                    task.cancel()
                await asyncio.gather(timer, ending, return_exceptions=True)
            self._catch_up()
            finished = not self._running
            while len(self._times) > self._delivered:
                yield self._block()
            if finished:
                return

    @property
    def end_reason(self) -> EndReason | None:
        return self._end

    async def stop(self) -> None:
        self._finish("Disarmed")

    def restore_steps(self) -> tuple[RestoreStep, ...]:
        return tuple(RestoreStep(k, v) for k, v in (self._found or {}).items())

    async def restore(self, steps: tuple[RestoreStep, ...] | None = None) -> None:
        for step in self.restore_steps() if steps is None else steps:
            self.settings[step.key] = step.value
        self._found = None

    def _finish(self, text: str) -> None:
        if self._running:
            self._catch_up()
            self._running = False
            self.settings["armed"] = "0"
            self._end = EndReason(ok=text == "Ok", rows=len(self._times), text=text)
            self._ending.set()

    def _catch_up(self) -> None:
        """Find the triggers between the last look and now."""
        now = self._clock.now()
        segment = self._segment
        if self._running and segment is not None:
            self._start_train(segment, now)
            while self._point < segment.end_point:
                t = self._next_trigger(segment, now)
                if t is None:
                    break
                self._take(t)
                self._seen = t
        self._seen = now

    def _take(self, t: float) -> None:
        """One trigger, and its row unless that is lost."""
        if self.lose.get(self._point):
            self.lose[self._point] -= 1
        else:
            self._times.append(t)
            self._numbers.append(self._triggers)
        self._point += 1
        self._triggers += 1

    def _start_train(self, segment: Segment, now: float) -> None:
        """A train of time triggers starts where the fast axis passes its first point."""
        if segment.trigger is Trigger.TIME and self._train is None:
            self._train = self._crossing(segment, now)

    def _next_trigger(self, segment: Segment, now: float) -> float | None:
        if segment.trigger is Trigger.POSITION:
            return self._crossing(segment, now)
        # A train's row counts once it is whole: a hold cuts the one under way.
        if self._train is None or self._train + self._duty * segment.period > now:
            return None
        t, self._train = self._train, self._train + segment.period
        return t

    def _crossing(self, segment: Segment, now: float) -> float | None:
        fast = segment.fast
        if fast is None:
            return None
        before, after = segment.bound(self._point)[fast], segment.bound(self._point + 1)[fast]
        direction = 1 if after > before else -1
        place = self._place(segment, fast)
        if direction * (segment.stop[fast] - place) <= abs(SHORT * segment.step):
            return None
        return self._motion.trajectories[fast].crossing(place, direction, self._seen, now)

    def _place(self, segment: Segment, fast: str) -> float:
        """Where the next point begins."""
        if self._retuned is None:
            return segment.bound(self._point)[fast]
        point, place, step = self._retuned
        return place + (self._point - point) * step

    def _block(self) -> Block:
        """The rows not delivered yet, up to the next trigger without one."""
        numbers = np.array(self._numbers[self._delivered :])
        gaps = np.flatnonzero(np.diff(numbers) > 1)
        count = int(gaps[0]) + 1 if len(gaps) else len(numbers)
        t = np.array(self._times[self._delivered : self._delivered + count])
        self._delivered += count
        period = self._path.segment(0).period if self._path is not None else 0.0
        exposure = np.full(len(t), self._duty * period)
        columns = {
            a: np.array([trajectory.at(x)[0] for x in t + exposure / 2])
            for a, trajectory in self._motion.trajectories.items()
        }
        signals = {name: f(columns, t) for name, f in self.signals.items()}
        time_ns = self._clock.epoch_ns + np.round(t * 1e9).astype(np.int64)
        return Block(int(numbers[0]), time_ns, exposure, {**columns, **signals})


def _ripple(positions: Mapping[str, FloatArray], _seconds: FloatArray) -> FloatArray:
    """A smooth signal that depends on every axis."""
    phase = sum((i + 1) * np.asarray(p) for i, p in enumerate(positions.values()))
    return 100 + 50 * np.sin(np.asarray(phase, float))
