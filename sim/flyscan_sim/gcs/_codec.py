"""GCS 2.0 on the wire, controller side: bytes to requests, answer lines to bytes (sans-IO).

Syntax: PI manual MS249E, "GCS syntax for syntax version 2.0". A command is a mnemonic and
arguments separated by spaces, ended by LF; a handful of single bytes are commands without LF.
Of a multi-line answer every line but the last ends with a space before its LF.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ._errors import Code, Refusal

__all__ = [
    "MAX_LINE",
    "SINGLE_BYTES",
    "Request",
    "RequestDecoder",
    "encode_answer",
    "groups",
    "integer",
    "number",
    "plain",
    "switch",
]

MAX_LINE = 4096
SINGLE_BYTES = {0x04: "#4", 0x05: "#5", 0x07: "#7", 0x09: "#9", 0x18: "#24"}


@dataclass(frozen=True)
class Request:
    """One command as received; `mnemonic` is upper case, arguments are as sent."""

    mnemonic: str
    args: tuple[str, ...] = ()

    @property
    def is_query(self) -> bool:
        """Whether the command only asks: such commands never count as a trigger of anything."""
        return self.mnemonic.endswith("?") or self.mnemonic.startswith("#")


class RequestDecoder:
    """Cut a byte stream into requests; call :meth:`feed` with whatever arrived."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._overlong = False

    def feed(self, data: bytes) -> Iterator[Request]:
        """Yield the requests completed by `data`, in order."""
        for byte in data:
            if byte in SINGLE_BYTES:  # served at once, even amid a line
                yield Request(SINGLE_BYTES[byte])
            elif byte == 0x0A:
                yield from self._end_of_line()
            elif len(self._line) < MAX_LINE:
                self._line.append(byte)
            else:
                self._overlong = True

    def _end_of_line(self) -> Iterator[Request]:
        words = self._line.decode("cp1252", errors="replace").split()
        overlong = self._overlong
        self._line.clear()
        self._overlong = False
        if overlong:
            yield Request("")
        elif words:
            yield Request(words[0].upper(), tuple(words[1:]))


def encode_answer(lines: Sequence[str]) -> bytes:
    """Bytes of an answer of one or more lines."""
    return (" \n".join(lines) + "\n").encode("cp1252", errors="replace")


def groups(args: Sequence[str], size: int) -> list[tuple[str, ...]]:
    """Split arguments into groups of `size`; incomplete or missing groups are refused."""
    if not args or len(args) % size:
        raise Refusal(Code.PARAM_COUNT)
    return [tuple(args[i : i + size]) for i in range(0, len(args), size)]


def number(text: str) -> float:
    """A finite floating point argument."""
    try:
        value = float(text)
    except ValueError:
        raise Refusal(Code.INVALID_NUMBER) from None
    if not math.isfinite(value):
        raise Refusal(Code.INVALID_NUMBER)
    return value


def integer(text: str, low: int, high: int) -> int:
    """An integer argument, decimal or ``0x...``, within `low` .. `high`."""
    try:
        value = int(text, 0) if text.lower().startswith("0x") else int(text)
    except ValueError:
        raise Refusal(Code.INVALID_NUMBER) from None
    if not low <= value <= high:
        raise Refusal(Code.OUT_OF_RANGE)
    return value


def switch(text: str) -> bool:
    """A 0/1 argument."""
    return bool(integer(text, 0, 1))


def plain(value: float) -> str:
    """A number with at most seven decimals and no trailing zeros, as limits are answered."""
    return f"{value:.7f}".rstrip("0").rstrip(".") if value else "0"
