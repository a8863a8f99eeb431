"""The flight core: paths, blocks, contracts and the flight itself."""

from ._block import Block, Channel, FloatArray, IntArray
from ._clock import Clock, ManualClock, RealClock, ScaledClock
from ._contract import Capture, EndReason, JoinOutcome, Motion, RestoreStep
from ._frames import Frames, RunFile, Sink
from ._ledger import LedgerRow
from ._limits import AxisLimits, CaptureCapabilities, Estimate, MotionCapabilities
from ._monitor import Monitor
from ._path import Path
from ._segment import Segment, Trigger
from ._sweep import Sweep, plan_sweep, rest_to_rest

__all__ = [
    "AxisLimits",
    "Block",
    "Capture",
    "CaptureCapabilities",
    "Channel",
    "Clock",
    "EndReason",
    "Estimate",
    "FloatArray",
    "Frames",
    "IntArray",
    "JoinOutcome",
    "LedgerRow",
    "ManualClock",
    "Monitor",
    "Motion",
    "MotionCapabilities",
    "Path",
    "RealClock",
    "RestoreStep",
    "RunFile",
    "ScaledClock",
    "Segment",
    "Sink",
    "Sweep",
    "Trigger",
    "plan_sweep",
    "rest_to_rest",
]
