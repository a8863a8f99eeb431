"""The physics of the simulators: stages, beam, sample, detectors and faults on one clock."""

from ._axis import AxisSpec, StageAxis
from ._beam import RingSpec, Shutter, StorageRing
from ._faults import FAULT_KINDS, Fault, FaultKind, FaultScript
from ._nanoprobe import COARSE_MOTORS, nanoprobe_world
from ._sample import Particles, SiemensStar, default_sample
from ._table import Table, detectors_from_json
from ._world import Detector, World

__all__ = [
    "COARSE_MOTORS",
    "FAULT_KINDS",
    "AxisSpec",
    "Detector",
    "Fault",
    "FaultKind",
    "FaultScript",
    "Particles",
    "RingSpec",
    "Shutter",
    "SiemensStar",
    "StageAxis",
    "StorageRing",
    "Table",
    "World",
    "default_sample",
    "detectors_from_json",
    "nanoprobe_world",
]
