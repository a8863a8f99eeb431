"""Base of the policies that set the speed from the curvature of a signal."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import ConfigurationError
from ..flight import FloatArray
from ._estimate import curvature_on, on_grid
from ._kinematics import fit_duration
from ._knowledge import grid_nodes
from ._line import LineRecord, cost_of_return
from ._plan import Task, allowed_length, error_model
from ._policy import GoBack, LineContext, Plan, Policy, Proposal, Retune, Situation
from ._profile import Profile
from ._rows import Rows, sampled
from ._watch import Interval, Watch

__all__ = ["SpeedPolicy", "fast_look", "fastest"]

MARGIN = 0.3
"""Widths by which what is flown slowly reaches beyond where curvature was found."""

RAISE = 1.5
"""Hysteresis: the speed is raised by at most this factor per decision."""

SAME = 0.03
LOOK_NODES = 401

WORTH_RETURNING = 2.0
"""An interval is flown again only if it can be flown this many times more slowly on average."""

LEAST_SQUARES, LEAST_SQUARES_NOISY = 0.8, 4 / 9
"""From rows of equal maximum error, h ~ |f''|^(-1/2) or |f''|^(-1/2) / variance, to those of
least mean square error, h ~ |f''|^(-2/5) or |f''|^(-2/9) variance^(-4/9)."""


@dataclass(frozen=True, slots=True, eq=False)
class _Begun:
    """The line under way, its rows, and what watches them."""

    line: LineContext
    record: LineRecord
    watch: Watch


@dataclass(eq=False)
class SpeedPolicy(Policy):
    """Parameters and going back, shared by the policies that set the speed.

    Args:
        channel: the counts that drive the speed.
        width: narrowest feature width worth finding, user units.
        counting: False for a signal without counting noise (an averaged voltage, a model).
        saturation: counts per second at which the detector saturates; rows above are not used.
        others: channels for which gain or loss is reported.
    """

    channel: str
    width: float
    counting: bool = True
    saturation: float | None = None
    others: tuple[str, ...] = ()
    _begun: _Begun | None = field(default=None, init=False, repr=False)
    _plan: Plan | None = field(default=None, init=False, repr=False)
    _extra_used: float = field(default=0.0, init=False, repr=False)
    _notes: list[str] = field(default_factory=list[str], init=False, repr=False)

    def __post_init__(self) -> None:
        self.others = tuple(self.others)
        if not (np.isfinite(self.width) and self.width > 0):
            raise ConfigurationError(
                f"the narrowest feature width is {self.width}, expected a positive length",
                device=type(self).__name__,
                remedy="give the width of the narrowest feature worth finding in user units",
            )

    def _start(self, line: LineContext, tolerated: float, quiet: float = 0.0) -> None:
        channels = (self.channel, *self.others)
        missing = [name for name in channels if name not in line.channels]
        if missing:
            raise ConfigurationError(
                f"the line has no such channel; it has {', '.join(line.channels) or 'none'}",
                device=", ".join(missing),
                remedy="name a channel the capture box delivers",
            )
        self._begun = _Begun(
            line,
            LineRecord(line, channels, self.counting, self.saturation),
            Watch(self.channel, self.width, tolerated, counting=self.counting, quiet=quiet),
        )
        self._extra_used = 0.0
        self._notes = []

    @property
    def _under_way(self) -> _Begun:
        if self._begun is None:
            raise ConfigurationError(
                "no line was begun",
                device=type(self).__name__,
                remedy="call begin() before tell() and ask()",
            )
        return self._begun

    @property
    def line(self) -> LineContext:
        """The line under way."""
        return self._under_way.line

    @property
    def watch(self) -> Watch:
        """What looks for surprises on the line under way."""
        return self._under_way.watch

    def tell(self, rows: Rows) -> None:
        """Take in a block of the line begun last."""
        now = self._under_way
        now.watch.add(now.record.add(rows))

    def task(self, line: LineContext, **changes: Any) -> Task:
        """What the line may cost."""
        values: dict[str, Any] = {
            "length": line.length,
            "duration": line.duration,
            "period": line.period,
            "v_min": line.v_min,
            "v_max": self.fastest(line),
            "acceleration": line.acceleration,
            "v_end": line.velocity,
            "width": self.width,
        }
        return Task(**(values | changes))

    def fastest(self, line: LineContext) -> float:
        """Highest speed the stage and the trigger allow."""
        return fastest(line)

    def uniform(self, reason: str, **more: Any) -> Plan:
        """A uniform line and why."""
        return Plan(None, f"uniform: {reason}", **more)

    def _follow(self, now: Situation) -> Proposal | None:
        """Speed commands for boxes that fly no profiles but change speed on the way.

        The slowest speed planned within what the stage covers until a command acts and it has
        decelerated is commanded now; the speed is raised in steps.
        """
        plan, line = self._plan, self.line
        if plan is None or plan.profile is None or line.profile_pieces != 0 or now.at_end:
            return None
        if not line.velocity_in_flight:
            return None
        reach = now.velocity * (line.latency + line.block_period)
        reach += now.velocity**2 / (2 * line.acceleration)
        ahead = now.position + line.direction * reach
        wanted = plan.profile.slowest(now.position, ahead)
        wanted = min(wanted, RAISE * now.velocity)
        if abs(wanted / now.velocity - 1) < SAME:
            return None
        return Retune("planned speed of the next stretch", velocity=wanted)

    def _return_to(self, interval: Interval, now: Situation, extra: float) -> GoBack | None:
        """Fly an interval once more as slowly as its curvature asks and `extra` seconds allow."""
        line, watch = self.line, self.watch
        found = self._interval_speed(interval, watch.tolerated)
        if found is None:
            return None
        nodes, speed, spent = found
        spacing = float(nodes[1] - nodes[0])
        distance = float(nodes[-1] - nodes[0])
        # By the time it acts the stage is a loop delay further on.
        at = now.position + line.direction * now.velocity * line.latency
        profile = self._backwards(nodes, speed)
        overhead = cost_of_return(line, at, now.velocity, profile) - profile.duration
        room = extra - overhead
        if profile.duration > room:
            if room <= WORTH_RETURNING * spent:
                self._notes.append(
                    f"surprise at {profile.position[-1]:g}: "
                    f"{extra:.3g} s left are too few to go back"
                )
                return None
            fitted, _ = fit_duration(
                speed[None], spacing, room, v_min=line.v_min, v_max=self.fastest(line),
                acceleration=line.acceleration, v_end=line.velocity,
            )  # fmt: skip
            profile = self._backwards(nodes, fitted[0])
        if line.profile_pieces == 0:
            profile = self._backwards(nodes[[0, -1]], np.full(2, distance / profile.duration))
        elif line.profile_pieces is not None:
            profile = profile.simplified(line.profile_pieces)
        self._extra_used += cost_of_return(line, at, now.velocity, profile)
        return GoBack(
            f"surprise: error above {watch.tolerated:.3g} counts/s, flown again once",
            profile.position[0],
            profile.position[-1],
            profile,
        )

    def _backwards(self, nodes: FloatArray, speed: FloatArray) -> Profile:
        """Profile over nodes given as distance along the line, from the far end to the near."""
        return Profile.of(self.line.start + self.line.direction * nodes[::-1], speed[::-1])

    def _interval_speed(
        self, interval: Interval, error: float
    ) -> tuple[FloatArray, FloatArray, float] | None:
        """Nodes and speed from the rows that raised suspicion, and the seconds these took."""
        line, record = self.line, self._under_way.record
        rows = record.along(Rows.joined(record.parts))
        rows = rows.take((rows.pass_number == 0) & rows.usable)
        curve = sampled(rows, self.channel, counting=self.counting)
        low = max(0.0, interval.low - MARGIN * self.width)
        high = min(line.length, interval.high + MARGIN * self.width)
        if curve is None or not high > low:
            return None
        nodes = np.linspace(low, high, grid_nodes(high - low, self.width))
        bend = curvature_on(nodes, curve)
        noise = on_grid(nodes, curve.edges, curve.variance)
        spacing = float(nodes[1] - nodes[0])
        length = allowed_length(error, bend, noise, self.width)
        shape = self.width * np.minimum(length / self.width, 1.0) ** LEAST_SQUARES
        counted = shape
        if np.any(noise > 0):  # the time of the one, shared as the other
            shape, counted = length**LEAST_SQUARES_NOISY, length
        rows_needed = spacing / np.minimum(counted, self.fastest(line) * line.period)
        fitted, _ = fit_duration(
            shape[None], spacing, line.period * float(np.sum(rows_needed)), v_min=line.v_min,
            v_max=self.fastest(line), acceleration=line.acceleration, v_end=line.velocity,
        )  # fmt: skip
        inside = (rows.start >= low) & (rows.stop <= high)
        return nodes, fitted[0], line.period * float(np.sum(inside))

    def other_gains(self, profile_speed: FloatArray, grid: FloatArray) -> dict[str, float]:
        """Predicted uniform error over planned error for channels that do not drive."""
        found = dict[str, float]()
        if self._begun is None:
            return found
        task = self.task(self.line)
        for name in self.others:
            for curve in self._begun.record.passes(name)[:1]:
                bend = curvature_on(grid, curve)[None]
                noise = on_grid(grid, curve.edges, curve.variance)[None]
                level = np.full_like(bend, self.line.velocity)
                before = error_model(level, bend, noise, task)[0]
                after = error_model(profile_speed[None], bend, noise, task)[0]
                found[name] = float(before / after) if after > 0 else 1.0
        return found

    def needed_channels(self) -> tuple[str, ...]:
        """The channels it reads."""
        return (self.channel, *self.others)

    def end(self) -> dict[str, Any]:
        """What was flown and why."""
        plan = self._plan
        return {
            "policy": type(self).__name__,
            "plan": None if plan is None else plan.reason,
            "gain": 1.0 if plan is None else plan.gain,
            "others": {} if plan is None else dict(plan.others),
            "extra_s": self._extra_used,
            "bad_rows": self._under_way.record.bad,
            "notes": list(self._notes),
        }


def fastest(line: LineContext) -> float:
    """Highest speed the stage and, with triggers by position, the trigger allow."""
    if line.trigger == "position":
        step = line.velocity * line.period
        return min(line.v_max, step / line.min_period)
    return line.v_max


def fast_look(line: LineContext, fast: float) -> Profile:
    """A line flown as fast as `fast` with ramps at both ends, where it begins uniformly."""
    nodes = np.linspace(0.0, line.length, LOOK_NODES)
    speed, _ = fit_duration(
        np.ones((1, LOOK_NODES)), float(nodes[1]), 0.5 * line.length / fast,
        v_min=min(line.v_min, fast), v_max=fast, acceleration=line.acceleration,
        v_end=line.velocity,
    )  # fmt: skip
    profile = Profile.of(line.start + line.direction * nodes, speed[0])
    return profile.simplified(line.profile_pieces) if line.profile_pieces else profile
