"""Curves as tables of a wave generator (sans-IO).

The generator puts out one table point every `rate` servo cycles and, with interpolation,
straight lines in between (E-727 user manual: ``WAV``, ``WTR``). So a curve given by vertices
becomes points at equal times, as few as keep it within a tolerance: loading them is dead time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ...errors import LimitError
from ...flight import FloatArray
from ._profile import WaveMemory

__all__ = ["Wave", "plan_wave", "points_commands"]

_ARGUMENTS = 32  # of one command; "WAV table X PNT first count" takes five
_VALUES = _ARGUMENTS - 5
_FEWEST_POINTS = 16


@dataclass(frozen=True, slots=True, eq=False)
class Wave:
    """Tables that trace a curve.

    Args:
        rate: servo cycles per table point.
        tables: axis to positions in the units given, shape ``(n,)``, same for every axis.
    """

    rate: int
    tables: Mapping[str, FloatArray]


def plan_wave(
    times: FloatArray,
    positions: Mapping[str, FloatArray],
    *,
    memory: WaveMemory,
    tolerances: Mapping[str, float],
    device: str,
) -> Wave:
    """Resample a curve with the slowest rate that keeps every vertex within tolerance.

    Args:
        times: seconds of the vertices from the start, shape ``(m,)``.
        positions: axis to positions of the vertices, shape ``(m,)``.
        memory: limits of the generator.
        tolerances: axis to the greatest deviation allowed.
        device: name of the controller, for errors.

    Raises:
        LimitError: the controller's memory is too small for that.
    """
    duration = float(times[-1])
    rate = max(1, int(duration / (_FEWEST_POINTS * memory.cycle)))
    while True:
        grid = np.arange(math.ceil(duration / (rate * memory.cycle) - 1e-9) + 1) * (
            rate * memory.cycle
        )
        if len(grid) * len(positions) > memory.points:
            raise LimitError(
                f"a curve of {duration:.3g} s needs {len(grid)} wave points for each of "
                f"{len(positions)} axes, the controller has {memory.points} in all",
                device=device,
                remedy="split the curve into shorter pieces or allow a greater tolerance",
            )
        tables = {axis: np.interp(grid, times, p) for axis, p in positions.items()}
        close = all(
            np.max(np.abs(np.interp(times, grid, tables[axis]) - p)) <= tolerances[axis]
            for axis, p in positions.items()
        )
        if close or rate == 1:
            return Wave(rate, tables)
        rate = max(1, rate * 3 // 4)


def points_commands(table: str, points: FloatArray) -> Iterator[tuple[str | float, ...]]:
    """Arguments of the ``WAV`` commands that write `points` into a table."""
    for first in range(0, len(points), _VALUES):
        values = [float(point) for point in points[first : first + _VALUES]]
        yield (table, "&" if first else "X", "PNT", first + 1, len(values), *values)
