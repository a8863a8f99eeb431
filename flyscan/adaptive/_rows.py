"""Rows as policies read them: where each was taken, for how long, and what was counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import CaptureError, ConfigurationError
from ..flight import FloatArray, IntArray
from ._estimate import Sampled, poisson_variance

__all__ = ["Rows", "sampled"]

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Consecutive rows of one line; every array has shape ``(n,)``.

    Args:
        first: frame number of the first row.
        point: path index of every row.
        start, stop: position at the beginning and the end of every row, user units.
        time: seconds at the end of every row, on the flight's clock.
        live: seconds the detectors counted.
        counts: channel to dead-time-corrected counts per row.
        i0: incident flux per row relative to nominal (1 when it is as usual); None if nobody
            measures it.
        signals: other columns, such as a position error in user units.
        passes: 0 for the line itself, k for the k-th time flown back over a part of it.
        good: False for rows nobody may use.
    """

    first: int
    point: IntArray
    start: FloatArray
    stop: FloatArray
    time: FloatArray
    live: FloatArray
    counts: Mapping[str, FloatArray]
    i0: FloatArray | None = None
    signals: Mapping[str, FloatArray] = field(default_factory=dict[str, FloatArray])
    passes: IntArray | None = None
    good: BoolArray | None = None

    def __post_init__(self) -> None:
        n = len(self.point)
        columns: dict[str, Any] = {
            "start": self.start, "stop": self.stop, "time": self.time, "live": self.live,
            **self.counts, **self.signals,
        }  # fmt: skip
        optional = {"i0": self.i0, "passes": self.passes, "good": self.good}
        columns |= {name: column for name, column in optional.items() if column is not None}
        wrong = {name: len(column) for name, column in columns.items() if len(column) != n}
        if wrong:
            raise CaptureError(
                f"{n} rows have columns of other lengths: {wrong}",
                remedy="this is a defect of what hands rows to the policies; report it",
            )

    def __len__(self) -> int:
        return len(self.point)

    @property
    def end(self) -> int:
        """Frame number after the last row."""
        return self.first + len(self)

    @property
    def usable(self) -> BoolArray:
        """Rows that may be used."""
        return np.ones(len(self), dtype=np.bool_) if self.good is None else self.good

    @property
    def pass_number(self) -> IntArray:
        """Pass of every row."""
        return np.zeros(len(self), dtype=np.int64) if self.passes is None else self.passes

    @property
    def exposure(self) -> FloatArray:
        """Live time weighted by incident flux, seconds at nominal flux."""
        return self.live if self.i0 is None else self.live * self.i0

    def marked(self, good: BoolArray) -> Rows:
        """These rows, of which nobody may use those that are not `good`."""
        return self if good.all() else replace(self, good=self.usable & good)

    def last(self, rows: int) -> Rows:
        """The last rows, or all if there are fewer."""
        return self.take(np.arange(max(0, len(self) - rows), len(self)))

    def take(self, index: BoolArray | IntArray) -> Rows:
        """The rows picked by a mask or an index array; `first` is that of the first one left."""
        picked = np.flatnonzero(index) if index.dtype == np.bool_ else index
        offset = int(picked[0]) if len(picked) else 0
        return Rows(
            self.first + offset,
            self.point[index],
            self.start[index],
            self.stop[index],
            self.time[index],
            self.live[index],
            {name: column[index] for name, column in self.counts.items()},
            None if self.i0 is None else self.i0[index],
            {name: column[index] for name, column in self.signals.items()},
            None if self.passes is None else self.passes[index],
            None if self.good is None else self.good[index],
        )

    def screened(self, channels: Sequence[str], saturation: float | None = None) -> Rows:
        """Mark rows with impossible numbers as bad.

        Args:
            channels: the channels that will be used.
            saturation: counts per second at which a detector saturates.

        Raises:
            ConfigurationError: a channel is missing.
        """
        missing = [name for name in channels if name not in self.counts]
        if missing:
            raise ConfigurationError(
                f"rows have no such channel; they have {', '.join(self.counts) or 'none'}",
                device=", ".join(missing),
                remedy="name a channel the capture box delivers",
            )
        good = self.usable & np.isfinite(self.start) & np.isfinite(self.stop)
        good &= np.isfinite(self.live) & (self.live > 0)
        if self.i0 is not None:
            good &= np.isfinite(self.i0) & (self.i0 > 0)
        for name in channels:
            counts = self.counts[name]
            good &= np.isfinite(counts) & (counts >= 0)
            if saturation is not None:
                good &= counts < saturation * self.live
        return Rows(
            self.first, self.point, self.start, self.stop, self.time, self.live, self.counts,
            self.i0, self.signals, self.passes, good,
        )  # fmt: skip

    def merged(self, first: npt.NDArray[np.intp], edges: FloatArray) -> Rows:
        """Rows taken as one from each of `first` up to the next, between `edges`.

        Counts and live times add up, flux and signals are means over the live time.
        """
        live = np.add.reduceat(self.live, first)

        def mean(column: FloatArray) -> FloatArray:
            return np.add.reduceat(column * self.live, first) / live

        last = np.append(first[1:], len(self)) - 1
        return Rows(
            self.first,
            self.point[first],
            edges[:-1],
            edges[1:],
            self.time[last],
            live,
            {name: np.add.reduceat(column, first) for name, column in self.counts.items()},
            None if self.i0 is None else mean(self.i0),
            {name: mean(column) for name, column in self.signals.items()},
            None if self.passes is None else self.passes[first],
            None if self.good is None else self.good[first],
        )

    @classmethod
    def joined(cls, parts: Sequence[Rows]) -> Rows:
        """Parts one after the other, as one."""
        if len(parts) == 1:
            return parts[0]
        head = parts[0]
        flux = [part.i0 for part in parts if part.i0 is not None]
        return cls(
            head.first,
            np.concatenate([part.point for part in parts]),
            np.concatenate([part.start for part in parts]),
            np.concatenate([part.stop for part in parts]),
            np.concatenate([part.time for part in parts]),
            np.concatenate([part.live for part in parts]),
            {n: np.concatenate([part.counts[n] for part in parts]) for n in head.counts},
            np.concatenate(flux) if len(flux) == len(parts) else None,
            {n: np.concatenate([part.signals[n] for part in parts]) for n in head.signals},
            np.concatenate([part.pass_number for part in parts]),
            np.concatenate([part.usable for part in parts]),
        )


def advancing(edges: FloatArray) -> npt.NDArray[np.intp]:
    """Which rows begin where the stage has not been yet; shape ``(groups,)``.

    A stage so slow that it moves less per row than it trembles, or less than a count of its
    encoder, seems to stand still or to go backwards now and then. Rows up to the next one named
    are to be taken as one, from edge to edge, so that the edges ascend and every count stays.

    Args:
        edges: where rows begin, and where the last one ends, shape ``(rows + 1,)``.
    """
    reached = np.maximum.accumulate(edges)
    return np.flatnonzero(np.append(True, edges[1:] > reached[:-1]))[:-1]


def sampled(rows: Rows, channel: str, *, counting: bool = True) -> Sampled | None:
    """A channel along the line, in order of position, from the good rows.

    Args:
        rows: of one pass over one line.
        channel: which counts.
        counting: False for a signal without counting noise.

    Returns:
        None with fewer than three good rows. Where bad rows leave gaps, neighbours are
        stretched over them; rows that the encoder cannot tell apart are taken as one.
    """
    use = rows.usable
    if int(use.sum()) < 3:
        return None
    low = np.minimum(rows.start, rows.stop)[use]
    high = np.maximum(rows.start, rows.stop)[use]
    order = np.argsort(low, kind="stable")
    low, high = low[order], high[order]
    edges = np.concatenate((low[:1], 0.5 * (high[:-1] + low[1:]), high[-1:]))
    first = advancing(edges)
    if len(first) < 3:
        return None
    edges = np.append(edges[first], edges.max())
    counts = np.add.reduceat(rows.counts[channel][use][order], first)
    exposure = np.add.reduceat(rows.exposure[use][order], first)
    variance = poisson_variance(counts, exposure) if counting else np.zeros_like(counts)
    return Sampled(edges, counts / exposure, variance)
