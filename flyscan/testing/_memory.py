"""An in-memory motion and capture box: exact, deterministic, on any clock.

It is the reference implementation of the two contracts. Tests of flights, hosts, devices and
plans run on it, with a :class:`~flyscan.flight.ManualClock` in no time at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import BusyError, CaptureError, ConfigurationError, LimitError
from ..flight import (
    AxisLimits,
    Block,
    Capture,
    CaptureCapabilities,
    Channel,
    Clock,
    EndReason,
    FloatArray,
    JoinOutcome,
    Motion,
    MotionCapabilities,
    Path,
    RealClock,
    RestoreStep,
    Segment,
    Sweep,
    Trigger,
)
from ._trajectory import Trajectory

__all__ = ["MemoryBox", "MemoryCapture", "MemoryMotion"]

DEFAULT_LIMITS = AxisLimits(low=-1e3, high=1e3, velocity=100.0, acceleration=1000.0, unit="um")


class MemoryBox:
    """A motion and a capture joined by an imaginary encoder cable.

    Args:
        name: name used in errors.
        axes: axis name to limits, as :class:`AxisLimits` or as a dict of its fields.
        min_period: shortest trigger period in seconds.
        block_period: how often rows are delivered, in seconds.
        duty: fraction of the nominal period during which a row is exposed.
        clock: time; real time by default.
    """

    def __init__(
        self,
        name: str = "memory",
        axes: Mapping[str, AxisLimits | Mapping[str, Any]] | Sequence[str] = ("x", "y"),
        *,
        min_period: float = 1e-5,
        block_period: float = 0.1,
        duty: float = 0.8,
        clock: Clock | None = None,
    ) -> None:
        if not isinstance(axes, Mapping):
            axes = dict.fromkeys(axes, DEFAULT_LIMITS)
        limits = {a: v if isinstance(v, AxisLimits) else AxisLimits(**v) for a, v in axes.items()}
        clock = clock or RealClock()
        self.motion = MemoryMotion(f"{name}.motion", limits, clock)
        self.capture = MemoryCapture(
            f"{name}.capture", self.motion, clock, min_period, block_period, duty
        )


class MemoryMotion(Motion):
    """Axes that follow their set-point exactly."""

    def __init__(self, name: str, limits: Mapping[str, AxisLimits], clock: Clock) -> None:
        self.name = name
        self._limits = dict(limits)
        self._clock = clock
        self.trajectories = {a: Trajectory(min(max(0.0, v.low), v.high)) for a, v in limits.items()}
        self.settings = {a: v.velocity for a, v in limits.items()}
        self._found: dict[str, float] | None = None
        self._held = False
        self._moved = asyncio.Event()

    @property
    def axes(self) -> tuple[str, ...]:
        return tuple(self._limits)

    @property
    def capabilities(self) -> MotionCapabilities:
        return MotionCapabilities(velocity_in_flight=True, curves=True, together=True)

    async def connect(self) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        """Nothing to close."""

    async def limits(self) -> Mapping[str, AxisLimits]:
        return dict(self._limits)

    async def position(self) -> Mapping[str, float]:
        now = self._clock.now()
        return {a: t.at(now)[0] for a, t in self.trajectories.items()}

    @property
    def moving(self) -> bool:
        """True while any axis has somewhere to go."""
        now = self._clock.now()
        return any(t.end > now for t in self.trajectories.values())

    async def check(self, path: Path) -> None:
        unknown = set(path.axes) - set(self._limits)
        if unknown:
            raise ConfigurationError(
                f"no axis called {', '.join(sorted(unknown))}",
                device=self.name,
                remedy=f"use {', '.join(self._limits)}",
            )

    async def move_to(self, axis: str, position: float, velocity: float | None = None) -> None:
        limit = self._limits[axis]
        await self._go({axis: position}, {axis: limit.velocity if velocity is None else velocity})

    async def prepare(self, sweep: Sweep) -> None:
        if self._found is None:
            self._found = dict(self.settings)
        self.settings.update({axis: self._limits[axis].velocity for axis in sweep.origin})
        await self._go(sweep.origin, self.settings)

    async def _go(self, targets: Mapping[str, float], velocities: Mapping[str, float]) -> None:
        """Move axes from rest to rest, all at once."""
        now = self._clock.now()
        for axis, target in targets.items():
            limit = self._limits[axis]
            if not limit.low - 1e-9 <= target <= limit.high + 1e-9:
                raise LimitError(
                    f"{target:g} is outside travel {limit.low:g} to {limit.high:g}",
                    device=axis,
                    remedy="choose a position inside",
                )
            if not 0 < velocities[axis] <= limit.velocity:
                raise LimitError(
                    f"velocity {velocities[axis]:g} is not in 0 to {limit.velocity:g}",
                    device=axis,
                    remedy="go slower",
                )
        try:
            for axis, target in targets.items():
                limit = replace(self._limits[axis], velocity=velocities[axis])
                self.trajectories[axis].go_to(now, target, limit)
            await self._rest()
        except asyncio.CancelledError:
            self._halt()
            raise

    async def start(self, sweep: Sweep) -> None:
        self._held = False
        now = self._clock.now()
        for axis in sweep.segment.moving:
            self.settings[axis] = abs(sweep.velocity[axis])
            self.trajectories[axis].replace_from(now, _steps(sweep, axis))

    async def join(self) -> JoinOutcome:
        await self._rest()
        return JoinOutcome.HELD if self._held else JoinOutcome.DONE

    async def hold(self) -> None:
        if self.moving:
            self._held = True
            self._halt()
            await self._rest()

    async def retune(self, factor: float) -> None:
        now = self._clock.now()
        for axis, trajectory in self.trajectories.items():
            _, velocity = trajectory.at(now)
            if velocity:
                target, _ = trajectory.at(trajectory.end)
                here, _ = trajectory.at(now)
                speed = factor * self.settings[axis]
                trajectory.replace_from(
                    now, [(abs(target - here) / speed, np.sign(velocity) * speed, 0.0)]
                )
        self._moved.set()

    async def stop(self) -> None:
        self._halt()
        await self._rest()

    def restore_steps(self) -> tuple[RestoreStep, ...]:
        return tuple(RestoreStep(a, repr(v)) for a, v in (self._found or {}).items())

    async def restore(self, steps: tuple[RestoreStep, ...] | None = None) -> None:
        for step in self.restore_steps() if steps is None else steps:
            self.settings[step.key] = float(step.value)
        self._found = None

    def _halt(self) -> None:
        now = self._clock.now()
        for axis, trajectory in self.trajectories.items():
            if trajectory.end > now:
                trajectory.halt(now, self._limits[axis].acceleration)
        self._moved.set()

    async def _rest(self) -> None:
        """Sleep until every axis rests, however often the end moves meanwhile."""
        while self.moving:
            self._moved.clear()
            end = max(t.end for t in self.trajectories.values())
            timer = asyncio.ensure_future(self._clock.sleep_until(end))
            moved = asyncio.ensure_future(self._moved.wait())
            try:
                await asyncio.wait((timer, moved), return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (timer, moved):
                    task.cancel()
                await asyncio.gather(timer, moved, return_exceptions=True)


class MemoryCapture(Capture):
    """Captures positions at exact crossings of the trigger positions, or at exact times."""

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
            min_period=min_period, block_period=block_period, step_in_flight=False, holds_armed=True
        )
        self._duty = duty
        self._signals: dict[str, Callable[[Mapping[str, FloatArray]], FloatArray]] = {
            "signal": _ripple
        }
        self.settings = {"armed": "0", "step": "0"}
        self._found: dict[str, str] | None = None
        self._path: Path | None = None
        self._segment: Segment | None = None
        self._point = 0
        self._seen = 0.0
        self._train: float | None = None
        self._times: list[float] = []
        self._delivered = 0
        self._running = False
        self._ending = asyncio.Event()
        self._end: EndReason | None = None
        self.lose: set[int] = set()

    @property
    def capabilities(self) -> CaptureCapabilities:
        return self._capabilities

    def channels(self) -> tuple[Channel, ...]:
        axes = tuple(
            Channel(a, unit="um", axis=a, source=f"memory://{self.name}/{a}")
            for a in self._motion.axes
        )
        signals = tuple(Channel(s, source=f"memory://{self.name}/{s}") for s in self._signals)
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
        return ()

    async def check(self, path: Path) -> None:
        if self._running:
            raise BusyError("armed by another flight", device=self.name, remedy="stop that first")

    async def align(
        self,
        axis: str,
        readback: Callable[[], Awaitable[float]],
        *,
        tolerance: float,
        move: Callable[[float], Awaitable[None]] | None = None,
        distance: float = 0.0,
    ) -> float:
        """The encoder is the stage itself."""
        return 0.0

    async def arm(self, path: Path, from_point: int) -> None:
        self._found = self._found or dict(self.settings)
        self.settings["armed"] = "1"
        self._path, self._point, self._segment = path, from_point, None
        self._times, self._delivered, self._train = [], 0, None
        self._running, self._end = True, None
        self._ending.clear()

    async def begin(self, sweep: Sweep) -> None:
        self._catch_up()
        if self._segment is not sweep.segment or self._point != sweep.from_point:
            if self._point > sweep.from_point:
                raise CaptureError(f"already at point {self._point}", device=self.name)
            self._segment, self._point = sweep.segment, sweep.from_point
        self.settings["step"] = repr(sweep.segment.step)
        self._seen = self._clock.now()
        self._train = self._seen if sweep.static else None

    async def reached(self) -> int:
        self._catch_up()
        return self._point

    async def hold(self) -> None:
        self._catch_up()
        if self._segment is not None and self._segment.trigger is Trigger.TIME:
            self._train = None
            self._segment = None

    async def end(self, sweep: Sweep) -> int:
        self._catch_up()
        return self._point

    async def retune(self, factor: float) -> None:
        raise ConfigurationError(
            "cannot change the step in flight", device=self.name, remedy="change it between lines"
        )

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
            if len(self._times) > self._delivered:
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
                if self._point not in self.lose:
                    self._times.append(t)
                self._point += 1
                self._seen = t
        self._seen = now

    def _start_train(self, segment: Segment, now: float) -> None:
        """A train of time triggers starts where the fast axis passes its first point."""
        if segment.trigger is Trigger.TIME and self._train is None:
            self._train = self._crossing(segment, now)

    def _next_trigger(self, segment: Segment, now: float) -> float | None:
        if segment.trigger is Trigger.POSITION:
            return self._crossing(segment, now)
        if self._train is None or self._train > now:
            return None
        t, self._train = self._train, self._train + segment.period
        return t

    def _crossing(self, segment: Segment, now: float) -> float | None:
        fast = segment.fast
        if fast is None:
            return None
        before, after = segment.bound(self._point)[fast], segment.bound(self._point + 1)[fast]
        direction = 1 if after > before else -1
        return self._motion.trajectories[fast].crossing(before, direction, self._seen, now)

    def _block(self) -> Block:
        first = self._delivered
        t = np.array(self._times[first:])
        self._delivered = len(self._times)
        period = self._path.segment(0).period if self._path is not None else 0.0
        exposure = np.full(len(t), self._duty * period)
        columns = {
            a: np.array([trajectory.at(x)[0] for x in t + exposure / 2])
            for a, trajectory in self._motion.trajectories.items()
        }
        signals = {name: f(columns) for name, f in self._signals.items()}
        time_ns = self._clock.epoch_ns + np.round(t * 1e9).astype(np.int64)
        return Block(first, time_ns, exposure, {**columns, **signals})


def _steps(sweep: Sweep, axis: str) -> list[tuple[float, float, float]]:
    """The sweep of one axis as (seconds, velocity, acceleration) steps."""
    if sweep.segment.bounds is not None:
        times, positions = sweep.curve()
        dt = np.diff(times)
        return [
            (float(d), float(v), 0.0)
            for d, v in zip(dt, np.diff(positions[axis]) / dt, strict=True)
        ]
    v = sweep.velocity[axis]
    a = v / sweep.ramp
    cruise = sweep.duration - 2 * sweep.ramp
    return [(sweep.ramp, 0.0, a), (cruise, v, 0.0), (sweep.ramp, v, -a)]


def _ripple(positions: Mapping[str, FloatArray]) -> FloatArray:
    """A smooth signal that depends on every axis."""
    phase = sum((i + 1) * np.asarray(p) for i, p in enumerate(positions.values()))
    return 100 + 50 * np.sin(np.asarray(phase, float))
