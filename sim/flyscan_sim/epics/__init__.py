"""Channel Access side of the simulated beamline: motor records, ring, shutter, ion chamber."""

from ._beamline import Beamline
from ._motor import MotorRecord, Phase
from ._records import AnalogInput, MotorChannels, RecordChannels, ShutterChannels
from ._server import CaServer
from ._values import MotorSettings

__all__ = [
    "AnalogInput",
    "Beamline",
    "CaServer",
    "MotorChannels",
    "MotorRecord",
    "MotorSettings",
    "Phase",
    "RecordChannels",
    "ShutterChannels",
]
