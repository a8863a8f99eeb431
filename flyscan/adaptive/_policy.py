"""The contract of policies: what they are told, what they may ask for.

A flight that adapts calls, per line::

    plan = policy.begin(line)            # before the line starts, from what is known so far
    policy.tell(rows)                    # for every block
    proposal = policy.ask(situation)     # after every block, while held, and at the end of the
                                         # line until it answers None
    summary = policy.end()               # once, when the line is over

Policies are pure: no clock, no device, no random numbers; the same calls give the same answers.
What they propose passes a :class:`~flyscan.adaptive.GuardRail` before anything moves.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import numpy as np

from ..errors import ConfigurationError
from ..flight import values_of
from ._profile import Profile
from ._rows import Rows

__all__ = [
    "Finish",
    "Flag",
    "GoBack",
    "Hold",
    "LineContext",
    "Plan",
    "Policy",
    "Proposal",
    "Resume",
    "Retune",
    "Situation",
    "proposal_from_dict",
]


@dataclass(frozen=True, slots=True)
class LineContext:
    """One line to fly and what the boxes can do on it. Lengths in user units, times in seconds.

    Args:
        segment: number of the segment in the path.
        start, stop: where the line begins and ends, in the direction of flight.
        velocity: planned uniform speed, positive.
        v_min, v_max: limits of speed, positive.
        acceleration: limit of acceleration, positive.
        period: seconds per row at the planned speed.
        min_period, max_period: limits of the trigger period.
        trigger: "time" or "position", what makes a row.
        latency: measured seconds from the end of a block to a command taking effect.
        block_period: seconds per block.
        turnaround: seconds lost each time the stage turns, beyond deceleration and acceleration.
        extra_time: seconds the line may take beyond the uniform line.
        channels: names of the counts rows will carry.
        velocity_in_flight: speed can change on the way.
        profile_pieces: how many pieces of constant acceleration a profile may have; 0 if the
            box flies no profiles, None if as many as wanted.
        step_in_flight: the distance between triggers can change on the way.
        goes_back: the flight can fly part of a line again.
        rests: channel of the position of every axis that rests along the line, to where it rests.
    """

    segment: int
    start: float
    stop: float
    velocity: float
    v_min: float
    v_max: float
    acceleration: float
    period: float
    min_period: float
    max_period: float
    trigger: str = "time"
    latency: float = 0.0
    block_period: float = 0.0
    turnaround: float = 0.0
    extra_time: float = 0.0
    channels: tuple[str, ...] = ()
    velocity_in_flight: bool = True
    profile_pieces: int | None = None
    step_in_flight: bool = False
    goes_back: bool = True
    rests: Mapping[str, float] = field(default_factory=dict[str, float])

    def __post_init__(self) -> None:
        positive = ("velocity", "v_min", "v_max", "acceleration", "period", "min_period")
        numbers = {f.name: getattr(self, f.name) for f in fields(self)}
        odd = [n for n, v in numbers.items() if isinstance(v, float) and not np.isfinite(v)]
        odd += [name for name in positive if not numbers[name] > 0]
        if self.v_min > self.v_max:
            odd.append(f"v_min {self.v_min:g} > v_max {self.v_max:g}")
        if not self.v_min <= self.velocity <= self.v_max * (1 + 1e-9):
            odd.append(f"velocity {self.velocity:g} outside {self.v_min:g} to {self.v_max:g}")
        if self.min_period > self.max_period:
            odd.append(f"min_period {self.min_period:g} > max_period {self.max_period:g}")
        if self.start == self.stop:
            odd.append("start = stop")
        if self.trigger not in ("time", "position"):
            odd.append(f"trigger {self.trigger!r}")
        if odd:
            raise ConfigurationError(
                f"line {self.segment} has zero, contradictory or undefined limits: "
                + ", ".join(odd),
                remedy="correct the limits of the axis or the trigger, or fly uniformly",
            )

    @property
    def length(self) -> float:
        """Distance to fly, positive."""
        return abs(self.stop - self.start)

    @property
    def direction(self) -> int:
        """+1 towards larger positions, -1 towards smaller ones."""
        return 1 if self.stop > self.start else -1

    @property
    def duration(self) -> float:
        """Seconds of the uniform line."""
        return self.length / self.velocity

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return values_of(self) | {"channels": list(self.channels), "rests": dict(self.rests)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LineContext:
        """Read back :meth:`to_dict`."""
        values: dict[str, Any] = {**data, "channels": tuple(data["channels"])}
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Plan:
    """How a line is to be flown.

    Args:
        profile: speed along the line; None to fly it uniformly.
        reason: why, with numbers, for the record.
        gain: predicted gain in time over a uniform line of the same error; 1 when uniform.
        error: predicted rms error in counts per second at nominal flux; 0 if unknown.
        others: channels that do not drive the speed, to the predicted gain for each (below 1:
            they lose).
    """

    profile: Profile | None
    reason: str
    gain: float = 1.0
    error: float = 0.0
    others: Mapping[str, float] = field(default_factory=dict[str, float])

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "profile": None if self.profile is None else self.profile.to_dict(),
            "reason": self.reason,
            "gain": self.gain,
            "error": self.error,
            "others": dict(self.others),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Plan:
        """Read back :meth:`to_dict`."""
        profile = data["profile"]
        values: dict[str, Any] = {
            **data,
            "profile": None if profile is None else Profile.from_dict(profile),
        }
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Situation:
    """Where the flight is when a policy is asked.

    Args:
        time: seconds on the flight's clock.
        position: where the stage is now or, at the end of a line, where it stands.
        velocity: commanded speed, positive.
        step: distance between triggers, positive.
        block: number of blocks delivered since the run began.
        next_point: path index of the next point.
        age: seconds since the newest row told ended.
        at_end: True when the line or the part flown again is over.
        held: True while the flight holds.
        time_left: seconds left of the budget of the run; None if there is none.
        monitors: name to value of slow signals, such as the ring current in mA.
    """

    time: float
    position: float
    velocity: float
    step: float
    block: int
    next_point: int = 0
    age: float = 0.0
    at_end: bool = False
    held: bool = False
    time_left: float | None = None
    monitors: Mapping[str, float] = field(default_factory=dict[str, float])

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return values_of(self) | {"monitors": dict(self.monitors)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Situation:
        """Read back :meth:`to_dict`."""
        return cls(**data)


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a policy asks for; one of the classes below."""

    kind: ClassVar[str] = ""
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form with the kind of proposal."""
        return {"kind": self.kind, **values_of(self)}


@dataclass(frozen=True, slots=True)
class Retune(Proposal):
    """Another speed and/or distance between triggers for what is not yet committed.

    Args:
        reason: why.
        velocity: positive speed, None to keep it.
        step: positive distance, None to keep it.
    """

    kind: ClassVar[str] = "retune"
    velocity: float | None = None
    step: float | None = None


@dataclass(frozen=True, slots=True)
class GoBack(Proposal):
    """Fly from `start` to `stop` once more with `profile`, then go on where the line was left.

    Either order of the two is right; the profile's positions go from `start` to `stop`.
    """

    kind: ClassVar[str] = "go_back"
    start: float
    stop: float
    profile: Profile

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form with the kind of proposal."""
        ends = {"reason": self.reason, "start": self.start, "stop": self.stop}
        return {"kind": self.kind, **ends, "profile": self.profile.to_dict()}


@dataclass(frozen=True, slots=True)
class Hold(Proposal):
    """Come to rest on the path; when resumed, fly again from path point `refly_from`.

    May be asked for while the flight holds already: it then goes on only after a Resume.

    Args:
        reason: why.
        refly_from: point of the first row that is not worth keeping, nor is any later one, which
            may be the next one to come; None if all are. Rows of lines that are over stay. Rows
            that will be flown again are told to no policy any more.
    """

    kind: ClassVar[str] = "hold"
    refly_from: int | None = None


@dataclass(frozen=True, slots=True)
class Resume(Proposal):
    """Go on after a hold this policy asked for."""

    kind: ClassVar[str] = "resume"


@dataclass(frozen=True, slots=True)
class Flag(Proposal):
    """Let nobody use some rows. They still stand for their points.

    Args:
        reason: why.
        first: frame number of the first.
        stop: frame number after the last.
    """

    kind: ClassVar[str] = "flag"
    first: int
    stop: int


@dataclass(frozen=True, slots=True)
class Finish(Proposal):
    """Enough is known, or the budget is spent: end the flight here.

    Args:
        reason: why.
        line_only: end this line and go on with the next.
    """

    kind: ClassVar[str] = "finish"
    line_only: bool = False


_KINDS: dict[str, type[Proposal]] = {
    kind.kind: kind for kind in (Retune, GoBack, Hold, Resume, Flag, Finish)
}


def proposal_from_dict(data: Mapping[str, Any]) -> Proposal:
    """Read back what a proposal's ``to_dict`` gave.

    Raises:
        ConfigurationError: no proposal is of that kind.
    """
    values = dict(data)
    kind = _KINDS.get(values.pop("kind", ""))
    if kind is None:
        raise ConfigurationError(
            f"no proposal is of kind {data.get('kind')!r}; there are {', '.join(_KINDS)}",
            remedy="the record is damaged or from a later version of flyscan",
        )
    if "profile" in values:
        values["profile"] = Profile.from_dict(values["profile"])
    return kind(**values)


class Policy(ABC):
    """Pure code that reads blocks and proposes. Subclasses are dataclasses of their parameters."""

    @abstractmethod
    def begin(self, line: LineContext) -> Plan:
        """Plan the line; what the last line taught is still known."""

    @abstractmethod
    def tell(self, rows: Rows) -> None:
        """Take in the rows of a block, in order of their frame numbers.

        Raises:
            CaptureError: rows come out of order or make no sense.
            ConfigurationError: a channel is missing.
        """

    @abstractmethod
    def ask(self, now: Situation) -> Proposal | None:
        """What to do now; None to go on as planned."""

    def pass_on(self, rows: Rows) -> Rows:
        """The rows told last, for the policies after this one in a Composite."""
        return rows

    def review(self, plan: Plan, line: LineContext) -> Plan:
        """Restrict the plan of another policy for a line this policy was told to begin."""
        return plan

    def end(self) -> dict[str, Any]:
        """JSON-able summary of the line."""
        return {}

    def needed_channels(self) -> tuple[str, ...]:
        """Channels it cannot do without; a flight without them is refused before it moves."""
        return ()

    def to_dict(self) -> dict[str, Any]:
        """Class path and JSON-able parameters, read back by ``policy_from_dict``."""
        return {
            "class": f"flyscan.adaptive:{type(self).__name__}"
            if type(self).__module__.startswith("flyscan.adaptive.")
            else f"{type(self).__module__}:{type(self).__qualname__}",
            "params": self.params(),
        }

    def params(self) -> dict[str, Any]:
        """JSON-able constructor parameters."""
        return {
            f.name: getattr(self, f.name)
            for f in fields(self)  # pyright: ignore[reportArgumentType]
            if f.init
        }
