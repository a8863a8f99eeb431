"""Trapezoidal velocity profiles from any state of motion, as constant-acceleration pieces."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Limits", "Piece", "Ramp", "plan_halt", "plan_move"]


@dataclass(frozen=True, slots=True)
class Piece:
    """Motion of constant acceleration: monotone in position, so its velocity keeps its sign.

    Attributes:
        duration: seconds.
        position: at the start of the piece, axis units.
        velocity: at the start, units/s.
        acceleration: units/s^2.
    """

    duration: float
    position: float
    velocity: float
    acceleration: float

    def at(self, seconds: float) -> tuple[float, float]:
        """Position and velocity `seconds` after the start."""
        v = self.velocity + self.acceleration * seconds
        return self.position + seconds * 0.5 * (self.velocity + v), v


@dataclass(frozen=True, slots=True)
class Ramp:
    """What a move may use: cruising speed, acceleration and deceleration, all positive."""

    velocity: float
    acceleration: float
    deceleration: float


@dataclass(frozen=True, slots=True)
class Limits:
    """Travel of an axis; braking is sharpened rather than leave it."""

    low: float
    high: float

    def brake(self, position: float, velocity: float, deceleration: float) -> float:
        """The least deceleration >= `deceleration` that stops inside the travel."""
        room = (self.high - position) if velocity > 0 else (position - self.low)
        if room <= 0 or velocity == 0:
            return deceleration
        return max(deceleration, velocity * velocity / (2 * room))


def plan_halt(position: float, velocity: float, deceleration: float, limits: Limits) -> list[Piece]:
    """Brake to a stand along the present direction."""
    if velocity == 0:
        return []
    rate = limits.brake(position, velocity, deceleration)
    return [Piece(abs(velocity) / rate, position, velocity, -math.copysign(rate, velocity))]


def plan_move(
    position: float, velocity: float, target: float, ramp: Ramp, limits: Limits
) -> list[Piece]:
    """Pieces from (`position`, `velocity`) to a stand at `target`.

    The speed never exceeds the larger of `ramp.velocity` and the initial one, from which it
    is brought down first. When the stage moves away from the target, or too fast to stop
    before it, it brakes to a stand and turns round.
    """
    pieces: list[Piece] = []
    stop = position + velocity * abs(velocity) / (2 * ramp.deceleration)
    if velocity and (target - stop) * velocity < -1e-12 * abs(velocity) * (1 + abs(target)):
        pieces = plan_halt(position, velocity, ramp.deceleration, limits)
        position, velocity = pieces[-1].at(pieces[-1].duration)[0], 0.0
    return pieces + _towards(position, velocity, target, ramp)


def _towards(position: float, velocity: float, target: float, ramp: Ramp) -> list[Piece]:
    """Profile without a turn: `velocity` is zero or points to a target it can stop at."""
    sign = math.copysign(1.0, velocity if velocity else target - position)
    distance, speed = sign * (target - position), sign * velocity
    up, down = ramp.acceleration, ramp.deceleration
    if speed > ramp.velocity:
        first, peak = -down, ramp.velocity
    else:
        square = (distance + speed * speed / (2 * up)) / (0.5 / up + 0.5 / down)
        first, peak = up, min(ramp.velocity, max(speed, math.sqrt(max(0.0, square))))
    change = (peak - speed) / first
    braking = peak / down
    cruise = (distance - change * 0.5 * (speed + peak) - braking * 0.5 * peak) / peak if peak else 0
    steps = ((change, first), (max(0.0, cruise), 0.0), (braking, -down))
    return _chain(position, velocity, sign, steps)


def _chain(
    position: float, velocity: float, sign: float, steps: tuple[tuple[float, float], ...]
) -> list[Piece]:
    pieces: list[Piece] = []
    for duration, acceleration in steps:
        if duration > 0:
            piece = Piece(duration, position, velocity, sign * acceleration)
            pieces.append(piece)
            position, velocity = piece.at(duration)
    return pieces
