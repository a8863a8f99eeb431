"""From a speed profile to a segment that flies it, and back to what it does to a line. Pure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..flight import FloatArray, Segment, Trigger
from ._kinematics import node_times, positions_at
from ._profile import Profile

__all__ = ["detour", "profiled", "seconds_along"]

NODES = 2001
SLACK = 1e-6


def seconds_along(profile: Profile, position: FloatArray) -> FloatArray:
    """Seconds from the beginning of a profile to positions on it; clipped to its ends."""
    x = np.abs(np.asarray(profile.position) - profile.position[0])
    v = np.asarray(profile.velocity)
    at = np.concatenate(([0.0], np.cumsum(2 * np.diff(x) / (v[1:] + v[:-1]))))
    d = np.clip(np.abs(position - profile.position[0]), 0.0, x[-1])
    i = np.clip(np.searchsorted(x, d, side="right") - 1, 0, len(x) - 2)
    here = np.sqrt(v[i] ** 2 + (v[i + 1] ** 2 - v[i] ** 2) * (d - x[i]) / (x[i + 1] - x[i]))
    return at[i] + 2 * (d - x[i]) / (v[i] + here)


def profiled(segment: Segment, profile: Profile) -> Segment:
    """A straight segment flown with `profile`, which covers its fast axis.

    Triggered by position its points stay where they are; triggered by time their bounds are
    where the stage is after every period. A profile that takes less time than the segment has
    periods gives a segment of fewer points; one that takes a little more is flown a little
    faster.
    """
    if segment.trigger is Trigger.POSITION:
        ends = _ends(segment)
        along = np.linspace(*ends, segment.points + 1)
        return replace(segment, schedule=seconds_along(profile, along))
    points = min(segment.points, _rows(profile.duration, segment.period))
    return _timed(segment, profile, points)


def detour(segment: Segment, profile: Profile, *, uniform: bool) -> Segment:
    """A part of a line flown once more.

    Args:
        segment: the line.
        profile: where on its fast axis, in which direction, and how fast.
        uniform: fly it at the profile's mean speed, for motions without profiles.

    Returns:
        A segment with the numbers of `segment`; the route gives it its own.
    """
    low, high = profile.position[0], profile.position[-1]
    if segment.trigger is Trigger.POSITION:
        step = abs(segment.step)
        begin = segment.start[segment.fast or ""]
        first, last = (begin + step * round((end - begin) / step) for end in (low, high))
        points = max(1, round(abs(last - first) / step))
        last = first + step * points * (1 if high > low else -1)
        straight = _straight(segment, first, last, points, profile.duration / points)
        if uniform:
            return straight
        along = np.linspace(first, last, points + 1)
        times = seconds_along(profile, along)
        return straight if np.any(np.diff(times) <= 0) else replace(straight, schedule=times)
    points = _rows(profile.duration, segment.period)
    if uniform:
        mean = (high - low) / profile.duration
        end = low + mean * points * segment.period
        return _straight(segment, low, end, points, segment.period)
    return _timed(_straight(segment, low, high, points, segment.period), profile, points)


def _rows(duration: float, period: float) -> int:
    return max(1, int(np.ceil(duration / period - 1e-3)))


def _ends(segment: Segment) -> tuple[float, float]:
    fast = segment.fast or ""
    return segment.start[fast], segment.stop[fast]


def _straight(segment: Segment, low: float, high: float, points: int, period: float) -> Segment:
    """A straight piece of the line through `segment`, from `low` to `high` on the fast axis."""
    begin, end = _ends(segment)

    def at(position: float) -> dict[str, float]:
        f = (position - begin) / (end - begin)
        return {
            a: position if a == segment.fast else lo + f * (segment.stop[a] - lo)
            for a, lo in segment.start.items()
        }

    return replace(
        segment,
        points=points,
        start=at(low),
        stop=at(high),
        period=period,
        bounds=None,
        midpoints=None,
        schedule=None,
    )


def _timed(segment: Segment, profile: Profile, points: int) -> Segment:
    """The segment with a point for every period of the profile.

    The last period may end after the profile does: it is flown on at its last speed.
    """
    profile = profile.stretched(min(1.0, points * segment.period / profile.duration))
    speed, spacing = profile.on_nodes(max(NODES, 4 * len(profile.position)))
    times = segment.period * np.arange(points + 1.0)
    way = positions_at(times, speed, spacing)
    way[-1] += max(0.0, float(times[-1] - node_times(speed, spacing)[-1])) * float(speed[-1])
    sign = 1 if profile.position[-1] > profile.position[0] else -1
    along = profile.position[0] + sign * way
    begin, end = _ends(segment)
    share = (along - begin) / (end - begin)
    bounds = {
        a: along if a == segment.fast else lo + share * (segment.stop[a] - lo)
        for a, lo in segment.start.items()
    }
    return replace(
        segment,
        points=points,
        start={a: float(b[0]) for a, b in bounds.items()},
        stop={a: float(b[-1]) for a, b in bounds.items()},
        bounds=bounds,
    )
