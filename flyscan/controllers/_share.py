"""Paths and sweeps as seen by a controller that has some of their axes only."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TypeVar

from ..flight import Path, Sweep

__all__ = ["share_of_path", "share_of_sweep"]

T = TypeVar("T")


def share_of_path(path: Path, axes: Collection[str]) -> Path:
    """The path with those of its axes that are among `axes`, all its points and segments."""
    own = copy.copy(path)
    own.axes = tuple(axis for axis in path.axes if axis in axes)
    return own


def share_of_sweep(sweep: Sweep, axes: Collection[str]) -> Sweep:
    """The sweep with those of its axes that are among `axes`; a dwell if none of these moves."""

    def own(values: Mapping[str, T]) -> dict[str, T]:
        return {axis: value for axis, value in values.items() if axis in axes}

    segment = sweep.segment
    curved = not set(segment.moving).isdisjoint(axes)
    bounds = segment.bounds if curved else None
    midpoints = segment.midpoints if curved else None
    return replace(
        sweep,
        segment=replace(
            segment,
            start=own(segment.start),
            stop=own(segment.stop),
            bounds=None if bounds is None else own(bounds),
            midpoints=None if midpoints is None else own(midpoints),
            schedule=segment.schedule if curved else None,
        ),
        origin=own(sweep.origin),
        target=own(sweep.target),
        velocity=own(sweep.velocity),
        acceleration=own(sweep.acceleration),
    )
