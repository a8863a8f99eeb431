"""The box as its server sees it: every field of every block, metadata, capture list."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from ._bus_fields import BitMux, BitOut, ExtOut, PosMux, PosOut
from ._fields import ChangeCounter, Field
from ._layout import FieldSpec, Layout
from ._registers import Parameter, Reading, TimeParameter, Writing
from ._tables import Table, TableHardware
from ._text import CommandError

__all__ = ["CaptureControl", "Client", "Device", "Metadatum"]


class CaptureControl(Protocol):
    """What ``*PCAP`` commands act on."""

    def arm(self) -> None:
        """Start an experiment.

        Raises:
            CommandError: one is running, a client still reads, or nothing is to be captured.
        """
        ...

    def disarm(self) -> None:
        """End the experiment if one is running."""
        ...

    def status(self) -> str:
        """ "Busy" or "Idle", connected readers, readers taking data."""
        ...

    def captured(self) -> int:
        """Samples of the present or last experiment that have reached the server."""
        ...

    def completion(self) -> str:
        """ "Busy", or how the last experiment ended."""
        ...


@dataclass(frozen=True, slots=True)
class Client:
    """One connection as ``*WHO?`` lists it."""

    since: str
    kind: str
    peer: str


@dataclass(slots=True)
class Metadatum:
    """One metadata value; kind is "string", "multiline" or "constant"."""

    kind: str
    lines: list[str]
    index: int = 1


class Device:
    """All the configuration of one box, by name."""

    def __init__(self, layout: Layout, hardware: TableHardware, capture: CaptureControl) -> None:
        self.layout = layout
        self.hardware = hardware
        self.capture = capture
        self.changes = ChangeCounter()
        self.clients: list[Client] = []
        self.fields: dict[str, dict[str, Field]] = {
            instance: {spec.name: self._field(instance, spec) for spec in block.fields.values()}
            for block in layout.blocks.values()
            for instance in block.instances()
        }
        self.metadata = {key: Metadatum(kind, []) for key, kind in layout.metadata}

    def _field(self, instance: str, spec: FieldSpec) -> Field:
        common = (instance, spec, self.hardware, self.changes)
        match spec.kind:
            case "param":
                return Parameter(*common)
            case "time":
                return TimeParameter(*common)
            case "read":
                return Reading(*common)
            case "write":
                return Writing(*common)
            case "bit_out":
                return BitOut(*common, self.layout)
            case "pos_out":
                return PosOut(*common, self.layout)
            case "ext_out":
                return ExtOut(*common, self.layout)
            case "bit_mux":
                return BitMux(*common, self.layout)
            case "pos_mux":
                return PosMux(*common, self.layout)
            case _:
                return Table(*common)

    def in_change_order(self) -> Iterator[list[Field]]:
        """Fields type by type, each with all its instances: the order of ``*CHANGES?``."""
        for block in self.layout.blocks.values():
            instances = list(block.instances())
            for name in block.fields:
                yield [self.fields[instance][name] for instance in instances]

    def captures(self) -> Iterator[PosOut | ExtOut]:
        """Fields that can be captured, in the order in which the server sends them."""
        yield from self._pos_outs("INENC")
        yield from self._ext_outs()
        for block in self.layout.blocks:
            if block != "INENC":
                yield from self._pos_outs(block)

    def _pos_outs(self, block: str) -> Iterator[PosOut]:
        for label in self.layout.position_bus:
            instance, name = label.split(".")
            if instance.rstrip("0123456789") == block:
                field = self.fields[instance][name]
                if isinstance(field, PosOut):
                    yield field

    def _ext_outs(self) -> Iterator[ExtOut]:
        outs = [f for f in self.fields["PCAP"].values() if isinstance(f, ExtOut)]
        return iter(sorted(outs, key=lambda f: f.spec.number))

    def reset_captures(self) -> None:
        """``*CAPTURE=``: capture nothing."""
        for field in self.captures():
            field.reset_capture()

    def table(self, instance: str) -> Table:
        """The table of a block instance."""
        field = self.fields[instance]["TABLE"]
        if not isinstance(field, Table):
            raise CommandError("Field is not a table")
        return field
