"""Plans that tune speed and step while the stage flies."""

# bluesky's plan functions are only partly annotated:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bluesky.utils import MsgGenerator, plan
from scanspec.specs import Spec

from ..adaptive import (
    BeamGuard,
    Budget,
    Composite,
    CurvatureSpeed,
    Policy,
    PriorSpeed,
    SteeringConfig,
    policy_from_dict,
)
from ..devices import Flyer
from ..errors import ConfigurationError
from ._paths import grid_spec, make_path
from ._plans import fly_all
from ._queue import queueable

__all__ = ["adaptive_fly", "adaptive_fly_grid"]


@queueable
@plan
def adaptive_fly(
    flyer: Flyer,
    spec: Spec[str] | Mapping[str, Any],
    *,
    channel: str | None = None,
    width: float | None = None,
    period: float | None = None,
    trigger: str = "time",
    policy: Policy | Mapping[str, Any] | None = None,
    target_error: float | None = None,
    extra: float = 0.2,
    others: Sequence[str] = (),
    i0: str | None = None,
    nominal_i0: float | None = None,
    beam: Mapping[str, Any] | None = None,
    time_limit: float | None = None,
    pixel: float | None = None,
    pixel_dose: float | None = None,
    total_dose: float | None = None,
    max_raise: float = 1.5,
    worker: bool = False,
    md: Mapping[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Fly straight lines, each as fast as its own data and the lines before it ask for.

    With `channel` and `width` alone every line is planned from the one before
    (:class:`~flyscan.adaptive.PriorSpeed`): the same time as a uniform flight, spent where the
    signal bends, and parts flown again where something new appears. A flight whose data promise
    less than a tenth of gain is flown uniformly, and says so.

    Args:
        flyer: what flies.
        spec: a scanspec Spec of straight lines, or its ``serialize()`` dict.
        channel: the counts that drive the speed.
        width: narrowest feature worth finding, in units of the fast axis.
        period: seconds per point, unless the spec has a duration.
        trigger: ``"time"``: rows are as long as the speed makes them; ``"position"``: rows stay
            where the path has them, and the speed sets how long they take.
        policy: another policy, or several as a Composite; or its ``to_dict()``.
        target_error: accepted error in counts per second: lines without a prior are then flown
            fast first, and again where there is something
            (:class:`~flyscan.adaptive.CurvatureSpeed`).
        extra: time a line may take beyond the uniform one, as a share of that.
        others: more channels, for which the plans report what they gain or lose.
        i0: channel of the incident flux; decisions go by counts per flux.
        nominal_i0: its usual rate in counts per second; by default that of the first block.
        beam: guards against loss of beam: fields of :class:`~flyscan.adaptive.BeamGuard`; an
            empty dict for its defaults. Needs `i0` or a monitor.
        time_limit: seconds after which the flight ends early.
        pixel, pixel_dose, total_dose: see :class:`~flyscan.adaptive.Budget`.
        max_raise: largest factor by which one decision may raise the speed.
        worker: run the policy in a process of its own, for policies that compute for long.
        md: metadata for the start document.

    Returns:
        The run's uid.

    Raises:
        ConfigurationError: the policy cannot fly this; nothing has moved.
        BadPathError, LimitError, FlyscanError: as :func:`fly`.
    """
    path = make_path(spec, trigger, period)
    chosen = _policy(policy, channel, width, target_error, others)
    if beam is not None and i0 is None and not beam.get("monitor"):
        raise ConfigurationError(
            "a beam guard needs something to watch",
            device=flyer.name,
            remedy="name the channel of the incident flux as i0, or a monitor in beam",
        )
    guards: list[Policy] = [] if beam is None else [BeamGuard(**beam)]
    if (pixel, pixel_dose, total_dose, time_limit) != (None, None, None, None):
        guards.append(Budget(pixel, pixel_dose, total_dose))
    if guards:
        chosen = Composite([*guards, chosen])
    steering = SteeringConfig(
        chosen.to_dict(),
        extra=extra,
        max_raise=max_raise,
        time_limit=time_limit,
        worker=worker,
        i0=i0,
        nominal_i0=nominal_i0,
    ).to_dict()
    args = {
        "flyer": flyer.name,
        "spec": path.to_dict()["spec"],
        "trigger": trigger,
        "period": period,
        "steering": steering,
    }
    return (yield from fly_all(flyer, [path], "adaptive_fly", args, md, steering=steering))


@queueable
@plan
def adaptive_fly_grid(
    flyer: Flyer,
    *axes: Any,
    period: float,
    snake: bool = True,
    md: Mapping[str, Any] | None = None,
    **tuning: Any,
) -> MsgGenerator[str]:
    """Fly a grid, each line as fast as its own data and the lines before it ask for.

    Args:
        flyer: what flies.
        axes: ``axis, start, stop, num`` for each axis, slowest first; as in :func:`fly_grid`.
        period: seconds per point.
        snake: fly every other line backwards.
        md: metadata for the start document.
        tuning: as in :func:`adaptive_fly`: channel, width, trigger, policy and so on.

    Returns:
        The run's uid.
    """
    named = {"plan_name": "adaptive_fly_grid", **(md or {})}
    spec = grid_spec(axes, snake)
    return (yield from adaptive_fly(flyer, spec, period=period, md=named, **tuning))


def _policy(
    policy: Policy | Mapping[str, Any] | None,
    channel: str | None,
    width: float | None,
    target_error: float | None,
    others: Sequence[str],
) -> Policy:
    """The policy asked for, or the default one.

    Raises:
        ConfigurationError: too little or too much is given.
    """
    if policy is not None:
        if others or (channel, width, target_error) != (None, None, None):
            raise ConfigurationError(
                "got a policy and also channel, width, target_error or others, which describe "
                "the default one",
                device="adaptive_fly",
                remedy="give them to the policy itself",
            )
        return policy if isinstance(policy, Policy) else policy_from_dict(policy)
    if channel is None or width is None:
        raise ConfigurationError(
            "needs to know what to look for",
            device="adaptive_fly",
            remedy="give the channel that drives the speed and the width of its narrowest "
            "feature, or a policy",
        )
    if target_error is not None:
        return CurvatureSpeed(channel, width, others=tuple(others), target_error=target_error)
    return PriorSpeed(channel, width, others=tuple(others))
