"""What plans make of their arguments: paths, and start documents that consumers understand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

from scanspec.specs import Fly, Linspace, Spec

from ..devices import Flyer
from ..errors import BadPathError
from ..flight import Path, Trigger

__all__ = ["grid_spec", "make_path", "shifted", "start_document"]


def make_path(spec: Spec[str] | Mapping[str, Any], trigger: str, period: float | None) -> Path:
    """A path from plan arguments.

    Raises:
        BadPathError: the spec or the trigger is unusable.
    """
    try:
        kind = Trigger(trigger)
    except ValueError:
        raise BadPathError(
            f"unknown trigger {trigger!r}", remedy="use 'position' or 'time'"
        ) from None
    return Path.from_spec(spec, trigger=kind, period=period)


def grid_spec(axes: Sequence[Any], snake: bool) -> Spec[str]:
    """A grid from ``axis, start, stop, num`` slowest first, as in ``bluesky.plans.grid_scan``.

    Raises:
        BadPathError: not groups of four, or numbers that make no grid.
    """
    if not axes or len(axes) % 4:
        raise BadPathError(
            f"expected axis, start, stop, num for each axis, got {len(axes)} arguments",
            remedy="e.g. 'y', 0, 1, 11, 'x', 0, 2, 201",
        )
    groups = [axes[i : i + 4] for i in range(0, len(axes), 4)]
    spec: Spec[str] | None = None
    for number, (axis, start, stop, num) in enumerate(groups):
        line = _line(axis, start, stop, num)
        if number and snake:
            line = ~line
        spec = line if spec is None else spec * line
    if spec is None:
        raise BadPathError("no axes given")
    return Fly(spec)


def _line(axis: Any, start: Any, stop: Any, num: Any) -> Spec[str]:
    try:
        ends, points = (float(start), float(stop)), int(num)
    except (ValueError, TypeError, OverflowError):
        ends, points = (math.nan, math.nan), 0
    if not (all(map(math.isfinite, ends)) and points == num and points > 0):
        raise BadPathError(
            f"cannot make a line from {start!r} to {stop!r} in {num!r} points",
            device=str(axis),
            remedy="give two finite numbers and a positive, whole number of points",
        )
    return Linspace(str(axis), *ends, points)


def shifted(spec: Mapping[str, Any], offsets: Mapping[str, float]) -> dict[str, Any]:
    """A serialised spec with every axis in `offsets` moved by that much."""
    return cast(dict[str, Any], _shift(dict(spec), offsets))


LINEAR = {"Linspace": ("start", "stop"), "Range": ("start", "stop"), "Static": ("value",)}
PLANAR = ("Spiral", "Ellipse", "Polygon")


def _shift(node: object, offsets: Mapping[str, float]) -> object:
    if isinstance(node, list):
        return [_shift(item, offsets) for item in cast(list[object], node)]
    if not isinstance(node, dict):
        return node
    fields = cast(dict[str, Any], node)
    kind = fields.get("type")
    if kind in LINEAR:
        offset = offsets.get(fields["axis"], 0.0)
        return {**fields, **{name: fields[name] + offset for name in LINEAR[kind]}}
    if kind in PLANAR:
        return _shift_plane(fields, offsets)
    return {key: _shift(value, offsets) for key, value in fields.items()}


def _shift_plane(node: dict[str, Any], offsets: Mapping[str, float]) -> dict[str, Any]:
    """Regions of two axes have a centre, or vertices, in both."""
    moved = dict(node)
    for axis in ("x", "y"):
        offset = offsets.get(node[f"{axis}_axis"], 0.0)
        centre = f"{axis}_centre"
        if centre in node:
            moved[centre] = node[centre] + offset
    if "vertices" in node:
        dx, dy = (offsets.get(node[f"{axis}_axis"], 0.0) for axis in ("x", "y"))
        moved["vertices"] = [[x + dx, y + dy] for x, y in node["vertices"]]
    return moved


def start_document(
    flyer: Flyer, path: Path, plan_name: str, plan_args: Mapping[str, Any], detectors: Sequence[Any]
) -> dict[str, Any]:
    """Metadata that Best-Effort Callback, Tiled and queueserver expect of a plan."""
    extents = path.extents()
    order = [axis for group in path.dimensions for axis in group]
    keys = [(flyer.position_key(axis), axis) for axis in order]
    md: dict[str, Any] = {
        "plan_name": plan_name,
        "plan_args": dict(plan_args),
        "detectors": [flyer.name, *(d.name for d in detectors)],
        "motors": order,
        "num_points": path.points,
        "num_intervals": path.points - 1,
        "shape": list(path.shape),
        "snaking": list(path.snaking),
        "extents": [list(extents[axis]) for axis in order],
        "hints": {},
    }
    known = [key for key, _ in keys if key is not None]
    if len(known) == len(keys):
        # The preview has far fewer rows than the path has points, so a grid that places rows
        # by their number would be wrong: points are drawn where they were taken.
        md["hints"] = {
            "dimensions": [([key], "preview") for key in known],
            "gridding": "rectilinear_nonsequential",
        }
    return md
