"""Words on PandA's control port: replies taken apart, numbers checked before they are sent.

Protocol: PandABlocks-server documentation, "Commands" and "Fields". The server wraps integers
silently (4294967296 written to an int field answers OK and reads back 0), so every integer is
checked here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...errors import ControllerError, LimitError
from .._axis_map import INT32_MAX, INT32_MIN

__all__ = ["Reply", "Request", "int32", "same_value", "seconds", "uint32"]

UINT32_MAX = 2**32 - 1
TICKS_MAX = 2**48 - 1

#: One line, or the lines of a table write ending with an empty one.
Request = str | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reply:
    """What the box answered to one request."""

    device: str
    sent: str
    lines: tuple[str, ...]

    @property
    def error(self) -> str | None:
        """The box's words if it refused, or what it said instead of ``OK`` to a write."""
        first = self.lines[0]
        if _is_err(first):
            return first.removeprefix("ERR").strip() or "no reason given"
        return f"answered {first!r}" if self.garbled else None

    @property
    def garbled(self) -> bool:
        """Whether a write was answered by something else than ``OK`` and ``ERR``."""
        return not (self.sent.endswith("?") or self.lines == ("OK",) or _is_err(self.lines[0]))

    def check(self) -> Reply:
        """Raise ControllerError if the box refused, or answered nonsense."""
        if self.garbled:
            raise self._nonsense("'OK'")
        if self.error is not None:
            raise ControllerError(
                f"{self.sent!r} was refused: {self.error}",
                device=self.device,
                remedy="check the block and field names in the configuration against the box's "
                "firmware",
            )
        return self

    @property
    def value(self) -> str:
        """The value of a query with a one-line answer."""
        first = self.check().lines[0]
        if not first.startswith("OK ="):
            raise self._nonsense("'OK =value'")
        return first[4:]

    @property
    def items(self) -> list[str]:
        """The lines of a query with a many-line answer."""
        self.check()
        if self.lines[-1] != ".":
            raise self._nonsense("lines starting with '!' and a final '.'")
        return [line[1:] for line in self.lines[:-1]]

    def _nonsense(self, expected: str) -> ControllerError:
        return ControllerError(
            f"{self.sent!r} was answered {self.lines[0]!r}, expected {expected}",
            device=self.device,
            remedy="check that host and port are those of a PandA's control port",
        )


def _is_err(line: str) -> bool:
    return line == "ERR" or line.startswith("ERR ")


def int32(field: str, value: int) -> str:
    """Text of a signed field, or LimitError if the box would wrap it."""
    return _integer(field, value, INT32_MIN, INT32_MAX)


def uint32(field: str, value: int) -> str:
    """Text of an unsigned field, or LimitError if the box would wrap it."""
    return _integer(field, value, 0, UINT32_MAX)


def _integer(field: str, value: int, low: int, high: int) -> str:
    if not low <= value <= high:
        raise LimitError(
            f"{value} does not fit the field, which holds {low} to {high}",
            device=field,
            remedy="use a shorter line, a smaller step, or an encoder zero near the path",
        )
    return str(value)


def seconds(field: str, ticks: int, clock_hz: int) -> str:
    """Text of a time field in seconds from clock ticks, or LimitError beyond its 48 bits."""
    if not 0 <= ticks <= TICKS_MAX:
        raise LimitError(
            f"{ticks} clock ticks do not fit the field, which holds 0 to {TICKS_MAX}",
            device=field,
            remedy="use a shorter period or exposure",
        )
    return f"{ticks / clock_hz:.12g}"


def same_value(expected: str, found: str) -> bool:
    """Whether the box's text means what was written: times to within half a clock tick."""
    if expected == found or ("." not in expected and "." not in found and "e" not in found):
        return expected == found
    try:
        return math.isclose(float(expected), float(found), rel_tol=1e-9, abs_tol=4e-9)
    except ValueError:
        return False
