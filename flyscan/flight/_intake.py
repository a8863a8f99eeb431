"""Intake: gives rows their frame number and point, and keeps the segments' accounts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from ..errors import LedgerError
from ._block import Block, Channel, FloatArray, IntArray
from ._frames import Frames
from ._ledger import LedgerRow
from ._path import Path
from ._segment import Segment, Trigger

__all__ = ["Intake", "SegmentAccount"]


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
        flown: nothing of it is left to fly.
        open: its row of the ledger is still to be written; again, if it was flown again.
    """

    segment: Segment
    triggered: int = 0
    captured: int = 0
    holds: int = 0
    sweeps: int = 0
    flown: bool = False
    open: bool = True
    phases: dict[str, float] = field(default_factory=dict[str, float])
    kept: list[_Stretch] = field(default_factory=list[_Stretch])

    @property
    def complete(self) -> bool:
        """To be written, flown, and every row of it delivered."""
        return self.open and self.flown and self.captured >= self.triggered

    def spend(self, phase: str, seconds: float) -> None:
        """Add time to a phase."""
        self.phases[phase] = self.phases.get(phase, 0.0) + seconds

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
        """Points no frame stands for."""
        missing: list[int] = []
        after = self.segment.first_point
        for stretch in sorted(self.kept, key=lambda s: s.first):
            missing += range(after, stretch.first)
            after = stretch.stop
        missing += range(after, self.segment.end_point)
        return tuple(missing)


class Intake:
    """Numbers the rows of one flight.

    Rows come in the order they are triggered, and a sweep triggers its points in order; so the
    flight says at which row each sweep begins with which point. Position channels prove it: a
    row taken more than three quarters of a step from where its point begins means that a trigger
    was lost or came twice, and the flight fails there rather than shift the image.
    """

    def __init__(
        self, path: Path, channels: tuple[Channel, ...], *, flight: int, first_frame: int
    ) -> None:
        self._path = path
        self._flight = flight
        self._first_frame = first_frame
        self._position = {c.axis: c.name for c in channels if c.axis is not None}
        self._unreported = tuple(a for a in path.axes if a not in self._position)
        self._accounts: dict[int, SegmentAccount] = {}
        self._sweeps: list[tuple[int, int]] = [(0, 0)]
        self.rows = 0

    @property
    def stop_frame(self) -> int:
        """Frame number after the last frame received."""
        return self._first_frame + self.rows

    @property
    def next_point(self) -> int:
        """Point of the next row to come."""
        return self._point_of(self.rows)

    def account(self, segment: Segment) -> SegmentAccount:
        """The account of a segment of the path, opened when first asked for."""
        if segment.index not in self._accounts:
            whole = self._path.segment(segment.index)
            self._accounts[segment.index] = SegmentAccount(whole)
        return self._accounts[segment.index]

    def begin(self, row: int, point: int) -> None:
        """A sweep's first trigger will be row `row` and belongs to `point`."""
        self._sweeps = [s for s in self._sweeps if s[0] < row]
        if not self._sweeps or self._point_of(row) != point:
            self._sweeps.append((row, point))

    def number(self, block: Block) -> tuple[Frames, IntArray]:
        """Turn a block into frames.

        Returns:
            The frames, and the numbers of earlier frames whose points they stand for now.

        Raises:
            LedgerError: rows missing, repeated or taken at the wrong position.
        """
        if block.first != self.rows:
            raise LedgerError(
                f"expected row {self.rows} next, got a block starting at {block.first}",
                device="capture",
                remedy="rows were lost between the box and the computer; repeat the flight",
            )
        point = np.empty(len(block), np.int64)
        segment = np.empty(len(block), np.int64)
        superseded: list[IntArray] = [np.empty(0, np.int64)]
        parts = list(self._parts(len(block)))
        for seg, part, first in parts:  # before any is counted: a wrong block is not stored
            self._check_position(seg, block, part, first)
        for seg, part, first in parts:
            count = part.stop - part.start
            point[part] = np.arange(first, first + count)
            segment[part] = seg.index
            account = self.account(seg)
            account.captured += count
            account.open = True
            superseded.append(account.keep(first, first + count, self.stop_frame + part.start))
        frames = Frames(
            self.stop_frame, self._flight, point, segment, block, self._setpoints(point)
        )
        self.rows += len(block)
        return frames, np.concatenate(superseded)

    def closed(self) -> Iterator[LedgerRow]:
        """Ledger rows of segments that are flown and fully delivered.

        A segment that is flown again later gets another row, which replaces the first.
        """
        for account in self._accounts.values():
            if account.complete:
                yield self._row(account)

    def abandoned(self) -> Iterator[LedgerRow]:
        """Ledger rows of segments begun but not finished, for a flight that was stopped."""
        for account in self._accounts.values():
            if account.open:
                yield self._row(account)

    def _row(self, account: SegmentAccount) -> LedgerRow:
        account.open = False
        missing = account.missing()
        return LedgerRow(
            flight=self._flight,
            segment=account.segment.index,
            planned=account.segment.points,
            captured=account.captured,
            stored=account.captured,
            kept=account.segment.points - len(missing),
            missing=missing,
            holds=account.holds,
            sweeps=account.sweeps,
            phases=dict(account.phases),
        )

    def _point_of(self, row: int) -> int:
        begin, point = next(s for s in reversed(self._sweeps) if s[0] <= row)
        return point + row - begin

    def _parts(self, count: int) -> Iterator[tuple[Segment, slice, int]]:
        """The next `count` rows cut where sweeps and segments begin: segment, rows, first point.

        Raises:
            LedgerError: there are more rows than the path has points.
        """
        row = 0
        while row < count:
            first = self._point_of(self.rows + row)
            if first >= self._path.points:
                raise LedgerError(
                    f"row {self.rows + row} comes after the last of {self._path.points} points",
                    device="capture",
                    remedy="check for double triggers: noise on the encoder or trigger cable",
                )
            segment = self._path.segment(self._path.segment_of(first))
            later = (s[0] - self.rows for s in self._sweeps if s[0] > self.rows + row)
            stop = min(count, row + segment.end_point - first, min(later, default=count))
            yield segment, slice(row, stop), first
            row = stop

    def _setpoints(self, point: IntArray) -> dict[str, FloatArray]:
        """Set-points of the axes no channel reports."""
        if not self._unreported or not len(point):
            return {}
        cuts = np.flatnonzero(np.diff(point) != 1) + 1
        runs = [self._path.setpoints(int(p[0]), int(p[-1]) + 1) for p in np.split(point, cuts)]
        return {axis: np.concatenate([run[axis] for run in runs]) for axis in self._unreported}

    def _check_position(self, segment: Segment, block: Block, part: slice, first: int) -> None:
        axis = segment.fast
        if axis not in self._position or segment.trigger is not Trigger.POSITION:
            return
        seen = np.asarray(block.columns[self._position[axis]][part], float)
        middle = segment.setpoints(first, first + part.stop - part.start)[axis]
        step = segment.step
        expected = middle - step / 2 + segment.velocity[axis] * block.exposure[part] / 2
        off = (seen - expected) / step
        # A lost trigger shifts every later row by a whole step; one noisy row proves nothing,
        # and a row taken while decelerating is at most half a step behind.
        if abs(float(np.median(off))) > 0.75:
            worst = int(np.argmax(np.abs(off) > 0.75))
            raise LedgerError(
                f"segment {segment.index}: row {block.first + part.start + worst} was taken at "
                f"{seen[worst]:.6g}, expected {expected[worst]:.6g} for point {first + worst}",
                device=axis,
                remedy="a trigger was lost or doubled: check trigger wiring, gate width against "
                "the period, and the encoder",
            )
