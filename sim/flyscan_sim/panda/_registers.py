"""Register fields: typed values that are configured, read or written.

Class param keeps what was written, read asks the FPGA, write only hands over; class time is a
param of 48 bits. Types are uint, int, bit, enum, time, scalar, lut and action.
"""

from __future__ import annotations

from collections.abc import Callable

from ._fields import Answer, Attribute, ChangeCounter, Field, Group, Hardware
from ._layout import FieldSpec
from ._lut import parse_lut
from ._text import (
    CommandError,
    format_double,
    parse_bit,
    parse_double,
    parse_integer,
    require_end,
    signed32,
)

__all__ = ["Parameter", "Reading", "TimeParameter", "Writing"]

CLOCK_HZ = 125_000_000
MAX_TIME_TICKS = 2**48 - 1
TIME_UNITS = {"min": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6}


class _Typed(Field):
    """A register with a type: parses and prints raw 32-bit values."""

    def __init__(
        self, block: str, spec: FieldSpec, hardware: Hardware, changes: ChangeCounter
    ) -> None:
        super().__init__(block, spec, hardware, changes)
        self.unit = "s"
        self._lut_text = ""
        self._add_type_attributes()

    def fetch(self) -> int:
        """The raw value."""
        raise CommandError("Register cannot be read")

    def store(self, raw: int) -> None:
        """Take a new raw value."""
        raise CommandError("Register cannot be written")

    def _parse(self, text: str) -> tuple[int, str]:
        kind = self.spec.type
        if kind == "uint":
            value, rest = parse_integer(text)
            value &= 0xFFFF_FFFF
            if value > self.spec.maximum:
                raise CommandError("Number out of range")
            return value, rest
        if kind == "int":
            value, rest = parse_integer(text)
            return signed32(value), rest
        if kind == "bit":
            return parse_bit(text)
        if kind == "time":
            return self._parse_time(text, 0xFFFF_FFFF)
        if kind == "scalar":
            return self._parse_scalar(text)
        return self._parse_symbol(text), ""

    def _parse_symbol(self, text: str) -> int:
        kind = self.spec.type
        if kind == "enum":
            if text not in self.spec.labels:
                raise CommandError("Invalid enumeration value")
            return self.spec.labels.index(text)
        if kind == "lut":
            value = parse_lut(text)
            self._lut_text = text
            return value
        require_end(text)  # an action takes no value
        return 0

    def _parse_scalar(self, text: str) -> tuple[int, str]:
        value, rest = parse_double(text)
        raw = round(value / self.spec.scale)
        if not -(2**31) <= raw < 2**31:
            raise CommandError("Value out of range")
        return raw, rest

    def _parse_time(self, text: str, maximum: int) -> tuple[int, str]:
        value, rest = parse_double(text)
        ticks = value * TIME_UNITS[self.unit] * CLOCK_HZ
        if not 0 <= ticks <= maximum:
            raise CommandError("Time setting out of range")
        return int(ticks + 0.5), rest

    def _format(self, raw: int) -> str:
        kind = self.spec.type
        if kind == "enum":
            if not 0 <= raw < len(self.spec.labels):
                raise CommandError("No label for value")
            return self.spec.labels[raw]
        if kind == "int":
            return str(signed32(raw))
        if kind == "time" or self.spec.kind == "time":
            return format_double(raw / TIME_UNITS[self.unit] / CLOCK_HZ)
        if kind == "scalar":
            return format_double(self.spec.scale * signed32(raw))
        if kind == "lut":
            return self._lut_text or f"0x{raw:08X}"
        return str(raw)

    def _add_type_attributes(self) -> None:
        kind = "time" if self.spec.kind == "time" else self.spec.type
        if kind == "uint":
            top = str(self.spec.maximum)
            self.add(Attribute("MAX", "Maximum valid value for this field", lambda: top))
        if kind == "time":
            self._add_units()
        if kind == "lut":
            self.add_raw("Bit pattern written to register", lambda: f"0x{self.fetch():08X}", None)
        if kind == "scalar":
            self.add_raw("Underlying integer value", lambda: str(signed32(self.fetch())), None)
            self.add(
                Attribute("UNITS", "Units associated with value", lambda: self.spec.units),
                Attribute(
                    "SCALE", "Scaling from raw data to value", lambda: f"{self.spec.scale:.10g}"
                ),
                Attribute("OFFSET", "Offset from scaled data to value", lambda: "0"),
            )
        self.add_info()
        if kind == "time":
            self.add_raw("Time in ticks", lambda: str(self.fetch()), self._write_raw)

    def add_raw(
        self, description: str, read: Callable[[], str], write: Callable[[str], None] | None
    ) -> None:
        self.add(Attribute("RAW", description, read, write))

    def _add_units(self) -> None:
        self.add(
            Attribute(
                "UNITS",
                "Units of time setting",
                lambda: self.unit,
                self._write_unit,
                tuple(TIME_UNITS),
                reported=True,
            )
        )

    def _write_unit(self, text: str) -> None:
        if text not in TIME_UNITS:
            raise CommandError("Invalid time units")
        self.unit = text
        self.touch()

    def _write_raw(self, text: str) -> None:
        value, rest = parse_integer(text)
        require_end(rest)
        self.store(value & (MAX_TIME_TICKS if self.spec.kind == "time" else 0xFFFF_FFFF))


class Parameter(_Typed):
    """A configuration register: written value cached, reported in group CONFIG."""

    group = Group.CONFIG

    def __init__(
        self, block: str, spec: FieldSpec, hardware: Hardware, changes: ChangeCounter
    ) -> None:
        self.raw = spec.default
        super().__init__(block, spec, hardware, changes)

    def query(self) -> Answer:
        return self._format(self.raw)

    def assign(self, text: str) -> None:
        value, rest = self._parse(text)
        require_end(rest)
        self.store(value)

    def fetch(self) -> int:
        return self.raw

    def store(self, raw: int) -> None:
        self.raw = raw
        self.touch()
        self.hardware.written(self.block, self.spec.name)


class TimeParameter(Parameter):
    """Class time: 48 bits of ticks."""

    def _parse(self, text: str) -> tuple[int, str]:
        return self._parse_time(text, MAX_TIME_TICKS)


class Reading(_Typed):
    """A register only the FPGA writes, reported in group READ when its value differs."""

    group = Group.READ

    def __init__(
        self, block: str, spec: FieldSpec, hardware: Hardware, changes: ChangeCounter
    ) -> None:
        super().__init__(block, spec, hardware, changes)
        self._seen = spec.default

    def query(self) -> Answer:
        return self._format(self.fetch())

    def fetch(self) -> int:
        return self.hardware.register(self.block, self.spec.name)

    def changed(self, since: int, stamp: int) -> bool:
        raw = self.fetch()
        if raw != self._seen:
            self._seen, self.index = raw, stamp
        return self.index > since


class Writing(_Typed):
    """A register that can only be written: an action or a preset."""

    def __init__(
        self, block: str, spec: FieldSpec, hardware: Hardware, changes: ChangeCounter
    ) -> None:
        self.raw = 0
        super().__init__(block, spec, hardware, changes)

    def assign(self, text: str) -> None:
        value, rest = self._parse(text)
        require_end(rest)
        self.store(value)

    def store(self, raw: int) -> None:
        self.raw = raw
        self.hardware.written(self.block, self.spec.name)
