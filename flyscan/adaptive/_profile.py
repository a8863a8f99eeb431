"""Speed along a line, as handed to a motion controller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import LimitError
from ..flight import FloatArray
from ._kinematics import node_times

__all__ = ["Profile"]


@dataclass(frozen=True, slots=True)
class Profile:
    """Speeds at positions; between them the acceleration is constant.

    Args:
        position: user units, strictly monotonic in the direction of flight.
        velocity: positive speeds, same length.
    """

    position: tuple[float, ...]
    velocity: tuple[float, ...]

    def __post_init__(self) -> None:
        steps = np.diff(self.position)
        sound = len(self.position) == len(self.velocity) >= 2
        sound = sound and bool(np.all(steps > 0) or np.all(steps < 0))
        sound = sound and bool(np.all(np.isfinite(self.velocity)))
        if not (sound and min(self.velocity) > 0):
            raise LimitError(
                "a velocity profile needs two or more positions in order and positive speeds",
                remedy="the policy is at fault: fly uniformly and report it",
            )

    @classmethod
    def of(cls, position: FloatArray, velocity: FloatArray) -> Profile:
        """From arrays."""
        return cls(tuple(position.tolist()), tuple(velocity.tolist()))

    @property
    def duration(self) -> float:
        """Seconds from the first to the last position."""
        v = np.asarray(self.velocity)
        return float(np.sum(2 * np.abs(np.diff(self.position)) / (v[1:] + v[:-1])))

    @property
    def peak_acceleration(self) -> float:
        """Highest acceleration or deceleration between two positions."""
        square = np.diff(np.square(self.velocity))
        return float(np.max(np.abs(square) / (2 * np.abs(np.diff(self.position)))))

    def at(self, position: FloatArray) -> FloatArray:
        """Speed at positions; beyond the ends that of the end."""
        x, v = np.asarray(self.position), np.asarray(self.velocity)
        if x[0] > x[-1]:
            x, v = x[::-1], v[::-1]
        return np.sqrt(np.interp(position, x, v**2))

    def slowest(self, start: float, stop: float) -> float:
        """Lowest speed between two positions."""
        x = np.asarray(self.position)
        inside = (x > min(start, stop)) & (x < max(start, stop))
        ends = self.at(np.array([start, stop]))
        return float(min(ends.min(), *np.asarray(self.velocity)[inside].tolist(), np.inf))

    def on_nodes(self, nodes: int) -> tuple[FloatArray, float]:
        """Speeds on an even grid of `nodes` along the travel, and its spacing."""
        positions = np.linspace(self.position[0], self.position[-1], nodes)
        return self.at(positions), abs(self.position[-1] - self.position[0]) / (nodes - 1)

    def simplified(self, pieces: int) -> Profile:
        """A profile of at most `pieces` pieces, for boxes that take only so many.

        Drops the nodes that change the time least, one after the other. The mean slope over
        what was dropped is never steeper than its steepest part, so that speed and acceleration
        stay within what they were; where time was gained all is slowed down to take as long.
        """
        if pieces < 1:
            raise LimitError(
                f"a profile cannot have {pieces} pieces",
                remedy="fly uniformly on boxes without profiles",
            )
        x, square = np.asarray(self.position), np.square(self.velocity)
        distance = np.abs(x - x[0])
        keep = np.arange(len(x))
        while len(keep) > pieces + 1:
            keep = np.delete(keep, 1 + int(np.argmin(_loss(distance[keep], square[keep]))))
        simple = Profile.of(x[keep], np.sqrt(square[keep]))
        return simple.stretched(max(1.0, self.duration / simple.duration))

    def stretched(self, factor: float) -> Profile:
        """`factor` times slower everywhere."""
        return Profile.of(np.asarray(self.position), np.asarray(self.velocity) / factor)

    def times(self, nodes: int) -> FloatArray:
        """Seconds at an even grid of `nodes` along the travel."""
        speed, spacing = self.on_nodes(nodes)
        return node_times(speed, spacing)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {"position": list(self.position), "velocity": list(self.velocity)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Profile:
        """Read back :meth:`to_dict`."""
        return cls(tuple(data["position"]), tuple(data["velocity"]))


def _loss(distance: FloatArray, square: FloatArray) -> FloatArray:
    """Change of time, up to a factor, when each inner node is left out."""
    span = distance[2:] - distance[:-2]
    f = (distance[1:-1] - distance[:-2]) / span
    line = square[:-2] * (1 - f) + square[2:] * f
    return np.abs(line - square[1:-1]) * span / np.minimum(line, square[1:-1]) ** 1.5
