"""Table fields: fixed tables and streamed ones, as the server keeps them.

A table is INIT, FIXED (``<``), STREAMING (``<<``) or STREAMING_LAST (after ``<<|``). Only an
empty ``<`` leaves the streaming modes; it resets the block.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ._fields import Answer, Attribute, ChangeCounter, Field, Group, Hardware
from ._layout import FieldSpec
from ._text import CommandError, parse_integer

__all__ = ["Table", "TableHardware", "TableWrite"]

Words = NDArray[np.uint32]
BASE64_LINE_BYTES = 57
_PLAIN = re.compile(r"(?:0|[1-9]\d{0,18})(?: (?:0|[1-9]\d{0,18}))*")


class TableHardware(Hardware, Protocol):
    """Hardware that takes tables."""

    def reset_table(self, block: str) -> None:
        """Forget the table and everything streamed: the block becomes UNREADY."""
        ...

    def load_table(self, block: str, words: Words, *, streaming: bool, last: bool) -> None:
        """Replace the table, or queue one more streamed buffer."""
        ...


class Table(Field):
    """One table of one block instance."""

    group = Group.TABLE

    def __init__(
        self, block: str, spec: FieldSpec, hardware: TableHardware, changes: ChangeCounter
    ) -> None:
        super().__init__(block, spec, hardware, changes)
        self._hardware = hardware
        self.words: Words = np.empty(0, np.uint32)
        self.mode = "INIT"
        self.add(
            Attribute("MAX_LENGTH", "Maximum number of entries in table", self._max_length),
            Attribute("B", "Table in base-64 representation", self._base64),
            Attribute("ROW_WORDS", "Number of words per table row", self._row_words),
            Attribute("LENGTH", "Number of entries in table", lambda: str(self.words.size)),
            Attribute("FIELDS", "List of sub-fields for this table", self._columns),
            Attribute("QUEUED_LINES", "Number of lines scheduled", self._queued, polled=True),
            Attribute("MODE", "Current table mode", lambda: self.mode),
        )
        self.add_info()

    def query(self) -> Answer:
        return [str(word) for word in self.words.tolist()]

    def commit(self, words: Words, *, streaming: bool, last: bool) -> None:
        """Take a complete table as sent by ``<`` (not streaming), ``<<`` or ``<<|``.

        Raises:
            CommandError: not whole rows, or not allowed in the present mode.
        """
        if words.size % self.spec.row_words:
            raise CommandError("Table write is not a whole number of rows")
        mode, reset = self._next_mode(words.size, streaming=streaming, last=last)
        self.mode = mode
        if reset:
            self._hardware.reset_table(self.block)
        if words.size:
            self._hardware.load_table(self.block, words, streaming=streaming, last=last)
        self.words = words if mode == "FIXED" else words[:0]
        self.touch()

    def _next_mode(self, size: int, *, streaming: bool, last: bool) -> tuple[str, bool]:
        if size == 0:
            if streaming:
                raise CommandError("Streaming table must have data")
            return "INIT", True
        if self.mode == "STREAMING_LAST":
            raise CommandError("Last streaming table was sent")
        if self.mode == "FIXED":
            return ("STREAMING" if streaming else "FIXED"), True
        if not streaming:
            if self.mode == "STREAMING":
                raise CommandError("Table is in streaming mode")
            return "FIXED", False
        return ("STREAMING_LAST" if last else "STREAMING"), False

    def _max_length(self) -> Answer:
        return str(self.spec.max_length)

    def _row_words(self) -> Answer:
        return str(self.spec.row_words)

    def _queued(self) -> Answer:
        return str(self._hardware.queued_words(self.block) // self.spec.row_words)

    def _columns(self) -> Answer:
        return [f"{c.high}:{c.low} {c.name} {c.type}" for c in self.spec.columns]

    def _base64(self) -> Answer:
        data = self.words.astype("<u4").tobytes()
        starts = range(0, len(data), BASE64_LINE_BYTES)
        return [base64.b64encode(data[i : i + BASE64_LINE_BYTES]).decode() for i in starts]


class TableWrite:
    """Collects the lines of one table command; nothing is taken before the closing empty line."""

    def __init__(self, table: Table, *, streaming: bool, last: bool, binary: bool) -> None:
        self._table = table
        self._streaming = streaming
        self._last = last
        self._binary = binary
        self._parts: list[Words] = []
        self._size = 0

    def line(self, text: str) -> None:
        """Take one line.

        Raises:
            CommandError: malformed, or the table is full.
        """
        words = _decode(text) if self._binary else _numbers(text)
        self._size += words.size
        if self._size > self._table.spec.max_length:
            raise CommandError("Too many points for table")
        self._parts.append(words)

    def close(self) -> None:
        """Hand the table over."""
        words = np.concatenate(self._parts) if self._parts else np.empty(0, np.uint32)
        self._table.commit(words, streaming=self._streaming, last=self._last)


def _decode(text: str) -> Words:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise CommandError("Malformed base64 string") from None
    if len(data) % 4:
        raise CommandError("Invalid data length")
    return np.frombuffer(data, "<u4").astype(np.uint32)


def _numbers(text: str) -> Words:
    if _PLAIN.fullmatch(text):
        return np.array(text.split(" "), np.uint64).astype(np.uint32)
    values: list[int] = []
    rest = text
    while rest:
        value, rest = parse_integer(rest)
        values.append(value & 0xFFFF_FFFF)
    return np.array(values, np.uint32)
