"""Bringing encoders and motors to agree, once per run, before the first trigger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import ConfigurationError
from ._contract import Capture, Motion
from ._limits import AxisLimits

__all__ = ["Alignment", "align_axes"]


@dataclass(frozen=True, slots=True)
class Alignment:
    """How one axis' encoder is set and verified against its motor.

    Args:
        tolerance: largest accepted disagreement in axis units.
        distance: length of the verification move in axis units; 0 for none. A connected signal
            does not prove a quadrature cable, its direction or its scale: only a move does.
    """

    tolerance: float
    distance: float = 0.0


async def align_axes(
    motion: Motion,
    capture: Capture,
    alignments: Mapping[str, Alignment],
    limits: Mapping[str, AxisLimits],
) -> None:
    """Align every configured axis, one after the other, away from the nearer end of its travel.

    Raises:
        ConfigurationError: an axis is unknown, or its encoder counts the wrong way.
        NotReadyError: an encoder disagrees or does not follow.
    """
    for axis, alignment in alignments.items():
        if axis not in limits:
            raise ConfigurationError(
                f"no axis called {axis!r} to align",
                device=motion.name,
                remedy=f"use one of {', '.join(limits)}",
            )
        await _align(motion, capture, axis, alignment, limits[axis])


async def _align(
    motion: Motion, capture: Capture, axis: str, alignment: Alignment, limit: AxisLimits
) -> None:
    async def readback() -> float:
        return (await motion.position())[axis]

    async def move(position: float) -> None:
        await motion.move_to(axis, position)

    inwards = 1 if await readback() < (limit.low + limit.high) / 2 else -1
    await capture.align(
        axis,
        readback,
        tolerance=alignment.tolerance,
        move=move if alignment.distance else None,
        distance=inwards * alignment.distance,
    )
