"""Public help for tests: an in-memory box, a manual clock, and the conformance suites.

The suites need pytest and are loaded when they are first asked for; the rest does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..flight import ManualClock
from ._bench import Bench, CaptureBench, MotionBench
from ._memory import MemoryBox
from ._memory_capture import MemoryCapture
from ._memory_motion import MemoryMotion
from ._passing import passing
from ._sink import MemorySink

if TYPE_CHECKING:
    from ._suite import CaptureSuite, MotionSuite

__all__ = [
    "Bench",
    "CaptureBench",
    "CaptureSuite",
    "ManualClock",
    "MemoryBox",
    "MemoryCapture",
    "MemoryMotion",
    "MemorySink",
    "MotionBench",
    "MotionSuite",
    "passing",
]


def __getattr__(name: str) -> Any:
    if name not in ("CaptureSuite", "MotionSuite"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import _suite

    return getattr(_suite, name)


def __dir__() -> list[str]:
    return sorted(__all__)
