"""Curves a wave table is made of (WAV command; E-727 user manual E727T0005, wave generator).

A segment has `length` points; its curve has `wave` points and begins at point `start`. Longer
curves are cut; missing points take the end value of the curve. The manual leaves open how the
points lie on the curve: here a line reaches its end value with its last point, and periodic
curves close with the first point of their next period.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Segment", "line", "ramp", "sine", "slew_limited"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Segment:
    """What the curves have in common; numbers of points, `amplitude` and `offset` in units."""

    length: int
    amplitude: float
    offset: float
    wave: int
    start: int

    def scaled(self, curve: Floats) -> Floats:
        """`curve` (0 .. 1) in units."""
        return self.offset + self.amplitude * curve


def line(segment: Segment, speed_up_down: int) -> Floats:
    """``LIN``: a sweep by the amplitude with `speed_up_down` points to speed up, and down."""
    index = np.arange(segment.length, dtype=np.float64) - segment.start
    last = max(segment.wave - 1, 1)
    return segment.scaled(_sweep(np.clip(index / last, 0.0, 1.0), speed_up_down / last))


def ramp(segment: Segment, speed_up_down: int, centre: int) -> Floats:
    """``RAMP``: up until point `centre`, back down until the end, rounded at all turns."""
    index = np.arange(segment.wave, dtype=np.float64)
    down = segment.wave - centre
    curve = np.where(
        index < centre,
        _sweep(np.minimum(index / centre, 1.0), speed_up_down / centre),
        _sweep(np.minimum((segment.wave - index) / down, 1.0), speed_up_down / down),
    )
    return segment.scaled(_periodic(curve, segment))


def sine(segment: Segment, centre: int) -> Floats:
    """``SIN_P``: one period of a raised cosine with its maximum at point `centre`."""
    index = np.arange(segment.wave, dtype=np.float64)
    phase = np.where(index < centre, index / centre, 1 + (index - centre) / (segment.wave - centre))
    return segment.scaled(_periodic((1 - np.cos(np.pi * phase)) / 2, segment))


def _sweep(u: Floats, rounding: float) -> Floats:
    """0 to 1 while `u` goes from 0 to 1, with parabolas over `rounding` at both ends."""
    if rounding <= 0:
        return u
    r = min(rounding, 0.5)
    middle = (u - r / 2) / (1 - r)
    begin = u**2 / (2 * r * (1 - r))
    end = 1 - (1 - u) ** 2 / (2 * r * (1 - r))
    return np.where(u < r, begin, np.where(u > 1 - r, end, middle))


def _periodic(curve: Floats, segment: Segment) -> Floats:
    filled = np.zeros(segment.length)
    count = min(segment.length, segment.wave)
    filled[:count] = curve[:count]
    return np.roll(filled, segment.start)  # the start point is a phase shift


def slew_limited(
    times: Floats, path: Floats, position: float, speed: float
) -> tuple[Floats, Floats]:
    """What a stage makes of a path it starts off and which may be faster than it.

    The output goes towards `path` with at most `speed` and stays on it once there.

    Args:
        times: seconds, increasing, shape (n,).
        path: set-points at these times, linear in between, shape (n,).
        position: where the stage is at ``times[0]``.
        speed: units/s.

    Returns:
        times and positions of the output, linear in between; ends at the end of `path`.
    """
    slopes = np.diff(path) / np.diff(times)
    if position == path[0] and np.all(np.abs(slopes) <= speed):
        return times, path
    out_t, out_x = [float(times[0])], [position]
    for t0, t1, x0, slope in zip(
        times[:-1].tolist(), times[1:].tolist(), path[:-1].tolist(), slopes.tolist(), strict=True
    ):
        _chase(out_t, out_x, t1 - t0, x0, slope, speed)
    lack = float(path[-1]) - out_x[-1]
    if lack:
        out_t.append(out_t[-1] + abs(lack) / speed)
        out_x.append(float(path[-1]))
    return np.array(out_t), np.array(out_x)


def _chase(
    out_t: list[float], out_x: list[float], span: float, goal: float, slope: float, speed: float
) -> None:
    """Append the output over one straight piece of path that starts at `goal`."""
    gap = goal - out_x[-1]
    if gap:
        run = speed if gap > 0 else -speed
        closing = run - slope
        meet = gap / closing if gap * closing > 0 else np.inf
        if meet >= span:
            out_t.append(out_t[-1] + span)
            out_x.append(out_x[-1] + run * span)
            return
        out_t.append(out_t[-1] + meet)
        out_x.append(out_x[-1] + run * meet)
        span -= meet
    rate = min(max(slope, -speed), speed)
    out_t.append(out_t[-1] + span)
    out_x.append(out_x[-1] + rate * span)
