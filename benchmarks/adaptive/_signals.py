"""Signals on [0, 1] with analytic truth: value and exact mean over any row.

Every signal is a fixed shape, moved by a random offset, plus a straight line. The integral of
the shape comes from a cubic Hermite table of its antiderivative, exact to 1e-12 of a feature.

`SIGNALS` are those of the protocol; defaults of the policies were chosen looking at them.
`HELD_OUT` were written down afterwards and never used to choose anything: what is found on them
is what a sample nobody has seen yet may expect. Those that are random draw a strip many lines
long once, and every seed sees another part of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.interpolate import CubicHermiteSpline
from scipy.special import ndtr, roots_legendre

from flyscan.flight import FloatArray

__all__ = ["HELD_OUT", "SIGNALS", "Signal", "signal_of"]

NODES_PER_UNIT = 23_000
DRIFT = 0.2
"""How much further than its range an offset may drift from line to line."""

STRIP = 6.0


@dataclass(frozen=True)
class Signal:
    """``shape(x - offset) + slope x``.

    Args:
        name: as in the tables.
        shape: function of distance from the offset.
        slope: of the straight line.
        width: narrowest feature width worth finding.
        offsets: range of the random offset.
        null: True where varying the speed cannot pay.
    """

    name: str
    shape: Callable[[FloatArray], FloatArray]
    width: float
    offsets: tuple[float, float]
    slope: float = 0.0
    null: bool = False

    def value(self, x: FloatArray, offset: FloatArray) -> FloatArray:
        """Value at `x` for every offset, shape ``(offsets, len(x))`` for a grid `x`."""
        return self.shape(x - offset[:, None]) + self.slope * x

    def curvature(self, x: FloatArray, offset: FloatArray) -> FloatArray:
        """Second derivative by central differences over 2 % of the width."""
        d = 0.02 * self.width
        u = x - offset[:, None]
        return (self.shape(u + d) - 2 * self.shape(u) + self.shape(u - d)) / d**2

    def integral(self, x: FloatArray, offset: FloatArray) -> FloatArray:
        """Antiderivative at `x`, shape ``(offsets, n)`` like `x`."""
        return self._table(x - offset[:, None]) + 0.5 * self.slope * x**2

    @cached_property
    def _table(self) -> CubicHermiteSpline:
        low, high = -self.offsets[1] - DRIFT, 1.0 - self.offsets[0] + DRIFT
        u = np.linspace(low, high, round(NODES_PER_UNIT * (high - low)) + 1)
        nodes, weights = roots_legendre(5)
        half = 0.5 * (u[1] - u[0])
        inside = self.shape((u[:-1] + half)[:, None] + half * nodes) @ weights * half
        return CubicHermiteSpline(u, np.concatenate(([0.0], np.cumsum(inside))), self.shape(u))


def _peak(u: FloatArray) -> FloatArray:
    return 0.05 + np.exp(-(u**2) / 2 / 0.01**2)


def _lorentz(u: FloatArray) -> FloatArray:
    return 0.01**2 / (0.01**2 + u**2)


def _edge(u: FloatArray) -> FloatArray:
    """Absorption edge over 1 keV: arctan of 3 eV, white line, damped EXAFS of one shell."""
    k = np.sqrt(262.47 * np.maximum(u, 0.0))  # wave number in 1/A, u in keV
    exafs = np.sin(2 * 2.5 * k + 0.5) * np.exp(-2 * 0.006 * k**2) * k / (1 + 0.3 * k**2)
    start = -np.expm1(-np.maximum(u - 0.01, 0.0) / 0.01)
    step = 0.5 + np.arctan(u / 0.003) / np.pi
    return 0.05 + step + 0.6 * np.exp(-((u - 0.005) ** 2) / 2 / 0.003**2) + 0.25 * exafs * start


def _chirp(u: FloatArray) -> FloatArray:
    return 1.2 + np.sin(2 * np.pi * (2 * u + 30 * u**2))


def _sine(u: FloatArray) -> FloatArray:
    return 1.2 + np.sin(20 * np.pi * u)


def _pair(u: FloatArray) -> FloatArray:
    """Two peaks that nearly touch, one lower and narrower."""
    low = 0.4 * np.exp(-((u - 0.04) ** 2) / 2 / 0.006**2)
    return 0.05 + np.exp(-(u**2) / 2 / 0.012**2) + low


def _bar(u: FloatArray) -> FloatArray:
    """A bar between two edges, one sharper than the other."""
    return 0.1 + ndtr(u / 0.008) - ndtr((u - 0.15) / 0.014)


def _drawn(key: int, per_line: float, narrow: float, wide: float) -> FloatArray:
    """Place, size and height of every feature of a strip, shape ``(features, 3)``."""
    rng = np.random.default_rng(key)
    number = round(per_line * (STRIP + 2.5))
    size = np.exp(rng.uniform(np.log(narrow), np.log(wide), number))
    return np.stack(
        (rng.uniform(-STRIP - 1, 1.5, number), size, rng.uniform(0.2, 1.0, number)), axis=1
    )


LINES = _drawn(71, 3.0, 0.008, 0.04)
SPOTS = _drawn(72, 5.0, 0.01, 0.05)


def _comb(u: FloatArray) -> FloatArray:
    """Lorentzians of random height, width and place, three to a line."""
    found = np.full_like(u, 0.05)
    for at, w, height in LINES.tolist():
        found += height * w**2 / (w**2 + (u - at) ** 2)
    return found


def _blobs(u: FloatArray) -> FloatArray:
    """A cut through a map of round spots of random brightness and size."""
    found = np.full_like(u, 0.05)
    for at, radius, height in SPOTS.tolist():
        found += height * np.exp(-((u - at) ** 2) / 2 / radius**2)
    return found


def _beat(u: FloatArray) -> FloatArray:
    """Structure everywhere: two sines without a common period."""
    return 1.2 + 0.6 * np.sin(14 * np.pi * u) + 0.4 * np.sin(23 * np.pi * u)


def _ramp(u: FloatArray) -> FloatArray:
    return 0.8 + 0.6 * u


SIGNALS = {
    signal.name: signal
    for signal in (
        Signal("S1", _peak, 0.01, (0.15, 0.85)),
        Signal("S2", _lorentz, 0.01, (0.15, 0.85), slope=1.0),
        Signal("S5", _edge, 0.003, (0.1, 0.3)),
        Signal("S6", _chirp, 0.008, (-0.01, 0.01)),
        Signal("S7", _sine, 0.05, (-0.05, 0.05), null=True),
        Signal("flat", np.ones_like, 0.01, (0.0, 0.0), null=True),
    )
}

HELD_OUT = {
    signal.name: signal
    for signal in (
        Signal("pair", _pair, 0.006, (0.15, 0.8)),
        Signal("bar", _bar, 0.008, (0.1, 0.7)),
        Signal("comb", _comb, 0.008, (0.0, STRIP)),
        Signal("blobs", _blobs, 0.01, (0.0, STRIP)),
        Signal("beat", _beat, 0.04, (-0.05, 0.05), null=True),
        Signal("ramp", _ramp, 0.01, (-0.1, 0.1), null=True),
    )
}


def signal_of(name: str) -> Signal:
    """A signal of either kind."""
    return SIGNALS[name] if name in SIGNALS else HELD_OUT[name]
