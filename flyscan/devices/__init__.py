"""Devices: flyers, their axes and streams, as ophyd-async devices."""

from ._axis import HostAxis
from ._detectors import FlyingDetectors, TriggeredDetector
from ._flyer import Flyer
from ._guard import Guard
from ._pages import PageStream
from ._shield import ShieldedDetector

__all__ = [
    "Flyer",
    "FlyingDetectors",
    "Guard",
    "HostAxis",
    "PageStream",
    "ShieldedDetector",
    "TriggeredDetector",
]
