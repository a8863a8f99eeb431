"""An arbitrary list of points as a `scanspec` Spec."""

from __future__ import annotations

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass
from scanspec.core import (  # pyright: ignore[reportMissingTypeStubs]
    Axis,
    Dimension,
    StrictConfig,
    gap_between_frames,
)
from scanspec.specs import Spec  # pyright: ignore[reportMissingTypeStubs]

from ._block import FloatArray

__all__ = ["Points"]


@dataclass(config=StrictConfig)
class Points(Spec[Axis]):
    """Frames at listed positions, e.g. ``Points({"y": [0, 1, 1], "x": [0, 0, 2]})``.

    It nests, zips, snakes and serialises like the Specs of scanspec; reading the serialised form
    back needs flyscan to be imported. Flown, it is one curve through all points, with bounds
    halfway between neighbours; ``Points(...) * 1`` stops at every point instead.
    """

    points: dict[Axis, list[float]] = Field(
        description="Midpoints of every axis, slowest axis first, all of the same length"
    )

    def axes(self) -> list[Axis]:
        return list(self.points)

    def calculate(self, bounds: bool = False, nested: bool = False) -> list[Dimension[Axis]]:
        """See :meth:`scanspec.specs.Spec.calculate`.

        Raises:
            ValueError: the axes have different numbers of points, or there are none.
        """
        lengths = {axis: len(values) for axis, values in self.points.items()}
        if len(set(lengths.values())) != 1 or 0 in lengths.values():
            raise ValueError(f"every axis needs the same number of points, at least 1: {lengths}")
        middle = {axis: np.array(values, dtype=float) for axis, values in self.points.items()}
        if not bounds:
            return [Dimension(middle)]
        posts = {axis: _posts(values) for axis, values in middle.items()}
        lower = {axis: values[:-1] for axis, values in posts.items()}
        upper = {axis: values[1:] for axis, values in posts.items()}
        gap = np.zeros(len(next(iter(middle.values()))), dtype=np.bool_)
        dimension = Dimension(middle, lower, upper, gap)
        gap[0] = gap_between_frames(dimension, dimension)
        return [dimension]


def _posts(middle: FloatArray) -> FloatArray:
    """Bounds of the points: halfway between neighbours, the outer two as far out as in."""
    between = (middle[1:] + middle[:-1]) / 2
    if len(between) == 0:
        return np.repeat(middle, 2)
    first, last = 2 * middle[0] - between[0], 2 * middle[-1] - between[-1]
    return np.concatenate(([first], between, [last]))
