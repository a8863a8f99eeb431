"""Holding while there is no beam, and flying again what was lost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import CaptureError, ConfigurationError
from ..flight import FloatArray, IntArray
from ._policy import Hold, LineContext, Plan, Policy, Proposal, Resume, Situation
from ._rows import Rows

__all__ = ["BeamGuard"]

FALL = 0.1
"""Seconds a beam may take to fall: weak rows within that before a loss belong to it."""

FIRST_RETRY, LONGEST_RETRY = 1.0, 60.0
"""Seconds between tries when nothing tells whether the beam is back; doubled every time."""

STAYS = 0.2
"""Seconds of beam that make a try a success."""

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Seen:
    """Rows told lately: when they ended, their points, and whether they had full beam."""

    time: FloatArray
    point: IntArray
    sure: BoolArray

    def since(self, time: float) -> _Seen:
        """Rows that ended later than that, and the one before."""
        first = max(0, int(np.searchsorted(self.time, time, side="right")) - 1)
        return _Seen(self.time[first:], self.point[first:], self.sure[first:])

    def and_then(self, other: _Seen) -> _Seen:
        """Both, one after the other."""
        return _Seen(
            np.concatenate((self.time, other.time)),
            np.concatenate((self.point, other.point)),
            np.concatenate((self.sure, other.sure)),
        )


_NOTHING = _Seen(np.empty(0), np.empty(0, np.int64), np.empty(0, np.bool_))


@dataclass(eq=False)
class BeamGuard(Policy):
    """Holds when incident flux or a monitor falls below `low`, goes on above `high`.

    With incident flux the loss is found in the rows, to the row: everything from the last row
    with full beam on is flown again, since the fall may have begun in it. A top-up that only
    dips is not a loss: rows are normalised by I0. Without, the rows since the monitor fell are
    flown again, and those of the `lag` seconds before. Policies after this one in a Composite
    do not get to use rows that will be flown again.

    A monitor tells when the beam is back. Without one the flight can only try: after `wait`
    seconds, then, should there be beam for less than 0.2 s, after a second, two, four and so on
    up to a minute. A try without beam costs one block of rows.

    Args:
        low: relative flux below which the beam counts as lost.
        high: relative flux above which a row has full beam.
        wait: seconds the beam must have been back before the flight goes on.
        monitor: name of a slow signal, such as the ring current; None to go by I0 alone.
        monitor_low, monitor_high: its thresholds, in its own unit.
        lag: seconds by which the monitor may be late, for flights without I0.
    """

    low: float = 0.5
    high: float = 0.8
    wait: float = 0.0
    monitor: str | None = None
    monitor_low: float = 0.0
    monitor_high: float = 0.0
    lag: float = 1.0
    _seen: _Seen = field(default=_NOTHING, init=False, repr=False)
    _by_flux: bool = field(default=False, init=False, repr=False)
    _refly: int | None = field(default=None, init=False, repr=False)
    _wanted: int = field(default=0, init=False, repr=False)
    _holding: bool = field(default=False, init=False, repr=False)
    _back_since: float | None = field(default=None, init=False, repr=False)
    _delay: float = field(default=0.0, init=False, repr=False)
    _lit: float = field(default=np.inf, init=False, repr=False)
    _losses: int = field(default=0, init=False, repr=False)
    _discarded: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        seconds = (self.wait, self.lag)
        if not 0 < self.low < self.high or not all(0 <= s < np.inf for s in seconds):
            raise ConfigurationError(
                f"thresholds {self.low} and {self.high}, wait {self.wait} s, lag {self.lag} s",
                device="beam guard",
                remedy="give 0 < low < high, and a wait and a lag of 0 or more",
            )
        if self.monitor is not None and not self.monitor_low < self.monitor_high:
            raise ConfigurationError(
                f"thresholds {self.monitor_low} and {self.monitor_high} of {self.monitor}",
                device="beam guard",
                remedy="give monitor_low < monitor_high",
            )

    def begin(self, line: LineContext) -> Plan:
        """Has no opinion on the speed."""
        self._seen = _NOTHING  # a line is complete before the next one begins
        return Plan(None, "beam guard")

    def needed_channels(self) -> tuple[str, ...]:
        """The monitor."""
        return () if self.monitor is None else (self.monitor,)

    # --- rows ------------------------------------------------------------------------------

    def tell(self, rows: Rows) -> None:
        """Look for the first row without beam.

        Raises:
            CaptureError: nothing tells whether there was beam.
        """
        dark = self._dark(rows)
        self._wanted = 0 if self._refly is not None else len(rows)
        sure = ~dark if rows.i0 is None else ~dark & (rows.i0 > self.high)
        now = _Seen(rows.time, rows.point, sure)
        if self._refly is None and dark.any():
            self._lose(rows, now, int(np.argmax(dark)))
        self._discarded += len(rows) - self._wanted
        self._lit += float(np.sum(rows.live[~dark]))
        window = max(FALL, self.lag)
        if len(rows):
            self._seen = self._seen.and_then(now).since(float(rows.time[-1]) - window)

    def _dark(self, rows: Rows) -> BoolArray:
        """Rows without beam."""
        self._by_flux = rows.i0 is not None
        if rows.i0 is not None:
            return ~(rows.i0 >= self.low)
        if self.monitor is None:
            raise CaptureError(
                "rows carry no incident flux and no monitor is named",
                device="beam guard",
                remedy="capture an I0 channel, or name a monitor such as the ring current",
            )
        current = rows.signals.get(self.monitor)
        return np.zeros(len(rows), np.bool_) if current is None else ~(current >= self.monitor_low)

    def _lose(self, rows: Rows, now: _Seen, first: int) -> None:
        """The beam was lost in row `first`: find the row from which to fly again."""
        before = len(self._seen.time)
        seen = self._seen.and_then(now)
        begin = self._doubtful(seen, before + first, float(rows.time[first] - rows.live[first]))
        self._refly = int(seen.point[begin])
        self._wanted = max(0, begin - before)
        self._losses += 1

    def _doubtful(self, seen: _Seen, lost: int, time: float) -> int:
        """The first row that is in doubt when row `lost` begins at `time` without beam."""
        if not self._by_flux:
            return min(lost, int(np.searchsorted(seen.time, time - self.lag, side="right")))
        sound = np.flatnonzero(seen.sure[:lost] | (seen.time[:lost] <= time - FALL))
        return int(sound[-1]) if len(sound) else 0

    def pass_on(self, rows: Rows) -> Rows:
        """The rows just told, those marked bad that will be flown again."""
        return rows.marked(np.arange(len(rows)) < self._wanted)

    # --- decisions -------------------------------------------------------------------------

    def ask(self, now: Situation) -> Proposal | None:
        """Hold where beam was lost; go on when it has been back for long enough."""
        self._holding &= now.held  # somebody else may have let the flight go on
        if self._refly is not None:
            reason = f"incident flux below {self.low:g} of nominal"
            return self._hold(reason if self._by_flux else self._fallen, self._refly)
        if self._holding:
            return self._resume(now)
        since = self._since(now)
        if not self._below(now, self.monitor_low) or (now.at_end and since == now.next_point):
            return None
        self._losses += 1
        return self._hold(self._fallen, since)

    def _since(self, now: Situation) -> int:
        """The point from which rows are in doubt when the monitor turns out to have fallen.

        With flux that is the next one: it is told of every row whether it had beam, but those
        to come are taken while the stage brakes.
        """
        begin = int(np.searchsorted(self._seen.time, now.time - self.lag, side="right"))
        points = self._seen.point[begin:]
        if self._by_flux or not len(points):
            return now.next_point
        return int(points[0])

    def _hold(self, reason: str, refly_from: int) -> Hold:
        if not self._holding and self.monitor is None:
            longer = min(max(2 * self._delay, FIRST_RETRY), LONGEST_RETRY)
            self._delay = max(self.wait, longer if self._lit < STAYS else 0.0)
        self._holding, self._back_since = True, None
        self._refly, self._seen = None, _NOTHING
        return Hold(reason, refly_from=refly_from)

    def _resume(self, now: Situation) -> Proposal | None:
        if self._below(now, self.monitor_high):
            self._back_since = None
            return None
        if self._back_since is None:
            self._back_since = now.time
        since = now.time - self._back_since
        if since < (self.wait if self.monitor else self._delay):
            return None
        self._holding, self._lit = False, 0.0
        what = f"{self.monitor} is back since" if self.monitor else "tries again after"
        return Resume(f"{what} {since:.3g} s")

    def _below(self, now: Situation, threshold: float) -> bool:
        """Whether the monitor is below, or has no value at all."""
        if self.monitor is None:
            return False
        if self.monitor not in now.monitors:
            raise ConfigurationError(
                f"no such monitor; there are {', '.join(now.monitors) or 'none'}",
                device=self.monitor,
                remedy="name a monitor of the flight host's configuration",
            )
        return not now.monitors[self.monitor] >= threshold

    @property
    def _fallen(self) -> str:
        return f"{self.monitor} below {self.monitor_low:g}"

    def end(self) -> dict[str, Any]:
        """Losses so far."""
        return {"policy": "BeamGuard", "losses": self._losses, "discarded_rows": self._discarded}
