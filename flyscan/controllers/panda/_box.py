"""A connected box: its layout, the blocks in use, the columns, and what to set for a flight."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .._axis_map import AxisMap
from ._columns import GATE, TIMESTAMP, Column, captures, channel_column, encoder_columns
from ._config import KINDS, Blocks, ChannelSpec, Names
from ._control import ControlLink
from ._layout import read_layout
from ._text import Request

__all__ = ["Box", "read_box"]

#: Words of a sequencer row.
ROW_WORDS = 4


@dataclass(frozen=True, slots=True)
class Box:
    """Facts about one box, learnt at connection.

    Args:
        names: the blocks in use.
        columns: the channels.
        clock_hz: frequency of its clock.
        table_rows: rows a sequencer table holds.
        trigs: counter fields of channels to the bits they count.
        gate_bit: what positions wait for, if anything.
    """

    names: Names
    columns: tuple[Column, ...]
    clock_hz: int
    table_rows: int
    trigs: Mapping[str, str]
    gate_bit: str | None

    @property
    def index_key(self) -> str | None:
        """Captured trigger count of every row, if a counter is left for it."""
        return f"{self.names.counter_out}.Value" if self.names.counter_out else None

    @property
    def captures(self) -> dict[str, str]:
        """CAPTURE attributes of a flight."""
        index = [self.index_key] if self.index_key else []
        return captures(self.columns, [GATE, TIMESTAMP, *index])

    @property
    def down(self) -> dict[str, str]:
        """The soft bits that take triggers and capture down, in this order."""
        return dict.fromkeys((self.names.run, self.names.go, self.names.arm), "0")

    @property
    def take_down(self) -> list[Request]:
        """Requests of :attr:`down`."""
        return [f"{bit}={value}" for bit, value in self.down.items()]

    @property
    def static_fields(self) -> dict[str, str]:
        """Settings that hold for a whole flight. Units first: they govern what follows."""
        pulse, pcap, names = self.names.pulse, self.names.pcap, self.names
        fields = {f"{pulse[f]}.UNITS": "s" for f in ("DELAY", "WIDTH", "STEP")}
        fields |= {
            pcap["ENABLE"]: names.arm_out,
            pcap["GATE"]: names.pulse_out,
            pcap["TRIG"]: names.pulse_out,
            pcap["TRIG_EDGE"]: "Falling",
            pcap["SHIFT_SUM"]: "0",
            pulse["ENABLE"]: names.run_out,
            pulse["TRIG_EDGE"]: "Rising",
            pulse["DELAY"]: "0",
        }
        if names.counter is not None:
            fields |= _counting(names.counter, names.pulse_out, names.arm_out)
        for counter, bit in self.trigs.items():
            fields |= _counting(counter, bit, "ONE")
        return fields

    def changed_fields(self, uses_seq: bool) -> list[str]:
        """Every field a flight may write, in the order in which they are put back."""
        pulse = ("WIDTH", "STEP", "PULSES", "TRIG")
        pcomp = ("INP", "PRE_START", "START", "WIDTH", "STEP", "PULSES", "RELATIVE", "DIR")
        fields = dict.fromkeys(self.static_fields)
        fields |= dict.fromkeys(self.names.pulse[f] for f in pulse)
        fields |= dict.fromkeys(self.names.pcomp[f] for f in (*pcomp, "ENABLE"))
        if uses_seq:
            seq = ("BITA", "POSA", "PRESCALE", "REPEATS", "ENABLE")
            fields |= dict.fromkeys(self.names.seq[f] for f in seq)
        return [*fields, *self.down]


async def read_box(
    control: ControlLink,
    encoders: Mapping[str, AxisMap],
    channels: Mapping[str, ChannelSpec],
    blocks: Blocks,
    gate: str | None,
) -> Box:
    """Learn what a flight needs to know of the box.

    Raises:
        ConfigurationError: it is no PandA, or lacks a block, a field or a position.
    """
    layout = await read_layout(control, KINDS)
    for axis_map in encoders.values():
        layout.position(f"{axis_map.encoder}.VAL")
    specs = channels.values()
    taken = frozenset(layout.position(spec.field) for spec in specs)
    names = Names.on(layout, blocks, taken)
    trigs = {
        layout.block(spec.field.partition(".")[0]): layout.bit(spec.trig)
        for spec in specs
        if spec.trig is not None
    }
    attributes = [f"{s.field}.{a}" for s in specs for a in ("UNITS", "SCALE", "OFFSET")]
    length, *values = await control.values(f"{names.seq['TABLE']}.MAX_LENGTH", *attributes)
    source = f"panda://{control.address}"
    return Box(
        names=names,
        columns=tuple(_columns(encoders, channels, values, source, layout.clock_hz)),
        clock_hz=layout.clock_hz,
        table_rows=int(length) // ROW_WORDS,
        trigs=trigs,
        gate_bit=layout.bit(gate) if gate is not None else None,
    )


def _columns(
    encoders: Mapping[str, AxisMap],
    channels: Mapping[str, ChannelSpec],
    attributes: list[str],
    source: str,
    clock_hz: int,
) -> Iterator[Column]:
    for axis, axis_map in encoders.items():
        yield from encoder_columns(axis, axis_map, source, clock_hz)
    for i, (name, spec) in enumerate(channels.items()):
        units, scale, offset = attributes[3 * i : 3 * i + 3]
        yield channel_column(name, spec, (units, scale, offset), source)


def _counting(block: str, trig: str, enable: str) -> dict[str, str]:
    """Settings of a COUNTER that counts the rising edges of `trig` up from 0."""
    return {
        f"{block}.TRIG": trig,
        f"{block}.ENABLE": enable,
        f"{block}.DIR": "ZERO",
        f"{block}.TRIG_EDGE": "Rising",
        f"{block}.OUT_MODE": "On-Change",
        f"{block}.START": "0",
        f"{block}.STEP": "1",
        f"{block}.MIN": "0",
        f"{block}.MAX": "0",
    }
