"""Whether a motion can fly a path, as far as that follows from what it says of itself."""

from __future__ import annotations

from ..errors import ConfigurationError
from ._contract import Motion
from ._path import Path

__all__ = ["check_path"]


async def check_path(motion: Motion, path: Path) -> None:
    """Check `path` against the axes, the limits and the capabilities of `motion`.

    A motion's own :meth:`~flyscan.flight.Motion.check` begins with this and goes on with the
    state of the box. Axes of the path that belong to other motions are passed over.

    Raises:
        ConfigurationError: none of the path's axes is its own, or it cannot fly curves.
        LimitError: the path leaves the travel of an axis, run-ups and run-downs apart.
    """
    own = [axis for axis in motion.axes if axis in path.axes]
    if not own:
        raise ConfigurationError(
            f"the path moves {', '.join(path.axes)}, none of which belongs to it",
            device=motion.name,
            remedy=f"use {', '.join(motion.axes)}, or fly with the motion that has these axes",
        )
    curve = None if motion.capabilities.curves else path.first_curve()
    if curve is not None and not set(own).isdisjoint(curve.moving):
        raise ConfigurationError(
            f"segment {curve.index} is a curve, which this controller cannot fly in one sweep",
            device=motion.name,
            remedy="cut it into straight pieces (Path.without_curves())",
        )
    limits, extents = await motion.limits(), path.extents()
    for axis in own:
        for end in extents[axis]:
            limits[axis].check_travel(f"{motion.name} {axis}", end)
