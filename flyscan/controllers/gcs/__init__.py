"""PI controllers that speak GCS 2.0 over TCP: sweeps, curves and single axes."""

from ._axis import GcsAxis
from ._motion import GcsMotion

__all__ = ["GcsAxis", "GcsMotion"]
