"""Rows of any length, speed and pass onto even pixels: unbiased, with errors.

Counts are combined by position: a pixel is the mean of the signal over the pixel, whatever time
was spent where. Within a row the signal is taken to be straight, with the slope of its
neighbours, so that rows longer than a pixel do not turn slopes into steps. A part of the line
flown again more slowly replaces the faster rows there; where several passes of like speed cover
a place they are averaged by the time they spent, which is planned and not counted. Variances
come from a row with its neighbours, never from one row: weights from single counts bias by
-5.6 % at five counts. Dead time must have been corrected row by row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import CaptureError, ConfigurationError
from ..flight import FloatArray, IntArray
from ._estimate import poisson_variance

__all__ = ["Regridded", "regrid_line"]

BoolArray = npt.NDArray[np.bool_]

REPLACES = 1.5
"""A pass whose rows are this many times shorter replaces the longer rows, rather than being
averaged with them: merging a coarse and a fine pass as points doubles the error."""


COVERED = 0.1
"""Share of a pixel that rows must cover: ends of rows beside it do not make it measured."""


@dataclass(frozen=True, slots=True, eq=False)
class Regridded:
    """A signal on pixels; arrays of shape ``(pixels,)``.

    Args:
        value: counts per second at nominal flux; NaN where nothing was measured.
        error: standard error of each value.
        exposure: seconds at nominal flux spent in each pixel by the rows used.
        dose: seconds at nominal flux spent in each pixel by all rows.
    """

    value: FloatArray
    error: FloatArray
    exposure: FloatArray
    dose: FloatArray


def regrid_line(
    pixels: FloatArray, start: FloatArray, stop: FloatArray, live: FloatArray,
    counts: FloatArray, *, i0: FloatArray | None = None, used: BoolArray | None = None,
    passes: IntArray | None = None, alive: FloatArray | None = None,
    dwell: FloatArray | None = None,
) -> Regridded:  # fmt: skip
    """Mean signal per pixel and its standard error along one line.

    Args:
        pixels: ascending edges of the pixels, user units, shape ``(pixels + 1,)``.
        start, stop: position at the beginning and end of every row, shape ``(rows,)``.
        live: seconds counted per row.
        counts: counts per row, corrected for dead time unless `alive` is given.
        i0: incident flux relative to nominal; None if nobody measured it.
        used: False for rows to leave out, such as rows without beam.
        passes: number of the pass a row belongs to; None for one pass.
        alive: share of the live time in which the detector was not dead, for counts as they
            were captured. Errors then are right at any rate: counts of variance
            ``rate * live * alive**3`` (a dead time that is not extended; Müller, Nucl. Instrum.
            Methods 112, 47, 1973) are as uncertain as Poisson counts over the time alive.
        dwell: seconds from each row's beginning to that of the next, where that is more than
            its live time: a row then stands for the way up to the next one.

    Raises:
        ConfigurationError: the pixels are not ascending.
        CaptureError: columns differ in length, or rows that are used make no sense.
    """
    pixels = np.asarray(pixels, dtype=np.float64)
    if len(pixels) < 2 or not np.all(np.diff(pixels) > 0):
        raise ConfigurationError(
            "edges of pixels must ascend", device="regrid", remedy="give two or more edges"
        )
    live = np.asarray(live, dtype=np.float64)
    beam = live if i0 is None else live * np.asarray(i0, dtype=np.float64)
    flux = beam if alive is None else beam * np.asarray(alive, dtype=np.float64)
    keep: BoolArray = np.ones(len(live), np.bool_) if used is None else np.asarray(used, np.bool_)
    number: IntArray = np.zeros(len(live), np.int64) if passes is None else passes
    _require(start, stop, flux, counts, keep, number)
    rows = _Spans.of(start, stop, live, dwell)
    n = len(pixels) - 1
    layers = [
        _layer(pixels, rows.take(pick), beam[pick], flux[pick], np.asarray(counts, float)[pick])
        for k in np.unique(number[keep]).tolist()
        for pick in [np.flatnonzero(keep & (number == k))]
    ]
    value, variance, exposure = np.full(n, np.nan), np.full(n, np.nan), np.zeros(n)
    if layers:
        value, variance, exposure = _combined(layers)
    every = keep | (np.isfinite(beam) & (rows.low < rows.high))
    return Regridded(
        value,
        np.sqrt(variance),
        exposure,
        rows.take(every).spread(pixels, (beam * rows.ratio)[every]),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Spans:
    """What rows stand for: from `low` to `high`, measured around `middle`.

    `ratio` is the time spent there over the live time, at least 1.
    """

    low: FloatArray
    high: FloatArray
    middle: FloatArray
    ratio: FloatArray

    @classmethod
    def of(
        cls, start: FloatArray, stop: FloatArray, live: FloatArray, dwell: FloatArray | None
    ) -> _Spans:
        ratio = np.ones(len(live))
        if dwell is not None:
            with np.errstate(divide="ignore", invalid="ignore"):
                ratio = np.asarray(dwell, dtype=np.float64) / live
            ratio = np.where(np.isfinite(ratio), np.maximum(ratio, 1.0), 1.0)
        end = start + (stop - start) * ratio
        return cls(np.minimum(start, end), np.maximum(start, end), 0.5 * (start + stop), ratio)

    def take(self, index: BoolArray | IntArray) -> _Spans:
        """The rows picked by a mask or an index array."""
        return _Spans(self.low[index], self.high[index], self.middle[index], self.ratio[index])

    def spread(self, pixels: FloatArray, amount: FloatArray) -> FloatArray:
        """An amount per row, put evenly where the row is."""
        return (
            _overlap(pixels, self.low, self.high).per_row(1 / (self.high - self.low)).times(amount)
        )


def _require(
    start: FloatArray, stop: FloatArray, flux: FloatArray, counts: FloatArray,
    keep: BoolArray, number: IntArray,
) -> None:  # fmt: skip
    lengths = {len(column) for column in (start, stop, flux, counts, keep, number)}
    if len(lengths) != 1:
        raise CaptureError(
            f"columns have {sorted(lengths)} rows, expected the same number",
            device="regrid",
            remedy="pass columns of the same run and stream",
        )
    columns = np.stack((start, stop, flux, counts))[:, keep]
    wrong = ~np.isfinite(columns).all(axis=0) | (columns[2] <= 0) | (columns[3] < 0)
    wrong |= columns[0] == columns[1]
    if wrong.any():
        raise CaptureError(
            f"{int(wrong.sum())} of {len(wrong)} rows have NaN, negative counts, no exposure or "
            "no length",
            device="regrid",
            remedy="leave them out with used=",
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    """One pass on the pixels."""

    value: FloatArray
    variance: FloatArray
    exposure: FloatArray
    covered: FloatArray
    length: FloatArray


def _layer(
    pixels: FloatArray, rows: _Spans, beam: FloatArray, flux: FloatArray, counts: FloatArray
) -> _Layer:
    order = np.argsort(rows.low, kind="stable")
    rows, beam, flux, counts = rows.take(order), beam[order], flux[order], counts[order]
    low, high = rows.low, rows.high
    rate, variance = counts / flux, poisson_variance(counts, flux)
    overlap = _overlap(pixels, low, high)
    covered = overlap.times(np.ones(len(low)))
    there = np.where(covered > 0, covered, np.nan)
    weights = overlap.plus(_tilt(pixels, rows, overlap)).per_pixel(1 / there)
    return _Layer(
        weights.times(rate),
        weights.squared().times(variance),
        # Not the time alive: it depends on the counts, and such weights bias means.
        rows.spread(pixels, beam),
        covered / np.diff(pixels),
        overlap.times(high - low) / there,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Weights:
    """A sparse matrix from rows to pixels: one entry per pixel and row it concerns."""

    pixels: int
    pixel: IntArray
    row: IntArray
    weight: FloatArray

    def times(self, values: FloatArray) -> FloatArray:
        """Matrix times a value per row."""
        found = np.bincount(self.pixel, self.weight * values[self.row], self.pixels)
        return found.astype(np.float64)

    def per_row(self, factor: FloatArray) -> _Weights:
        """Columns scaled."""
        return _Weights(self.pixels, self.pixel, self.row, self.weight * factor[self.row])

    def per_pixel(self, factor: FloatArray) -> _Weights:
        """Lines scaled."""
        return _Weights(self.pixels, self.pixel, self.row, self.weight * factor[self.pixel])

    def squared(self) -> _Weights:
        """Every entry squared."""
        return _Weights(self.pixels, self.pixel, self.row, self.weight**2)

    def plus(self, other: _Weights) -> _Weights:
        """Sum, with one entry per pixel and row."""
        pixel = np.concatenate((self.pixel, other.pixel))
        row = np.concatenate((self.row, other.row))
        rows = int(row.max(initial=0)) + 1
        key, place = np.unique(pixel * rows + row, return_inverse=True)
        weight = np.bincount(place, np.concatenate((self.weight, other.weight)))
        return _Weights(self.pixels, key // rows, key % rows, weight.astype(np.float64))


def _overlap(pixels: FloatArray, low: FloatArray, high: FloatArray) -> _Weights:
    """Length of every row inside every pixel."""
    n = len(pixels) - 1
    first = np.clip(np.searchsorted(pixels, low, side="right") - 1, 0, n - 1)
    last = np.clip(np.searchsorted(pixels, high, side="left") - 1, 0, n - 1)
    reach = np.maximum(last - first + 1, 1)
    row = np.repeat(np.arange(len(low)), reach)
    begin = np.cumsum(reach) - reach
    pixel = np.arange(int(reach.sum())) - np.repeat(begin, reach) + np.repeat(first, reach)
    inside = np.minimum(high[row], pixels[pixel + 1]) - np.maximum(low[row], pixels[pixel])
    some = inside > 0
    return _Weights(n, pixel[some], row[some], inside[some])


def _tilt(pixels: FloatArray, rows: _Spans, overlap: _Weights) -> _Weights:
    """What the slope of a row, taken from its neighbours, adds in every pixel.

    A row reaching over several pixels contributes ``slope * (middle of the part inside - middle
    of what was measured)`` to each. Rows that overlap or leave gaps have their middle beside that
    of the pixel: that is made up for, up to half a row. The slope is a difference of the two
    neighbours' rates, so that the whole remains linear in the rates and its variance is known.
    """
    low, high, middle = rows.low, rows.high, rows.middle
    if len(low) < 3:
        return overlap.per_row(np.zeros(len(low)))
    pixel, row = overlap.pixel, overlap.row
    inside = 0.5 * (np.minimum(high[row], pixels[pixel + 1]) + np.maximum(low[row], pixels[pixel]))
    shift = _shift(pixels, overlap, inside, high - low)
    before, after = np.maximum(row - 1, 0), np.minimum(row + 1, len(low) - 1)
    span = middle[after] - middle[before]
    # Rows at the same place have no slope.
    slope = np.divide(1.0, span, out=np.zeros(len(span)), where=span > 0)
    lever = overlap.weight * (inside + shift[pixel] - middle[row]) * slope
    return _Weights(
        overlap.pixels,
        np.concatenate((pixel, pixel)),
        np.concatenate((after, before)),
        np.concatenate((lever, -lever)),
    )


def _shift(
    pixels: FloatArray, overlap: _Weights, inside: FloatArray, length: FloatArray
) -> FloatArray:
    """Distance from the middle of the rows in a pixel to its own, at most half a row."""
    n = overlap.pixels
    covered = np.maximum(np.bincount(overlap.pixel, overlap.weight, n), 1e-300)
    centre = np.bincount(overlap.pixel, overlap.weight * inside, n) / covered
    most = 0.5 * overlap.times(length) / covered
    return np.clip(0.5 * (pixels[1:] + pixels[:-1]) - centre, -most, most)


def _combined(layers: list[_Layer]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Passes as one: the finest that covers a pixel, averaged with those about as fine."""
    length = np.stack([np.where(layer.covered > 0, layer.length, np.inf) for layer in layers])
    covered = np.stack([layer.covered for layer in layers])
    whole = covered > np.maximum(0.999 * np.minimum(covered.max(axis=0), 1.0), COVERED)
    finest = np.where(whole, length, np.inf).min(axis=0)
    use = whole & (length <= REPLACES * finest)
    weight = np.where(use, np.stack([layer.exposure for layer in layers]), 0.0)
    total = weight.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = weight / total
    value = _sum(weight, np.stack([layer.value for layer in layers]))
    variance = _sum(weight**2, np.stack([layer.variance for layer in layers]))
    return np.where(total > 0, value, np.nan), np.where(total > 0, variance, np.nan), total


def _sum(weight: FloatArray, values: FloatArray) -> FloatArray:
    return np.where(weight > 0, weight * values, 0.0).sum(axis=0)
