"""One axis of a simulated stage: commands in, true position and encoder counts out."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from flyscan.errors import LimitError
from flyscan.flight import Clock

from ._backlash import play
from ._faults import Fault, FaultScript
from ._profile import Limits, Piece, Ramp, plan_halt, plan_move
from ._trajectory import FloatArray, Trajectory
from ._vibration import Vibration

__all__ = ["AxisSpec", "StageAxis"]

_RECOVERY_S = 0.05  # how long a released stall takes to catch up
_TOLERANCE = 1e-9  # relative, of the limit checks: 0.1 + 0.2 is not above 0.3


@dataclass(frozen=True)
class AxisSpec:
    """Mechanics and encoder of an axis; lengths in `unit`, times in s.

    Attributes:
        resolution: units per encoder count.
        low, high: travel.
        max_velocity, max_acceleration: units/s, units/s^2.
        lag: time constant of the servo; the stage trails by ``velocity * lag``.
        jitter: rms of vibration.
        drift: peak of thermal drift.
        backlash: play between motor and stage.
        encoder_sign: direction of the encoder, +1 or -1.
        encoder_zero: position at which the encoder counts 0.
        encoder_latency: age of the position an encoder reports.
        start: position at power-up.
    """

    unit: str
    resolution: float
    low: float
    high: float
    max_velocity: float
    max_acceleration: float
    lag: float = 0.0
    jitter: float = 0.0
    drift: float = 0.0
    backlash: float = 0.0
    encoder_sign: int = 1
    encoder_zero: float = 0.0
    encoder_latency: float = 0.0
    start: float = 0.0


@dataclass(frozen=True)
class _Goal:
    target: float
    ramp: Ramp


class StageAxis:
    """A pure function of time and of the commands given so far.

    Commands act at `at`, by default and at the earliest now; they change the future only.
    All functions of time take seconds of the world's clock, scalar or shape (n,).
    """

    def __init__(
        self, name: str, spec: AxisSpec, clock: Clock, faults: FaultScript, seed: int = 0
    ) -> None:
        self.name = name
        self.spec = spec
        self.unit = spec.unit
        self.resolution = spec.resolution
        self.low, self.high = spec.low, spec.high
        self.max_velocity = spec.max_velocity
        self.max_acceleration = spec.max_acceleration
        self._clock = clock
        self._faults = faults
        self._vibration = Vibration(spec.jitter, spec.drift, seed)
        self._command = Trajectory(clock.now(), spec.start)
        self._drive = Trajectory(clock.now(), spec.start, spec.lag)
        self._goal: _Goal | None = None
        self._began = clock.now()

    def move(
        self,
        target: float,
        *,
        velocity: float,
        acceleration: float,
        deceleration: float | None = None,
        at: float | None = None,
    ) -> float:
        """Go to `target` from the present commanded position and velocity; returns the end time.

        Args:
            target: where to stand at the end, units.
            velocity: cruising speed, units/s.
            acceleration: units/s^2.
            deceleration: units/s^2, by default as `acceleration`.
            at: when the command takes effect, by default now.

        Raises:
            LimitError: target outside the travel, or speed or acceleration not allowed.
        """
        ramp = Ramp(velocity, acceleration, deceleration or acceleration)
        self._check_target(target)
        self._check_rate("velocity", velocity, self.max_velocity, "/s")
        self._check_rate("acceleration", acceleration, self.max_acceleration, "/s^2")
        self._check_rate("deceleration", ramp.deceleration, self.max_acceleration, "/s^2")
        return self._go(_Goal(target, ramp), self._when(at))

    def set_velocity(self, velocity: float, at: float | None = None) -> None:
        """Go on to the same target at another speed; does nothing to a stage at rest.

        Raises:
            LimitError: speed not allowed.
        """
        self._check_rate("velocity", velocity, self.max_velocity, "/s")
        at = self._when(at)
        if self._goal is not None and self.moving(at):
            self._go(replace(self._goal, ramp=replace(self._goal.ramp, velocity=velocity)), at)

    def halt(self, *, deceleration: float | None = None, at: float | None = None) -> float:
        """Brake to a stand along the path; returns the end time.

        Args:
            deceleration: units/s^2, by default that of the present move.
            at: when the command takes effect, by default now.
        """
        at = self._when(at)
        if deceleration is None:
            deceleration = self._goal.ramp.deceleration if self._goal else self.max_acceleration
        self._check_rate("deceleration", deceleration, self.max_acceleration, "/s^2")
        position, velocity = self._command.state(at)
        pieces = plan_halt(position, velocity, deceleration, Limits(self.low, self.high))
        end = pieces[-1].at(pieces[-1].duration)[0] if pieces else position
        self._goal = None
        return self._apply(at, pieces, min(max(end, self.low), self.high))

    def follow(
        self, times: npt.ArrayLike, positions: npt.ArrayLike, at: float | None = None
    ) -> float:
        """Run a waveform and stand at its end; returns the end time.

        Args:
            times: increasing seconds after `at`, shape (n,).
            positions: set-points at those times, shape (n,), linear in between; the way from
                the present set-point to the first one is linear too, or a jump at time 0.
            at: when the command takes effect, by default now.

        Raises:
            LimitError: a position lies outside the travel.
            ValueError: shapes differ, or times do not increase from 0.
        """
        seconds, x = np.asarray(times, float).ravel(), np.asarray(positions, float).ravel()
        if seconds.shape != x.shape or not len(x):
            raise ValueError(f"{self.name}: {len(seconds)} times for {len(x)} positions")
        if seconds[0] < 0 or np.any(np.diff(seconds) <= 0):
            raise ValueError(f"{self.name}: waveform times must increase from 0")
        self._check_target(float(x.min()))
        self._check_target(float(x.max()))
        at = self._when(at)
        if seconds[0] > 0:
            seconds = np.r_[0.0, seconds]
            x = np.r_[self._command.state(at)[0], x]
        v = np.r_[np.diff(x) / np.diff(seconds), 0.0]
        self._goal, self._began = None, at
        self._command.replace(at, at + seconds, x, v, np.zeros_like(x))
        if self.spec.backlash:
            self._drive_through_backlash(at, _linear_pieces(seconds, x, v), float(x[-1]))
        else:
            self._drive.replace(at, at + seconds, x, v, np.zeros_like(x))
        return self.end_time()

    def commanded(self, t: npt.ArrayLike) -> FloatArray:
        """Set-point, units."""
        return self._command.value(np.asarray(t, float))[()]

    def velocity(self, t: npt.ArrayLike) -> FloatArray:
        """Velocity of the set-point, units/s."""
        return self._command.velocity(np.asarray(t, float))[()]

    def position(self, t: npt.ArrayLike) -> FloatArray:
        """True position, units: the set-point after backlash, lag, vibration, drift, faults."""
        when = np.asarray(t, float)
        position = self._driven(when)
        for fault in self._faults.of("stall", self.name):
            position = self._stalled(position, when, fault)
        return position[()]

    def counts(self, t: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """What the encoder shows, counts."""
        spec = self.spec
        seen = self.position(np.asarray(t, float) - spec.encoder_latency)
        scaled = np.rint((seen - spec.encoder_zero) / spec.resolution)
        return (spec.encoder_sign * scaled).astype(np.int64)

    def moving(self, t: float) -> bool:
        """Whether a commanded motion is under way, holds inside a waveform included."""
        if t >= self._began:
            return t < self.end_time()
        return not bool(self._command.standing(np.asarray(t, float)))

    def end_time(self) -> float:
        """When the motion commanded last is over, or was."""
        return self._command.last_start

    def moves(self, start: float, end: float) -> list[tuple[float, float]]:
        """Intervals (begin, end) of commanded motion overlapping ``(start, end]``."""
        return self._command.moves(start, end)

    def disturbed(self, start: float, end: float) -> list[tuple[float, float]]:
        """Intervals overlapping ``(start, end]`` in which a fault moves the stage."""
        spans = [(f.end, f.end + _RECOVERY_S) for f in self._faults.of("stall", self.name)]
        for fault in self._faults.of("following_error", self.name):
            spans += [(fault.at, fault.at), (fault.end, fault.end)]
        return [(a, b) for a, b in spans if a <= end and b > start]

    def _go(self, goal: _Goal, at: float) -> float:
        position, velocity = self._command.state(at)
        self._goal = goal
        limits = Limits(self.low, self.high)
        pieces = plan_move(position, velocity, goal.target, goal.ramp, limits)
        return self._apply(at, pieces, goal.target)

    def _apply(self, at: float, pieces: list[Piece], end: float) -> float:
        self._began = at
        _write(self._command, at, pieces, end)
        if self.spec.backlash:
            self._drive_through_backlash(at, pieces, end)
        else:
            _write(self._drive, at, pieces, end)
        return self.end_time()

    def _drive_through_backlash(self, at: float, pieces: list[Piece], end: float) -> None:
        half = self.spec.backlash / 2
        driven = play(pieces, self._drive.state(at)[0], half)
        last = driven[-1].at(driven[-1].duration)[0] if driven else self._drive.state(at)[0]
        _write(self._drive, at, driven, min(max(last, end - half), end + half))

    def _driven(self, when: FloatArray) -> FloatArray:
        """True position of a stage that does not stall."""
        position = self._drive.value(when) + self._vibration.displacement(when)
        for fault in self._faults.of("following_error", self.name):
            position = position + fault.number("offset") * ((when > fault.at) & (when <= fault.end))
        return position

    def _stalled(self, position: FloatArray, when: FloatArray, fault: Fault) -> FloatArray:
        """Freeze at the position the stall found, then return to `position` smoothly."""
        frozen = self._driven(np.asarray(fault.at))
        share = np.clip((when - fault.end) / _RECOVERY_S, 0.0, 1.0)
        share = np.where(when <= fault.at, 1.0, share * share * (3 - 2 * share))
        return frozen + (position - frozen) * share

    def _when(self, at: float | None) -> float:
        now = self._clock.now()
        return now if at is None else max(at, now)

    def _check_target(self, target: float) -> None:
        slack = _TOLERANCE * (self.high - self.low)
        if not self.low - slack <= target <= self.high + slack:
            raise LimitError(
                f"position {target:g} {self.unit} is outside {self.low:g} to {self.high:g}",
                device=self.name,
                remedy="command positions within the travel",
            )

    def _check_rate(self, what: str, value: float, highest: float, per: str) -> None:
        if not 0 < value <= highest * (1 + _TOLERANCE) or math.isinf(value):
            raise LimitError(
                f"{what} {value:g} {self.unit}{per} must be above 0 and at most {highest:g}",
                device=self.name,
                remedy=f"choose a {what} the axis allows",
            )


def _linear_pieces(seconds: FloatArray, x: FloatArray, v: FloatArray) -> list[Piece]:
    lengths = np.diff(seconds).tolist()
    return [
        Piece(dt, x0, v0, 0.0)
        for dt, x0, v0 in zip(lengths, x[:-1].tolist(), v[:-1].tolist(), strict=True)
    ]


def _write(trajectory: Trajectory, at: float, pieces: list[Piece], end: float) -> None:
    """Replace the future of `trajectory` by `pieces` and a stand at `end`."""
    starts = at + np.cumsum([0.0, *(p.duration for p in pieces)])
    x = np.array([*(p.position for p in pieces), end])
    v = np.array([*(p.velocity for p in pieces), 0.0])
    a = np.array([*(p.acceleration for p in pieces), 0.0])
    trajectory.replace(at, starts, x, v, a)
