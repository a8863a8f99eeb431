"""What goes wrong, and when: a deterministic script of faults."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flyscan.errors import ConfigurationError
from flyscan.flight import Clock

__all__ = ["FAULT_KINDS", "Fault", "FaultKind", "FaultScript"]


@dataclass(frozen=True)
class FaultKind:
    """What the script may say about one kind of fault.

    Attributes:
        indexed: ``at`` counts (trigger number, connection number); otherwise it is a time in s.
        required: parameters that must be given.
        optional: parameters that may be given.
    """

    indexed: bool = False
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()


FAULT_KINDS: Mapping[str, FaultKind] = {
    "lost_trigger": FaultKind(indexed=True),
    "doubled_trigger": FaultKind(indexed=True),
    "stall": FaultKind(required=("axis",)),
    "following_error": FaultKind(required=("axis", "offset")),
    "overrun": FaultKind(),
    "close_data": FaultKind(),
    "close_control": FaultKind(),
    "close_gcs": FaultKind(),
    "late_arm": FaultKind(required=("delay",)),
    "slow_replies": FaultKind(required=("delay",), optional=("box",)),
    "garbage": FaultKind(optional=("text", "box")),
    "restart_panda": FaultKind(),
    "clock_step": FaultKind(required=("by", "box")),
    "foreign_reader": FaultKind(),
    "foreign_write": FaultKind(required=("field", "value")),
    "ring_dump": FaultKind(),
    "shutter_stuck": FaultKind(),
    "dropped_frame": FaultKind(indexed=True),
    "late_frame": FaultKind(indexed=True, required=("delay",)),
    "extra_frame": FaultKind(indexed=True),
}
"""Every kind a script may name; each simulator looks for those that concern it."""

BOXES = ("panda", "gcs", "ioc")
"""What ``box`` may name; a fault without it strikes all boxes that know its kind."""


@dataclass(frozen=True)
class Fault:
    """One fault: from `at` (seconds or index) for `duration` seconds, with its parameters."""

    kind: str
    at: float
    duration: float = math.inf
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def end(self) -> float:
        """When a timed fault is over, s."""
        return self.at + self.duration

    @property
    def axis(self) -> str:
        """Axis concerned, '' for none."""
        return str(self.params.get("axis", ""))

    def strikes(self, box: str | None) -> bool:
        """Whether it is meant for `box`, or for all of them."""
        return box is None or self.text("box", box) == box

    def number(self, name: str, default: float = 0.0) -> float:
        """A numeric parameter."""
        return float(self.params.get(name, default))

    def text(self, name: str, default: str = "") -> str:
        """A textual parameter."""
        return str(self.params.get(name, default))


class FaultScript:
    """The faults of one world, in order of `at`; each simulator asks for its own kinds.

    Timed faults never begin in the past: one added with an earlier `at` begins now, so that
    what has been read of the world stays true.
    """

    def __init__(self, clock: Clock, script: Iterable[Mapping[str, Any]] = ()) -> None:
        self._clock = clock
        self._faults: list[Fault] = []
        self._taken: list[Fault] = []
        for entry in script:
            if "kind" not in entry:
                raise _bad("an entry without 'kind'")
            self.add(**entry)

    @classmethod
    def from_json(cls, clock: Clock, *texts: str) -> FaultScript:
        """Read JSON objects, or lists of them, with ``kind``, ``at``, ``for`` and parameters.

        Raises:
            ConfigurationError: something else, unknown kind or parameters.
        """
        script: list[dict[str, Any]] = []
        for text in texts:
            try:
                read = json.loads(text)
            except ValueError as error:
                raise _bad(f"not JSON ({error})") from error
            entries = read if isinstance(read, list) else [read]
            if not all(isinstance(entry, dict) for entry in entries):
                raise _bad("expected an object or a list of objects")
            script += entries
        return cls(clock, script)

    def add(self, kind: str, at: float | None = None, **params: Any) -> Fault:
        """Add one fault; `at` None is now, or the next occasion of an indexed kind (index -1).

        The key ``for`` (or `duration`) among `params` is the duration in seconds, for ever if
        not given.

        Raises:
            ConfigurationError: unknown kind, missing or unknown parameter, wrong number.
        """
        known = FAULT_KINDS.get(kind)
        if known is None:
            raise _bad(f"unknown kind {kind!r}, known are {', '.join(FAULT_KINDS)}")
        length = _number(kind, "for", params.pop("for", params.pop("duration", math.inf)))
        if length < 0:
            raise _bad(f"{kind}: 'for' must not be negative, got {length}")
        for name in known.required:
            if name not in params:
                raise _bad(f"{kind} needs {name}")
        for name in params:
            if name not in known.required + known.optional:
                raise _bad(f"{kind} does not know {name}")
        if params.get("box", "panda") not in BOXES:
            raise _bad(f"{kind}: 'box' must be one of {', '.join(BOXES)}, got {params['box']!r}")
        for name in ("offset", "delay", "by"):
            if name in params:
                params[name] = _number(kind, name, params[name])
        fault = Fault(kind, self._begin(kind, at, known.indexed), length, params)
        self._faults.append(fault)
        self._faults.sort(key=lambda f: f.at)
        return fault

    def check_axes(self, axes: Collection[str]) -> None:
        """Refuse a script that names an axis not in `axes`.

        Raises:
            ConfigurationError: it does.
        """
        for fault in self._faults:
            if fault.axis and fault.axis not in axes:
                raise _bad(f"{fault.kind}: no axis {fault.axis!r}, known are {', '.join(axes)}")

    def remove(self, fault: Fault) -> None:
        """End a fault that lasts: it is over from now on."""
        if fault in self._faults:
            self._faults.remove(fault)
            now = self._clock.now()
            if fault.at < now and not FAULT_KINDS[fault.kind].indexed:
                length = min(fault.duration, now - fault.at)
                self._faults.append(Fault(fault.kind, fault.at, length, fault.params))

    def of(self, kind: str, axis: str | None = None) -> tuple[Fault, ...]:
        """All faults of a kind, past and future, in order of `at`; those of `axis` if given."""
        return tuple(f for f in self._faults if f.kind == kind and (axis is None or f.axis == axis))

    def active(
        self, kind: str, now: float, axis: str | None = None, box: str | None = None
    ) -> Fault | None:
        """The timed fault of `kind` that lasts at `now`, if any."""
        faults = (f for f in self.of(kind, axis) if f.strikes(box))
        return next((f for f in faults if f.at <= now < f.end), None)

    def due(self, kind: str, now: float, box: str | None = None) -> Fault | None:
        """The first timed fault of `kind` that has begun and not been taken; taken once."""
        return self._take(f for f in self.of(kind) if f.at <= now and f.strikes(box))

    def clock_error(self, box: str, now: float) -> float:
        """Seconds by which the wall clock of `box` is ahead of the world's at `now`."""
        steps = (f for f in self.of("clock_step") if f.strikes(box) and f.at <= now < f.end)
        return sum(f.number("by") for f in steps)

    def take(self, kind: str, index: int) -> Fault | None:
        """The fault of an indexed kind meant for occasion `index` (or any); taken once."""
        return self._take(f for f in self.of(kind) if f.at in (index, -1))

    def pending(self, kind: str) -> tuple[Fault, ...]:
        """Faults of a kind that have not been taken yet."""
        return tuple(f for f in self.of(kind) if not self._is_taken(f))

    def _take(self, candidates: Iterable[Fault]) -> Fault | None:
        fault = next((f for f in candidates if not self._is_taken(f)), None)
        if fault is not None:
            self._taken.append(fault)
        return fault

    def _is_taken(self, fault: Fault) -> bool:
        return any(f is fault for f in self._taken)  # two equal faults are two faults

    def _begin(self, kind: str, at: float | None, indexed: bool) -> float:
        if indexed:
            return -1.0 if at is None else _number(kind, "at", at)
        now = self._clock.now()
        return now if at is None else max(now, _number(kind, "at", at))


def _number(kind: str, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= -math.inf:
        raise _bad(f"{kind}: {name!r} must be a number, got {value!r}")
    return float(value)


def _bad(problem: str) -> ConfigurationError:
    return ConfigurationError(
        problem,
        device="fault script",
        remedy='write e.g. [{"kind": "stall", "axis": "x", "at": 2.5, "for": 1.0}]',
    )
