"""The control port without IO: one line in, one reply out.

Replies are those of PandABlocks-server 4.1: ``OK``, ``OK =value``, ``ERR text``, or ``!line``
per value and a closing ``.``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ._bus_fields import CAPTURE_ENUMS, CAPTURE_OPTIONS
from ._changes import ChangeReport, parse_groups
from ._device import Device
from ._fields import Answer
from ._names import Target, find
from ._tables import Table, TableWrite
from ._text import CommandError, require_end

__all__ = ["ControlSession"]


class _Lines(Protocol):
    """Takes the lines of a table command."""

    def line(self, text: str) -> None: ...

    def close(self) -> None: ...


class ControlSession:
    """One control connection.

    Args:
        device: the box.
        refresh: brings the FPGA up to the present; called before anything is read or written.
    """

    def __init__(self, device: Device, refresh: Callable[[], None] = lambda: None) -> None:
        self._device = device
        self._refresh = refresh
        self._report = ChangeReport(device)
        self._writing: _Lines | None = None
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
            return self._system_query(name[1:])
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
            self._system_assign(name[1:], value)
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
                self._writing = self._metadata_lines(name[1:], streaming, binary)
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

    def _metadata_lines(self, name: str, streaming: bool, binary: bool) -> _Lines:
        command, key = _split(name)
        if command not in _COMMANDS:
            raise CommandError("Unknown command")
        if command != "METADATA":
            raise CommandError("Not a table")
        if streaming:
            raise CommandError("Streaming mode not supported")
        if binary:
            raise CommandError("Binary writes not supported")
        return _MetadataLines(self._device, _required(key))

    # System commands

    def _system_query(self, text: str) -> Answer:
        name, rest = _split(text)
        device = self._device
        if name in ("ECHO", "CHANGES", "METADATA", "CAPTURE", "DESC", "ENUMS", "PCAP"):
            return getattr(self, f"_query_{name.lower()}")(rest)
        simple: dict[str, Callable[[], Answer]] = {
            "IDN": lambda: device.layout.identity,
            "BLOCKS": lambda: [f"{b.name} {b.count}" for b in device.layout.blocks.values()],
            "WHO": lambda: [f"{c.since} {c.kind} {c.peer} " for c in device.clients],
            "POSITIONS": lambda: list(device.layout.position_bus),
            "BITS": lambda: [name for name in device.layout.bit_bus if name],
            "CLOCK_FREQ": lambda: str(device.layout.clock_hz),
        }
        if name in simple:
            require_end(rest)
            return simple[name]()
        raise CommandError("Command not readable" if name in _COMMANDS else "Unknown command")

    def _query_echo(self, rest: str) -> Answer:
        if not rest.startswith(" "):
            raise CommandError("Character ' ' expected")
        return rest[1:]

    def _query_changes(self, rest: str) -> Answer:
        return list(self._report.lines(parse_groups(rest)))

    def _query_metadata(self, rest: str) -> Answer:
        key = _required(rest)
        if key == "*":
            return list(self._device.metadata)
        if key not in self._device.metadata:
            raise CommandError(f"Metadata key {key} not found")
        value = self._device.metadata[key]
        return list(value.lines) if value.kind == "multiline" else "".join(value.lines)

    def _query_capture(self, rest: str) -> Answer:
        if not rest:
            return [
                f"{field.label} {' '.join(field.capture)}"
                for field in self._device.captures()
                if field.capture
            ]
        choices = {
            "*": [field.label for field in self._device.captures()],
            "OPTIONS": list(CAPTURE_OPTIONS),
            "ENUMS": list(CAPTURE_ENUMS),
        }
        name = _required(rest)
        if name not in choices:
            raise CommandError("Invalid *CAPTURE option")
        return choices[name]

    def _query_desc(self, rest: str) -> Answer:
        target = find(self._device, _required(rest), numbered=False, star=False, columns=True)
        if target.attribute is not None:
            return target.attribute.description
        if target.column is not None:
            return target.column.description
        return target.field.spec.description if target.field else target.block.description

    def _query_enums(self, rest: str) -> Answer:
        target = find(self._device, _required(rest), numbered=False, star=False, columns=True)
        if target.field is None:
            raise CommandError("Missing field name")
        if target.attribute is not None:
            return _labels(target.attribute.labels, "Attribute is not an enumeration")
        if target.column is not None:
            return _labels(target.column.labels, "Table sub-field is not an enumeration")
        return _labels(target.field.labels, "Field is not an enumeration")

    def _query_pcap(self, rest: str) -> Answer:
        capture = self._device.capture
        answers: dict[str, Callable[[], str]] = {
            "STATUS": capture.status,
            "CAPTURED": lambda: str(capture.captured()),
            "COMPLETION": capture.completion,
        }
        name = _required(rest)
        if name not in answers:
            raise CommandError("Invalid *PCAP field")
        return answers[name]()

    def _system_assign(self, text: str, value: str) -> None:
        name, rest = _split(text)
        if name == "CHANGES":
            self._reset_changes(rest, value)
        elif name == "METADATA":
            _set_metadata(self._device, _required(rest), value)
        elif name == "CAPTURE":
            require_end(rest)
            require_end(value)
            self._device.reset_captures()
        elif name == "PCAP":
            require_end(value)
            self._control_capture(_required(rest))
        elif name in ("VERBOSE", "SAVESTATE"):
            pass  # they concern the box's own log and disk
        else:
            raise CommandError("Command not writeable" if name in _COMMANDS else "Unknown command")

    def _control_capture(self, action: str) -> None:
        if action == "ARM":
            self._device.capture.arm()
        elif action == "DISARM":
            self._device.capture.disarm()
        else:
            raise CommandError("Invalid *PCAP field")

    def _reset_changes(self, rest: str, value: str) -> None:
        groups = parse_groups(rest)
        if value not in ("", "S", "E"):
            raise CommandError("Invalid reset option")
        if value == "S":
            self._report.restart(groups)
        else:
            self._report.skip(groups)


_COMMANDS = frozenset(
    "IDN METADATA BLOCKS ECHO WHO CHANGES DESC CAPTURE POSITIONS BITS VERBOSE ENUMS PCAP "
    "SAVESTATE CLOCK_FREQ".split()
)


class _Discard:
    """Swallows the lines of a table command that was refused."""

    def line(self, text: str) -> None:
        return

    def close(self) -> None:
        return


class _MetadataLines:
    """Collects a multi-line metadata value."""

    def __init__(self, device: Device, key: str) -> None:
        if key not in device.metadata:
            raise CommandError(f"Metadata key {key} not found")
        if device.metadata[key].kind != "multiline":
            raise CommandError("Not a multi-line field")
        self._device = device
        self._value = device.metadata[key]
        self._lines: list[str] = []

    def line(self, text: str) -> None:
        self._lines.append(text)

    def close(self) -> None:
        self._value.lines = self._lines
        self._value.index = self._device.changes.next()


def _set_metadata(device: Device, key: str, text: str) -> None:
    if key not in device.metadata:
        raise CommandError(f"Metadata key {key} not found")
    value = device.metadata[key]
    if value.kind != "string":
        raise CommandError("Cannot write to this field")
    value.lines = [text]
    value.index = device.changes.next()


def _split(text: str) -> tuple[str, str]:
    end = next((i for i, c in enumerate(text) if not (c.isalpha() or c == "_")), len(text))
    return text[:end], text[end:]


def _required(rest: str) -> str:
    if not rest.startswith("."):
        raise CommandError("Character '.' expected")
    return rest[1:]


def _labels(labels: tuple[str, ...], refusal: str) -> list[str]:
    if not labels:
        raise CommandError(refusal)
    return list(labels)


def _listing(target: Target) -> list[str]:
    if target.field is not None:
        return list(target.field.attributes)
    return [f"{spec.name} {spec.number} {spec.info}" for spec in target.block.fields.values()]


def _reply(answer: Answer) -> str:
    if isinstance(answer, str):
        return f"OK ={answer}\n"
    return "".join(f"!{line}\n" for line in answer) + ".\n"
