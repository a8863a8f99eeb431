"""A sample given by numbers: maps of concentration, measured or made up, and how they shine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from flyscan.errors import ConfigurationError

from ._trajectory import FloatArray
from ._world import Detector

__all__ = ["Table", "detectors_from_json"]


class Table:
    """Concentration on a grid: linear in between, constant beyond its ends.

    Args:
        x, y: increasing places of the nodes, um, shapes (n,) and (m,).
        values: concentration at the nodes, shape (m, n), none negative.

    Raises:
        ValueError: shapes, order or values make no sense.
    """

    def __init__(self, x: npt.ArrayLike, y: npt.ArrayLike, values: npt.ArrayLike) -> None:
        self._x, self._y = np.asarray(x, float), np.asarray(y, float)
        self._values = np.asarray(values, float)
        for name, nodes in (("x", self._x), ("y", self._y)):
            if nodes.ndim != 1 or not len(nodes) or not np.all(np.diff(nodes) > 0):
                raise ValueError(f"{name} must be increasing numbers")
        expected = (len(self._y), len(self._x))
        if self._values.shape != expected:
            raise ValueError(f"values have the shape {self._values.shape} instead of {expected}")
        if not (np.all(np.isfinite(self._values)) and np.all(self._values >= 0)):
            raise ValueError("values must be finite and not negative")

    def __call__(self, x: FloatArray, y: FloatArray) -> FloatArray:
        column, across = _place(self._x, x)
        row, along = _place(self._y, y)
        right = np.minimum(column + 1, len(self._x) - 1)
        above = np.minimum(row + 1, len(self._y) - 1)
        v = self._values
        lower = v[row, column] + across * (v[row, right] - v[row, column])
        upper = v[above, column] + across * (v[above, right] - v[above, column])
        return lower + along * (upper - lower)


def _place(nodes: FloatArray, at: FloatArray) -> tuple[npt.NDArray[np.intp], FloatArray]:
    """The node before each place, and how far it is on the way to the next, 0 to 1."""
    before = np.clip(np.searchsorted(nodes, at, side="right") - 1, 0, max(0, len(nodes) - 2))
    after = np.minimum(before + 1, len(nodes) - 1)
    gap = np.where(after > before, nodes[after] - nodes[before], 1.0)
    return before, np.clip((at - nodes[before]) / gap, 0.0, 1.0)


def detectors_from_json(text: str) -> dict[str, Detector]:
    """Detectors of a sample given by tables.

    Args:
        text: an object with, for every channel, ``rate`` (pulses/s at concentration 1),
            ``x``, ``y`` and ``values`` as for :class:`Table`, and ``dark`` (pulses/s) if any.

    Raises:
        ConfigurationError: it is something else.
    """
    try:
        return {channel: _detector(**entry) for channel, entry in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"cannot be read: {error}",
            device="sample",
            remedy='give {"CHANNEL": {"rate": ..., "x": [...], "y": [...], "values": [[...]]}}',
        ) from error


def _detector(
    *, rate: float, x: list[float], y: list[float], values: list[Any], dark: float = 0.0
) -> Detector:
    if not (np.isfinite([rate, dark]).all() and rate >= 0 and dark >= 0):
        raise ValueError(f"rate {rate} and dark {dark} must be finite and not negative")
    return Detector(float(rate), Table(x, y, values), float(dark))


def check_channels(chosen: Mapping[str, Detector], there: Mapping[str, Detector]) -> None:
    """Refuse detectors that nothing is wired to.

    Raises:
        ConfigurationError: a channel does not exist.
    """
    if unknown := sorted(chosen.keys() - there.keys()):
        raise ConfigurationError(
            f"there is no channel {', '.join(unknown)}",
            device="sample",
            remedy=f"use some of {', '.join(there)}",
        )
