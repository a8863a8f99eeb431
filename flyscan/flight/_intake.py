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


@dataclass(slots=True)
class SegmentAccount:
    """What has become of one segment so far."""

    segment: Segment
    captured: int = 0
    holds: int = 0
    sweeps: int = 0
    flown: bool = False
    phases: dict[str, float] = field(default_factory=dict[str, float])

    def spend(self, phase: str, seconds: float) -> None:
        """Add time to a phase."""
        self.phases[phase] = self.phases.get(phase, 0.0) + seconds


class Intake:
    """Numbers the rows of one flight.

    Rows come in order of the points they belong to, because a capture resumes at the next
    untriggered point; so row `i` since arming is point ``from_point + i``. Position channels
    prove it: a row taken more than three quarters of a step from where its point begins means
    that a trigger was lost or came twice, and the flight fails there rather than shift the image.
    """

    def __init__(
        self,
        path: Path,
        channels: tuple[Channel, ...],
        *,
        flight: int,
        first_frame: int,
        from_point: int = 0,
    ) -> None:
        self._path = path
        self._flight = flight
        self._first_frame = first_frame
        self._from_point = from_point
        self._position = {c.axis: c.name for c in channels if c.axis is not None}
        self._unreported = tuple(a for a in path.axes if a not in self._position)
        self._accounts: dict[int, SegmentAccount] = {}
        self.rows = 0

    @property
    def stop_frame(self) -> int:
        """Frame number after the last frame received."""
        return self._first_frame + self.rows

    @property
    def next_point(self) -> int:
        """Point of the next row to come."""
        return self._from_point + self.rows

    def account(self, segment: Segment) -> SegmentAccount:
        """The account of a segment, opened when first asked for."""
        return self._accounts.setdefault(segment.index, SegmentAccount(segment))

    def number(self, block: Block) -> Frames:
        """Turn a block into frames.

        Raises:
            LedgerError: rows missing, repeated or taken at the wrong position.
        """
        if block.first != self.rows:
            raise LedgerError(
                f"expected row {self.rows} next, got a block starting at {block.first}",
                device="capture",
                remedy="rows were lost between the box and the computer; repeat the flight",
            )
        first = self.next_point
        if first + len(block) > self._path.points:
            raise LedgerError(
                f"{first + len(block)} rows for a path of {self._path.points} points",
                device="capture",
                remedy="check for double triggers: noise on the encoder or trigger cable",
            )
        point = np.arange(first, first + len(block), dtype=np.int64)
        segment = np.empty(len(block), np.int64)
        for seg, part in self._parts(first, len(block)):
            segment[part] = seg.index
            self.account(seg).captured += part.stop - part.start
            self._check_position(seg, block, part, point)
        setpoints: dict[str, FloatArray] = {}
        if self._unreported and len(block):
            all_axes = self._path.setpoints(first, first + len(block))
            setpoints = {axis: all_axes[axis] for axis in self._unreported}
        frames = Frames(
            self._first_frame + self.rows, self._flight, point, segment, block, setpoints
        )
        self.rows += len(block)
        return frames

    def closed(self) -> Iterator[LedgerRow]:
        """Ledger rows of segments that are flown and fully delivered; their accounts end."""
        for index in sorted(self._accounts):
            account = self._accounts[index]
            if account.flown and self.next_point >= account.segment.end_point:
                del self._accounts[index]
                yield self._row(account)

    def abandoned(self) -> Iterator[LedgerRow]:
        """Ledger rows of segments begun but not finished, for a flight that was stopped."""
        for index in sorted(self._accounts):
            yield self._row(self._accounts.pop(index))

    def _row(self, account: SegmentAccount) -> LedgerRow:
        segment = account.segment
        missing = tuple(range(max(self.next_point, segment.first_point), segment.end_point))
        return LedgerRow(
            flight=self._flight,
            segment=segment.index,
            planned=segment.points,
            captured=account.captured,
            stored=account.captured,
            kept=account.captured,
            missing=missing,
            holds=account.holds,
            sweeps=account.sweeps,
            phases=dict(account.phases),
        )

    def _parts(self, first: int, count: int) -> Iterator[tuple[Segment, slice]]:
        row = 0
        while row < count:
            segment = self._path.segment(self._path.segment_of(first + row))
            stop = min(count, segment.end_point - first)
            yield segment, slice(row, stop)
            row = stop

    def _check_position(self, segment: Segment, block: Block, part: slice, point: IntArray) -> None:
        axis = segment.fast
        if axis not in self._position or segment.trigger is not Trigger.POSITION:
            return
        seen = np.asarray(block.columns[self._position[axis]][part], float)
        begin = segment.setpoints(int(point[part.start]), int(point[part.stop - 1]) + 1)[axis]
        step = segment.step
        expected = begin - step / 2 + segment.velocity[axis] * block.exposure[part] / 2
        off = (seen - expected) / step
        # A lost trigger shifts every later row by a whole step; one noisy row proves nothing,
        # and a row taken while decelerating is at most half a step behind.
        if abs(float(np.median(off))) > 0.75:
            worst = int(np.argmax(np.abs(off) > 0.75))
            raise LedgerError(
                f"segment {segment.index}: row {block.first + part.start + worst} was taken at "
                f"{seen[worst]:.6g}, expected {expected[worst]:.6g} for point "
                f"{int(point[part.start + worst])}",
                device=axis,
                remedy="a trigger was lost or doubled: check trigger wiring, gate width against "
                "the period, and the encoder",
            )
