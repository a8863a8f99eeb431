"""What the speed policies share: rows of the line under way, the way there and back."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..errors import CaptureError
from ..flight import FloatArray, rest_to_rest
from ._estimate import Sampled
from ._policy import LineContext
from ._profile import Profile
from ._rows import Rows, sampled

__all__ = ["LineRecord", "cost_of_return"]

MOST_BAD = 0.5


def cost_of_return(
    line: LineContext, at: float, velocity: float, profile: Profile, *, go_on: bool = True
) -> float:
    """Seconds lost by flying a part of the line again and, mostly, going on where it was left.

    Deceleration, the way to where the profile begins, the profile, the way to where the line
    was left; each from rest to rest with the ramps to and from the speeds at its ends.

    Args:
        line: limits.
        at: position where deceleration begins.
        velocity: speed there, and again when going on.
        profile: speed over the part flown again.
        go_on: False when the line is over afterwards.
    """
    a = line.acceleration
    rest = at + line.direction * velocity**2 / (2 * a)
    ramps = 0.5 * velocity + profile.velocity[0] + profile.velocity[-1]
    way = rest_to_rest(abs(rest - profile.position[0]), line.v_max, a)
    turns = 1
    if go_on:
        ramps += velocity
        way += rest_to_rest(abs(rest - profile.position[-1]), line.v_max, a)
        turns = 2
    return ramps / a + way + profile.duration + turns * line.turnaround


@dataclass(slots=True, eq=False)
class LineRecord:
    """Rows of a line as they come, screened; positions become distance along the line.

    Args:
        line: the line.
        channels: the channels that drive decisions, first the main one.
        counting: whether counts have counting noise.
        saturation: counts per second at which a detector saturates.
    """

    line: LineContext
    channels: tuple[str, ...]
    counting: bool = True
    saturation: float | None = None
    parts: list[Rows] = field(default_factory=list[Rows])
    bad: int = 0
    total: int = 0
    _last_point: int = -1
    _reached: float = -np.inf

    def add(self, rows: Rows) -> Rows:
        """Take in a block; gives its good rows.

        Raises:
            CaptureError: the block is out of order or most rows so far are unusable.
            ConfigurationError: a channel is missing.
        """
        if self.parts and rows.first < self.parts[-1].end:
            raise CaptureError(
                f"rows from frame {rows.first} come after frame {self.parts[-1].end - 1}",
                remedy="this is a defect of what hands rows to the policies; report it",
            )
        rows = rows.screened(self.channels, self.saturation)
        self._forget_from(rows)
        self._require_order(rows)
        good = rows.usable
        self.parts.append(rows)
        self.total += len(rows)
        self.bad += int(len(rows) - good.sum())
        if self.total >= 16 and self.bad > MOST_BAD * self.total:
            raise CaptureError(
                f"{self.bad} of {self.total} rows are NaN, negative, saturated or without beam",
                device=", ".join(self.channels),
                remedy="check detector and beam; the line is flown uniformly",
            )
        return rows.take(good)

    def _forget_from(self, rows: Rows) -> None:
        """Rows of points that are flown again after a hold replace those there were."""
        line = rows.point[rows.pass_number == 0]
        if not len(line) or line[0] > self._last_point:
            self._last_point = int(line[-1]) if len(line) else self._last_point
            return
        first, self._last_point = int(line[0]), int(line[-1])
        self.parts = [
            part.take((part.point < first) | (part.pass_number > 0)) for part in self.parts
        ]
        self._reached = -np.inf
        for part in self.parts:
            self._reached = max(self._reached, self._ends(part).max(initial=-np.inf))

    def _require_order(self, rows: Rows) -> None:
        """Good rows of the line itself go forwards, up to half a row of jitter."""
        use = rows.usable & (rows.pass_number == 0)
        along = self.along(rows.take(use))
        if not len(along):
            return
        before = np.concatenate(([self._reached], along.stop[:-1]))
        length = along.stop - along.start
        if np.any(length <= 0) or np.any(along.start < before - 0.5 * length):
            raise CaptureError(
                "rows of one pass overlap or stand still",
                device=", ".join(self.channels),
                remedy="pass numbers must change where the stage turns; check the encoder channel",
            )
        self._reached = float(along.stop[-1])

    def _ends(self, rows: Rows) -> FloatArray:
        return self.along(rows.take(rows.usable & (rows.pass_number == 0))).stop

    def along(self, rows: Rows) -> Rows:
        """Rows with positions as distance along the line."""
        start = (rows.start - self.line.start) * self.line.direction
        stop = (rows.stop - self.line.start) * self.line.direction
        return Rows(
            rows.first, rows.point, start, stop, rows.time, rows.live, rows.counts, rows.i0,
            rows.signals, rows.passes, rows.good,
        )  # fmt: skip

    def passes(self, channel: str) -> list[Sampled]:
        """Every pass over the line or a part of it as one curve, by position in user units."""
        if not self.parts:
            return []
        rows = Rows.joined(self.parts)
        found: list[Sampled] = []
        for number in np.unique(rows.pass_number).tolist():
            one = rows.take(rows.pass_number == number)
            curve = sampled(one, channel, counting=self.counting)
            if curve is not None:
                found.append(curve)
        return found

    def position(self, distance: FloatArray) -> FloatArray:
        """User position of distances along the line."""
        return self.line.start + self.line.direction * distance
