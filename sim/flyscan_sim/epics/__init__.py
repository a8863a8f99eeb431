"""Channel Access side of the simulated beamline: motor records, ring, shutter, ion chamber."""

from ._motor import MotorRecord, Phase
from ._values import MotorSettings

__all__ = ["MotorRecord", "MotorSettings", "Phase"]
