"""Preview: a few rows a second for live plots, made from the full-rate frames."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._block import Channel
from ._frames import Frames

__all__ = ["PreviewSampler"]


class PreviewSampler:
    """Averages frames into rows that are at least `period` apart in hardware time.

    A preview row is a dict with ``frame`` and ``point`` of its last frame, ``time`` (Unix seconds
    of the last frame) and the mean of every scalar channel over the frames since the row before,
    as far as they are of the same segment: a mean across a turnaround would stand where nothing
    was taken. Rows of steered flights have the mean ``speed`` of the fast axis, too.
    """

    def __init__(self, channels: tuple[Channel, ...], period: float) -> None:
        self._names = tuple(c.name for c in channels if c.shape == ())
        self._period_ns = round(period * 1e9)
        self._last: Frames | None = None
        self._segment: int = -1
        self._count = 0
        self._sums: dict[str, float] = {}
        self._distance = 0.0
        self._seconds = 0.0
        self._shown_ns: int | None = None

    def add(self, frames: Frames) -> dict[str, Any] | None:
        """Take frames; a row when one is due."""
        if not len(frames):
            return None
        self._sum(frames)
        self._last = frames
        now = int(frames.block.time_ns[-1])
        if self._shown_ns is not None and now - self._shown_ns < self._period_ns:
            return None
        return self.finish()

    def finish(self) -> dict[str, Any] | None:
        """A row from what is pending, at the end of a flight or before a hold."""
        last, self._last = self._last, None
        if last is None:
            return None
        self._shown_ns = int(last.block.time_ns[-1])
        row: dict[str, Any] = {
            "frame": last.first_frame + len(last) - 1,
            "point": int(last.point[-1]),
            "time": self._shown_ns / 1e9,
        }
        row |= {name: total / self._count for name, total in self._sums.items()}
        if self._seconds:
            row["speed"] = self._distance / self._seconds
        self._count = 0
        return row

    def _sum(self, frames: Frames) -> None:
        """Add the frames of the newest segment to its sums."""
        segment = int(frames.segment[-1])
        if segment != self._segment or not self._count:
            self._segment, self._count = segment, 0
            self._sums = dict.fromkeys(self._names, 0.0)
            self._distance = self._seconds = 0.0
        inside = frames.segment == segment
        whole = bool(inside.all())
        self._count += int(np.count_nonzero(inside))
        for name in self._names:
            column = frames.block.columns[name]
            part = column if whole else column[inside]
            self._sums[name] += float(np.sum(part, dtype=np.float64))
        facts = frames.facts
        if facts is not None:
            self._distance += float(np.nansum(np.abs(facts.stop - facts.start)[inside]))
            self._seconds += float(np.sum(frames.block.exposure[inside]))
