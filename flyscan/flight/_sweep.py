"""Kinematics of one sweep: run-up, constant speed, run-down, and the way to the next one.

Motion is trapezoidal: constant acceleration to the nominal velocity, cruise, constant
deceleration. Run-up distance ``v^2 / 2a`` plus ``v * settle``; the time between two rests a
distance ``d`` apart is ``2 sqrt(d/a)``, or ``d/v + v/a`` once the speed limit is reached.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import BadPathError, LimitError
from ._block import FloatArray
from ._limits import AxisLimits
from ._segment import Segment

__all__ = ["Sweep", "check_resumable", "plan_sweep", "rest_to_rest", "transfer_times"]

RAMP_PIECES = 16
SLACK = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """A segment, or the rest of one from `from_point`, with its run-up and run-down.

    Args:
        segment: what is flown.
        from_point: path index of the first point to trigger.
        origin: where every axis stands at rest before the run-up, in axis units.
        target: where every axis comes to rest after the run-down.
        velocity: signed velocity of every axis at the first trigger, units per second (0 for
            the still ones): the cruise velocity of a straight sweep.
        acceleration: positive acceleration of every axis, units per second squared; what the
            run-up uses where the axis moves, else the axis' limit.
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
        """Vertices of the sweep: seconds from the start of motion and axis to positions.

        The run-up continues the tangent of the first piece backwards with constant
        acceleration, the run-down the tangent of the last piece; both are sampled at
        1/16 of the ramp. Shapes ``(m,)``, same for every axis; seconds increase strictly.
        """
        seconds, knots = self.segment.knots(self.from_point)
        enter, leave = _edge_velocities(seconds, knots)
        ramp = np.linspace(0.0, self.ramp, RAMP_PIECES + 1) if self.ramp > 0 else np.zeros(1)
        times = np.concatenate((ramp, self.lead + seconds, self.lead + seconds[-1] + ramp[1:]))
        keep = np.ones(len(times), dtype=bool)
        keep[len(ramp) - 1] = self.lead > self.ramp  # else the first knot ends the ramp
        positions: dict[str, FloatArray] = {}
        for axis, path in knots.items():
            up = self.origin[axis] + _ramp_up(enter[axis], ramp)
            down = path[-1] + leave[axis] * ramp[1:] - _ramp_up(leave[axis], ramp[1:])
            positions[axis] = np.concatenate((up, path, down))[keep]
        return times[keep], positions


def _ramp_up(velocity: float, t: FloatArray) -> FloatArray:
    return velocity * t**2 / (2 * t[-1]) if len(t) and t[-1] > 0 else np.zeros_like(t)


def rest_to_rest(distance: float, velocity: float, acceleration: float) -> float:
    """Seconds to move `distance` from rest to rest under the two limits."""
    return float(transfer_times(np.asarray(distance, dtype=float), velocity, acceleration))


def transfer_times(distances: FloatArray, velocity: float, acceleration: float) -> FloatArray:
    """:func:`rest_to_rest` for an array of distances of any shape."""
    d = np.abs(distances)
    short = 2 * np.sqrt(d / acceleration)
    return np.where(d >= velocity**2 / acceleration, d / velocity + velocity / acceleration, short)


def plan_sweep(segment: Segment, from_point: int, limits: Mapping[str, AxisLimits]) -> Sweep:
    """Plan the sweep of `segment` from path point `from_point` to its end.

    Raises:
        BadPathError: the limits of an axis are missing.
        LimitError: the sweep with run-up and run-down leaves an axis' travel or needs more
            velocity or, along a curve, more acceleration than an axis has.
        IndexError: `from_point` is not a point of the segment.
    """
    if from_point == segment.end_point:
        raise IndexError(f"segment {segment.index} has no point {from_point} to start from")
    seconds, knots = segment.knots(from_point)
    _check_known(segment, limits)
    moving = segment.moving
    for axis in moving:
        _check_speed(segment, axis, seconds, knots[axis], limits[axis])
    enter, leave = _edge_velocities(seconds, knots)
    peak = {a: max(abs(enter[a]), abs(leave[a])) for a in knots}
    ramp = max((peak[a] / limits[a].acceleration for a in moving), default=0.0)
    settle = max((limits[a].settle for a in moving), default=0.0)
    origin = {a: float(k[0]) - enter[a] * (ramp / 2 + settle) for a, k in knots.items()}
    target = {a: float(k[-1]) + leave[a] * ramp / 2 for a, k in knots.items()}
    for axis, path in knots.items():
        low = min(origin[axis], target[axis], float(path.min()))
        high = max(origin[axis], target[axis], float(path.max()))
        _check_travel(segment, axis, low, high, limits[axis])
    return Sweep(
        segment=segment,
        from_point=from_point,
        origin=origin,
        target=target,
        velocity=enter,
        acceleration={a: peak[a] / ramp if peak[a] else limits[a].acceleration for a in knots},
        ramp=ramp,
        lead=ramp + settle,
        duration=2 * ramp + settle + float(seconds[-1]),
    )


def check_resumable(segment: Segment, limits: Mapping[str, AxisLimits]) -> None:
    """Check that the segment can be flown from every one of its points.

    The run-up to a later point of a straight segment lies on the segment's own sweep; along a
    curve it follows the tangent there, which may lead out of an axis' travel.

    Raises:
        BadPathError, LimitError: as :func:`plan_sweep` for the first point that fails.
    """
    plan_sweep(segment, segment.first_point, limits)
    if segment.bounds is None:
        return
    seconds, knots = segment.knots(segment.first_point)
    every = (len(seconds) - 1) // segment.points
    leave = _edge_velocities(seconds, knots)[1]
    enter = {a: (np.diff(k) / seconds[1])[::every] for a, k in knots.items()}
    moving = segment.moving
    ramp = np.zeros(segment.points)
    for axis in moving:
        peak = np.maximum(np.abs(enter[axis]), abs(leave[axis]))
        ramp = np.maximum(ramp, peak / limits[axis].acceleration)
    reach = ramp / 2 + max((limits[a].settle for a in moving), default=0.0)
    outside = np.zeros(segment.points, dtype=bool)
    for axis, path in knots.items():
        origin = path[:-1:every] - enter[axis] * reach
        ends = np.stack((origin, path[-1] + leave[axis] * ramp / 2))
        outside |= ((ends < limits[axis].low) | (ends > limits[axis].high)).any(axis=0)
    for offset in np.flatnonzero(outside).tolist():
        plan_sweep(segment, segment.first_point + offset, limits)


def _edge_velocities(
    seconds: FloatArray, knots: Mapping[str, FloatArray]
) -> tuple[dict[str, float], dict[str, float]]:
    """Velocity at the first trigger and after the last point."""
    first, last = float(seconds[1] - seconds[0]), float(seconds[-1] - seconds[-2])
    enter = {a: float(k[1] - k[0]) / first for a, k in knots.items()}
    leave = {a: float(k[-1] - k[-2]) / last for a, k in knots.items()}
    return enter, leave


def _check_known(segment: Segment, limits: Mapping[str, AxisLimits]) -> None:
    unknown = [a for a in segment.start if a not in limits]
    if unknown:
        raise BadPathError(
            f"the path moves an axis nobody controls; known axes are {', '.join(limits) or 'none'}",
            device=", ".join(unknown),
            remedy="correct the name in the Spec or add the axis to a motion controller",
        )


def _check_speed(
    segment: Segment, axis: str, seconds: FloatArray, path: FloatArray, limit: AxisLimits
) -> None:
    lengths = np.diff(seconds)
    steps = np.diff(path) / lengths
    speed = float(np.abs(steps).max())
    if speed > limit.velocity * (1 + SLACK):
        raise LimitError(
            f"segment {segment.index} needs {speed:g} {limit.unit}/s, "
            f"the axis allows {limit.velocity:g}",
            device=axis,
            remedy="use a longer period per point or a smaller step",
        )
    between = (lengths[1:] + lengths[:-1]) / 2
    bend = float((np.abs(np.diff(steps)) / between).max(initial=0.0))
    if bend > limit.acceleration * (1 + SLACK):
        raise LimitError(
            f"the curve of segment {segment.index} needs {bend:g} {limit.unit}/s^2, "
            f"the axis allows {limit.acceleration:g}",
            device=axis,
            remedy="use a longer period per point, smaller steps, or a path without corners",
        )


def _check_travel(segment: Segment, axis: str, low: float, high: float, limit: AxisLimits) -> None:
    slack = SLACK * max(1.0, abs(limit.low), abs(limit.high))
    if low < limit.low - slack or high > limit.high + slack:
        raise LimitError(
            f"segment {segment.index} with run-up and run-down spans "
            f"{low:g} to {high:g} {limit.unit}, travel is {limit.low:g} to {limit.high:g}",
            device=axis,
            remedy="move or shrink the path, or fly slower for a shorter run-up",
        )
