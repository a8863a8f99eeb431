"""Taking rows again where the stage was not where it should have been."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ConfigurationError
from ._policy import Flag, GoBack, LineContext, Plan, Policy, Proposal, Retune, Situation
from ._profile import Profile
from ._rows import Rows

__all__ = ["StabilityGuard"]

RETAKEN = "position error out of tolerance: taken again"
GIVEN_UP = "position error out of tolerance: given up"


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Rows out of tolerance, where they began and ended in the order they were flown."""

    low: float
    high: float
    first: int
    stop: int


@dataclass(eq=False)
class StabilityGuard(Policy):
    """Takes stretches again, slower, whose position error or jitter is out of tolerance.

    Nobody may use rows out of tolerance. A stretch is taken again when it is over, `tries` times
    at half the speed of the time before, then given up. Without going back the speed is halved
    instead while the error lasts.

    Args:
        signal: column with the position error in user units, such as the difference of an
            interferometer and an encoder; or the encoder of an axis that rests along the line,
            whose error is how far it is from there.
        tolerance: largest error accepted.
        jitter: largest standard deviation within a block accepted; None to ignore it.
        tries: times a stretch is taken again.
    """

    signal: str
    tolerance: float
    jitter: float | None = None
    tries: int = 3
    _line: LineContext | None = field(default=None, init=False, repr=False)
    _end: int = field(default=0, init=False, repr=False)
    _bad: list[_Stretch] = field(default_factory=list[_Stretch], init=False, repr=False)
    _flags: list[Flag] = field(default_factory=list[Flag], init=False, repr=False)
    _retaken: list[tuple[float, float]] = field(
        default_factory=list[tuple[float, float]], init=False, repr=False
    )
    _given_up: list[tuple[float, float]] = field(
        default_factory=list[tuple[float, float]], init=False, repr=False
    )

    def __post_init__(self) -> None:
        jitter = 1.0 if self.jitter is None else self.jitter
        if not (self.tolerance > 0 and jitter > 0 and self.tries >= 1):
            raise ConfigurationError(
                f"tolerance {self.tolerance}, jitter {self.jitter}, tries {self.tries}",
                device="stability guard",
                remedy="give a positive tolerance and jitter and at least one try",
            )

    def begin(self, line: LineContext) -> Plan:
        """Has no opinion on the speed."""
        self._line = line
        self._bad, self._flags, self._retaken, self._given_up = [], [], [], []
        return Plan(None, "stability guard")

    def tell(self, rows: Rows) -> None:
        """Look for rows out of tolerance.

        Raises:
            ConfigurationError: there is no such signal.
        """
        wrong = self._wrong(rows)
        self._end = rows.end
        for begin, end in _stretches(wrong):
            stretch = _Stretch(
                float(rows.start[begin]), float(rows.stop[end - 1]), rows.first + begin,
                rows.first + end,
            )  # fmt: skip
            self._note(stretch)

    def _wrong(self, rows: Rows) -> npt.NDArray[np.bool_]:
        if self.signal not in rows.signals:
            raise ConfigurationError(
                f"rows have no such signal; they have {', '.join(rows.signals) or 'none'}",
                device=self.signal,
                remedy="name a column with the position error",
            )
        target = 0.0 if self._line is None else self._line.rests.get(self.signal, 0.0)
        error = rows.signals[self.signal] - target
        wrong = ~(np.abs(error) <= self.tolerance)
        use = rows.usable
        if self.jitter is not None and use.sum() > 1 and not np.std(error[use]) <= self.jitter:
            wrong[:] = True
        return wrong & use

    def _note(self, stretch: _Stretch) -> None:
        """Flag a stretch, and have it taken again unless it was too often."""
        tries = self._tries(stretch)
        if not np.isfinite((stretch.low, stretch.high)).all() or stretch.low == stretch.high:
            tries = self.tries  # nobody knows where to go back to
        reason = RETAKEN if tries < self.tries else GIVEN_UP
        self._flags.append(Flag(reason, stretch.first, stretch.stop))
        if tries >= self.tries:
            self._given_up.append((stretch.low, stretch.high))
            return
        last = self._bad[-1] if self._bad else None
        if last is not None and last.stop == stretch.first and self._tries(last) == tries:
            self._bad[-1] = _Stretch(last.low, stretch.high, last.first, stretch.stop)
        else:
            self._bad.append(stretch)

    def _tries(self, stretch: _Stretch) -> int:
        """How often the middle of a stretch was taken again."""
        middle = (stretch.low + stretch.high) / 2
        return sum(min(ends) <= middle <= max(ends) for ends in self._retaken)

    def pass_on(self, rows: Rows) -> Rows:
        """The rows just told, those out of tolerance marked bad."""
        return rows.marked(~self._wrong(rows))

    def ask(self, now: Situation) -> Proposal | None:
        """Flag rows, take the stretches again, or slow down."""
        if self._flags:
            return self._flags.pop(0)
        line = self._line
        if line is None or now.held or not self._bad:
            return None
        if not line.goes_back:
            self._given_up.extend((bad.low, bad.high) for bad in self._bad)
            self._bad = []
            slower = max(line.v_min, now.velocity / 2)
            if now.at_end or slower >= now.velocity or not line.velocity_in_flight:
                return None
            return Retune("position error out of tolerance: slower", velocity=slower)
        bad = self._bad[0]
        if bad.stop == self._end and not now.at_end:
            return None  # it is still going on
        self._bad.pop(0)
        number = self._tries(bad) + 1
        ends = (bad.low, bad.high)
        self._retaken.append(ends)
        speed = max(line.v_min, line.velocity / 2**number)
        reason = f"position error out of tolerance, try {number} of {self.tries}"
        return GoBack(reason, *ends, Profile(ends, (speed, speed)))

    def needed_channels(self) -> tuple[str, ...]:
        """The signal it watches."""
        return (self.signal,)

    def end(self) -> dict[str, Any]:
        """How often it went back, and the stretches given up."""
        return {
            "policy": "StabilityGuard",
            "retaken": len(self._retaken),
            "flagged": [list(stretch) for stretch in self._given_up],
        }


def _stretches(wrong: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Runs of true values as begin and end."""
    change = np.flatnonzero(np.diff(np.concatenate(([False], wrong, [False])).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(change[::2], change[1::2], strict=True)]
