"""Simulated PI motion controllers that speak GCS 2.0 over TCP."""

from ._controller import Controller
from ._profile import C863, C885, E727, Profile, RecorderLimits, WaveLimits
from ._server import GcsServer

__all__ = [
    "C863",
    "C885",
    "E727",
    "Controller",
    "GcsServer",
    "Profile",
    "RecorderLimits",
    "WaveLimits",
]
