"""Curvature, rate and noise of a signal, estimated from rows of unequal length.

Rows give the mean of the signal over their length. All functions take rows as arrays of shape
``(..., rows)`` in order of position; leading dimensions are lines that do not depend on each
other. A curvature counts only where it exceeds four standard errors, so that noise alone is
never taken for structure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..flight import FloatArray

__all__ = ["Sampled", "curvature_on", "dilated", "poisson_variance", "second_difference"]

GATE = 4.0
"""Standard errors a second difference must exceed: 6e-5 false alarms per row."""

DIGITS = 1e-9
"""Relative accuracy of a signal without noise: less than this is rounding."""

SCALES = (1, 2, 4, 8, 16, 32, 64)
"""Rows binned together before differences are taken."""


@dataclass(frozen=True, slots=True, eq=False)
class Sampled:
    """A line as it was measured.

    Args:
        edges: where rows begin and end, ascending, shape ``(..., rows + 1)``.
        rate: signal per row, shape ``(..., rows)``.
        variance: variance of each rate, 0 for a signal without noise, shape ``(..., rows)``.
    """

    edges: FloatArray
    rate: FloatArray
    variance: FloatArray

    @property
    def length(self) -> FloatArray:
        """Length of every row."""
        return np.diff(self.edges, axis=-1)

    @property
    def middle(self) -> FloatArray:
        """Middle of every row."""
        return 0.5 * (self.edges[..., 1:] + self.edges[..., :-1])

    def binned(self, rows: int) -> Sampled:
        """Several rows as one, combined by position; rows left over at the end are dropped."""
        if rows == 1:
            return self
        bins = self.rate.shape[-1] // rows
        shape = (*self.rate.shape[:-1], bins, rows)
        length = self.length[..., : bins * rows].reshape(shape)
        weight = length / length.sum(axis=-1, keepdims=True)
        rate = (weight * self.rate[..., : bins * rows].reshape(shape)).sum(axis=-1)
        variance = (weight**2 * self.variance[..., : bins * rows].reshape(shape)).sum(axis=-1)
        return Sampled(self.edges[..., : bins * rows + 1 : rows], rate, variance)


def poisson_variance(counts: FloatArray, exposure: FloatArray) -> FloatArray:
    """Variance of the rate ``counts / exposure`` of every row.

    The rate comes from a row and its neighbours, never from one row, and zero counts are not
    zero variance: weights from single counts bias means by -5.6 % at five counts per row. One
    count is added because for Poisson counts E[1 / (n + 1)] = 1 / mean: what is divided by this
    variance then has the right size on average.

    Args:
        counts: shape ``(..., rows)``.
        exposure: live time times normalised incident flux, same shape.
    """
    total = _with_neighbours(counts)
    seconds = _with_neighbours(exposure)
    return (total + 1.0) / np.maximum(seconds, 1e-300) / np.maximum(exposure, 1e-300)


def _with_neighbours(values: FloatArray) -> FloatArray:
    total = values.astype(np.float64)
    total[..., 1:] += values[..., :-1]
    total[..., :-1] += values[..., 1:]
    return total


def second_difference(
    middle: FloatArray, rate: FloatArray, variance: FloatArray, apart: int = 1
) -> tuple[FloatArray, FloatArray]:
    """Second derivative from triples of rows `apart` and its standard error.

    Divided differences with the true spacing of the middles of the rows; shape
    ``(..., rows - 2 apart)``.
    """
    first, centre, last = slice(None, -2 * apart), slice(apart, -apart), slice(2 * apart, None)
    half = 0.5 * (middle[..., last] - middle[..., first])
    before = 1 / ((middle[..., centre] - middle[..., first]) * half)
    after = 1 / ((middle[..., last] - middle[..., centre]) * half)
    both = before + after
    value = before * rate[..., first] - both * rate[..., centre] + after * rate[..., last]
    square = (
        before**2 * variance[..., first]
        + both**2 * variance[..., centre]
        + after**2 * variance[..., last]
    )
    digits = DIGITS * np.abs(rate[..., centre]) * both
    return value, np.sqrt(square + digits**2)


def curvature_on(grid: FloatArray, sampled: Sampled) -> FloatArray:
    """Size of the second derivative that is certain, on a grid, shape ``(..., len(grid))``.

    The largest over several bin widths of what exceeds :data:`GATE` standard errors. With noise
    each is valid over the three bins it came from; without, where the place is as certain as the
    size, the larger of two neighbours is valid between the middles of their bins.
    """
    best = np.zeros((*sampled.rate.shape[:-1], len(grid)))
    noisy = bool(np.any(sampled.variance > 0))
    for scale in SCALES if noisy else SCALES[:1]:
        bins = sampled.binned(scale)
        if bins.rate.shape[-1] < 3:
            break
        value, error = second_difference(bins.middle, bins.rate, bins.variance)
        sure = np.maximum(np.abs(value) - GATE * error, 0.0)
        if noisy or sure.shape[-1] < 2:
            edges, size = bins.edges, _over_three(sure)
        else:
            edges, size = bins.middle[..., 1:-1], np.maximum(sure[..., 1:], sure[..., :-1])
        best = np.maximum(best, on_grid(grid, edges, size))
    return best


def _over_three(inner: FloatArray) -> FloatArray:
    """Largest of the triples every bin belongs to, from one value per middle bin."""
    size = np.zeros((*inner.shape[:-1], inner.shape[-1] + 2))
    for part in (slice(None, -2), slice(1, -1), slice(2, None)):
        size[..., part] = np.maximum(size[..., part], inner)
    return size


def on_grid(grid: FloatArray, edges: FloatArray, values: FloatArray) -> FloatArray:
    """Values per row as a step function on a grid; the first and last row extend outwards."""
    flat_edges = edges.reshape(-1, edges.shape[-1])
    flat_values = values.reshape(-1, values.shape[-1])
    found = np.empty((len(flat_values), len(grid)))
    for line, (edge, value) in enumerate(zip(flat_edges, flat_values, strict=True)):
        found[line] = value[np.searchsorted(edge[1:-1], grid, side="right")]
    return found.reshape(*values.shape[:-1], len(grid))


def dilated(values: FloatArray, distance: float, spacing: float) -> FloatArray:
    """Largest value within `distance` on a grid of `spacing`, along the last axis."""
    left = round(distance / spacing)
    wide = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(left, left)], mode="edge")
    span = 1
    while 2 * span <= 2 * left + 1:  # doubling windows, then two that overlap
        wide = np.maximum(wide[..., :-span], wide[..., span:])
        span *= 2
    rest = 2 * left + 1 - span
    return np.maximum(wide[..., : wide.shape[-1] - rest], wide[..., rest:])
