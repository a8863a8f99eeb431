"""An areaDetector camera over Channel Access: triggered by a cable, writing HDF5 files."""

from ._camera import Camera, CameraSpec, Frame
from ._detector import AreaDetector

__all__ = ["AreaDetector", "Camera", "CameraSpec", "Frame"]
