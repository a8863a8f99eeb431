"""Controller bindings: motion and capture boxes, and slow channels, as the flight core sees them.

Any :class:`Motion` combines with any :class:`Capture`; :class:`CombinedMotion` makes one Motion
of several. The bindings are imported when they are first asked for, so that a flight host loads
the protocol libraries of its own boxes only, and Channel Access can be configured before.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ..flight import (
    AxisLimits,
    Capture,
    CaptureCapabilities,
    Channel,
    EndReason,
    JoinOutcome,
    Monitor,
    Motion,
    MotionCapabilities,
    RestoreStep,
)

if TYPE_CHECKING:
    from ._axis_map import AxisMap, align
    from ._combined import CombinedMotion
    from ._line_link import LineLink
    from .epics import EpicsMonitor, EpicsMotion, use_channel_access
    from .gcs import GcsAxis, GcsMotion
    from .panda import PandaCapture

__all__ = [
    "AxisLimits",
    "AxisMap",
    "Capture",
    "CaptureCapabilities",
    "Channel",
    "CombinedMotion",
    "EndReason",
    "EpicsMonitor",
    "EpicsMotion",
    "GcsAxis",
    "GcsMotion",
    "JoinOutcome",
    "LineLink",
    "Monitor",
    "Motion",
    "MotionCapabilities",
    "PandaCapture",
    "RestoreStep",
    "align",
    "use_channel_access",
]

_LAZY = {
    "AxisMap": "._axis_map",
    "CombinedMotion": "._combined",
    "EpicsMonitor": ".epics",
    "EpicsMotion": ".epics",
    "GcsAxis": ".gcs",
    "GcsMotion": ".gcs",
    "LineLink": "._line_link",
    "PandaCapture": ".panda",
    "align": "._axis_map",
    "use_channel_access": ".epics",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_LAZY[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
