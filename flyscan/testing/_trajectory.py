"""Exact piecewise motion of one axis: constant acceleration between known times."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable
from dataclasses import dataclass

from ..flight import AxisLimits

__all__ = ["Piece", "Trajectory"]


@dataclass(frozen=True, slots=True)
class Piece:
    """From `start` on ``x(t) = position + velocity dt + acceleration dt^2 / 2``."""

    start: float
    position: float
    velocity: float = 0.0
    acceleration: float = 0.0

    def at(self, t: float) -> tuple[float, float]:
        """Position and velocity at time `t`."""
        dt = t - self.start
        return (
            self.position + self.velocity * dt + self.acceleration * dt**2 / 2,
            self.velocity + self.acceleration * dt,
        )

    def crossing(self, target: float, direction: int, after: float, before: float) -> float | None:
        """First time in ``(after, before]`` at which `target` is passed in `direction`."""
        b, c = self.velocity, self.position - target
        roots = _roots(self.acceleration / 2, b, c)
        times = sorted(self.start + r for r in roots)
        for t in times:
            if after < t <= before and self._passes(t, direction):
                return t
        return None

    def _passes(self, t: float, direction: int) -> bool:
        _, velocity = self.at(t)
        return velocity * direction > 0


class Trajectory:
    """What one axis did and will do, as pieces in order of time."""

    def __init__(self, position: float) -> None:
        self._pieces = [Piece(-math.inf, position)]
        self._starts = [-math.inf]
        self.end = -math.inf

    def at(self, t: float) -> tuple[float, float]:
        """Position and velocity at time `t`."""
        piece = self._pieces[bisect.bisect_right(self._starts, t) - 1]
        return (piece.position, 0.0) if math.isinf(piece.start) else piece.at(t)

    def replace_from(self, t: float, steps: Iterable[tuple[float, float, float]]) -> None:
        """From `t` on move in `steps` of (seconds, velocity at the start, acceleration), then rest.

        The position is continuous; what was planned after `t` is forgotten.
        """
        position, _ = self.at(t)
        keep = bisect.bisect_left(self._starts, t)
        del self._pieces[max(1, keep) :], self._starts[max(1, keep) :]
        for seconds, velocity, acceleration in steps:
            if seconds <= 0:
                continue
            self._append(Piece(t, position, velocity, acceleration))
            position, _ = self._pieces[-1].at(t + seconds)
            t += seconds
        self._append(Piece(t, position))
        self.end = t

    def halt(self, t: float, acceleration: float) -> None:
        """Decelerate to rest from time `t`."""
        _, velocity = self.at(t)
        self.replace_from(
            t, [(abs(velocity) / acceleration, velocity, -math.copysign(acceleration, velocity))]
        )

    def go_to(self, t: float, target: float, limits: AxisLimits) -> None:
        """Move from rest to rest at the limits."""
        here, _ = self.at(t)
        distance = target - here
        sign = math.copysign(1.0, distance)
        a, v = limits.acceleration, limits.velocity
        peak = min(v, math.sqrt(abs(distance) * a))
        cruise = max(0.0, abs(distance) / peak - peak / a) if peak else 0.0
        self.replace_from(
            t,
            [
                (peak / a, 0.0, sign * a),
                (cruise, sign * peak, 0.0),
                (peak / a, sign * peak, -sign * a),
            ],
        )

    def crossing(self, target: float, direction: int, after: float, before: float) -> float | None:
        """First time in ``(after, before]`` at which `target` is passed in `direction`."""
        first = max(1, bisect.bisect_right(self._starts, after) - 1)
        for i in range(first, len(self._pieces)):
            piece = self._pieces[i]
            if piece.start >= before:
                return None
            last = self._pieces[i + 1].start if i + 1 < len(self._pieces) else math.inf
            t = piece.crossing(target, direction, after, min(before, last))
            if t is not None:
                return t
        return None

    def _append(self, piece: Piece) -> None:
        self._pieces.append(piece)
        self._starts.append(piece.start)


def _roots(a: float, b: float, c: float) -> list[float]:
    """Real roots of ``a x^2 + b x + c``, by the form that does not cancel."""
    if a == 0:
        return [-c / b] if b else []
    disc = b * b - 4 * a * c
    if disc < 0:
        return []
    q = -(b + math.copysign(math.sqrt(disc), b)) / 2
    return [q / a, c / q] if q else [0.0]
