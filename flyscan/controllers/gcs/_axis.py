"""One axis of a GCS controller as configured: identifier, units, limits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ...errors import ConfigurationError
from ...flight import FloatArray

__all__ = ["GcsAxis"]

_TEXTS = frozenset({"id", "unit"})


@dataclass(frozen=True, slots=True)
class GcsAxis:
    """An axis: ``user = sign * scale * box + offset``.

    Args:
        id: identifier on the controller, e.g. ``"1"``.
        sign: 1, or -1 where the user's direction is opposite to the controller's.
        scale: user units per unit of the controller, positive.
        offset: user position at the controller's 0.
        settle: seconds of constant speed needed before the first trigger.
        velocity: highest speed in user units per second; None takes what ``VEL?`` answers on
            connection.
        acceleration: highest acceleration in user units per second squared; None takes what
            ``ACC?`` answers, where the box has it.
        low: lower end of travel in user units, if narrower than the controller's.
        high: upper end of travel, likewise.
        tolerance: how far from its target the axis may rest, in user units; None takes the
            profile's.
        unit: name of the user unit; None takes the controller's.
        precision: digits worth showing after the decimal point.
    """

    id: str
    sign: int = 1
    scale: float = 1.0
    offset: float = 0.0
    settle: float = 0.002
    velocity: float | None = None
    acceleration: float | None = None
    low: float | None = None
    high: float | None = None
    tolerance: float | None = None
    unit: str | None = None
    precision: int = 3

    @classmethod
    def from_config(cls, name: str, config: Mapping[str, Any]) -> GcsAxis:
        """Build it from a configuration.

        Raises:
            ConfigurationError: a parameter is unknown, missing or out of its range.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(config) - known)
        if unknown or "id" not in config:
            raise ConfigurationError(
                f"unknown parameters {unknown}" if unknown else "its identifier 'id' is missing",
                device=name,
                remedy=f"parameters of an axis are {', '.join(sorted(known))}",
            )
        axis = cls(**{key: value for key, value in config.items() if value is not None})
        axis._validate(name)
        return axis

    def _validate(self, name: str) -> None:
        values = [getattr(self, f.name) for f in fields(self) if f.name not in _TEXTS]
        numbers = all(
            isinstance(v, int | float) and math.isfinite(v) for v in values if v is not None
        )
        positive = (self.scale, self.velocity, self.acceleration, self.tolerance)
        if (
            not numbers
            or self.sign not in (1, -1)
            or self.settle < 0
            or any(v is not None and v <= 0 for v in positive)
        ):
            raise ConfigurationError(
                f"parameters out of range: {self}",
                device=name,
                remedy="sign is 1 or -1; scale, velocity, acceleration and tolerance are "
                "positive; settle is not negative; all are finite numbers",
            )

    def to_user(self, box: float) -> float:
        """User position of a position of the controller."""
        return self.sign * self.scale * box + self.offset

    def to_box(self, user: float) -> float:
        """Position of the controller for a user position."""
        return (user - self.offset) / (self.sign * self.scale)

    def all_to_box(self, user: FloatArray) -> FloatArray:
        """:meth:`to_box` for an array."""
        return (user - self.offset) / (self.sign * self.scale)
