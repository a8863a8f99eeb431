"""Whether a motion can fly a path or a sweep, as far as it says of itself."""

from __future__ import annotations

from ..errors import ConfigurationError
from ._contract import Motion
from ._path import Path
from ._sweep import Sweep

__all__ = ["check_path", "check_sweep"]


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


def check_sweep(motion: Motion, sweep: Sweep) -> None:
    """Check that `motion` can vary its speed if `sweep` does; for the beginning of ``prepare``.

    A path that passed :func:`check_path` may still be flown with a speed profile, which a policy
    has made of one of its lines.

    Raises:
        ConfigurationError: it says that it can fly neither profiles nor curves.
    """
    capable, segment = motion.capabilities, sweep.segment
    if not segment.curved or capable.profiles or capable.curves:
        return
    if moved := [axis for axis in motion.axes if axis in segment.moving]:
        raise ConfigurationError(
            f"segment {segment.index} varies its speed along {', '.join(moved)} or is a curve, "
            "this controller flies straight lines at one speed",
            device=motion.name,
            remedy="fly with a policy that plans no speed profiles, and Path.without_curves()",
        )
