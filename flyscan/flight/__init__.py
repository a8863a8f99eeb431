"""The flight core: paths, blocks, contracts and the flight itself."""

from ._block import Block, Channel, FloatArray, IntArray
from ._clock import Clock, ManualClock, RealClock, ScaledClock
from ._contract import Capture, EndReason, JoinOutcome, Motion, RestoreStep
from ._fitness import check_path, check_sweep
from ._flight import Flight
from ._frames import Frames, RowFacts, RunFile, Sink
from ._ledger import LedgerRow
from ._limits import AxisLimits, CaptureCapabilities, Estimate, MotionCapabilities
from ._monitor import Monitor
from ._path import Path
from ._pilot import Helm, Pilot, Scene, Steered
from ._points import Points
from ._recorder import FlightOptions, Listener
from ._segment import Segment, Trigger
from ._shutter import Shutter
from ._state import State
from ._sweep import Sweep, plan_sweep, rest_to_rest
from ._values import values_of
from ._watchdog import cancel, shielded, within

__all__ = [
    "AxisLimits",
    "Block",
    "Capture",
    "CaptureCapabilities",
    "Channel",
    "Clock",
    "EndReason",
    "Estimate",
    "Flight",
    "FlightOptions",
    "FloatArray",
    "Frames",
    "Helm",
    "IntArray",
    "JoinOutcome",
    "LedgerRow",
    "Listener",
    "ManualClock",
    "Monitor",
    "Motion",
    "MotionCapabilities",
    "Path",
    "Pilot",
    "Points",
    "RealClock",
    "RestoreStep",
    "RowFacts",
    "RunFile",
    "ScaledClock",
    "Scene",
    "Segment",
    "Shutter",
    "Sink",
    "State",
    "Steered",
    "Sweep",
    "Trigger",
    "cancel",
    "check_path",
    "check_sweep",
    "plan_sweep",
    "rest_to_rest",
    "shielded",
    "values_of",
    "within",
]
