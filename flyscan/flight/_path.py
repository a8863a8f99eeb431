"""Paths: the ordered segments of a flight, made lazily from a scanspec Spec."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from scanspec.specs import Spec

from ._block import FloatArray
from ._limits import AxisLimits
from ._segment import Segment, Trigger

__all__ = ["Path"]


class Path:
    """The ordered list of segments, computed on demand."""

    axes: tuple[str, ...]
    points: int
    segment_count: int
    trigger: Trigger
    shape: tuple[int, ...]
    snaking: tuple[bool, ...]
    dimensions: tuple[tuple[str, ...], ...]

    @classmethod
    def from_spec(
        cls,
        spec: Spec[str] | Mapping[str, Any],
        *,
        trigger: Trigger = Trigger.POSITION,
        period: float | None = None,
    ) -> Path: ...

    def segment(self, index: int) -> Segment: ...

    def segment_of(self, point: int) -> int: ...

    def segments(self, from_point: int = 0) -> Iterator[Segment]: ...

    def setpoints(self, first: int, last: int) -> dict[str, FloatArray]: ...

    def extents(self) -> dict[str, tuple[float, float]]: ...

    def times(self, limits: Mapping[str, AxisLimits]) -> tuple[float, float]: ...

    def without_curves(self) -> Path: ...

    def to_dict(self) -> dict[str, Any]: ...

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Path: ...
