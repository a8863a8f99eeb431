"""The flight core: paths, blocks, contracts and the flight itself."""

from ._clock import Clock, ManualClock, RealClock, ScaledClock

__all__ = ["Clock", "ManualClock", "RealClock", "ScaledClock"]
