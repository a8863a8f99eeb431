"""From a `scanspec` Spec to checked levels: everything that can be wrong with a path itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from scanspec.core import Dimension, SnakedDimension  # pyright: ignore[reportMissingTypeStubs]
from scanspec.specs import Linspace, Spec  # pyright: ignore[reportMissingTypeStubs]

from ..errors import BadPathError
from ._block import FloatArray
from ._stack import Level

__all__ = ["Scan", "read_spec"]

# What scanspec raises for a Spec it cannot read or calculate; pydantic's is a ValueError.
UNUSABLE = (ArithmeticError, AssertionError, IndexError, MemoryError, TypeError, ValueError)


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """A Spec and what it calculates to.

    Args:
        spec: the Spec, its axes named by strings.
        axes: names of the axes, slowest first.
        levels: the dimensions, outermost first; the last one is flown through its bounds.
    """

    spec: Spec[str]
    axes: tuple[str, ...]
    levels: tuple[Level, ...]


def read_spec(spec: Spec[Any] | Mapping[str, Any], period: float | None) -> Scan:
    """Calculate a Spec and check it.

    Args:
        spec: the Spec, or its serialised form.
        period: seconds per point where the Spec gives none.

    Raises:
        BadPathError: the Spec cannot be read, is empty, has a zero-length line or numbers that
            are not finite, uses an axis twice, or its duration is missing or contradicted.
    """
    try:
        with np.errstate(all="ignore"):  # NaN and infinity are reported below, by axis
            named = _named(spec)
            dimensions = named.calculate(bounds=True)
    except UNUSABLE as error:
        raise BadPathError(
            f"scanspec cannot make a path from this Spec: {_first_line(error)}",
            remedy="correct the Spec; Spec.serialize() shows the form expected of a dictionary",
        ) from error
    axes = tuple(named.axes())
    _check_axes(axes)
    for part in _parts(named):
        _check_length(part)
    for dimension in dimensions:
        _check_values(dimension)
    for dimension in dimensions[:-1]:
        _check_held(dimension)
    _check_period(dimensions, period)
    last = len(dimensions) - 1
    levels = tuple(
        _level(d, _durations(d, dimensions, period, innermost=i == last))
        for i, d in enumerate(dimensions)
    )
    return Scan(named, axes, levels)


def _named(spec: Spec[Any] | Mapping[str, Any]) -> Spec[str]:
    """The Spec with axes named by strings; devices used as axes go by their name."""
    if not isinstance(spec, Spec):
        return Spec.deserialize(dict(spec))
    if all(isinstance(axis, str) for axis in spec.axes()):
        return spec
    return Spec.deserialize(spec.serialize())


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _check_axes(axes: Sequence[str]) -> None:
    if not axes:
        raise BadPathError(
            "the path has no axis",
            remedy='add one, e.g. Static("x", 0.0) to count while an axis stands',
        )
    twice = sorted({axis for axis in axes if axes.count(axis) > 1})
    if twice:
        raise BadPathError(
            "the axis appears twice in the Spec",
            device=", ".join(twice),
            remedy="use each axis in one dimension only",
        )


def _parts(spec: Spec[Any]) -> Iterator[Spec[Any]]:
    """The Spec and every Spec it is made of."""
    pending = [spec]
    while pending:
        part = pending.pop()
        yield part
        for field in dataclasses.fields(cast(Any, part)):
            value: Any = getattr(part, field.name)
            if isinstance(value, Spec):
                pending.append(cast(Spec[Any], value))


def _check_length(part: Spec[Any]) -> None:
    if isinstance(part, Linspace) and part.num > 1 and part.start == part.stop:
        raise BadPathError(
            f"the line of {part.num} points from {part.start:g} to {part.stop:g} has zero length",
            device=str(part.axis),
            remedy="give it a length; to stand still use Static, to repeat multiply by a number",
        )


def _check_values(dimension: Dimension[str]) -> None:
    if len(dimension) == 0:
        raise BadPathError(
            "the path is empty",
            device=", ".join(dimension.axes()),
            remedy="give every dimension at least one point; a region must contain grid points",
        )
    for values in (dimension.midpoints, dimension.lower, dimension.upper):
        for axis, array in values.items():
            wrong = np.flatnonzero(~np.isfinite(array))
            if len(wrong):
                raise BadPathError(
                    f"frame {wrong[0]} of its dimension is at {array[wrong[0]]}, "
                    "expected finite positions",
                    device=axis,
                    remedy="correct the numbers in the Spec",
                )


def _check_held(dimension: Dimension[str]) -> None:
    """Refuse an outer dimension that wants to move while the inner one is flown."""
    for axis, middle in dimension.midpoints.items():
        if not np.array_equal(dimension.lower[axis], middle):
            raise BadPathError(
                "Fly() around an outer dimension: only the innermost one can be flown",
                device=axis,
                remedy="put Fly() around the whole Spec or around its innermost dimension",
            )


def _check_period(dimensions: Sequence[Dimension[str]], period: float | None) -> None:
    given = [d.duration for d in dimensions if d.duration is not None]
    if not given and period is None:
        raise BadPathError(
            "nothing says how long a point takes",
            remedy="write Fly(0.001 @ spec) for 1 ms per point, or pass period=0.001",
        )
    durations = [*given, np.array([period], dtype=float)] if period is not None else given
    for seconds in durations:
        wrong = seconds[~(np.isfinite(seconds) & (seconds > 0))]
        if wrong.size:
            raise BadPathError(
                f"a point cannot take {wrong[0]:g} s",
                remedy="give a positive, finite number of seconds per point",
            )
    if given and period is not None:
        other = given[0][~np.isclose(given[0], period, rtol=1e-9, atol=0.0)]
        if other.size:
            raise BadPathError(
                f"the Spec says {other[0]:g} s per point, the period argument {period:g} s",
                remedy="give the duration once: in the Spec or as period",
            )


def _durations(
    dimension: Dimension[str],
    dimensions: Sequence[Dimension[str]],
    period: float | None,
    *,
    innermost: bool,
) -> FloatArray:
    """Seconds of every frame of a dimension; a constant belongs to the innermost one."""
    given = next((d.duration for d in dimensions if d.duration is not None), None)
    constant = period if given is None else float(given[0])
    if given is None or (given == constant).all():
        return np.full(len(dimension) if innermost else 0, constant)
    return np.empty(0) if dimension.duration is None else dimension.duration


def _level(dimension: Dimension[str], period: FloatArray) -> Level:
    return Level(
        length=len(dimension),
        snaked=isinstance(dimension, SnakedDimension),
        middle=_floats(dimension.midpoints),
        lower=_floats(dimension.lower),
        upper=_floats(dimension.upper),
        gap=dimension.gap,
        period=period,
    )


def _floats(values: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    return {axis: np.asarray(array, dtype=float) for axis, array in values.items()}
