"""What the speed policies share: rows of the line under way, the way there and back."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..errors import CaptureError
from ..flight import FloatArray, rest_to_rest
from ._estimate import Sampled
from ._policy import LineContext
from ._profile import Profile
from ._rows import Rows, advancing, sampled

__all__ = ["LineRecord", "cost_of_return"]

MOST_BAD = 0.5
JUDGED = 16
"""Rows after which it is told whether most are bad, or the stage stands still."""

STANDING = 0.25
"""Share of the way at the lowest speed below which a stage stands still."""


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

    Where the stage is so slow that it trembles more than it moves per row, rows overlap, or have
    no length; those are kept, and taken as one wherever their order matters.

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
    _begun: float = np.nan
    _flown: int = 0

    def add(self, rows: Rows) -> Rows:
        """Take in a block; gives its good rows of the line itself, by distance along it.

        Raises:
            CaptureError: the block is out of order or most rows so far are unusable.
            ConfigurationError: a channel is missing.
        """
        if self.parts and rows.first < self.parts[-1].end:
            raise CaptureError(
                f"rows from frame {rows.first} come after frame {self.parts[-1].end - 1}",
                remedy="this is a defect of what hands rows to the policies; report it",
            )
        came = rows.usable
        rows = rows.screened(self.channels, self.saturation)
        self._forget_from(rows)
        good = rows.usable
        line = self.along(rows.take(good & (rows.pass_number == 0)))
        self._require_order(line)
        self.parts.append(rows)
        self.total += int(came.sum())
        self.bad += int(came.sum() - good.sum())
        if self.total >= JUDGED and self.bad > MOST_BAD * self.total:
            raise CaptureError(
                f"{self.bad} of {self.total} rows are NaN, negative, saturated or without beam",
                device=", ".join(self.channels),
                remedy="check detector and beam; the line is flown uniformly",
            )
        return self._forwards(line)

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
        self._reached, self._flown = -np.inf, 0
        for part in self.parts:
            line = self.along(part.take(part.usable & (part.pass_number == 0)))
            self._reached = max(self._reached, line.stop.max(initial=-np.inf))
            self._flown += len(line)

    def _require_order(self, along: Rows) -> None:
        """Rows of the line itself go forwards, up to half a row of jitter."""
        if not len(along):
            return
        if not self._flown:
            self._begun = float(along.start[0])
        self._flown += len(along)
        reached = np.maximum.accumulate(np.append(self._reached, along.stop))
        jitter = 0.5 * np.maximum(along.stop - along.start, self.line.velocity * self.line.period)
        slowest = STANDING * self.line.v_min * self.line.period * self._flown
        standing = self._flown >= JUDGED and not reached[-1] - self._begun >= slowest
        if standing or np.any(along.start < reached[:-1] - jitter):
            raise CaptureError(
                "rows of one pass overlap or stand still",
                device=", ".join(self.channels),
                remedy="pass numbers must change where the stage turns; check the encoder channel",
            )

    def _forwards(self, along: Rows) -> Rows:
        """Rows of the line itself with those that did not get any further taken as one."""
        if not len(along):
            return along
        begin = max(float(along.start[0]), self._reached)
        self._reached = max(self._reached, float(along.stop.max()))
        length = along.stop - along.start
        in_order = np.all(length > 0) and np.all(along.start[1:] >= along.stop[:-1])
        if along.start[0] >= begin - 0.5 * length[0] and in_order:
            return along
        middle = 0.5 * (along.stop[:-1] + along.start[1:])
        edges = np.concatenate(([begin], middle, along.stop[-1:]))
        first = advancing(edges)
        if not len(first):
            return along.take(first)
        return along.merged(first, np.append(edges[first], edges.max()))

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
