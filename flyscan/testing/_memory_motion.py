"""The motion half of the in-memory box: axes that follow their set-point exactly."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from ..errors import ConfigurationError, LimitError, MotionError
from ..flight import (
    AxisLimits,
    Clock,
    JoinOutcome,
    Motion,
    MotionCapabilities,
    Path,
    RestoreStep,
    Sweep,
)
from ._trajectory import Trajectory

__all__ = ["MemoryMotion"]


class MemoryMotion(Motion):
    """Axes that follow their set-point exactly."""

    def __init__(self, name: str, limits: Mapping[str, AxisLimits], clock: Clock) -> None:
        self.name = name
        self._limits = dict(limits)
        self._clock = clock
        self.trajectories = {a: Trajectory(min(max(0.0, v.low), v.high)) for a, v in limits.items()}
        self.settings = {a: v.velocity for a, v in limits.items()}
        self._found: dict[str, float] | None = None
        self._targets: dict[str, float] = {}
        self._acceleration: dict[str, float] = {}
        self._held = False
        self._moved = asyncio.Event()

    @property
    def axes(self) -> tuple[str, ...]:
        return tuple(self._limits)

    @property
    def capabilities(self) -> MotionCapabilities:
        return MotionCapabilities(
            velocity_in_flight=True, curves=True, profiles=True, together=True
        )

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
        self._check_known(path.axes)
        for axis, ends in path.extents().items():
            for end in ends:
                self._check_travel(axis, end)

    def _check_known(self, axes: Iterable[str]) -> None:
        unknown = set(axes) - set(self._limits)
        if unknown:
            raise ConfigurationError(
                f"no axis called {', '.join(sorted(unknown))}",
                device=self.name,
                remedy=f"use {', '.join(self._limits)}",
            )

    def _check_travel(self, axis: str, target: float) -> None:
        limit = self._limits[axis]
        if not limit.low - 1e-9 <= target <= limit.high + 1e-9:
            raise LimitError(
                f"{target:g} is outside travel {limit.low:g} to {limit.high:g}",
                device=axis,
                remedy="choose a position inside",
            )

    async def save(self, path: Path) -> None:
        self._found = self._found or dict(self.settings)

    async def move_to(self, axis: str, position: float, velocity: float | None = None) -> None:
        self._check_known((axis,))
        limit = self._limits[axis]
        await self._go({axis: position}, {axis: limit.velocity if velocity is None else velocity})

    async def prepare(self, sweep: Sweep) -> None:
        self.settings.update({axis: self._limits[axis].velocity for axis in sweep.origin})
        await self._go(sweep.origin, self.settings)

    async def _go(self, targets: Mapping[str, float], velocities: Mapping[str, float]) -> None:
        """Move axes from rest to rest, all at once."""
        now = self._clock.now()
        for axis, target in targets.items():
            limit = self._limits[axis]
            self._check_travel(axis, target)
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
        self._targets = {axis: sweep.target[axis] for axis in sweep.segment.moving}
        self._acceleration = dict(sweep.acceleration)
        for axis in sweep.segment.moving:
            self.settings[axis] = abs(sweep.velocity[axis])
            self.trajectories[axis].replace_from(now, _steps(sweep, axis))

    async def join(self) -> JoinOutcome:
        await self._rest()
        if self._held:
            return JoinOutcome.HELD
        position = await self.position()
        for axis, target in self._targets.items():
            if abs(position[axis] - target) > 1e-6:
                raise MotionError(
                    f"came to rest at {position[axis]:g} instead of {target:g}",
                    device=axis,
                    remedy="somebody stopped it",
                )
        return JoinOutcome.DONE

    async def hold(self) -> None:
        if self.moving:
            self._held = True
            self._halt()
            await self._rest()

    async def retune(self, factor: float) -> None:
        """Another speed, at the sweep's acceleration; it ends where it would have."""
        now = self._clock.now()
        for axis, trajectory in self.trajectories.items():
            here, velocity = trajectory.at(now)
            if velocity:
                target, _ = trajectory.at(trajectory.end)
                speed = factor * self.settings[axis]
                steps = _other_speed(target - here, velocity, speed, self._acceleration[axis])
                trajectory.replace_from(now, steps)
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


def _steps(sweep: Sweep, axis: str) -> list[tuple[float, float, float]]:
    """The sweep of one axis as (seconds, velocity, acceleration) steps."""
    if sweep.segment.curved:
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


def _other_speed(
    distance: float, velocity: float, speed: float, acceleration: float
) -> list[tuple[float, float, float]]:
    """From `velocity` to `speed` and to rest after `distance`, as steps of a trajectory.

    Where too little of the way is left, the speed is changed by less.
    """
    sign, way, old = np.sign(velocity), abs(distance), abs(velocity)
    highest = np.sqrt(max(acceleration * way + old**2 / 2, old**2))
    new = min(speed, highest)
    if new < old:  # it has to come to rest from there in any case
        new = max(new, np.sqrt(max(0.0, old**2 - 2 * acceleration * way)))
    ramps = (abs(new**2 - old**2) + new**2) / (2 * acceleration)
    a = acceleration * sign
    return [
        (abs(new - old) / acceleration, sign * old, a if new > old else -a),
        (max(0.0, way - ramps) / new, sign * new, 0.0),
        (new / acceleration, sign * new, -a),
    ]
