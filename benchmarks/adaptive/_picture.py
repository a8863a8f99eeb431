"""One reconstruction for all: rows of any length to the signal on a fine grid.

Linear interpolation between the means of rows, then a moving mean by position whose width is
chosen at every place as the largest that all smaller ones agree with (intersection of confidence
intervals: Goldenshluger & Nemirovski 1997; Katkovnik 1999). Without noise nothing is smoothed.
Uniform lines get exactly the same treatment.
"""

from __future__ import annotations

import numpy as np

from flyscan.adaptive import Sampled
from flyscan.flight import FloatArray

__all__ = ["picture", "rms"]

AGREE = 2.0
WIDTHS = 12


def rms(error: FloatArray) -> float:
    """Pooled root mean square."""
    return float(np.sqrt(np.mean(error**2)))


def picture(grid: FloatArray, rows: Sampled, width: float) -> FloatArray:
    """Signal at an even `grid` from lines of rows, shape ``(lines, len(grid))``."""
    lines = [_interpolated(grid, *line) for line in zip(rows.edges, rows.rate, strict=True)]
    linear = np.array(lines)
    if not np.any(rows.variance > 0):
        return linear
    return _smoothed(grid, rows, linear, width)


def _interpolated(grid: FloatArray, edges: FloatArray, rate: FloatArray) -> FloatArray:
    middle = 0.5 * (edges[1:] + edges[:-1])
    first = rate[0] - (rate[1] - rate[0]) * (middle[0] - edges[0]) / (middle[1] - middle[0])
    last = rate[-1] + (rate[-1] - rate[-2]) * (edges[-1] - middle[-1]) / (middle[-1] - middle[-2])
    x = np.concatenate((edges[:1], middle, edges[-1:]))
    return np.interp(grid, x, np.concatenate(([first], rate, [last])))


def _smoothed(grid: FloatArray, rows: Sampled, linear: FloatArray, width: float) -> FloatArray:
    spacing = grid[1] - grid[0]
    variance, length = _on_grid(grid, rows, rows.variance), _on_grid(grid, rows, rows.length)
    own = 0.67 * variance
    mean, spread = _running(linear, spacing), _running(variance * length, spacing)
    low, high = linear - AGREE * np.sqrt(own), linear + AGREE * np.sqrt(own)
    best, agree = linear.copy(), np.ones(linear.shape, dtype=bool)
    at = np.arange(len(grid))
    for half in np.geomspace(0.015 * width, 5 * width, WIDTHS):
        reach = np.maximum(1, np.minimum(round(half / spacing), np.minimum(at, at[::-1])))
        after, before = np.minimum(at + reach, at[-1]), np.maximum(at - reach, 0)
        window = (after - before) * spacing
        value = (mean[:, after] - mean[:, before]) / window
        error = AGREE * np.sqrt(np.minimum((spread[:, after] - spread[:, before]) / window**2, own))
        useful = 0.5 * window > 0.7 * length
        low_new, high_new = np.maximum(low, value - error), np.minimum(high, value + error)
        agree &= ~useful | (low_new <= high_new)
        take = agree & useful
        best = np.where(take, value, best)
        low, high = np.where(take, low_new, low), np.where(take, high_new, high)
    return best


def _running(values: FloatArray, spacing: float) -> FloatArray:
    steps = 0.5 * spacing * (values[:, 1:] + values[:, :-1])
    return np.concatenate((np.zeros((len(values), 1)), np.cumsum(steps, axis=1)), axis=1)


def _on_grid(grid: FloatArray, rows: Sampled, values: FloatArray) -> FloatArray:
    pairs = zip(rows.edges, values, strict=True)
    return np.array([v[np.searchsorted(e[1:-1], grid, side="right")] for e, v in pairs])
