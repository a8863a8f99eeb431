"""Devices: flyers, their axes and streams, as ophyd-async devices."""

from ._axis import HostAxis
from ._flyer import Flyer
from ._guard import Guard
from ._pages import PageStream
from ._shield import ShieldedDetector

__all__ = ["Flyer", "Guard", "HostAxis", "PageStream", "ShieldedDetector"]
