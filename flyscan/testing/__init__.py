"""Public help for tests: an in-memory box, a manual clock, and the conformance suite."""

from ..flight import ManualClock
from ._memory import MemoryBox, MemoryCapture, MemoryMotion
from ._sink import MemorySink

__all__ = ["ManualClock", "MemoryBox", "MemoryCapture", "MemoryMotion", "MemorySink"]
