"""Plans: fly a path, a grid, several paths."""

# bluesky's plan functions are only partly annotated:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bluesky import plan_stubs as bps
from bluesky import preprocessors as bpp
from bluesky.utils import Msg, MsgGenerator, plan
from scanspec.specs import Spec

from ..devices import Flyer, FlyingDetectors, TriggeredDetector
from ..errors import BadPathError
from ..flight import Path
from ._paths import grid_spec, make_path, shifted, start_document
from ._queue import queueable
from ._stubs import (
    declare_flyer_streams,
    fly_prepared,
    our_errors,
    prepare_detectors,
    prepare_flyer,
    stage_all,
    unstage_all,
)

__all__ = ["fly", "fly_all", "fly_grid", "fly_paths", "rel_fly", "rel_fly_grid"]


@queueable
@plan
def fly(
    flyer: Flyer,
    spec: Spec[str] | Mapping[str, Any],
    *,
    trigger: str = "position",
    period: float | None = None,
    detectors: Sequence[TriggeredDetector] = (),
    exposure: float | None = None,
    md: Mapping[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Fly a path.

    Args:
        flyer: what flies.
        spec: a scanspec Spec of the flyer's axes in their units, or its ``serialize()`` dict.
        trigger: ``"position"`` or ``"time"``.
        period: seconds per point, unless the spec has a duration.
        detectors: ophyd-async detectors that the flyer's capture triggers; their frames go into
            the same stream.
        exposure: of the detectors, s; by default 80 % of the period less their dead time.
        md: metadata for the start document.

    Returns:
        The run's uid.

    Raises:
        BadPathError: the spec is unusable; nothing has moved.
        LimitError: it asks for more than axes or detectors can do; nothing has moved.
        FlyscanError: what else went wrong; hardware is stopped and its settings are restored.
    """
    path = make_path(spec, trigger, period)
    args = _plan_args(flyer, path, trigger, period)
    return (yield from fly_all(flyer, [path], "fly", args, md, detectors, exposure))


@queueable
@plan
def fly_grid(
    flyer: Flyer,
    *axes: Any,
    period: float,
    snake: bool = True,
    trigger: str = "position",
    detectors: Sequence[TriggeredDetector] = (),
    exposure: float | None = None,
    md: Mapping[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Fly a grid, line by line.

    Args:
        flyer: what flies.
        axes: ``axis, start, stop, num`` for each axis, slowest first; start and stop are the
            first and last midpoints, as in ``bluesky.plans.grid_scan``.
        period: seconds per point.
        snake: fly every other line backwards.
        trigger: ``"position"`` or ``"time"``.
        detectors, exposure: as in :func:`fly`.
        md: metadata for the start document.

    Returns:
        The run's uid.
    """
    path = make_path(grid_spec(axes, snake), trigger, period)
    args = {
        "flyer": flyer.name,
        "axes": list(axes),
        "period": period,
        "snake": snake,
        "trigger": trigger,
    }
    return (yield from fly_all(flyer, [path], "fly_grid", args, md, detectors, exposure))


@queueable
@plan
def fly_paths(
    flyer: Flyer,
    specs: Sequence[Spec[str] | Mapping[str, Any]],
    *,
    trigger: str = "position",
    period: float | None = None,
    detectors: Sequence[TriggeredDetector] = (),
    exposure: float | None = None,
    md: Mapping[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Fly several paths one after the other in one run, into one file.

    Frame numbers go on from flight to flight. Arguments as in :func:`fly`.
    """
    paths = [make_path(spec, trigger, period) for spec in specs]
    if not paths:
        raise BadPathError("no paths given", remedy="give at least one Spec")
    args = {
        "flyer": flyer.name,
        "specs": [p.to_dict()["spec"] for p in paths],
        "trigger": trigger,
        "period": period,
    }
    return (yield from fly_all(flyer, paths, "fly_paths", args, md, detectors, exposure))


@queueable
@plan
def rel_fly(
    flyer: Flyer,
    spec: Spec[str] | Mapping[str, Any],
    *,
    trigger: str = "position",
    period: float | None = None,
    detectors: Sequence[TriggeredDetector] = (),
    exposure: float | None = None,
    md: Mapping[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Fly a path given relative to where the axes are, and return there afterwards."""
    data = spec.serialize() if isinstance(spec, Spec) else spec
    axes = make_path(data, trigger, period).axes
    start = yield from _locate(flyer, axes)
    moved = {"plan_name": "rel_fly", **(md or {})}

    def there() -> MsgGenerator[str]:
        return (
            yield from fly(
                flyer,
                shifted(data, start),
                trigger=trigger,
                period=period,
                detectors=detectors,
                exposure=exposure,
                md=moved,
            )
        )

    return (yield from bpp.finalize_wrapper(there(), lambda: _go_back(flyer, start)))


@queueable
@plan
def rel_fly_grid(
    flyer: Flyer,
    *axes: Any,
    period: float,
    snake: bool = True,
    trigger: str = "position",
    detectors: Sequence[TriggeredDetector] = (),
    exposure: float | None = None,
    md: Mapping[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Fly a grid given relative to where the axes are, and return there afterwards."""
    spec = grid_spec(axes, snake)
    moved = {"plan_name": "rel_fly_grid", **(md or {})}
    return (
        yield from rel_fly(
            flyer,
            spec,
            trigger=trigger,
            period=period,
            detectors=detectors,
            exposure=exposure,
            md=moved,
        )
    )


def _plan_args(flyer: Flyer, path: Path, trigger: str, period: float | None) -> dict[str, Any]:
    return {
        "flyer": flyer.name,
        "spec": path.to_dict()["spec"],
        "trigger": trigger,
        "period": period,
    }


def fly_all(
    flyer: Flyer,
    paths: Sequence[Path],
    plan_name: str,
    plan_args: Mapping[str, Any],
    md: Mapping[str, Any] | None,
    detectors: Sequence[TriggeredDetector] = (),
    exposure: float | None = None,
    steering: Mapping[str, Any] | None = None,
) -> MsgGenerator[str]:
    """The run every plan here comes to: one file, one flight per path.

    Args:
        plan_name, plan_args: for the start document.
        md: more of it.
        detectors, exposure: as in :func:`fly`.
        steering: what tunes the flights; None to fly as planned.
    """
    if detectors:
        plan_args = {**plan_args, "detectors": [d.name for d in detectors], "exposure": exposure}
    start = start_document(flyer, paths[0], plan_name, plan_args, detectors)
    if len(paths) > 1:
        start["num_points"] = sum(p.points for p in paths)
        start["num_intervals"] = start["num_points"] - 1
    start = {**start, **(md or {})}
    along = FlyingDetectors(detectors, exposure) if detectors else None
    devices = (flyer,) if along is None else (along, flyer)

    def run() -> MsgGenerator[str]:
        yield from stage_all(*devices)
        uid = yield from bps.open_run(start)
        # A pause while preparing sets counts of events back to the last checkpoint. Without this
        # one the RunEngine has none for its own record of interruptions, and fails at the next.
        yield from bps.checkpoint()
        if along is not None:
            yield from prepare_detectors(along, paths)
        for number, path in enumerate(paths):
            yield from prepare_flyer(flyer, path, along, steering)
            if number == 0:
                yield from declare_flyer_streams(flyer, along, tuned=steering is not None)
            yield from fly_prepared(flyer, along, tuned=steering is not None)
        yield from bps.close_run()
        return uid

    return (yield from our_errors(lambda: bpp.finalize_wrapper(run(), lambda: _put_away(*devices))))


def _put_away(*devices: Flyer | FlyingDetectors) -> MsgGenerator[None]:
    """Not a ``@plan`` itself: that warns when a halt leaves it unused."""
    yield from unstage_all(*devices)


def _locate(flyer: Flyer, axes: Sequence[str]) -> MsgGenerator[dict[str, float]]:
    found: dict[str, float] = {}
    for axis in axes:
        location = yield Msg("locate", flyer.axis(axis), squeeze=True)
        found[axis] = location["readback"]
    return found


def _go_back(flyer: Flyer, start: Mapping[str, float]) -> MsgGenerator[None]:
    moves = [item for axis, position in start.items() for item in (flyer.axis(axis), position)]
    yield from bps.mv(*moves)
