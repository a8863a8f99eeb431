"""Rows of one arm: numbering, replay after a reconnection, checks, blocks. Sans-IO."""

from __future__ import annotations

import logging
import re
from calendar import timegm
from collections import deque
from time import strptime

import numpy as np
import numpy.typing as npt

from ...errors import CaptureError
from ...flight import Block, IntArray
from ._columns import GATE, TIMESTAMP, Column, Words, convert
from ._pandablocks import StartData

__all__ = ["RowAssembler", "unix_ns"]

_log = logging.getLogger(__name__)
#: Clocks kept by NTP agree better than this, ns; then the box's own stamps are the better ones.
_AGREED_NS = 50_000_000
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
    """Turns what the data port sends into blocks numbered without gaps.

    Times are the box's, unless its wall clock is wrong: it has no battery, starts in 1970, and is
    set when NTP answers. Then rows are dated by when we saw the capture begin.

    A row whose gate was cut short, because triggers were stopped inside it, is not a row: it is
    dropped here and its point triggered again.

    Args:
        device: the capture's name, for messages.
        columns: the channels.
        index: key of the trigger counter's value, to notice lost triggers; None without one.
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
        self.seen = 0
        self.accepted = 0

    def expect_gate(self, row: int, ticks: int) -> None:
        """From captured row number `row` on, whole gates last `ticks`."""
        while self._gates and self._gates[-1][0] >= row:
            self._gates.pop()
        self._gates.append((row, ticks))

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

    def feed(self, words: Words) -> Block | None:
        """A block of the rows not seen before and not cut short, if there are any.

        Raises:
            CaptureError: a trigger made no row.
        """
        known = min(len(words), max(0, self.seen - self._incoming))
        self._incoming += len(words)
        words = words[known:]
        if not len(words):
            return None
        self._check_index(words)
        first, self.seen = self.seen, self.seen + len(words)
        whole = self._whole(words, first)
        return self._block(words if whole is None else words[whole])

    def _check_index(self, words: Words) -> None:
        """Triggers are counted from 1, so rows and counts must run in step."""
        if self._index is None:
            return
        counts = words[self._index]
        if counts[0] == self.seen + 1 and counts[-1] == self.seen + len(words):
            return
        expected = np.arange(self.seen + 1, self.seen + len(words) + 1)
        wrong = int(np.flatnonzero(counts != expected)[0])
        raise CaptureError(
            f"row {self.seen + wrong} belongs to trigger {int(counts[wrong])}, expected "
            f"{self.seen + wrong + 1}: a trigger made no row or two",
            device=self._device,
            remedy="check the trigger wiring, and that the exposure is shorter than the time "
            "between triggers",
        )

    def _whole(self, words: Words, first: int) -> npt.NDArray[np.intp] | None:
        """Indices of the rows with a whole gate; None if all have one."""
        ticks = words[GATE]
        while len(self._gates) > 1 and self._gates[1][0] <= first:
            self._gates.popleft()
        if len(self._gates) <= 1 or self._gates[1][0] >= first + len(words):
            shortest = _shortest(self._gates[0][1] if self._gates else 0)
            return None if ticks.min() >= shortest else np.flatnonzero(ticks >= shortest)
        starts, gates = zip(*self._gates, strict=True)
        rows = np.arange(first, first + len(words))
        piece = np.maximum(np.searchsorted(starts, rows, "right") - 1, 0)
        return np.flatnonzero(ticks >= np.array([_shortest(g) for g in gates])[piece])

    def _block(self, words: Words) -> Block | None:
        if not len(words) or self._start_ns is None:
            return None
        gate = words[GATE].astype(np.float64)
        ticks = words[TIMESTAMP] - words[GATE]
        first, self.accepted = self.accepted, self.accepted + len(words)
        self._newest = int(words[TIMESTAMP][-1]) * 10**9 // self._clock_hz
        # TS_TRIG is when the gate fell; the trigger made it rise.
        return Block(
            first=first,
            time_ns=_nanoseconds(ticks, self._clock_hz) + (self._start_ns - self._clock_error()),
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


def _shortest(ticks: int) -> int:
    """The shortest gate that passes as a whole one of `ticks`: at least a tick, within 1 %."""
    return max(1, ticks - ticks // 100 - 2)


def _nanoseconds(ticks: IntArray, clock_hz: int) -> IntArray:
    if 10**9 % clock_hz == 0:
        return ticks * (10**9 // clock_hz)
    return np.rint(ticks * (1e9 / clock_hz)).astype(np.int64)
