"""The beam: a storage ring with lifetime, top-up and dumps, and the shutter behind it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flyscan.flight import Clock

from ._faults import FaultScript
from ._trajectory import FloatArray

__all__ = ["RingSpec", "Shutter", "StorageRing"]


@dataclass(frozen=True)
class RingSpec:
    """A ring filled to `current` mA every `top_up` s, decaying with `lifetime` s in between."""

    current: float = 200.0
    lifetime: float = 36_000.0
    top_up: float = 120.0


class StorageRing:
    """Ring current in mA; a ``ring_dump`` fault empties the ring and its end refills it."""

    def __init__(self, spec: RingSpec, faults: FaultScript) -> None:
        self.spec = spec
        self._faults = faults

    def current(self, t: npt.ArrayLike) -> FloatArray:
        """Current at times `t`, mA."""
        when = np.asarray(t, float)
        filled = np.floor(when / self.spec.top_up) * self.spec.top_up
        stored = np.ones_like(when)
        for dump in self._faults.of("ring_dump"):
            stored = np.where((when > dump.at) & (when <= dump.end), 0.0, stored)
            filled = np.where(when > dump.end, np.maximum(filled, dump.end), filled)
        return (stored * self.spec.current * np.exp(-(when - filled) / self.spec.lifetime))[()]

    def edges(self, start: float, end: float) -> list[float]:
        """Times in ``(start, end]`` at which the current jumps."""
        period = self.spec.top_up
        first, last = int(start // period) + 1, int(end // period)
        jumps = [k * period for k in range(first, last + 1)]
        for dump in self._faults.of("ring_dump"):
            jumps += [dump.at, dump.end]
        return [t for t in jumps if start < t <= end]


class Shutter:
    """A shutter whose blade takes `travel` s; commanded by :meth:`open` and :meth:`close`.

    A ``shutter_stuck`` fault makes it ignore commands.
    """

    def __init__(
        self, clock: Clock, faults: FaultScript, *, travel: float = 0.02, opened: bool = True
    ) -> None:
        self.travel = travel
        self._clock = clock
        self._faults = faults
        self._times: list[float] = [-np.inf]
        self._states: list[bool] = [opened]

    def open(self) -> float:
        """Open; returns when it will be open."""
        return self._command(True)

    def close(self) -> float:
        """Close; returns when it will be closed."""
        return self._command(False)

    def is_open(self, t: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Whether the beam passes at times `t`."""
        index = np.searchsorted(self._times, np.asarray(t, float), side="left") - 1
        return np.asarray(self._states)[np.maximum(index, 0)]

    def moving(self, t: float) -> bool:
        """Whether the blade is under way."""
        return any(when - self.travel <= t < when for when in self._times)

    def edges(self, start: float, end: float) -> list[float]:
        """Times in ``(start, end]`` at which the beam is let through or cut off."""
        return [t for t in self._times if start < t <= end]

    def _command(self, opened: bool) -> float:
        now = self._clock.now()
        if self._states[-1] == opened:
            return max(now, self._times[-1])
        if self._faults.active("shutter_stuck", now):
            return now
        if self._times[-1] > now:  # turned round on its way: it never got there
            self._times.pop()
            self._states.pop()
            return now
        self._times.append(now + self.travel)
        self._states.append(opened)
        return now + self.travel
