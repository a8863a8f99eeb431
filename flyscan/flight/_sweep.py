"""Kinematics of one sweep: run-up, constant speed, run-down, and the way to the next one.

Motion is trapezoidal: constant acceleration to the nominal velocity, cruise, constant
deceleration. Run-up distance ``v^2 / 2a`` plus ``v * settle``; the time between two rests a
distance ``d`` apart is ``2 sqrt(d/a)``, or ``d/v + v/a`` once the speed limit is reached.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import LimitError
from ._block import FloatArray
from ._limits import AxisLimits
from ._segment import Segment

__all__ = ["Sweep", "plan_sweep", "rest_to_rest"]


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """A segment, or the rest of one from `from_point`, with its run-up and run-down.

    Args:
        segment: what is flown.
        from_point: path index of the first point to trigger.
        origin: where every axis stands at rest before the run-up, in axis units.
        target: where every axis comes to rest after the run-down.
        velocity: signed cruise velocity of every axis, units per second (0 for the still ones).
        acceleration: positive acceleration of every axis, units per second squared.
        ramp: seconds to reach the cruise velocity.
        lead: seconds from the start of motion to the first trigger.
        duration: seconds from the start of motion to rest; for a dwell, of its frames.
    """

    segment: Segment
    from_point: int
    origin: Mapping[str, float]
    target: Mapping[str, float]
    velocity: Mapping[str, float]
    acceleration: Mapping[str, float]
    ramp: float
    lead: float
    duration: float

    @property
    def points(self) -> int:
        """Points still to trigger."""
        return self.segment.end_point - self.from_point

    @property
    def static(self) -> bool:
        """True for a dwell."""
        return self.segment.static

    def curve(self) -> tuple[FloatArray, dict[str, FloatArray]]:
        """Vertices of a curved sweep: seconds from the start of motion and axis to positions.

        The run-up continues the tangent of the first piece backwards with constant
        acceleration, the run-down the tangent of the last piece; both are sampled at
        1/16 of the ramp. Shapes ``(m,)``, same for every axis.
        """
        segment = self.segment
        if segment.bounds is None:
            raise ValueError(f"segment {segment.index} is straight")
        i = self.from_point - segment.first_point
        n = self.points
        ramp = np.linspace(0.0, self.ramp, 17)
        settle = self.lead - self.ramp
        times = np.concatenate(
            (
                ramp,
                self.lead + segment.period * np.arange(n + 1),
                self.lead + n * segment.period + ramp[1:],
            )
        )
        positions: dict[str, FloatArray] = {}
        for axis, bounds in segment.bounds.items():
            v_in = (bounds[i + 1] - bounds[i]) / segment.period
            v_out = (bounds[-1] - bounds[-2]) / segment.period
            up = bounds[i] - v_in * settle - v_in * (self.ramp / 2) + _ramp_up(v_in, ramp)
            down = bounds[-1] + v_out * ramp[1:] - _ramp_up(v_out, ramp[1:])
            positions[axis] = np.concatenate((up, bounds[i:], down))
        return times, positions


def _ramp_up(velocity: float, t: FloatArray) -> FloatArray:
    return velocity * t**2 / (2 * t[-1]) if t[-1] > 0 else np.zeros_like(t)


def rest_to_rest(distance: float, velocity: float, acceleration: float) -> float:
    """Seconds to move `distance` from rest to rest under the two limits."""
    d = abs(distance)
    if d >= velocity**2 / acceleration:
        return d / velocity + velocity / acceleration
    return 2 * math.sqrt(d / acceleration)


def plan_sweep(segment: Segment, from_point: int, limits: Mapping[str, AxisLimits]) -> Sweep:
    """Plan the sweep of `segment` from path point `from_point` to its end.

    Raises:
        LimitError: the sweep with run-up and run-down leaves an axis' travel or needs more
            velocity than an axis has.
    """
    if segment.static:
        return _dwell(segment, from_point)
    entry, leave = _edge_velocities(segment, from_point)
    _check_velocity(segment, limits)
    moving = segment.moving
    ramp = max(max(abs(entry[a]), abs(leave[a])) / limits[a].acceleration for a in moving)
    settle = max(limits[a].settle for a in moving)
    first, last = segment.bound(from_point), segment.bound(segment.end_point)
    origin = {a: first[a] - entry[a] * (ramp / 2 + settle) for a in first}
    target = {a: last[a] + leave[a] * ramp / 2 for a in last}
    for axis in moving:
        _check_travel(segment, axis, (origin[axis], target[axis]), limits[axis])
    count = segment.end_point - from_point
    return Sweep(
        segment=segment,
        from_point=from_point,
        origin=origin,
        target=target,
        velocity=segment.velocity,
        acceleration={
            a: (max(abs(entry[a]), abs(leave[a])) / ramp if ramp else limits[a].acceleration)
            for a in moving
        },
        ramp=ramp,
        lead=ramp + settle,
        duration=2 * ramp + settle + count * segment.period,
    )


def _dwell(segment: Segment, from_point: int) -> Sweep:
    here = dict(segment.start)
    return Sweep(
        segment=segment,
        from_point=from_point,
        origin=here,
        target=here,
        velocity=dict.fromkeys(here, 0.0),
        acceleration={},
        ramp=0.0,
        lead=0.0,
        duration=(segment.end_point - from_point) * segment.period,
    )


def _edge_velocities(
    segment: Segment, from_point: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Velocity at the first trigger and after the last point."""
    if segment.bounds is None:
        velocity = segment.velocity
        return velocity, velocity
    i = from_point - segment.first_point
    period = segment.period
    entry = {a: float(b[i + 1] - b[i]) / period for a, b in segment.bounds.items()}
    leave = {a: float(b[-1] - b[-2]) / period for a, b in segment.bounds.items()}
    return entry, leave


def _check_velocity(segment: Segment, limits: Mapping[str, AxisLimits]) -> None:
    for axis in segment.moving:
        if segment.bounds is None:
            speed = abs(segment.velocity[axis])
        else:
            speed = float(np.max(np.abs(np.diff(segment.bounds[axis])))) / segment.period
        limit = limits[axis]
        if speed > limit.velocity * (1 + 1e-9):
            raise LimitError(
                f"segment {segment.index} needs {speed:g} {limit.unit}/s, "
                f"the axis allows {limit.velocity:g}",
                device=axis,
                remedy="use a longer period per point or a smaller step",
            )


def _check_travel(
    segment: Segment, axis: str, ends: tuple[float, float], limit: AxisLimits
) -> None:
    low, high = min(ends), max(ends)
    slack = 1e-9 * max(1.0, abs(limit.low), abs(limit.high))
    if low < limit.low - slack or high > limit.high + slack:
        raise LimitError(
            f"segment {segment.index} with run-up and run-down spans "
            f"{low:g} to {high:g} {limit.unit}, travel is {limit.low:g} to {limit.high:g}",
            device=axis,
            remedy="move or shrink the path, or fly slower for a shorter run-up",
        )
