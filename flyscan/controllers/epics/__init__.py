"""EPICS over Channel Access: motors as a Motion, records as Monitors, a shutter.

Importing this package does not start Channel Access; connecting does.
"""

from ._environment import use_channel_access
from ._monitor import EpicsMonitor
from ._motion import EpicsMotion
from ._motor_record import AxisSettings
from ._shutter import EpicsShutter

__all__ = ["AxisSettings", "EpicsMonitor", "EpicsMotion", "EpicsShutter", "use_channel_access"]
