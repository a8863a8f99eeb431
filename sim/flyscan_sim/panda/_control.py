"""The control port without IO: one line in, one reply out.

Replies are those of PandABlocks-server 4.1: ``OK``, ``OK =value``, ``ERR text``, or ``!line``
per value and a closing ``.``.
"""

from __future__ import annotations

from collections.abc import Callable

from ._device import Device
from ._fields import Answer
from ._names import Target, find
from ._system import Lines, SystemCommands
from ._tables import Table, TableWrite
from ._text import CommandError, require_end

__all__ = ["ControlSession"]


class ControlSession:
    """One control connection.

    Args:
        device: the box.
        refresh: brings the FPGA up to the present; called before anything is read or written.
    """

    def __init__(self, device: Device, refresh: Callable[[], None] = lambda: None) -> None:
        self._device = device
        self._refresh = refresh
        self._system = SystemCommands(device)
        self._writing: Lines | None = None
        self._error: CommandError | None = None

    def handle(self, line: str) -> str | None:
        """Take one line without its newline; the reply, or None inside a table command."""
        if self._writing is not None:
            return self._table_line(line)
        at = next((i for i, char in enumerate(line) if char in "?=<"), None)
        if at is None:
            return "ERR Unknown command\n"
        name, mark, rest = line[:at], line[at], line[at + 1 :]
        if mark == "<":
            self._begin_table(name, rest)
            return None
        self._refresh()
        try:
            if mark == "?":
                return _reply(self._query(name, rest))
            self._assign(name, rest)
        except CommandError as error:
            return f"ERR {error}\n"
        return "OK\n"

    def _query(self, name: str, rest: str) -> Answer:
        if rest:
            raise CommandError("Unexpected text after command")
        if name.startswith("*"):
            return self._system.query(name[1:])
        target = find(self._device, name, numbered=True, star=True)
        if target.star:
            return _listing(target)
        if target.attribute is not None:
            return target.attribute.query()
        if target.field is None:
            raise CommandError("Missing field name")
        return target.field.query()

    def _assign(self, name: str, value: str) -> None:
        if name.startswith("*"):
            self._system.assign(name[1:], value)
            return
        target = find(self._device, name, numbered=True, star=True)
        if target.star:
            raise CommandError("Field not writeable")
        if target.field is None:
            raise CommandError("Missing field name")
        if target.attribute is not None:
            target.attribute.assign(value, self._device.changes)
        else:
            target.field.assign(value)

    def _begin_table(self, name: str, form: str) -> None:
        self._writing, self._error = _Discard(), None
        streaming = form.startswith("<")
        form = form.removeprefix("<")
        last = not streaming or form.startswith("|")
        if streaming:
            form = form.removeprefix("|")
        binary = form.startswith("B")
        try:
            require_end(form.removeprefix("B"))
            if name.startswith("*"):
                self._writing = self._system.table(name[1:], streaming, binary)
            else:
                table = self._table(name)
                self._writing = TableWrite(table, streaming=streaming, last=last, binary=binary)
        except CommandError as error:
            self._error = error

    def _table_line(self, line: str) -> str | None:
        writing = self._writing
        if line and writing is not None:
            if self._error is None:
                self._attempt(lambda: writing.line(line))
            return None
        self._writing = None
        if self._error is None and writing is not None:
            self._refresh()
            self._attempt(writing.close)
        return "OK\n" if self._error is None else f"ERR {self._error}\n"

    def _attempt(self, action: Callable[[], None]) -> None:
        try:
            action()
        except CommandError as error:
            self._error = error

    def _table(self, name: str) -> Table:
        target = find(self._device, name, numbered=True, star=True)
        if target.star or target.attribute is not None:
            raise CommandError("Field not a table")
        if target.field is None:
            raise CommandError("Missing field name")
        if not isinstance(target.field, Table):
            raise CommandError("Field is not a table")
        return target.field


class _Discard:
    """Swallows the lines of a table command that was refused."""

    def line(self, text: str) -> None:
        return

    def close(self) -> None:
        return


def _listing(target: Target) -> list[str]:
    if target.field is not None:
        return list(target.field.attributes)
    return [f"{spec.name} {spec.number} {spec.info}" for spec in target.block.fields.values()]


def _reply(answer: Answer) -> str:
    if isinstance(answer, str):
        return f"OK ={answer}\n"
    return "".join(f"!{line}\n" for line in answer) + ".\n"
