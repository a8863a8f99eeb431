"""Look-up table functions of LUT.FUNC: a logic expression in A..E becomes 32 bits.

Grammar as documented for the LUT block: ``~ & | ^ = =>`` and ``? :``, constants 0 and 1,
in the precedence of C with ``=`` binding tightest and ``=>`` loosest of the binary ones.
"""

from __future__ import annotations

import re

from ._text import CommandError

__all__ = ["parse_lut"]

_INPUTS = {
    "0": 0x0000_0000,
    "1": 0xFFFF_FFFF,
    "A": 0xFFFF_0000,
    "B": 0xFF00_FF00,
    "C": 0xF0F0_F0F0,
    "D": 0xCCCC_CCCC,
    "E": 0xAAAA_AAAA,
}
_ALL = 0xFFFF_FFFF
_LEVELS = (("=>",), ("|",), ("^",), ("&",), ("=", "=="))
_LEFT_OVER = {")": "Missing open bracket", ":": "Missing ? before :"}
_MISSING = {")": "Missing close bracket", ":": "Missing : after ?"}
_TOKEN = re.compile(r"\s*(=>|==|[01A-E()~&|^=?:])")


def parse_lut(text: str) -> int:
    """The 32 output bits for the expression or the ``0x`` number `text`.

    Raises:
        CommandError: the text is neither.
    """
    if text.startswith("0x"):
        try:
            return int(text, 16) & _ALL
        except ValueError:
            raise CommandError("Bad LUT number") from None
    return _Parser(text).parse()


class _Parser:
    """Recursive descent over the tokens."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._at = 0

    def parse(self) -> int:
        value = self._choice()
        left = self._peek()
        if left is not None:
            raise CommandError(_LEFT_OVER.get(left, "Missing operator between values"))
        return value

    def _choice(self) -> int:
        condition = self._binary(0)
        if self._peek() != "?":
            return condition
        self._at += 1
        then = self._choice()
        self._expect(":")
        otherwise = self._choice()
        return (condition & then) | (~condition & otherwise & _ALL)

    def _binary(self, level: int) -> int:
        if level == len(_LEVELS):
            return self._unary()
        value = self._binary(level + 1)
        while (token := self._peek()) in _LEVELS[level]:
            self._at += 1
            value = _combine(token, value, self._binary(level + 1))
        return value

    def _unary(self) -> int:
        token = self._peek()
        self._at += 1
        if token == "~":
            return ~self._unary() & _ALL
        if token == "(":
            value = self._choice()
            self._expect(")")
            return value
        if token is None or token not in _INPUTS:
            raise CommandError("Missing value")
        return _INPUTS[token]

    def _peek(self) -> str | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _expect(self, token: str) -> None:
        if self._peek() != token:
            raise CommandError(_MISSING[token])
        self._at += 1


def _combine(token: str | None, left: int, right: int) -> int:
    if token == "&":
        return left & right
    if token == "|":
        return left | right
    if token == "^":
        return left ^ right
    if token == "=>":
        return (~left & _ALL) | right
    return ~(left ^ right) & _ALL


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    rest = text.rstrip()
    while rest:
        match = _TOKEN.match(rest)
        if match is None:
            raise CommandError("Invalid token")
        tokens.append(match.group(1))
        rest = rest[match.end() :]
    return tokens
