"""Speed as a function of position under acceleration limits, for one line or many at once.

Speeds are given at the nodes of an even grid along the travel; between nodes the acceleration
is constant, so that the square of the speed is linear in position. All functions take arrays of
shape ``(..., nodes)``: leading dimensions are lines that do not depend on each other.
"""

from __future__ import annotations

import numpy as np

from ..flight import FloatArray

__all__ = ["accelerable", "fit_duration", "node_times", "positions_at", "row_lengths"]

MAX_STEPS = 40
CLOSE = 1e-3
LEAST = 0.1
"""Steps of false position stay this share of the bracket away from its ends."""


def node_times(speed: FloatArray, spacing: float) -> FloatArray:
    """Seconds from the first node to every node, shape ``(..., nodes)``."""
    steps = 2.0 * spacing / (speed[..., 1:] + speed[..., :-1])
    start = np.zeros((*speed.shape[:-1], 1))
    return np.concatenate((start, np.cumsum(steps, axis=-1)), axis=-1)


def accelerable(speed: FloatArray, spacing: float, acceleration: float) -> FloatArray:
    """The fastest profile nowhere above `speed` that keeps to the acceleration.

    ``v_i^2 <= v_(i-+1)^2 + 2 a dx``, forwards then backwards: the time-optimal velocity profile
    along a path (Bobrow, Dubowsky & Gibson 1985), in closed form as a running minimum.
    """
    slope = 2.0 * acceleration * spacing * np.arange(speed.shape[-1], dtype=np.float64)
    forwards = _running_minimum(np.square(speed) - slope) + slope
    backwards = _running_minimum((forwards + slope)[..., ::-1])[..., ::-1]
    square = backwards - slope
    return np.sqrt(np.maximum(square, 0.0))


def _running_minimum(values: FloatArray) -> FloatArray:
    return np.asarray(np.minimum.accumulate(values, axis=-1), dtype=np.float64)


def fit_duration(
    shape: FloatArray,
    spacing: float,
    duration: float,
    *,
    v_min: float,
    v_max: float | FloatArray,
    acceleration: float,
    v_end: float | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Scale the speeds of `shape` until the line takes `duration` seconds within the limits.

    Args:
        shape: speeds up to a factor, positive, shape ``(..., nodes)``.
        spacing: distance between nodes.
        duration: seconds for the whole line.
        v_min: lowest speed, except where the acceleration limit needs less.
        v_max: highest speed, a number or an array that broadcasts to `shape`.
        acceleration: highest acceleration.
        v_end: highest speed at both ends, where the run-up and run-down were planned for it.

    Returns:
        Speeds of shape ``(..., nodes)`` and the seconds each line takes, shape ``(...)``: more
        than `duration` only where the limits allow no faster line.
    """
    ceiling = np.broadcast_to(np.asarray(v_max, dtype=np.float64), shape.shape).copy()
    if v_end is not None:
        ceiling[..., 0] = np.minimum(ceiling[..., 0], v_end)
        ceiling[..., -1] = np.minimum(ceiling[..., -1], v_end)
    ceiling = accelerable(ceiling, spacing, acceleration)

    def profile(scale: FloatArray) -> tuple[FloatArray, FloatArray]:
        wanted = np.maximum(shape * np.exp(scale)[..., None], v_min)
        speed = accelerable(np.minimum(wanted, ceiling), spacing, acceleration)
        return speed, node_times(speed, spacing)[..., -1]

    low: FloatArray = np.log(v_min / shape.max(axis=-1)) - 1.0
    high: FloatArray = np.log(ceiling.max(axis=-1) / shape.min(axis=-1)) + 1.0
    speed, seconds = profile(high)
    over_low: FloatArray = np.log(profile(low)[1] / duration)
    over_high: FloatArray = np.log(seconds / duration)
    unfit = seconds < (1 - CLOSE) * duration
    for _ in range(MAX_STEPS):
        if not unfit.any():
            break
        share = np.clip(over_low / np.maximum(over_low - over_high, 1e-12), LEAST, 1 - LEAST)
        middle = np.asarray(low + share * (high - low), dtype=np.float64)
        trial, took = profile(middle)
        over = np.log(took / duration)
        fast = took <= duration
        better = fast & unfit  # a line that fits is left alone, whatever the others need
        speed = np.where(better[..., None], trial, speed)
        seconds = np.where(better, took, seconds)
        unfit &= seconds < (1 - CLOSE) * duration
        low, high = np.where(fast, low, middle), np.where(fast, middle, high)
        over_low, over_high = np.where(fast, over_low, over), np.where(fast, over, over_high)
    # Slower by a common factor needs less acceleration: the remainder goes in exactly.
    factor = np.minimum(seconds / duration, 1.0)
    return speed * factor[..., None], seconds / factor


def positions_at(times: FloatArray, speed: FloatArray, spacing: float) -> FloatArray:
    """Where one line is at `times`, in distance from its first node.

    Args:
        times: seconds since the first node, any shape; clipped to the line.
        speed: shape ``(nodes,)``.
        spacing: distance between nodes.
    """
    at = node_times(speed, spacing)
    t = np.clip(times, 0.0, at[-1])
    i = np.clip(np.searchsorted(at, t, side="right") - 1, 0, len(speed) - 2)
    dt = at[i + 1] - at[i]
    acceleration = (speed[i + 1] - speed[i]) / dt
    since = t - at[i]
    return i * spacing + since * (speed[i] + 0.5 * acceleration * since)


def row_lengths(speed: FloatArray, period: float) -> FloatArray:
    """Length a row of `period` seconds has at each node."""
    return speed * period
