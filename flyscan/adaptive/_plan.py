"""From what is known about a line to the speed that measures it best in a given time.

Time is put where curvature and noise ask for it: density of time ``|f''|^p variance^q``. For
the mean square error of linear interpolation p = 2/5 (de Boor 1973, good approximation by
splines with variable knots); with counting noise and the best smoothing, minimising
bias^2 + variance gives p = 2/9, q = 4/9; for fixed pixels and absolute error q = 1/2. Between
these the model of the error decides, and if none gains 10 % in time the line is flown uniformly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..flight import FloatArray
from ._kinematics import fit_duration

__all__ = ["Planned", "Task", "allowed_length", "error_model", "local_square", "plan_speed"]

EXPONENTS = ((0.4, 0.0), (0.3, 0.1), (0.22, 0.44), (0.1, 0.4), (0.0, 0.44))
CURVATURE_FLOOR = 1e-6
NOISE_FLOOR = 1e-2
WORTHWHILE = 1.1
TIMES = np.geomspace(0.4, 40.0, 24)
SMOOTHING = 8
INTERPOLATION = 0.13
WIDEST = 5.0
"""Widest smoothing in feature widths, as half-width of a moving mean."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a line may cost and what moves it.

    Args:
        length: distance to fly.
        duration: seconds for it.
        period: seconds per row.
        v_min, v_max: limits of speed.
        acceleration: limit of acceleration.
        v_end: highest speed at both ends.
        width: narrowest feature width worth finding.
        insurance: share of the time spread evenly, for what the prior does not know.
    """

    length: float
    duration: float
    period: float
    v_min: float
    v_max: float
    acceleration: float
    v_end: float
    width: float
    insurance: float = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Planned:
    """Profiles for lines planned together.

    Args:
        speed: speed at the nodes of the grid, shape ``(lines, nodes)``.
        gain: predicted gain in time, shape ``(lines,)``; 1 where uniform.
        error: predicted rms error, shape ``(lines,)``.
        worst: largest predicted local error, shape ``(lines,)``.
    """

    speed: FloatArray
    gain: FloatArray
    error: FloatArray
    worst: FloatArray


def local_square(
    length: FloatArray, curvature: FloatArray, noise: FloatArray, width: float
) -> FloatArray:
    """Predicted squared error where rows of `length` meet a `curvature`; any common shape.

    Linear interpolation between the means of rows of length h errs by 0.13 f'' h^2 rms; a
    moving mean of half-width b adds f'' b^2 / 6 and leaves variance * h / 2b of the `noise`
    (variance) of one row; the best b from h to five feature widths counts.
    """
    bias = INTERPOLATION * curvature * length**2
    best = bias**2 + 0.67 * noise
    if np.any(noise > 0):
        widening = np.maximum(WIDEST * width / length, 1.0) ** (1 / (SMOOTHING - 1))
        b = length
        for _ in range(SMOOTHING):
            smooth = (curvature * b**2 / 6 + bias) ** 2 + noise * length / (2 * b)
            best = np.minimum(best, smooth)
            b = b * widening
    return best


def error_model(
    speed: FloatArray, curvature: FloatArray, noise: FloatArray, task: Task
) -> FloatArray:
    """Predicted rms error over the line, shape ``(lines,)``, from arrays ``(lines, nodes)``."""
    square = local_square(speed * task.period, curvature, noise, task.width)
    return np.sqrt(square.mean(axis=-1))


def allowed_length(
    error: float, curvature: FloatArray, noise: FloatArray, width: float
) -> FloatArray:
    """Longest rows that keep the local error, the inverse of :func:`local_square`.

    Without noise ``h = sqrt(error / 0.13 |f''|)``. With noise the best half-width solves
    ``b^2 = 6 error / (sqrt(5) |f''|)``, which leaves 4/5 of the squared error to the variance.
    """
    bend = np.maximum(curvature, 1e-300)
    longest = np.sqrt(error / (INTERPOLATION * bend))
    b = np.minimum(np.sqrt(6 * error / (np.sqrt(5) * bend)), WIDEST * width)
    calm = 1.6 * b * error**2 / np.maximum(noise, 1e-300)
    return np.minimum(longest, np.where(noise > 0, calm, np.inf))


def plan_speed(curvature: FloatArray, noise: FloatArray, task: Task) -> Planned:
    """Best of a family of profiles under the model of the error, for every line.

    Args:
        curvature: size of f'' at the nodes, shape ``(lines, nodes)``.
        noise: variance of one row at the nodes, same shape, zero for a signal without noise.
        task: time and limits.
    """
    spacing = task.length / (curvature.shape[-1] - 1)
    noise = np.maximum(noise, NOISE_FLOOR * noise.max(axis=-1, keepdims=True))
    uniform = np.full(curvature.shape, task.length / task.duration)
    speed, square = (
        uniform.copy(),
        local_square(uniform * task.period, curvature, noise, task.width),
    )
    error = square.mean(axis=-1)
    known = curvature.max(axis=-1) > 0
    for p, q in EXPONENTS if np.any(noise > 0) else EXPONENTS[:1]:
        trial, took = fit_duration(
            1 / time_density(curvature, noise, p, q, task.insurance),
            spacing, task.duration, v_min=task.v_min, v_max=task.v_max,
            acceleration=task.acceleration, v_end=task.v_end,
        )  # fmt: skip
        found = local_square(trial * task.period, curvature, noise, task.width)
        better = (found.mean(axis=-1) < error) & (took < task.duration * 1.001)
        better &= known | (p == 0)
        speed = np.where(better[:, None], trial, speed)
        square = np.where(better[:, None], found, square)
        error = square.mean(axis=-1)
    measurable = known | (noise.max(axis=-1) > 0)
    gain = np.where(measurable, time_gain(np.sqrt(error), curvature, noise, task), 1.0)
    worth = gain >= WORTHWHILE
    return Planned(
        np.where(worth[:, None], speed, uniform),
        np.where(worth, gain, 1.0),
        np.sqrt(error),
        np.sqrt(square.max(axis=-1)),
    )


def time_density(
    curvature: FloatArray, noise: FloatArray, p: float, q: float, insurance: float
) -> FloatArray:
    """Share of time per length, mean 1, with a part of it spread evenly."""
    top = curvature.max(axis=-1, keepdims=True)
    bent = np.maximum(curvature, CURVATURE_FLOOR * np.where(top > 0, top, 1.0)) ** p
    density = bent * np.where(noise > 0, noise, 1.0) ** q
    return (1 - insurance) * density / density.mean(axis=-1, keepdims=True) + insurance


def time_gain(
    error: FloatArray, curvature: FloatArray, noise: FloatArray, task: Task
) -> FloatArray:
    """How much longer a uniform line would take for the same error, by the same model."""
    mean = task.length / task.duration
    curves = np.stack(
        [error_model(np.full(curvature.shape, mean / t), curvature, noise, task) for t in TIMES],
        axis=-1,
    )
    gain = np.ones(len(error))
    for line, curve in enumerate(curves):
        wanted = float(-np.log(error[line] + 1e-300))
        gain[line] = np.exp(np.interp(wanted, -np.log(curve + 1e-300), np.log(TIMES)))
    return gain
