"""Rows of one arm: numbering, replay after a reconnection, checks, blocks. Sans-IO."""

from __future__ import annotations

import logging
import re
from calendar import timegm
from collections import deque
from collections.abc import Iterator
from itertools import pairwise
from time import strptime

import numpy as np

from ...errors import CaptureError
from ...flight import Block, IntArray
from ._columns import GATE, TIMESTAMP, Column, Words, convert
from ._pandablocks import StartData

__all__ = ["RowAssembler", "unix_ns"]

_log = logging.getLogger(__name__)
#: Clocks kept by NTP agree better than this, ns; then the box's own stamps are the better ones.
_AGREED_NS = 50_000_000
#: Ticks that no gate exceeds.
_ANY = np.iinfo(np.int64).max
_TIME = re.compile(r"(\d+-\d+-\d+T\d+:\d+:\d+)(?:\.(\d{1,9}))?Z")


def unix_ns(text: str) -> int:
    """Unix nanoseconds of the box's ISO 8601 time stamps, to the last digit."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"not a time stamp: {text!r}")
    whole, fraction = match.groups()
    return timegm(strptime(whole, "%Y-%m-%dT%H:%M:%S")) * 10**9 + int(
        (fraction or "").ljust(9, "0")
    )


class RowAssembler:
    """Turns what the data port sends into blocks, numbered by trigger.

    Times are the box's, unless its wall clock is wrong: it has no battery, starts in 1970, and is
    set when NTP answers. Then rows are dated by when we saw the capture begin.

    Every gate begun is an edge, with a number. PCAP sums up whatever is gated until it makes a
    row; so when an edge makes none, the row after it has the data of both, and a gate as long as
    both together. Such a row stands for neither: it is dropped like a row whose gate was cut, and
    the numbers of both are left out. A counter tells the edge of every row; without one the
    length of gates does.

    Triggers are stopped in the middle of a timed train. The edge that was cut then is no
    trigger, since the train goes on with its point: see :meth:`stopped`.

    Args:
        device: the capture's name, for messages.
        columns: the channels.
        index: key of the trigger counter's value; None without one.
        clock_hz: frequency of the box's clock.
    """

    def __init__(
        self, device: str, columns: tuple[Column, ...], index: str | None, clock_hz: int
    ) -> None:
        self._device = device
        self._columns = columns
        self._index = index
        self._clock_hz = clock_hz
        self._start_ns: int | None = None
        self._begun: tuple[int, int] | None = None
        self._error_ns: int | None = None
        self._newest = 0
        self._gates: deque[tuple[int, int]] = deque()
        self._missed = 0
        self._incoming = 0
        self._last_good = -1
        self._cut: list[int] = []
        self.edges = 0
        self.seen = 0
        self.accepted = 0

    def expect_gate(self, edge: int, ticks: int) -> None:
        """From edge number `edge` on, whole gates last `ticks`."""
        while self._gates and self._gates[-1][0] >= edge:
            self._gates.pop()
        self._gates.append((edge, ticks))

    def stopped(self, begin: int, end: int) -> int:
        """A train that began with edge `begin` was stopped after `end` edges, all seen or lost.

        Returns:
            Its triggers: edges but the last, if that has no row with a whole gate.
        """
        if end > begin and self._last_good < end - 1 and end - 1 not in self._cut:
            self._cut.append(end - 1)
        return end - begin - sum(begin <= edge < end for edge in self._cut)

    def begun_between(self, earliest_ns: int, latest_ns: int) -> None:
        """The capture began between these times of our own clock, Unix nanoseconds."""
        self._begun = earliest_ns, latest_ns

    def newest_ns(self) -> int | None:
        """When the newest row was captured, or the capture began if there is none yet.

        Unix nanoseconds of our own clock, right to within the time that arming took; None as
        long as nobody knows.
        """
        if self._begun is None:
            return None
        earliest, latest = self._begun
        start = earliest if self._start_ns is None else self._start_ns
        return min(max(start, earliest), latest) + self._newest

    def start(self, header: StartData) -> None:
        """Take in the header of a connection, the first one or one after a reconnection.

        Raises:
            CaptureError: rows were lost meanwhile, or the box captures something else.
        """
        self._check_fields(header)
        start_ns = unix_ns(header.start_time or header.arm_time or "")
        if self._start_ns is not None and start_ns != self._start_ns:
            raise CaptureError(
                f"after the data connection was remade the box reports another capture, started "
                f"{header.start_time}; rows from {self.seen} on are missing",
                device=self._device,
                remedy="somebody else armed the box meanwhile, or it restarted; fly again",
            )
        if header.missed > self.seen:
            raise CaptureError(
                f"rows {self.seen} to {header.missed - 1} are missing: the data connection was "
                "away longer than the box keeps rows",
                device=self._device,
                remedy="check the network; the box keeps about 95 blocks (9 s at 100 ms)",
            )
        self._start_ns = start_ns
        self._missed = self._incoming = header.missed

    def _check_fields(self, header: StartData) -> None:
        have = {f"{f.name}.{f.capture}" for f in header.fields}
        keys = {key for c in self._columns for key in (c.key, c.diff) if key}
        wanted = keys | {GATE, TIMESTAMP, self._index or GATE}
        if wanted - have or header.process != "Raw":
            raise CaptureError(
                f"the box does not capture {', '.join(sorted(wanted - have)) or 'raw data'}",
                device=self._device,
                remedy="another client changed the capture settings while the box was armed; "
                "close it and fly again",
            )

    def end(self, rows: int) -> int:
        """Take in the end of a connection that sent `rows`; returns the rows of the whole arm.

        Raises:
            CaptureError: the box counted other rows than came.
        """
        if self._missed + rows != self._incoming:
            raise CaptureError(
                f"the box says it sent {self._missed + rows} rows, {self._incoming} came",
                device=self._device,
                remedy="fly again; if it persists, report it with the firmware version",
            )
        return self._incoming

    def feed(self, words: Words) -> list[Block]:
        """Blocks of the good rows among those not seen before, cut where triggers are left out.

        Raises:
            CaptureError: a trigger made two rows.
        """
        known = min(len(words), max(0, self.seen - self._incoming))
        self._incoming += len(words)
        words = words[known:]
        if not len(words):
            return []
        edges = self._edges(words)
        self.seen += len(words)
        self.edges = int(edges[-1]) + 1
        ticks, gates = words[GATE], self._whole_gates(edges)
        good = (ticks >= _shortest(gates)) & (ticks <= _longest(gates))
        if not good.all():
            words, edges = words[good], edges[good]
        return list(self._blocks(words, edges))

    def _edges(self, words: Words) -> IntArray:
        """The edge of every row, counted from 0; of a row of several gates the last one.

        Raises:
            CaptureError: two rows of one edge.
        """
        if self._index is None:
            edges = np.arange(self.edges, self.edges + len(words))
            ticks, gates = words[GATE], self._whole_gates(edges)
            if (ticks <= _longest(gates)).all():
                return edges
            several = np.maximum(1, np.rint(ticks / np.maximum(1, gates))).astype(np.int64)
            return edges + np.cumsum(np.where(gates > 0, several - 1, 0))
        edges = words[self._index].astype(np.int64) - 1
        steps = np.diff(edges, prepend=self.edges - 1)
        if steps.min() <= 0:
            wrong = int(np.argmin(steps > 0))
            raise CaptureError(
                f"row {self.seen + wrong} belongs to trigger {int(edges[wrong]) + 1}, the row "
                f"before it to trigger {int(edges[wrong] - steps[wrong]) + 1}: one made two rows",
                device=self._device,
                remedy="check the trigger wiring for noise and reflections",
            )
        return edges

    def _whole_gates(self, edges: IntArray) -> IntArray:
        """Ticks of a whole gate of every edge; 0 where any will do."""
        while len(self._gates) > 1 and self._gates[1][0] <= edges[0]:
            self._gates.popleft()
        if not self._gates:
            return np.zeros(1, np.int64)
        begins, ticks = (np.array(values) for values in zip(*self._gates, strict=True))
        if len(begins) == 1 or begins[1] > edges[-1]:
            return ticks[:1]
        return ticks[np.maximum(np.searchsorted(begins, edges, "right") - 1, 0)]

    def _blocks(self, words: Words, edges: IntArray) -> Iterator[Block]:
        if not len(words) or self._start_ns is None:
            return
        self._last_good = int(edges[-1])
        numbers = edges - np.searchsorted(self._cut, edges) if self._cut else edges
        cuts: list[int] = []
        if numbers[-1] - numbers[0] >= len(numbers):
            cuts = (np.flatnonzero(np.diff(numbers) > 1) + 1).tolist()
        for begin, end in pairwise([0, *cuts, len(words)]):
            yield self._block(words[begin:end], int(numbers[begin]), self._start_ns)

    def _block(self, words: Words, first: int, start_ns: int) -> Block:
        gate = words[GATE].astype(np.float64)
        ticks = words[TIMESTAMP] - words[GATE]
        self.accepted += len(words)
        self._newest = int(words[TIMESTAMP][-1]) * 10**9 // self._clock_hz
        # TS_TRIG is when the gate fell; the trigger made it rise.
        return Block(
            first=first,
            time_ns=_nanoseconds(ticks, self._clock_hz) + (start_ns - self._clock_error()),
            exposure=gate / self._clock_hz,
            columns=convert(self._columns, words, gate),
        )

    def _clock_error(self) -> int:
        """Nanoseconds by which the box's wall clock is ahead of ours, constant through an arm."""
        if self._error_ns is None:
            self._error_ns = 0
            earliest, latest = self._begun or (0, 0)
            start = self._start_ns or 0
            if self._begun and not earliest - _AGREED_NS <= start <= latest + _AGREED_NS:
                self._error_ns = start - (earliest + latest) // 2
                _log.warning(
                    "%s: the box's wall clock is %+.3f s off; rows are dated by ours. Remedy: let "
                    "the box keep its time by NTP",
                    self._device,
                    self._error_ns * 1e-9,
                )
        return self._error_ns


def _shortest(ticks: IntArray) -> IntArray:
    """The shortest gate that passes as a whole one of `ticks`: at least a tick, within 1 %."""
    return np.maximum(1, ticks - ticks // 100 - 2)


def _longest(ticks: IntArray) -> IntArray:
    """The longest one, likewise."""
    return np.where(ticks > 0, ticks + ticks // 100 + 2, _ANY)


def _nanoseconds(ticks: IntArray, clock_hz: int) -> IntArray:
    if 10**9 % clock_hz == 0:
        return ticks * (10**9 // clock_hz)
    return np.rint(ticks * (1e9 / clock_hz)).astype(np.int64)
