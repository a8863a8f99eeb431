"""Numbers as the server reads and prints them.

The server is C: integers go through ``strtol(text, &end, 0)`` and are cut to 32 bits without
a word (so ``STEP=4294967296`` stores 0), doubles are printed with ``%.10g``.
"""

from __future__ import annotations

import math
import re

__all__ = [
    "CommandError",
    "format_double",
    "parse_bit",
    "parse_double",
    "parse_integer",
    "require_end",
    "signed32",
]

_INTEGER = re.compile(r"\s*([+-]?)(0[xX][0-9a-fA-F]+|\d+)")
_DOUBLE = re.compile(r"\s*[+-]?(?:\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|inf|nan)")
_LONG_MAX = 2**63 - 1


class CommandError(Exception):
    """A command the box refuses; the text follows ``ERR `` in its reply."""


def parse_integer(text: str) -> tuple[int, str]:
    """A decimal, octal or hexadecimal integer and the rest of the text.

    Raises:
        CommandError: no number, or one beyond 64 bits.
    """
    match = _INTEGER.match(text)
    if match is None:
        raise CommandError("Number missing")
    sign, digits = match.groups()
    base = 16 if digits[:2].lower() == "0x" else 8 if digits[0] == "0" and len(digits) > 1 else 10
    if base == 8:
        digits, cut = _octal_prefix(digits)
        rest = cut + text[match.end() :]
    else:
        rest = text[match.end() :]
    value = int(digits, base) * (-1 if sign == "-" else 1)
    if abs(value) > _LONG_MAX:
        raise CommandError("Error converting number")
    return value, rest


def _octal_prefix(digits: str) -> tuple[str, str]:
    end = next((i for i, digit in enumerate(digits) if digit in "89"), len(digits))
    return digits[:end], digits[end:]


def parse_double(text: str) -> tuple[float, str]:
    """A floating point number and the rest of the text.

    Raises:
        CommandError: no number.
    """
    match = _DOUBLE.match(text)
    if match is None:
        raise CommandError("Number missing")
    return float(match.group()), text[match.end() :]


def parse_bit(text: str) -> tuple[int, str]:
    """ "0" or "1" and the rest of the text."""
    if text[:1] not in ("0", "1"):
        raise CommandError("Invalid bit value")
    return int(text[0]), text[1:]


def require_end(rest: str) -> None:
    """Raise CommandError if anything is left of the text."""
    if rest:
        raise CommandError("Unexpected character after input")


def format_double(value: float) -> str:
    """As C's ``%.10g``."""
    return "nan" if math.isnan(value) else f"{value:.10g}"


def signed32(value: int) -> int:
    """`value` cut to 32 bits, read as a signed number."""
    return ((value + 0x8000_0000) & 0xFFFF_FFFF) - 0x8000_0000
