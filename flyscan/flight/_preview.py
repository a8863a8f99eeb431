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
    was taken.
    """

    def __init__(self, channels: tuple[Channel, ...], period: float) -> None:
        self._names = tuple(c.name for c in channels if c.shape == ())
        self._period_ns = round(period * 1e9)
        self._pending: list[Frames] = []
        self._last_ns: int | None = None

    def add(self, frames: Frames) -> dict[str, Any] | None:
        """Take frames; a row when one is due."""
        if not len(frames):
            return None
        self._pending.append(frames)
        now = int(frames.block.time_ns[-1])
        if self._last_ns is not None and now - self._last_ns < self._period_ns:
            return None
        return self.finish()

    def finish(self) -> dict[str, Any] | None:
        """A row from what is pending, at the end of a flight or before a hold."""
        if not self._pending:
            return None
        last = self._pending[-1]
        inside = [f.segment == last.segment[-1] for f in self._pending]
        self._last_ns = int(last.block.time_ns[-1])
        row: dict[str, Any] = {
            "frame": last.first_frame + len(last) - 1,
            "point": int(last.point[-1]),
            "time": self._last_ns / 1e9,
        }
        for name in self._names:
            columns = [np.asarray(f.block.columns[name], float) for f in self._pending]
            line = [column[mask] for column, mask in zip(columns, inside, strict=True)]
            row[name] = float(np.mean(np.concatenate(line)))
        self._pending.clear()
        return row
