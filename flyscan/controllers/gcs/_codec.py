"""GCS 2.0 on the wire, client side: commands to bytes, bytes to answers (sans-IO).

Syntax: "GCS syntax for syntax version 2.0" in the PI user manuals (C-863.12 MS249E). A command
is a mnemonic and arguments separated by spaces, ended by LF; some single bytes are commands of
their own without LF. Of a multi-line answer every line but the last has a space before its LF.
Text is cp1252.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ...errors import ControllerError
from ...flight import FloatArray

__all__ = [
    "Answer",
    "AnswerReader",
    "GcsArray",
    "encode",
    "parse_array",
    "parse_commands",
    "parse_hex",
    "parse_integer",
    "parse_numbers",
    "parse_texts",
]

Answer = tuple[str, ...]
"""Lines of one answer without line ends."""

_SINGLE = {"#4": b"\x04", "#5": b"\x05", "#7": b"\x07", "#9": b"\x09", "#24": b"\x18"}
_LONGEST = 64 * 2**20
_DECIMALS = 10
_MNEMONIC = re.compile(r"(#\d+|\*IDN\?|[A-Z]{3}\??)(?:\s|$)")


def encode(command: str, *arguments: str | float) -> bytes:
    """Bytes of a command.

    Args:
        command: mnemonic such as ``"MOV"``, ``"POS?"`` or, for single bytes, ``"#5"``.
        arguments: identifiers as text, numbers with up to ten decimals.
    """
    single = _SINGLE.get(command)
    if single is not None:
        return single
    words = [command, *(_word(argument) for argument in arguments)]
    return " ".join(words).encode("cp1252") + b"\n"


def _word(argument: str | float) -> str:
    if isinstance(argument, int):
        return str(int(argument))
    text = argument if isinstance(argument, str) else _decimal(argument)
    if not text or any(c.isspace() or ord(c) < 0x21 for c in text):
        raise ControllerError(f"{text!r} cannot be an argument of a GCS command")
    return text


def _decimal(value: float) -> str:
    # No exponents: the manuals show plain decimals only.
    if not math.isfinite(value):
        raise ControllerError(f"{value} cannot be an argument of a GCS command")
    text = f"{value:.{_DECIMALS}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


class AnswerReader:
    """Cuts a byte stream into answers."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._lines: list[str] = []
        self._size = 0

    @property
    def pending(self) -> bool:
        """True in the middle of an answer."""
        return bool(self._rest or self._lines)

    def clear(self) -> None:
        """Forget an incomplete answer."""
        self._rest.clear()
        self._lines.clear()
        self._size = 0

    def feed(self, data: bytes) -> list[Answer]:
        """Answers completed by `data`, in order.

        Raises:
            ControllerError: an answer grows beyond 64 MiB: not a GCS controller.
        """
        self._size += len(data)
        if self._size > _LONGEST:
            self.clear()
            raise ControllerError(f"an answer of more than {_LONGEST} bytes is not GCS")
        head, *lines = data.split(b"\n")
        self._rest += head
        if not lines:
            return []
        complete = [bytes(self._rest), *lines[:-1]]
        self._rest = bytearray(lines[-1])
        answers: list[Answer] = []
        for raw in complete:
            line = raw.decode("cp1252", errors="replace").removesuffix("\r")
            self._lines.append(line.removesuffix(" "))
            if not line.endswith(" "):
                answers.append(tuple(self._lines))
                self._lines.clear()
                self._size = len(self._rest)
        return answers


def parse_texts(answer: Answer, keys: Iterable[str]) -> dict[str, str]:
    """Values of ``key=value`` lines, for exactly the `keys` asked for, in their order.

    Raises:
        ControllerError: another answer than asked for.
    """
    wanted = tuple(keys)
    items = [line.partition("=") for line in answer]
    values = {key.strip(): value.strip() for key, sign, value in items if sign}
    if len(values) != len(answer) or values.keys() != set(wanted):
        raise ControllerError(f"expected values of {', '.join(wanted)}, got {_shown(answer)}")
    return {key: values[key] for key in wanted}


def parse_numbers(answer: Answer, keys: Iterable[str]) -> dict[str, float]:
    """Like :func:`parse_texts`, for finite numbers."""
    return {key: _number(text, answer) for key, text in parse_texts(answer, keys).items()}


def parse_integer(answer: Answer) -> int:
    """The number of a one-number answer such as that of ``ERR?``."""
    return _integer(answer, 10)


def parse_hex(answer: Answer) -> int:
    """The bit mask of ``#5`` or ``#9``."""
    return _integer(answer, 16)


def _integer(answer: Answer, base: int) -> int:
    try:
        (text,) = answer
        return int(text, base)
    except ValueError:
        raise ControllerError(f"expected a whole number, got {_shown(answer)}") from None


def _number(text: str, answer: Answer) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ControllerError(f"expected numbers, got {_shown(answer)}")
    return value


def _shown(answer: Answer) -> str:
    text = " | ".join(answer)
    return repr(text if len(text) <= 120 else text[:120] + "...")


def parse_commands(answer: Answer) -> frozenset[str]:
    """Mnemonics listed by ``HLP?``: the first words that look like one."""
    found = (_MNEMONIC.match(line) for line in answer)
    return frozenset(match[1] for match in found if match)


@dataclass(frozen=True, slots=True, eq=False)
class GcsArray:
    """Recorded data or wave tables.

    Args:
        sample_time: seconds between rows.
        names: names of the columns.
        data: shape ``(rows, columns)``.
    """

    sample_time: float
    names: tuple[str, ...]
    data: FloatArray


def parse_array(answer: Answer) -> GcsArray:
    """Read a GCS array (PI manual SM146E): ``# KEY = value`` lines, then rows of numbers.

    Raises:
        ControllerError: header and rows do not belong together.
    """
    header: dict[str, str] = {}
    rows: list[str] = []
    for line in answer:
        if line.startswith("#"):
            key, _, value = line.lstrip("# ").partition("=")
            header[key.strip()] = value.strip()
        else:
            rows.append(line)
    try:
        return _array(header, rows)
    except (KeyError, ValueError) as error:
        raise ControllerError(f"not a GCS array ({error}): {_shown(answer)}") from None


def _array(header: Mapping[str, str], rows: list[str]) -> GcsArray:
    columns, count = int(header["DIM"]), int(header["NDATA"])
    separator = chr(int(header.get("SEPARATOR", "32")))
    cells = [row.split(None if separator.isspace() else separator) for row in rows]
    data = np.array(cells, dtype=np.float64)
    names = tuple(header.get(f"NAME{i}", "") for i in range(columns))
    return GcsArray(float(header["SAMPLE_TIME"]), names, data.reshape(count, columns))
