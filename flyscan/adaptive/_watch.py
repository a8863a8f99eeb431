"""Noticing, row by row, that a line holds more than its speed was planned for.

A curvature that is certain, and that rows this long would get wrong by more than was tolerated,
opens an interval. Nothing brakes yet: a stage that brakes at the first surprise shuttles back
and forth under noise. Three calm rows close the interval; by then its extent and its curvature
are known, and it can be flown once more, once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..flight import FloatArray
from ._estimate import GATE, Sampled, second_difference
from ._plan import local_square
from ._rows import Rows

__all__ = ["Interval", "Watch", "suspicions", "trailing_variance"]

BoolArray = npt.NDArray[np.bool_]

SCALES = (1, 2, 4, 8)
CONTEXT = 3 * SCALES[-1] + 2
CALM_ROWS = 3
CALM_SHARE = 0.4
MARGIN_ROWS = 2
LONGEST = 100.0


@dataclass(slots=True)
class Interval:
    """A part of the line that needs another look, in distance along the line."""

    low: float
    high: float


def suspicions(
    sampled: Sampled, tolerated: FloatArray | float, width: float
) -> tuple[BoolArray, FloatArray]:
    """Rows that prove an error above what is tolerated, and where the evidence begins.

    Args:
        sampled: rows in the order they were flown, shape ``(..., rows)``.
        tolerated: local error that is accepted, broadcasts to ``(..., 1)``.
        width: narrowest feature width.

    Returns:
        For every row, both of shape ``(..., rows)``: whether the rows up to this one prove a
        surprise, and the position where those rows begin. No answer depends on a later row.
    """
    rows = sampled.rate.shape[-1]
    proven = np.zeros(sampled.rate.shape, dtype=np.bool_)
    begins = sampled.edges[..., :-1].copy()
    noisy = bool(np.any(sampled.variance > 0))
    for scale in SCALES if noisy else SCALES[:1]:
        if rows < 3 * scale:
            break
        middle, length, rate, variance = _runs(sampled, scale)
        value, error = second_difference(middle, rate, variance, scale)
        sure = np.maximum(np.abs(value) - GATE * error, 0.0)
        if not sure.any():
            continue
        inner = slice(scale, -scale)
        noise = variance[..., inner] * scale
        row = length[..., inner] / scale
        excess = local_square(row, sure, noise, width)
        excess -= local_square(row, np.zeros_like(sure), noise, width)
        found = (sure > 0) & (excess >= np.square(tolerated))
        at = slice(3 * scale - 1, None)
        start = sampled.edges[..., : rows - 3 * scale + 1]
        earlier = found & (begins[..., at] > start)
        begins[..., at] = np.where(earlier, start, begins[..., at])
        proven[..., at] |= found
    return proven, begins


def _runs(sampled: Sampled, rows: int) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Middle, length, rate and variance of every run of `rows` rows taken as one."""
    length = sampled.length
    total = _moving_sum(length, rows)
    rate = _moving_sum(length * sampled.rate, rows) / total
    variance = _moving_sum(length**2 * sampled.variance, rows) / total**2
    middle = 0.5 * (sampled.edges[..., rows:] + sampled.edges[..., :-rows])
    return middle, total, rate, variance


def _moving_sum(values: FloatArray, rows: int) -> FloatArray:
    """Sum over every run of `rows`, the same to the last bit wherever the run lies."""
    last = values.shape[-1] - rows + 1
    total = values[..., :last].copy()
    for offset in range(1, rows):
        total += values[..., offset : offset + last]
    return total


def trailing_variance(counts: FloatArray, exposure: FloatArray) -> FloatArray:
    """Variance of the rate of every row, from it and the two before; shape ``(..., rows)``.

    Like :func:`poisson_variance`, but no row's answer depends on a later row.
    """
    total, seconds = counts.astype(np.float64), exposure.astype(np.float64)
    for back in (1, 2):
        total[..., back:] += counts[..., :-back]
        seconds[..., back:] += exposure[..., :-back]
    return (total + 1.0) / seconds / exposure


class Watch:
    """Follows one pass over a line and keeps the intervals that need another look.

    Args:
        channel: the counts looked at.
        width: narrowest feature width.
        tolerated: local error that is accepted, in counts per second.
        counting: False for a signal without counting noise.
        quiet: distance without suspicion before an interval is over, at least.
    """

    def __init__(
        self, channel: str, width: float, tolerated: float, *, counting: bool, quiet: float = 0.0
    ) -> None:
        self.tolerated = tolerated
        self.pending: list[Interval] = []
        self._channel = channel
        self._width = width
        self._counting = counting
        self._quiet = quiet
        self._recent: Rows | None = None
        self._open: Interval | None = None
        self._calm = 0
        self._settled = -np.inf
        self._chopped = False  # the last interval ended by its length: the next one follows on

    def add(self, rows: Rows) -> None:
        """Take in the next good rows, with positions as distance along the line."""
        if not len(rows):
            return
        recent = self._recent
        if recent is not None and rows.start[0] < recent.stop[-1] - 0.5 * (
            rows.stop[0] - rows.start[0]
        ):
            recent = recent.take(recent.stop <= rows.start[0])  # flown again after a hold
            self._settled = min(self._settled, float(rows.start[0]))
        joined = rows if recent is None else Rows.joined((recent, rows))
        self._recent = joined.last(CONTEXT)
        curve = self._curve(joined)
        flagged, begins = suspicions(curve, self.tolerated, self._width)
        new = range(len(joined) - len(rows), len(joined))
        if self._open is not None or flagged[new.start :].any():
            self._follow(curve, flagged, begins, new)

    def finish(self) -> None:
        """The line is over: close what is open."""
        self._close()

    def _curve(self, rows: Rows) -> Sampled:
        """Rows as a curve; each reaches to the next, should bad rows be missing in between."""
        counts, exposure = rows.counts[self._channel], rows.exposure
        edges = np.concatenate((rows.start, rows.stop[-1:]))
        variance = trailing_variance(counts, exposure) if self._counting else 0.0 * counts
        return Sampled(edges, counts / exposure, variance)

    def _follow(self, curve: Sampled, flagged: BoolArray, begins: FloatArray, new: range) -> None:
        for row in new:
            if flagged[row] and (self._chopped or begins[row] >= self._settled):
                self._suspect(curve, row, float(begins[row]))
            elif self._open is not None:
                self._calm += 1
                if self._is_calm(float(curve.edges[row + 1]), self._open):
                    self._close()
            else:
                self._chopped = False

    def _is_calm(self, at: float, interval: Interval) -> bool:
        """Whether the interval is over: structure often comes in groups, and turning is dear."""
        quiet = max(CALM_SHARE * (interval.high - interval.low), self._quiet)
        return self._calm >= CALM_ROWS and at - interval.high >= quiet

    def _suspect(self, curve: Sampled, row: int, begin: float) -> None:
        end = float(curve.edges[row + 1])
        if self._open is None:
            margin = MARGIN_ROWS * float(curve.length[row])
            self._open = Interval(max(begin - margin, self._settled, 0.0), end)
        self._open.high = end
        self._calm = 0
        if end - self._open.low > LONGEST * self._width:
            self._close()
            self._chopped = True

    def _close(self) -> None:
        if self._open is not None:
            self._settled = self._open.high
            self.pending.append(self._open)
        self._open = None
        self._calm = 0
