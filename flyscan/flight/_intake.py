"""Intake: gives rows their frame number and point, and finds triggers that made no row."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ..errors import CaptureError, LedgerError
from ._account import SegmentAccount
from ._block import Block, Channel, FloatArray, IntArray
from ._facts import Facts
from ._frames import Frames, RowFacts
from ._ledger import LedgerRow
from ._places import Discarded, Places
from ._route import Route
from ._segment import Segment, Trigger

__all__ = ["Intake"]

#: How often a point is flown again for want of a row before the flight fails.
RETAKES = 3
#: Rows that must agree, on both counts, before a shift of positions is taken for lost triggers.
SURE_ROWS = 3
SURE_STEPS = 0.25
#: A row taken while decelerating is at most half a step behind its place, a lost trigger is one.
SHIFTED = 0.75


@dataclass(frozen=True, slots=True)
class _Piece:
    """Rows `start` to `stop` of a block: consecutive triggers of one segment from `trigger` on."""

    segment: Segment
    start: int
    stop: int
    trigger: int
    point: int

    @property
    def count(self) -> int:
        return self.stop - self.start

    @property
    def rows(self) -> slice:
        return slice(self.start, self.stop)


class Intake:
    """Numbers the rows of one flight.

    Triggers come in the order of a sweep's points; so the flight says with which trigger each
    sweep begins at which point. Blocks number the triggers of their rows: one that is left out
    made no row, and its point is asked for again, up to three times. Position channels prove
    it: rows a whole number of steps ahead of where their points begin mean that triggers were
    lost that the box did not count. Where that began is used if a line shows it without doubt;
    if not, and whenever a trigger comes twice, the flight fails there rather than shift the
    image.

    Args:
        route: what is flown.
        channels: columns of the blocks.
        again: is told the points (first, stop) to fly again.
        device: the capture's name, for messages.
        flight: number of the flight in its run.
        first_frame: frame number of the first row.
        facts: derives what steered flights note of every row; None for other flights.
    """

    def __init__(
        self,
        route: Route,
        channels: tuple[Channel, ...],
        again: Callable[[int, int], None],
        *,
        device: str,
        flight: int,
        first_frame: int,
        facts: Facts | None = None,
    ) -> None:
        self._route = route
        self._facts = facts
        self._again = again
        self._device = device
        self._flight = flight
        self._first_frame = first_frame
        self._position = {c.axis: c.name for c in channels if c.axis is not None}
        self._unreported = tuple(a for a in route.axes if a not in self._position)
        self._accounts: dict[int, SegmentAccount] = {}
        self._sweeps: list[tuple[int, int]] = [(0, 0)]
        self._uncounted = 0
        self._hopeless: CaptureError | None = None
        self._places = Places()
        self.last_start = self.last_stop = math.nan
        self.rows = 0
        self.triggers = 0
        self.kept = 0

    @property
    def rowless(self) -> int:
        """Triggers known to have made no row."""
        return self.triggers - self.rows

    @property
    def stop_frame(self) -> int:
        """Frame number after the last frame received."""
        return self._first_frame + self.rows

    @property
    def next_point(self) -> int:
        """Point of the next trigger to be accounted for."""
        return self._point_of(self.triggers)

    def account(self, segment: Segment) -> SegmentAccount:
        """The account of a segment of the path, opened when first asked for."""
        if segment.index not in self._accounts:
            self._accounts[segment.index] = SegmentAccount(self._route.whole(segment.index))
        return self._accounts[segment.index]

    def begin(self, trigger: int, point: int) -> None:
        """A sweep's first trigger will be number `trigger` and belongs to `point`."""
        self._sweeps = [s for s in self._sweeps if s[0] < trigger]
        if not self._sweeps or self._point_of(trigger) != point:
            self._sweeps.append((trigger, point))

    def number(self, block: Block) -> tuple[Frames, IntArray]:
        """Turn a block into frames; have points flown again whose triggers made no row.

        Returns:
            The frames, and the numbers of earlier frames whose points they stand for now.

        Raises:
            LedgerError: rows repeated, too many, or taken at the wrong position.
        """
        if block.first + self._uncounted < self.triggers:
            raise LedgerError(
                f"expected trigger {self.triggers} next, got a block starting at "
                f"{block.first + self._uncounted}",
                device=self._device,
                remedy="rows came twice: report this with the firmware version of the box",
            )
        pieces = list(self._pieces(block))  # before any is counted: a wrong block is not stored
        point = np.empty(len(block), np.int64)
        segment = np.empty(len(block), np.int64)
        superseded: list[IntArray] = [np.empty(0, np.int64)]
        for piece in pieces:
            self.lose_until(piece.trigger)
            point[piece.rows] = np.arange(piece.point, piece.point + piece.count)
            segment[piece.rows] = piece.segment.index
            superseded.append(self._count(piece))
        if pieces:
            self._uncounted = self.triggers - block.stop
        first_frame = self.stop_frame - len(block)
        frames = Frames(
            first_frame,
            self._flight,
            point,
            segment,
            block,
            self._setpoints(point),
            self._row_facts(block, pieces),
        )
        return frames, np.concatenate(superseded)

    def _count(self, piece: _Piece) -> IntArray:
        """Note a piece in its account; frames it supersedes."""
        account = self.account(piece.segment)
        account.captured += piece.count
        account.open = True
        stands = account.keep(piece.point, piece.point + piece.count, self.stop_frame)
        self.rows += piece.count
        self.triggers += piece.count
        self.kept += piece.count - len(stands)
        return stands

    def lose_until(self, trigger: int) -> None:
        """All triggers before `trigger` that are not accounted for yet made no row."""
        while self.triggers < trigger:
            segment, point, count = self._next(self.triggers, trigger - self.triggers)
            self.triggers += count
            self.account(segment).rowless += count
            self.lose(segment, point, point + count)
            self._again(point, point + count)

    def lose(self, segment: Segment, first: int, stop: int) -> None:
        """Note that points `first` to `stop` of a segment got no row when they were due."""
        losses = self.account(segment).lose(first, stop)
        hopeless = first + np.flatnonzero(losses > RETAKES)
        if len(hopeless) and self._hopeless is None:
            self._hopeless = CaptureError(
                f"segment {segment.index}: {_listed(hopeless)} got no row in {RETAKES + 1} "
                "sweeps: the trigger did not come, or made none",
                device=self._device,
                remedy="check that the encoder follows the stage, the trigger wiring, and that "
                "the exposure is shorter than the time between triggers",
            )

    def raise_hopeless(self) -> None:
        """Give up, once what came is stored.

        Raises:
            CaptureError: a point got no row however often it was flown.
        """
        if self._hopeless is not None:
            raise self._hopeless

    def waive(self, first: int, stop: int) -> list[tuple[int, int]]:
        """Give up points `first` to `stop` (exclusive) as far as nothing stands for them.

        Args:
            first, stop: points of one segment, or of segments not begun.

        Returns:
            The spans given up.
        """
        account = self._accounts.get(self._route.segment_of(first))
        return [(first, stop)] if account is None else account.waive(first, stop)

    def discard(self, frame: int) -> list[Discarded]:
        """Let frames of the line under way, from `frame` on, stand for nothing any more.

        Returns:
            What they stood for, in the order it was taken.
        """
        frame = max(frame, self._places.first)
        spans = [span for a in self._accounts.values() for span in a.discard(frame)]
        return [
            Discarded(at, first, stop, *self._places.ends(at, at + stop - first))
            for at, first, stop in sorted(spans)
        ]

    def frame_of(self, point: int) -> int | None:
        """The frame that stands for a point; None if none does, or there is no such point."""
        if not 0 <= point < self._route.points:
            return None
        account = self._accounts.get(self._route.segment_of(point))
        for stretch in () if account is None else account.kept:
            if stretch.first <= point < stretch.stop:
                return stretch.frame + point - stretch.first
        return None

    def _row_facts(self, block: Block, pieces: list[_Piece]) -> RowFacts | None:
        if self._facts is None or not pieces:
            return None
        number = self._route.pass_of
        facts = self._facts.of(
            block, [(p.segment, p.rows, p.point, number(p.segment.index)) for p in pieces]
        )
        self.last_start, self.last_stop = float(facts.start[-1]), float(facts.stop[-1])
        line = self._route.line_of(pieces[-1].segment.index)
        self._places.add(line, self.stop_frame - len(block), facts)
        return facts

    def closed(self) -> Iterator[LedgerRow]:
        """Ledger rows of segments that are flown and fully delivered.

        A segment that is flown again later gets another row, which replaces the first.
        """
        for account in self._accounts.values():
            if account.complete:
                yield account.close(self._flight)

    def abandoned(self) -> Iterator[LedgerRow]:
        """Ledger rows of segments begun but not finished, for a flight that was stopped."""
        for account in self._accounts.values():
            if account.open:
                yield account.close(self._flight)

    def _point_of(self, trigger: int) -> int:
        begin, point = next(s for s in reversed(self._sweeps) if s[0] <= trigger)
        return point + trigger - begin

    def _next(self, trigger: int, count: int) -> tuple[Segment, int, int]:
        """Segment and first point of `count` triggers, cut where sweep or segment end.

        Raises:
            LedgerError: there are more triggers than the path has points.
        """
        first = self._point_of(trigger)
        if first >= self._route.points:
            raise LedgerError(
                f"row {self.rows} comes after the last of {self._route.points} points",
                device=self._device,
                remedy="check for double triggers: noise on the encoder or trigger cable",
            )
        segment = self._route.segment(self._route.segment_of(first))
        later = (s[0] - trigger for s in self._sweeps if s[0] > trigger)
        return segment, first, min(count, segment.end_point - first, *later)

    def _pieces(self, block: Block) -> Iterator[_Piece]:
        """A block cut where sweeps and segments begin, and where triggers were lost uncounted.

        Raises:
            LedgerError: rows beyond the path, or not where they should be.
        """
        row, trigger = 0, block.first + self._uncounted
        while row < len(block):
            segment, point, count = self._next(trigger, len(block) - row)
            piece = _Piece(segment, row, row + count, trigger, point)
            begin, lost = self._shift(block, piece)
            piece = _Piece(segment, row, begin, trigger, point)
            yield piece
            row, trigger = begin, trigger + piece.count + lost

    def _setpoints(self, point: IntArray) -> dict[str, FloatArray]:
        """Set-points of the axes no channel reports."""
        if not self._unreported or not len(point):
            return {}
        cuts = np.flatnonzero(np.diff(point) != 1) + 1
        runs = [self._route.setpoints(int(p[0]), int(p[-1]) + 1) for p in np.split(point, cuts)]
        return {axis: np.concatenate([run[axis] for run in runs]) for axis in self._unreported}

    def _shift(self, block: Block, piece: _Piece) -> tuple[int, int]:
        """The row of the block at which positions shift, and by how many steps; 0 at its end.

        Raises:
            LedgerError: they are shifted, and where that began cannot be told.
        """
        segment, axis = piece.segment, piece.segment.fast
        if axis not in self._position or segment.trigger is not Trigger.POSITION:
            return piece.stop, 0
        if self._route.elastic(segment.index):
            return piece.stop, 0
        seen = np.asarray(block.columns[self._position[axis]][piece.rows], float)
        middle = segment.setpoints(piece.point, piece.point + piece.count)[axis]
        step = segment.step
        speed = step / segment.periods(piece.point, piece.point + piece.count)
        expected = middle - step / 2 + speed * block.exposure[piece.rows] / 2
        off = (seen - expected) / step
        far = np.abs(off) > SHIFTED
        if not far.any():
            return piece.stop, 0
        begin, lost = (0, 0) if segment.bounds is not None else _slip(off)
        if lost:
            return piece.start + begin, lost
        # One noisy row proves nothing.
        if abs(float(np.median(off))) <= SHIFTED:
            return piece.stop, 0
        worst = int(np.argmax(far))
        raise LedgerError(
            f"segment {segment.index}: the row of trigger {piece.trigger + worst} was taken at "
            f"{seen[worst]:.6g}, expected {expected[worst]:.6g} for point {piece.point + worst}",
            device=axis,
            remedy="a trigger was lost or doubled: check trigger wiring, gate width against "
            "the period, and the encoder",
        )


def _slip(off: FloatArray) -> tuple[int, int]:
    """The row with which positions shift ahead for good, and by how many whole steps.

    Rows before must be where they should, and no later one may come back, or it is (0, 0).
    """
    steps = np.rint(off)
    begin = int(np.argmax(steps != 0))
    after = steps[begin:]
    if (
        begin == 0
        or after[0] < 0
        or np.abs(off - steps).max() > SURE_STEPS
        or len(after) < SURE_ROWS
        or np.any(after[:SURE_ROWS] != after[0])
        or np.any(np.diff(after) < 0)
    ):
        return 0, 0
    return begin, int(after[0])


def _listed(points: IntArray) -> str:
    """Points as a reader wants them."""
    first, last = int(points[0]), int(points[-1])
    if first == last:
        return f"point {first}"
    return f"{len(points)} points from {first} to {last}"
