"""Fields on the buses: bit and position outputs, capture words, and the input multiplexers."""

from __future__ import annotations

from ._fields import Answer, Attribute, ChangeCounter, Field, Group, Hardware
from ._layout import FieldSpec, Layout
from ._text import CommandError, format_double, parse_double, parse_integer, require_end

__all__ = [
    "CAPTURE_ENUMS",
    "CAPTURE_OPTIONS",
    "BitMux",
    "BitOut",
    "ExtOut",
    "PosMux",
    "PosOut",
]

CAPTURE_OPTIONS: tuple[str, ...] = ("Value", "Diff", "Sum", "Min", "Max", "Mean", "StdDev")
"""What can be captured of a position, in the order in which it is sent."""

CAPTURE_ENUMS: tuple[str, ...] = (
    "No",
    "Value",
    "Diff",
    "Sum",
    "Mean",
    "Min",
    "Max",
    "Min Max",
    "Min Max Mean",
    "StdDev",
    "Mean StdDev",
)
"""The curated choices the server offers for position outputs."""

MAX_DELAY = 31


class BitOut(Field):
    """A bit on the bus."""

    group = Group.BITS

    def __init__(
        self,
        block: str,
        spec: FieldSpec,
        hardware: Hardware,
        changes: ChangeCounter,
        layout: Layout,
    ) -> None:
        super().__init__(block, spec, hardware, changes)
        self.bus = layout.bit_bus.index(self.label)
        word, offset = divmod(self.bus, 32)
        self.add(
            Attribute(
                "CAPTURE_WORD", "Name of field containing this bit", lambda: f"PCAP.BITS{word}"
            ),
            Attribute("OFFSET", "Position of this bit in captured word", lambda: str(offset)),
        )
        self.add_info()

    def query(self) -> Answer:
        return str(int(self.hardware.bit(self.bus)))

    def changed(self, since: int, stamp: int) -> bool:
        if self.hardware.toggled(self.bus):
            self.index = stamp
        return self.index > since


class PosOut(Field):
    """A position on the bus, with scaling and capture options."""

    group = Group.POSN

    def __init__(
        self,
        block: str,
        spec: FieldSpec,
        hardware: Hardware,
        changes: ChangeCounter,
        layout: Layout,
    ) -> None:
        super().__init__(block, spec, hardware, changes)
        self.bus = layout.position_bus.index(self.label)
        self.scale = 1.0
        self.offset = 0.0
        self.units = ""
        self.capture: tuple[str, ...] = ()
        self._seen = 0
        self.add(
            Attribute(
                "UNITS", "Units string", lambda: self.units, self._write_units, reported=True
            ),
            Attribute("SCALED", "Value with scaling applied", self._scaled),
            Attribute(
                "OFFSET",
                "Offset",
                lambda: format_double(self.offset),
                self._write_offset,
                reported=True,
            ),
            Attribute(
                "SCALE",
                "Scale factor",
                lambda: format_double(self.scale),
                self._write_scale,
                reported=True,
            ),
            Attribute(
                "CAPTURE",
                "Capture options",
                lambda: " ".join(self.capture) or "No",
                self._write_capture,
                CAPTURE_ENUMS,
                reported=True,
            ),
        )
        self.add_info()

    def query(self) -> Answer:
        return str(self.hardware.position(self.bus))

    def changed(self, since: int, stamp: int) -> bool:
        value = self.hardware.position(self.bus)
        if value != self._seen:
            self._seen, self.index = value, stamp
        return self.index > since

    def reset_capture(self) -> None:
        if self.capture:
            self.capture = ()
            self.attributes["CAPTURE"].index = self.changes.next()

    def _scaled(self) -> Answer:
        return format_double(self.hardware.position(self.bus) * self.scale + self.offset)

    def _write_units(self, text: str) -> None:
        self.units = text

    def _write_scale(self, text: str) -> None:
        self.scale = _whole_double(text)

    def _write_offset(self, text: str) -> None:
        self.offset = _whole_double(text)

    def _write_capture(self, text: str) -> None:
        wanted = () if text == "No" else tuple(text.split())
        for option in wanted:
            if option not in CAPTURE_OPTIONS:
                raise CommandError(f'Unknown capture option "{option}"')
        self.capture = tuple(option for option in CAPTURE_OPTIONS if option in wanted)


class ExtOut(Field):
    """A PCAP word that is on no bus: time stamps, gate duration, bits."""

    def __init__(
        self,
        block: str,
        spec: FieldSpec,
        hardware: Hardware,
        changes: ChangeCounter,
        layout: Layout,
    ) -> None:
        super().__init__(block, spec, hardware, changes)
        self.capture: tuple[str, ...] = ()
        if spec.type == "bits":
            word = int(spec.name.removeprefix("BITS"))
            names = list(layout.bit_bus[32 * word : 32 * word + 32])
            self.add(Attribute("BITS", "Enumerate bits captured in this word", names.copy))
        self.add(
            Attribute(
                "CAPTURE",
                "Capture options",
                lambda: " ".join(self.capture) or "No",
                self._write_capture,
                ("No", "Value"),
                reported=True,
            )
        )
        self.add_info()

    def reset_capture(self) -> None:
        if self.capture:
            self.capture = ()
            self.attributes["CAPTURE"].index = self.changes.next()

    def _write_capture(self, text: str) -> None:
        if text not in ("No", "Value"):
            raise CommandError("Invalid capture option")
        self.capture = ("Value",) if text == "Value" else ()


class _Mux(Field):
    """Chooses a bus entry by name."""

    group = Group.CONFIG
    refusal = ""

    def __init__(
        self,
        block: str,
        spec: FieldSpec,
        hardware: Hardware,
        changes: ChangeCounter,
        layout: Layout,
    ) -> None:
        super().__init__(block, spec, hardware, changes)
        self._choices = self._entries(layout)
        self.source = "ZERO"
        self.add(*self._attributes())
        self.add_info()

    def _entries(self, layout: Layout) -> tuple[str, ...]:
        """What can be chosen."""
        return (*layout.position_bus, "ZERO")

    def _attributes(self) -> tuple[Attribute, ...]:
        """Attributes besides those of every field."""
        return ()

    @property
    def labels(self) -> tuple[str, ...]:
        return self._choices

    def query(self) -> Answer:
        return self.source

    def assign(self, text: str) -> None:
        if text not in self._choices:
            raise CommandError(self.refusal)
        self.source = text
        self.touch()
        self.hardware.written(self.block, self.spec.name)


class BitMux(_Mux):
    """A bit input: which bus bit it listens to, and how many ticks late."""

    refusal = "Invalid bit bus selection"
    delay = 0

    def _entries(self, layout: Layout) -> tuple[str, ...]:
        return (*(name for name in layout.bit_bus if name), "ZERO", "ONE")

    def _attributes(self) -> tuple[Attribute, ...]:
        return (
            Attribute(
                "DELAY", "Clock delay on input", lambda: str(self.delay), self._put, reported=True
            ),
            Attribute("MAX_DELAY", "Maximum valid input delay", lambda: str(MAX_DELAY)),
        )

    def _put(self, text: str) -> None:
        value, rest = parse_integer(text)
        require_end(rest)
        if value & 0xFFFF_FFFF > MAX_DELAY:
            raise CommandError("Delay too long")
        self.delay = value
        self.hardware.written(self.block, self.spec.name)


class PosMux(_Mux):
    """A position input."""

    refusal = "Invalid position selection"


def _whole_double(text: str) -> float:
    value, rest = parse_double(text)
    require_end(rest)
    return value
