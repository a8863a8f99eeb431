"""What is known of a controller model beyond what it says of itself, as data.

Sources: PI user manuals E-727 (E727T0005: 50 us servo cycle, wave memory of 262144 points) and
C-863.12 (MS249E: motion parameters may change during a move). Whether other models take ``VEL``
during a move is not verified, so they are taken not to.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import ConfigurationError

__all__ = ["GcsProfile", "WaveMemory", "profile"]


@dataclass(frozen=True, slots=True)
class WaveMemory:
    """Limits of a wave generator.

    Args:
        cycle: seconds of a servo cycle, in which table points are timed.
        points: points shared by all tables.
    """

    cycle: float
    points: int


@dataclass(frozen=True, slots=True)
class GcsProfile:
    """A controller model.

    Args:
        model: text that ``*IDN?`` contains.
        unit: unit of positions on the wire.
        tolerance: how far from its target an axis at rest may be, in that unit.
        velocity_in_flight: ``VEL`` acts on a move under way.
        horizon: seconds until it does.
        wave: limits of the wave generator; None without one.
    """

    model: str
    unit: str
    tolerance: float
    velocity_in_flight: bool = False
    horizon: float = 0.0
    wave: WaveMemory | None = None


_PROFILES = (
    GcsProfile("E-727", "um", 0.05, wave=WaveMemory(cycle=50e-6, points=262144)),
    GcsProfile("C-863", "mm", 0.005, velocity_in_flight=True, horizon=0.01),
    GcsProfile("C-885", "mm", 0.005),
)


def profile(name: str) -> GcsProfile:
    """The profile of a model.

    Raises:
        ConfigurationError: no such model.
    """
    for known in _PROFILES:
        if known.model == name:
            return known
    raise ConfigurationError(
        f"unknown controller profile {name!r}",
        device="gcs",
        remedy=f"use one of {', '.join(known.model for known in _PROFILES)}",
    )
