"""Taking rows again where the stage was not where it should have been."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import ConfigurationError
from ._policy import GoBack, LineContext, Plan, Policy, Proposal, Retune, Situation
from ._profile import Profile
from ._rows import Rows

__all__ = ["StabilityGuard"]


@dataclass(eq=False)
class StabilityGuard(Policy):
    """Re-takes stretches whose position error or jitter is out of tolerance, slower.

    A stretch is tried `tries` times at half the speed of the time before, then flagged. Without
    going back the speed is halved instead while the error lasts.

    Args:
        signal: column of :attr:`Rows.signals` with the position error, user units.
        tolerance: largest error accepted.
        jitter: largest standard deviation within a block accepted; None to ignore it.
        tries: times a stretch is taken again.
    """

    signal: str
    tolerance: float
    jitter: float | None = None
    tries: int = 3
    _line: LineContext | None = field(default=None, init=False, repr=False)
    _bad: list[tuple[float, float, int]] = field(
        default_factory=list[tuple[float, float, int]], init=False, repr=False
    )
    _flagged: list[tuple[float, float]] = field(
        default_factory=list[tuple[float, float]], init=False, repr=False
    )
    _tried: dict[int, int] = field(default_factory=dict[int, int], init=False, repr=False)
    _taken: int = field(default=0, init=False, repr=False)

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
        self._bad, self._flagged, self._tried, self._taken = [], [], {}, 0
        return Plan(None, "stability guard")

    def tell(self, rows: Rows) -> None:
        """Look for rows out of tolerance."""
        if self.signal not in rows.signals:
            raise ConfigurationError(
                f"rows have no such signal; they have {', '.join(rows.signals) or 'none'}",
                device=self.signal,
                remedy="name a column with the position error",
            )
        error = rows.signals[self.signal]
        wrong = ~(np.abs(error) <= self.tolerance)
        if self.jitter is not None and len(rows) > 1 and not np.std(error) <= self.jitter:
            wrong[:] = True
        number = rows.pass_number
        for begin, end in _stretches(wrong):
            done = self._tried.get(int(number[begin]), 0) if number[begin] else 0
            stretch = (float(rows.start[begin]), float(rows.stop[end - 1]))
            if done >= self.tries:
                self._flagged.append(stretch)
            elif self._bad and self._bad[-1][2] == done and self._bad[-1][1] == stretch[0]:
                self._bad[-1] = (self._bad[-1][0], stretch[1], done)
            else:
                self._bad.append((*stretch, done))

    def ask(self, now: Situation) -> Proposal | None:
        """Take the stretches again, or slow down."""
        line = self._line
        if line is None or now.held or not self._bad:
            return None
        if not line.goes_back:
            self._flagged.extend((low, high) for low, high, _ in self._bad)
            self._bad = []
            slower = max(line.v_min, now.velocity / 2)
            if now.at_end or slower >= now.velocity or not line.velocity_in_flight:
                return None
            return Retune("position error out of tolerance: slower", velocity=slower)
        low, high, done = self._bad.pop(0)
        self._taken += 1
        self._tried[self._taken] = done + 1
        speed = max(line.v_min, line.velocity / 2 ** (done + 1))
        return GoBack(
            f"position error out of tolerance, try {done + 1} of {self.tries}",
            low,
            high,
            Profile((low, high), (speed, speed)),
        )

    def needed_channels(self) -> tuple[str, ...]:
        """The signal it watches."""
        return (self.signal,)

    def end(self) -> dict[str, Any]:
        """Stretches given up."""
        return {
            "policy": "StabilityGuard",
            "retaken": self._taken,
            "flagged": [list(stretch) for stretch in self._flagged],
        }


def _stretches(wrong: Any) -> list[tuple[int, int]]:
    """Runs of true values as begin and end."""
    change = np.flatnonzero(np.diff(np.concatenate(([False], wrong, [False])).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(change[::2], change[1::2], strict=True)]
