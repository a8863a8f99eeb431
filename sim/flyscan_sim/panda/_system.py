"""Commands with a star: identification, changes, capture list, descriptions, experiments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ._bus_fields import CAPTURE_ENUMS, CAPTURE_OPTIONS
from ._changes import ChangeReport, parse_groups
from ._device import Device
from ._fields import Answer
from ._names import find
from ._text import CommandError, require_end

__all__ = ["Lines", "SystemCommands"]

_SIMPLE = ("IDN", "BLOCKS", "WHO", "POSITIONS", "BITS", "CLOCK_FREQ")
_WITH_ARGUMENT = ("ECHO", "CHANGES", "METADATA", "CAPTURE", "DESC", "ENUMS", "PCAP")
_ACTIONS = ("VERBOSE", "SAVESTATE")
_COMMANDS = frozenset((*_SIMPLE, *_WITH_ARGUMENT, *_ACTIONS))


class Lines(Protocol):
    """Takes the lines of a table command."""

    def line(self, text: str) -> None:
        """Take one line."""
        ...

    def close(self) -> None:
        """The empty line at the end."""
        ...


class SystemCommands:
    """The system commands of one connection."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._report = ChangeReport(device)
        self._queries: dict[str, Callable[[str], Answer]] = {
            "ECHO": self._query_echo,
            "CHANGES": self._query_changes,
            "METADATA": self._query_metadata,
            "CAPTURE": self._query_capture,
            "DESC": self._query_desc,
            "ENUMS": self._query_enums,
            "PCAP": self._query_pcap,
        }

    def query(self, text: str) -> Answer:
        name, rest = _split(text)
        device = self._device
        if name in self._queries:
            return self._queries[name](rest)
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

    def assign(self, text: str, value: str) -> None:
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
        elif name not in _ACTIONS:  # those concern the log and disk of the box alone
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

    def table(self, name: str, streaming: bool, binary: bool) -> Lines:
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
