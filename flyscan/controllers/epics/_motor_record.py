"""The EPICS motor record as data: what its fields mean for a flight. No Channel Access here.

The semantics are those of ``motorRecord.cc`` in epics-modules/motor:

- the acceleration of a move is ``(VELO - VBAS) / ACCL``, or ``VELO / ACCL`` at or below VBAS;
- VELO is clamped silently to VBAS..VMAX, and VMAX = 0 means that there is no maximum;
- DHLM = DLLM = 0 means that there are no soft limits, DLLM > DHLM that every move violates them;
- with ``|BDST| >= |MRES|`` a move in the direction of BDST stops at ``target - BDST`` and goes on
  from there at BVEL; a move against it overshoots to ``target - BDST`` and comes back;
- MSTA is a word of status bits, given in ``motor.h``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import chain
from typing import Any, Self

from ...errors import ConfigurationError
from ...flight import AxisLimits

__all__ = ["AxisSettings", "MotorRecord", "Speed", "faults", "move_problem", "ready_problem"]

SPMG_GO = 3
DIR_NEGATIVE = 1
MSTA_PLUS_LIMIT = 0x4
MSTA_POWERED = 0x20
MSTA_STALL = 0x40
MSTA_PROBLEM = 0x200
MSTA_HAS_POWER = 0x800
MSTA_COMMUNICATION = 0x1000
MSTA_MINUS_LIMIT = 0x2000
MSTA_HOMED = 0x4000

_FAULTS = {
    MSTA_STALL: "slip or stall detected",
    MSTA_PROBLEM: "the driver reports a problem",
    MSTA_COMMUNICATION: "the controller does not answer its IOC",
    MSTA_PLUS_LIMIT: "the plus limit switch is hit",
    MSTA_MINUS_LIMIT: "the minus limit switch is hit",
}


@dataclass(frozen=True, slots=True)
class AxisSettings:
    """How one axis of a path is driven.

    Args:
        pv: name of the motor record, e.g. ``"BL02I-MO-STAGE-01:X"``.
        settle: seconds of constant speed before the first trigger.
        velocity: highest speed in EGU/s; None takes VMAX, or VELO as found where VMAX is 0.
        acceleration: highest acceleration in EGU/s^2; None takes what the record is set to.
        tolerance: how far from its target a move may end, in EGU; None takes the record's RDBD,
            at least two motor steps.
        homed: refuse to fly unless MSTA says that the axis has been homed; many drivers of
            open-loop steppers never say so.
    """

    pv: str
    settle: float = 0.0
    velocity: float | None = None
    acceleration: float | None = None
    tolerance: float | None = None
    homed: bool = False

    @classmethod
    def parse(cls, axis: str, given: Mapping[str, Any]) -> Self:
        """From JSON-able parameters.

        Raises:
            ConfigurationError: a setting is unknown, missing or not a positive number.
        """
        known = {field.name for field in fields(cls)}
        if wrong := sorted(set(given) - known):
            raise ConfigurationError(
                f"unknown setting {', '.join(wrong)} of a motor axis",
                device=axis,
                remedy=f"settings are {', '.join(sorted(known))}",
            )
        if not isinstance(given.get("pv"), str) or not given["pv"]:
            raise ConfigurationError(
                f"a motor axis needs the name of its record as 'pv', got {given.get('pv')!r}",
                device=axis,
                remedy='give for example {"pv": "BL02I-MO-STAGE-01:X"}',
            )
        for key in ("velocity", "acceleration", "tolerance", "settle"):
            _positive(axis, key, given.get(key), zero=key == "settle")
        return cls(**given)


def _positive(axis: str, key: str, value: object, *, zero: bool) -> None:
    if value is None and not zero:
        return
    number = 0.0 if value is None else value
    if (
        isinstance(number, bool)
        or not isinstance(number, int | float)
        or not math.isfinite(number)
        or number < 0
        or (number == 0 and not zero)
    ):
        raise ConfigurationError(
            f"{key} must be a finite {'' if zero else 'positive '}number, got {value!r}",
            device=axis,
            remedy=f"give {key} in the motor's engineering units and seconds",
        )


@dataclass(frozen=True, slots=True)
class Speed:
    """VELO and ACCL of a motor record: EGU/s, and seconds from VBAS to VELO."""

    velo: float
    accl: float


@dataclass(frozen=True, slots=True)
class MotorRecord:
    """Fields of a motor record at one time; names, units and signs are the record's own."""

    val: float
    rbv: float
    velo: float
    vmax: float
    vbas: float
    accl: float
    hlm: float
    llm: float
    dhlm: float
    dllm: float
    dir: float
    bdst: float
    bvel: float
    mres: float
    rdbd: float
    rtry: float
    dly: float
    spmg: float
    set: float
    lvio: float
    dmov: float
    msta: float
    prec: float
    egu: str

    @property
    def speed(self) -> Speed:
        """What the next move would use."""
        return Speed(self.velo, self.accl)

    @property
    def status(self) -> int:
        """MSTA as an integer."""
        return int(self.msta)

    @property
    def travel(self) -> tuple[float, float]:
        """Soft limits in user coordinates; infinite where the record has none."""
        if self.dhlm == 0 == self.dllm:
            return -math.inf, math.inf
        return self.llm, self.hlm

    @property
    def backlash(self) -> float:
        """Signed user distance of the separate last leg of a move, 0 where there is none."""
        if abs(self.bdst) < abs(self.mres) or self.bdst == 0:
            return 0.0
        return -self.bdst if int(self.dir) == DIR_NEGATIVE else self.bdst

    def tolerance(self, settings: AxisSettings) -> float:
        """How far from its target a move may end, in EGU."""
        return settings.tolerance or max(abs(self.rdbd), 2 * abs(self.mres))

    def acceleration(self, speed: Speed) -> float:
        """Acceleration in EGU/s^2 of a move at `speed`."""
        gained = speed.velo - self.vbas if speed.velo > self.vbas else speed.velo
        return gained / speed.accl if speed.accl > 0 else 0.0

    def limits(self, settings: AxisSettings, found: Speed) -> AxisLimits:
        """Limits of the axis; `found` is the speed the record had before any flight.

        A record with VMAX = 0 states no maximum. Then the speed it was set up with is the
        highest that is known to be good for the motor.
        """
        low, high = self.travel
        velocity = self.vmax if self.vmax > 0 else found.velo
        if settings.velocity is not None:
            velocity = min(settings.velocity, self.vmax) if self.vmax > 0 else settings.velocity
        return AxisLimits(
            low=low,
            high=high,
            velocity=velocity,
            acceleration=settings.acceleration or self.acceleration(found),
            unit=self.egu,
            settle=settings.settle,
            precision=int(self.prec),
        )

    def ramped(self, velocity: float, seconds: float) -> Speed:
        """VELO and ACCL for an acceleration of ``velocity / seconds``.

        Some drivers jump to VBAS, others accelerate from rest. With this ACCL the speed is
        reached within the distance ``velocity * seconds / 2`` by either.
        """
        share = (velocity - self.vbas) / velocity if velocity > self.vbas else 1.0
        return Speed(velocity, seconds * share)

    def stands_at(self, target: float, tolerance: float) -> bool:
        """At rest there, and meant to be: a move to `target` would change nothing."""
        close = math.isclose(self.val, target, rel_tol=1e-9, abs_tol=abs(self.mres) * 1e-3)
        return self.dmov != 0 and close and abs(self.rbv - target) <= tolerance

    def leg_time(self) -> float:
        """Seconds a backlash leg takes, at rest at both ends."""
        if not self.backlash:
            return 0.0
        return abs(self.bdst) / self.bvel + 2 * self.accl if self.bvel > 0 else math.inf

    def aim(self, origin: float, target: float) -> float:
        """VAL for which the leg at VELO does not end before `target`, seen from `origin`.

        A move in the direction of the backlash correction ends its first leg short of VAL by
        that distance, so VAL is set beyond the target by as much.
        """
        backlash = self.backlash
        return target + backlash if (target - origin) * backlash > 0 else target


def faults(status: int) -> tuple[str, ...]:
    """What MSTA complains about, in words."""
    return tuple(text for bit, text in _FAULTS.items() if status & bit)


def ready_problem(record: MotorRecord, pv: str, settings: AxisSettings) -> tuple[str, str] | None:
    """The first reason not to fly with this record and its remedy; None when it is fit."""
    return next(_problems(record, pv, settings), None)


def move_problem(record: MotorRecord, pv: str) -> tuple[str, str] | None:
    """The first reason why the record would not carry out a plain move; None if it will.

    Retries, delays and backlash corrections are welcome there, and a limit switch may be left.
    """
    drive = record.status & ~(MSTA_PLUS_LIMIT | MSTA_MINUS_LIMIT)
    problems = chain(_mode_problems(record, pv), _power_problems(drive, pv))
    return next(problems, None)


def _problems(record: MotorRecord, pv: str, settings: AxisSettings) -> Iterator[tuple[str, str]]:
    yield from _mode_problems(record, pv)
    yield from _sequence_problems(record, pv)
    yield from _power_problems(record.status, pv)
    if settings.homed and not record.status & MSTA_HOMED:
        yield (
            "expected a homed axis, MSTA says it has not been homed",
            f"home it, for example with {pv}.HOMF",
        )
    if record.dllm > record.dhlm:
        yield (
            f"soft limits exclude every position: LLM {record.llm:g}, HLM {record.hlm:g}",
            f"set {pv}.LLM below {pv}.HLM",
        )
    if record.lvio != 0:
        yield "a soft limit is violated (LVIO = 1)", f"move it inside {pv}.LLM..{pv}.HLM"
    if record.velo <= 0 or record.accl <= 0:
        yield (
            f"expected positive VELO and ACCL, got {record.velo:g} and {record.accl:g}",
            f"set {pv}.VELO and {pv}.ACCL",
        )


def _mode_problems(record: MotorRecord, pv: str) -> Iterator[tuple[str, str]]:
    """Modes in which a write to VAL does not move the motor."""
    if int(record.spmg) != SPMG_GO:
        yield (
            f"expected SPMG = Go (3), got {int(record.spmg)}: the motor is stopped or paused",
            f"set {pv}.SPMG to Go",
        )
    if record.set != 0:
        yield (
            "expected SET = Use (0), got Set (1): a move would redefine the position",
            f"set {pv}.SET to Use",
        )


def _sequence_problems(record: MotorRecord, pv: str) -> Iterator[tuple[str, str]]:
    """What makes more of a move than one plain move."""
    if record.rtry > 0:
        yield (
            f"expected RTRY = 0, got {record.rtry:g}: retries would move the stage after a line",
            f"set {pv}.RTRY to 0 for fly scans",
        )
    if record.dly > 0:
        yield (
            f"expected DLY = 0 s, got {record.dly:g} s: every move would end that much later",
            f"set {pv}.DLY to 0 for fly scans",
        )


def _power_problems(status: int, pv: str) -> Iterator[tuple[str, str]]:
    """What MSTA says against moving."""
    if found := faults(status):
        yield " and ".join(found), f"look at {pv}.MSTA and clear the fault"
    if status & MSTA_HAS_POWER and not status & MSTA_POWERED:
        yield (
            "expected the motor to be powered, MSTA says its position loop is off",
            f"switch it on, for example with {pv}.CNEN",
        )
