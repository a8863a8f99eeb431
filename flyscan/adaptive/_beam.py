"""Holding while there is no beam, and flying again what was lost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import CaptureError, ConfigurationError
from ._policy import Hold, LineContext, Plan, Policy, Proposal, Resume, Situation
from ._rows import Rows

__all__ = ["BeamGuard"]


@dataclass(eq=False)
class BeamGuard(Policy):
    """Holds when incident flux or a monitor falls below `low`, goes on above `high`.

    The loss is found in the rows, to the row: everything from the row after the last good one
    is flown again. A top-up that only dips is not a loss: rows are normalised by I0.

    Args:
        low: relative flux below which the beam counts as lost.
        high: relative flux above which rows are good and the flight may go on.
        wait: seconds the beam must have been back before the flight goes on.
        monitor: name of a slow signal, such as the ring current; None to go by I0 alone.
        monitor_low, monitor_high: its thresholds, in its own unit.
    """

    low: float = 0.5
    high: float = 0.8
    wait: float = 0.0
    monitor: str | None = None
    monitor_low: float = 0.0
    monitor_high: float = 0.0
    _refly: int | None = field(default=None, init=False, repr=False)
    _last_good: int | None = field(default=None, init=False, repr=False)
    _next_wanted: int | None = field(default=None, init=False, repr=False)
    _holding: bool = field(default=False, init=False, repr=False)
    _back_since: float | None = field(default=None, init=False, repr=False)
    _losses: int = field(default=0, init=False, repr=False)
    _discarded: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high or self.wait < 0:
            raise ConfigurationError(
                f"thresholds {self.low} and {self.high}, wait {self.wait} s",
                device="beam guard",
                remedy="give 0 < low < high and a wait of 0 or more",
            )
        if self.monitor is not None and not self.monitor_low < self.monitor_high:
            raise ConfigurationError(
                f"thresholds {self.monitor_low} and {self.monitor_high} of {self.monitor}",
                device="beam guard",
                remedy="give monitor_low < monitor_high",
            )

    def begin(self, line: LineContext) -> Plan:
        """Has no opinion on the speed."""
        return Plan(None, "beam guard")

    def tell(self, rows: Rows) -> None:
        """Look for the first row without beam, unless what comes is to be discarded anyway."""
        if rows.i0 is None:
            if self.monitor is None:
                raise CaptureError(
                    "rows carry no incident flux and no monitor is named",
                    device="beam guard",
                    remedy="capture an I0 channel, or name a monitor such as the ring current",
                )
            return
        rows = self._awaited(rows)
        if not len(rows) or self._refly is not None:
            self._discarded += len(rows)
            return
        flux = np.where(np.isfinite(rows.i0), rows.i0, 0.0) if rows.i0 is not None else np.ones(0)
        lost = np.flatnonzero(flux < self.low)
        if not len(lost):
            good = np.flatnonzero(flux > self.high)
            if len(good):
                self._last_good = int(rows.point[good[-1]])
            return
        before = np.flatnonzero(flux[: lost[0]] > self.high)
        if len(before):
            self._last_good = int(rows.point[before[-1]])
        first = int(rows.point[lost[0]])
        self._refly = first if self._last_good is None else min(first, self._last_good + 1)
        self._losses += 1
        self._discarded += int(np.sum(rows.point >= self._refly))

    def _awaited(self, rows: Rows) -> Rows:
        """Without rows that were under way when the hold was asked for."""
        if self._next_wanted is None:
            return rows
        at = np.flatnonzero(rows.point == self._next_wanted)
        if not len(at):
            self._discarded += len(rows)
            return rows.last(0)
        self._next_wanted = None
        self._discarded += int(at[0])
        return rows.last(len(rows) - int(at[0]))

    def ask(self, now: Situation) -> Proposal | None:
        """Hold where beam was lost; go on when it has been back for long enough."""
        low = self._monitor_below(now, self.monitor_low)
        if not self._holding:
            if self._refly is None and not low:
                return None
            self._holding, self._back_since = True, None
            if self._refly is None:
                self._losses += 1
                return Hold(f"{self.monitor} below {self.monitor_low:g}")
            refly, self._next_wanted, self._refly = self._refly, self._refly, None
            return Hold(f"incident flux below {self.low:g} of nominal", refly_from=refly)
        if not now.held:
            return None
        return self._resume(now)

    def _resume(self, now: Situation) -> Proposal | None:
        if self._monitor_below(now, self.monitor_high) or self._flux_gone(now):
            self._back_since = None
            return None
        if self._back_since is None:
            self._back_since = now.time
        if now.time - self._back_since < self.wait:
            return None
        self._holding = False
        return Resume(f"beam is back since {now.time - self._back_since:.3g} s")

    def _monitor_below(self, now: Situation, threshold: float) -> bool:
        if self.monitor is None:
            return False
        if self.monitor not in now.monitors:
            raise ConfigurationError(
                f"no such monitor; there are {', '.join(now.monitors) or 'none'}",
                device=self.monitor,
                remedy="name a monitor of the flight host's configuration",
            )
        value = now.monitors[self.monitor]
        return not value >= threshold

    def _flux_gone(self, now: Situation) -> bool:
        """Whether the slow reading of I0, if there is one while held, is too low."""
        flux = now.monitors.get("i0")
        return flux is not None and not flux >= self.high

    def end(self) -> dict[str, Any]:
        """Losses so far."""
        return {"policy": "BeamGuard", "losses": self._losses, "discarded_rows": self._discarded}
