"""An in-memory motion and capture box: exact, deterministic, on any clock.

It is the reference implementation of the two contracts. Tests of flights, hosts, devices and
plans run on it, with a :class:`~flyscan.flight.ManualClock` in no time at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..flight import AxisLimits, Clock, RealClock
from ._memory_capture import MemoryCapture
from ._memory_motion import MemoryMotion

__all__ = ["MemoryBox"]

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
