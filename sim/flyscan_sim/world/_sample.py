"""The sample: smooth concentration fields over the plane, one per element."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ._trajectory import FloatArray

__all__ = ["Field", "Particles", "SiemensStar", "default_sample"]

Field = Callable[[FloatArray, FloatArray], FloatArray]
"""Concentration, 0 to about 1, at sample positions x, y in um (same shape)."""


@dataclass(frozen=True)
class SiemensStar:
    """Spokes of concentration 1 on `background`, edges smoothed over `edge` um.

    Attributes:
        centre: um.
        radius: um, outside of it only background.
        spokes: number of spokes.
        edge: um, sets the finest detail near the centre.
        background: concentration between the spokes.
    """

    centre: tuple[float, float] = (50.0, 50.0)
    radius: float = 30.0
    spokes: int = 18
    edge: float = 0.1
    background: float = 0.02

    def __call__(self, x: FloatArray, y: FloatArray) -> FloatArray:
        dx, dy = x - self.centre[0], y - self.centre[1]
        r = np.hypot(dx, dy)
        # distance to the nearest spoke edge is about r/n * sin(n phi)
        across = r / self.spokes * np.sin(self.spokes * np.arctan2(dy, dx))
        spoke = 0.5 * (1 + np.tanh(across / self.edge))
        inside = 0.5 * (1 + np.tanh((self.radius - r) / self.edge))
        return self.background + (1 - self.background) * spoke * inside


class Particles:
    """`number` round particles of Gaussian profile strewn over the travel, on `background`.

    The positions (um), radii (um) and amounts follow from `seed` alone.
    """

    def __init__(
        self, seed: int, number: int = 12, span: float = 100.0, background: float = 0.01
    ) -> None:
        rng = np.random.default_rng([seed, number])
        self._x = rng.uniform(0, span, number)
        self._y = rng.uniform(0, span, number)
        self._radius = rng.uniform(0.02, 0.06, number) * span
        self._amount = rng.uniform(0.3, 1.0, number)
        self._background = background

    def __call__(self, x: FloatArray, y: FloatArray) -> FloatArray:
        total = np.full(np.shape(x), self._background)
        for cx, cy, radius, amount in zip(
            self._x, self._y, self._radius, self._amount, strict=True
        ):
            total = total + amount * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * radius**2))
        return total


def default_sample(seed: int) -> dict[str, Field]:
    """An iron Siemens star among copper and zinc particles, on the default piezo travel."""
    return {"Fe": SiemensStar(), "Cu": Particles(seed + 1), "Zn": Particles(seed + 2, number=8)}
