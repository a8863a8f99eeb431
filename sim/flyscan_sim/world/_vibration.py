"""Deterministic disturbances of a stage: vibration and thermal drift as sums of sines."""

from __future__ import annotations

import numpy as np

from ._trajectory import FloatArray

__all__ = ["Vibration"]

_JITTER_BAND_HZ = (11.0, 380.0)
_JITTER_LINES = 4
_DRIFT_PERIOD_S = 1800.0


class Vibration:
    """Displacement in axis units: vibration of rms `jitter` plus thermal drift of peak `drift`.

    The same `seed` gives the same disturbance; drift starts at zero.
    """

    def __init__(self, jitter: float, drift: float, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._jitter = jitter
        self._drift = drift
        self._omega = 2 * np.pi * np.sort(rng.uniform(*_JITTER_BAND_HZ, _JITTER_LINES))
        self._phase = rng.uniform(0, 2 * np.pi, _JITTER_LINES)
        weight = rng.uniform(0.5, 1.0, _JITTER_LINES)
        # a sine has an rms of 1/sqrt(2)
        self._amplitude = jitter * weight * np.sqrt(2 / np.sum(weight**2))

    def displacement(self, t: FloatArray) -> FloatArray:
        """Displacement at times `t`, same shape."""
        total = np.zeros_like(t)
        if self._jitter:
            for omega, phase, amplitude in zip(
                self._omega, self._phase, self._amplitude, strict=True
            ):
                total = total + amplitude * np.sin(omega * t + phase)
        if self._drift:
            total = total + self._drift * np.sin(2 * np.pi / _DRIFT_PERIOD_S * t)
        return total
