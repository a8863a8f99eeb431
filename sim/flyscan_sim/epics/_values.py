"""The motor record's field values, how they depend on each other and what a write adjusts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from flyscan_sim.world import StageAxis

from ._fields import FIELDS, MENUS, Kind, Value

__all__ = ["MSTA_SLIP", "MotorFields", "MotorSettings", "nint"]

_SPEEDS = ("VELO", "BVEL", "JVEL", "HVEL")

_STRING_LENGTH = 39  # of a DBF_STRING, less its terminator

MSTA_SLIP = 0x40
"""Bit of MSTA: slip or stall detected."""


@dataclass(frozen=True)
class MotorSettings:
    """How a motor is set up: speeds in EGU/s, times in s, limits in EGU.

    Attributes:
        velocity, acceleration_time: VELO, ACCL; also of backlash moves.
        max_velocity: VMAX, 0 for none.
        soft_limits: DLLM and DHLM; both 0 for none; by default 98 % of the travel.
        precision: PREC.
        description: DESC.
        update_period: seconds between reports of a moving motor.
    """

    velocity: float
    acceleration_time: float = 0.1
    max_velocity: float = 0.0
    soft_limits: tuple[float, float] | None = None
    precision: int = 4
    description: str = ""
    update_period: float = 0.1


def nint(value: float) -> int:
    """Nearest integer, halves away from zero."""
    return math.floor(value + 0.5) if value >= 0 else math.ceil(value - 0.5)


class MotorFields:
    """Field values of one record; `posts` lists changes in order."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {name: spec.initial for name, spec in FIELDS.items()}
        self.posts: list[tuple[str, Value]] = []

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def menu(self, name: str) -> str:
        """Label of a menu field."""
        return MENUS[FIELDS[name].menu][self._values[name]]

    def post(self, name: str, value: Value) -> None:
        """Set a field and, if that changes it, note it for the clients."""
        if self._values[name] != value:
            self._values[name] = value
            self.posts.append((name, value))

    def converted(self, name: str, value: Value) -> Value:
        """A client's value in the type of the field.

        Raises:
            ValueError: not a finite number, or no such choice of a menu.
        """
        spec = FIELDS[name]
        if spec.kind is Kind.STRING:
            return str(value)[:_STRING_LENGTH]
        if spec.kind is Kind.MENU:
            menu = MENUS[spec.menu]
            index = menu.index(value) if isinstance(value, str) else int(value)
            if not 0 <= index < len(menu):
                raise ValueError(f"{name} has no choice {value}")
            return index
        number = float(value)
        if not math.isfinite(number):
            raise ValueError(f"{name} must be finite, not {value}")
        return number if spec.kind is Kind.DOUBLE else int(number)

    def store(self, name: str, value: Value) -> None:
        """Take over a client's value; :meth:`echo` shows what became of it."""
        self._values[name] = value

    def echo(self, name: str) -> None:
        """Post a field even if unchanged, as whoever wrote it may wait for that."""
        self.posts.append((name, self._values[name]))

    def set_up(self, name: str, axis: StageAxis, settings: MotorSettings) -> None:
        """Initial values of record `name` driving `axis`."""
        margin = 0.01 * (axis.high - axis.low)
        low, high = settings.soft_limits or (axis.low + margin, axis.high - margin)
        speed, rise = settings.velocity, settings.acceleration_time
        self._values.update(dict.fromkeys(_SPEEDS, speed))
        self._values.update(dict.fromkeys(("MRES", "ERES", "RDBD"), axis.resolution))
        self._values.update(
            NAME=name,
            DESC=settings.description or axis.name,
            EGU=axis.unit,
            PREC=settings.precision,
            UREV=self["SREV"] * axis.resolution,
            TWV=1.0,
            NTM=1,
            NTMF=2,
            DMOV=1,
            VMAX=settings.max_velocity,
            JAR=speed / rise,
            ACCL=rise,
            BACC=rise,
            DLLM=low,
            DHLM=high,
        )
        self._user_limits()

    @property
    def direction(self) -> int:
        """+1 if user and dial coordinates run the same way, otherwise -1."""
        return -1 if self["DIR"] else 1

    def user(self, dial: float) -> float:
        """User coordinate of a dial position."""
        return dial * self.direction + self["OFF"]

    def dial(self, user: float) -> float:
        """Dial coordinate of a user position."""
        return (user - self["OFF"]) * self.direction

    def difference(self) -> None:
        """DIFF and RDIF: target minus read-back."""
        self.post("DIFF", self["DVAL"] - self["DRBV"])
        self.post("RDIF", nint(self["DIFF"] / self["MRES"]))

    def accept_target(self) -> None:
        """The present target is the one acted upon."""
        for last, name in (("LVAL", "VAL"), ("LDVL", "DVAL"), ("LRVL", "RVAL")):
            self.post(last, self[name])

    def revert_target(self) -> None:
        """Go back to the target acted upon last."""
        for last, name in (("LVAL", "VAL"), ("LDVL", "DVAL"), ("LRVL", "RVAL")):
            self.post(name, self[last])

    def redefine_offset(self) -> None:
        """Make the present dial target read VAL in user coordinates."""
        self.post("OFF", self["VAL"] - self["DVAL"] * self.direction)
        self.post("LVAL", self["VAL"])
        self._user_limits()

    def too_small(self, retry: bool) -> bool:
        """Whether the target is where the motor is: within a step, or the dead band on retries."""
        steps = abs(nint(self["DVAL"] / self["MRES"]) - nint(self["DRBV"] / self["MRES"]))
        return steps < (nint(self["RDBD"] / self["MRES"]) if retry else 1)

    def preferred(self) -> bool:
        """Whether the move to DVAL runs in the direction that takes backlash out."""
        ahead = self["DIFF"] > 0 if self["RTRY"] else self["DVAL"] > self["LDVL"]
        return ahead == (self["BDST"] > 0)

    def at_switch(self) -> bool:
        """Whether the limit switch in the direction of motion is pressed."""
        return bool(self["RHLS"] if self["CDIR"] else self["RLLS"])

    def synchronise(self) -> None:
        """Make the targets agree with the read-back."""
        self.post("VAL", self["RBV"])
        self.post("DVAL", self["DRBV"])
        self.post("RVAL", nint(self["DRBV"] / self["MRES"]))
        self.accept_target()
        self.difference()

    def alarm(self) -> None:
        """STAT and SEVR from switches, soft limits and slip."""
        high = self["HLS"] or self["DVAL"] > self["DHLM"] > self["DLLM"]
        low = self["LLS"] or self["DVAL"] < self["DLLM"] < self["DHLM"]
        slips = int(self["MSTA"]) & MSTA_SLIP
        status = "HIGH" if high else "LOW" if low else "STATE" if slips else "NO_ALARM"
        self.post("STAT", MENUS["STAT"].index(status))
        self.post("SEVR", MENUS["SEVR"].index("MAJOR" if status != "NO_ALARM" else "NO_ALARM"))

    def violates(self, preferred: bool) -> bool:
        """Whether the move to DVAL, its backlash part included, breaks a soft limit."""
        low, high = self["DLLM"], self["DHLM"]
        target, last = self["DVAL"], self["LDVL"]
        if low == high == 0:
            return False
        if low > high:
            return True
        if last > target > high or last < target < low:
            return False  # outside, but on the way back
        farthest = target if preferred else target - self["BDST"]
        return not low <= farthest <= high

    def jog_violates(self, position: float, margin: float) -> bool:
        """Whether a jog at JVEL from user `position` reaches a soft limit within `margin` s."""
        if self["DLLM"] == self["DHLM"] == 0:
            return False
        reach = self["JVEL"] * margin
        return (
            bool(self["JOGF"] and position > self["HLM"] - reach)
            or bool(self["JOGR"] and position < self["LLM"] + reach)
            or self["DLLM"] > self["DHLM"]
        )

    def adjust(self, name: str) -> None:
        """What a write to `name` changes at once, before the record is processed."""
        if name in (*_SPEEDS, "VBAS", "VMAX"):
            self._check_speeds(name)
        elif name in ("ACCL", "BACC") and self[name] <= 0:
            self.post(name, 0.1)
        elif name == "JAR" and self["JAR"] <= 0:
            self.post("JAR", self["JVEL"] / 0.1)
        elif name == "NTMF" and self["NTMF"] < 2:
            self.post("NTMF", 2)
        elif name in ("RDBD", "BDST") and self["RDBD"] < self["MRES"]:
            self.post("RDBD", self["MRES"])
        elif name in ("OFF", "DIR"):
            self._new_coordinates(name)
        elif name in ("HLM", "LLM"):
            self._dial_limits()
        elif name in ("DHLM", "DLLM"):
            self._user_limits()

    def _check_speeds(self, name: str) -> None:
        """Clamp silently to VBAS..VMAX; VMAX 0 is no limit."""
        for positive in ("VBAS", "VMAX"):
            self.post(positive, max(0.0, self[positive]))
        if name == "VMAX" and 0 < self["VMAX"] < self["VBAS"]:
            self.post("VBAS", self["VMAX"])
        elif name == "VBAS" and 0 < self["VMAX"] < self["VBAS"]:
            self.post("VMAX", self["VBAS"])
        for speed in _SPEEDS:
            value = max(self[speed], self["VBAS"])
            self.post(speed, min(value, self["VMAX"]) if self["VMAX"] else value)

    def _new_coordinates(self, name: str) -> None:
        if name == "DIR" and not self["FOFF"]:
            self.post("OFF", self["VAL"] - self["DVAL"] * self.direction)
        self.post("VAL", self.user(self["DVAL"]))
        self.post("LVAL", self.user(self["LDVL"]))
        self._user_limits()

    def _user_limits(self) -> None:
        ends = sorted((self.user(self["DLLM"]), self.user(self["DHLM"])))
        swapped = self["DLLM"] > self["DHLM"]
        self.post("LLM", ends[1] if swapped else ends[0])
        self.post("HLM", ends[0] if swapped else ends[1])

    def _dial_limits(self) -> None:
        low, high = self.dial(self["LLM"]), self.dial(self["HLM"])
        self.post("DLLM", low if self.direction > 0 else high)
        self.post("DHLM", high if self.direction > 0 else low)
