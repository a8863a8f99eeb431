"""The account of one segment: what was triggered, delivered, lost and kept."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ._block import IntArray
from ._ledger import LedgerRow
from ._segment import Segment

__all__ = ["SegmentAccount"]


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Points `first` to `stop` (exclusive) have the frames from `frame` on."""

    first: int
    stop: int
    frame: int


@dataclass(slots=True)
class SegmentAccount:
    """What has become of one segment so far.

    Args:
        segment: what is accounted for.
        triggered: triggers the box has made for it.
        captured: rows delivered for it.
        rowless: triggers that made no row.
        flown: nothing of it is left to fly.
        open: its row of the ledger is still to be written; again, if it was flown again.
    """

    segment: Segment
    triggered: int = 0
    captured: int = 0
    rowless: int = 0
    holds: int = 0
    sweeps: int = 0
    flown: bool = False
    open: bool = True
    phases: dict[str, float] = field(default_factory=dict[str, float])
    kept: list[_Stretch] = field(default_factory=list[_Stretch])
    losses: IntArray | None = None
    waived: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])

    @property
    def complete(self) -> bool:
        """To be written, flown, and every trigger of it accounted for."""
        return self.open and self.flown and self.captured + self.rowless >= self.triggered

    def spend(self, phase: str, seconds: float) -> None:
        """Add time to a phase."""
        self.phases[phase] = self.phases.get(phase, 0.0) + seconds

    def lose(self, first: int, stop: int) -> IntArray:
        """Points `first` to `stop` were due and got no row, so they have to be flown again.

        Returns:
            How often this has happened to each of them by now.
        """
        if self.losses is None:
            self.losses = np.zeros(self.segment.points, np.int64)
        losses = self.losses[first - self.segment.first_point : stop - self.segment.first_point]
        losses += 1
        self.flown, self.open = False, True
        return losses

    def keep(self, first: int, stop: int, frame: int) -> IntArray:
        """Let the frames from `frame` on stand for points `first` to `stop`.

        Returns:
            Frames that stood for some of these points until now.
        """
        superseded: list[IntArray] = []
        rest: list[_Stretch] = []
        for old in self.kept:
            a, b = max(first, old.first), min(stop, old.stop)
            if a >= b:
                rest.append(old)
                continue
            superseded.append(np.arange(a, b, dtype=np.int64) + (old.frame - old.first))
            if old.first < a:
                rest.append(_Stretch(old.first, a, old.frame))
            if b < old.stop:
                rest.append(_Stretch(b, old.stop, old.frame + b - old.first))
        last = rest[-1] if rest else None
        if last and last.stop == first and last.frame + last.stop - last.first == frame:
            rest[-1] = _Stretch(last.first, stop, last.frame)
        else:
            rest.append(_Stretch(first, stop, frame))
        self.kept = rest
        return np.concatenate(superseded) if superseded else np.empty(0, np.int64)

    def missing(self) -> tuple[int, ...]:
        """Points no frame stands for, though nobody has given them up."""
        missing: list[int] = []
        after = self.segment.first_point
        settled = [(stretch.first, stretch.stop) for stretch in self.kept]
        for first, stop in sorted([*settled, *self.waived]):
            missing += range(after, first)
            after = max(after, stop)
        missing += range(after, self.segment.end_point)
        return tuple(missing)

    def kept_since(self, frame: int) -> list[tuple[int, int, int]]:
        """Spans of points that frames from `frame` on stand for: first frame, first, stop."""
        spans: list[tuple[int, int, int]] = []
        for stretch in self.kept:
            earlier = max(0, frame - stretch.frame)
            first = stretch.first + earlier
            if first < stretch.stop:
                spans.append((stretch.frame + earlier, first, stretch.stop))
        return spans

    def discard(self, frame: int) -> list[tuple[int, int, int]]:
        """Let frames from `frame` on stand for no point any more: first frame, first, stop."""
        spans = self.kept_since(frame)
        kept: list[_Stretch] = []
        for stretch in self.kept:
            stop = min(stretch.stop, stretch.first + max(0, frame - stretch.frame))
            if stretch.first < stop:
                kept.append(_Stretch(stretch.first, stop, stretch.frame))
        self.kept, self.open = kept, self.open or bool(spans)
        return spans

    def waive(self, first: int, stop: int) -> list[tuple[int, int]]:
        """Give up those of points `first` to `stop` (exclusive) that nothing stands for.

        Returns:
            The spans given up.
        """
        spans: list[tuple[int, int]] = []
        settled = [(stretch.first, stretch.stop) for stretch in self.kept]
        for begin, end in sorted([*settled, *self.waived, (stop, stop)]):
            if first < min(begin, stop):
                spans.append((first, min(begin, stop)))
            first = max(first, end)
        self.waived += spans
        return spans

    def lost(self) -> tuple[int, ...]:
        """Points that got no row when they were due, once for every time."""
        if self.losses is None:
            return ()
        points = np.repeat(np.arange(self.segment.points), self.losses)
        return tuple((points + self.segment.first_point).tolist())

    def close(self, flight: int) -> LedgerRow:
        """Its row of the ledger as things stand."""
        self.open = False
        missing = self.missing()
        waived = sum(stop - first for first, stop in self.waived)
        return LedgerRow(
            flight=flight,
            segment=self.segment.index,
            planned=self.segment.points,
            captured=self.captured,
            stored=self.captured,
            kept=self.segment.points - len(missing) - waived,
            missing=missing,
            waived=waived,
            lost=self.lost(),
            holds=self.holds,
            sweeps=self.sweeps,
            phases=dict(self.phases),
        )
