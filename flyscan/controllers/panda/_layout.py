"""What the box at hand has: blocks, fields and buses, asked from it instead of assumed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ...errors import ConfigurationError
from ._control import ControlLink

__all__ = ["Layout", "read_layout"]

_NAME = re.compile(r"([A-Z][A-Z0-9_]*?)(\d*)")


@dataclass(frozen=True, slots=True)
class Layout:
    """Blocks, fields, buses and clock of one box.

    Args:
        device: the capture's name, for messages.
        blocks: number of instances of every block type.
        fields: names of the fields of every block type that was asked for.
        bits: what a bit multiplexer can select.
        positions: what a position multiplexer can select and what can be captured.
        clock_hz: frequency of the clock that times are counted in.
    """

    device: str
    blocks: Mapping[str, int]
    fields: Mapping[str, frozenset[str]]
    bits: frozenset[str]
    positions: frozenset[str]
    clock_hz: int

    def block(self, name: str) -> str:
        """The box's own spelling of a block; single blocks have no number on the buses.

        Raises:
            ConfigurationError: the box has no such block.
        """
        kind, number = self._split(name)
        if not 1 <= number <= self.blocks.get(kind, 0):
            have = self.blocks.get(kind, 0)
            raise ConfigurationError(
                f"block {name} does not exist; the box has {have} of {kind}",
                device=self.device,
                remedy="choose another block in the configuration, or load firmware that has it",
            )
        return kind if self.blocks[kind] == 1 else f"{kind}{number}"

    def field(self, block: str, field: str) -> str:
        """Full name of a field, e.g. ``"PCOMP1.START"``.

        Raises:
            ConfigurationError: the block or the field does not exist.
        """
        name = self.block(block)
        kind = self._split(block)[0]
        if field not in self.fields.get(kind, frozenset[str]()):
            raise ConfigurationError(
                f"block {name} has no field {field}",
                device=self.device,
                remedy="flyscan needs PandABlocks FPGA 4.0 or later: update the firmware",
            )
        return f"{name}.{field}"

    def bit(self, name: str) -> str:
        """A name on the bit bus, checked."""
        return self._on_bus(name, self.bits, "bit bus")

    def position(self, name: str) -> str:
        """A name on the position bus, checked."""
        return self._on_bus(name, self.positions, "position bus")

    def _on_bus(self, name: str, bus: frozenset[str], what: str) -> str:
        block, _, field = name.partition(".")
        full = f"{self.block(block)}.{field}"
        if full not in bus:
            raise ConfigurationError(
                f"{name} is not on the {what}",
                device=self.device,
                remedy=f"it has {', '.join(sorted(bus))}",
            )
        return full

    def _split(self, name: str) -> tuple[str, int]:
        for kind in (name, *(m.group(1) for m in [_NAME.fullmatch(name)] if m)):
            if kind in self.blocks:
                number = name[len(kind) :]
                return kind, int(number) if number else 1
        return name, 1


async def read_layout(control: ControlLink, kinds: tuple[str, ...]) -> Layout:
    """Ask the box for its blocks, the fields of the block types `kinds`, and its buses.

    Raises:
        ConfigurationError: what answers is not a PandA.
    """
    identity, blocks, bits, positions, clock = await control.run(
        "*IDN?", "*BLOCKS?", "*BITS?", "*POSITIONS?", "*CLOCK_FREQ?", strict=False
    )
    if identity.error is not None or not identity.lines[0].startswith("OK =PandA"):
        raise ConfigurationError(
            f"expected a PandA at {control.address}, it says {identity.lines[0]!r}",
            device=control.name,
            remedy="check host and port",
        )
    counts = {kind: int(number) for kind, number in map(str.split, blocks.items)}
    present = [kind for kind in kinds if kind in counts]
    listings = await control.run(*(f"{kind}.*?" for kind in present))
    return Layout(
        device=control.name,
        blocks=counts,
        fields={
            kind: frozenset(line.split()[0] for line in listing.items)
            for kind, listing in zip(present, listings, strict=True)
        },
        bits=frozenset(bits.items),
        positions=frozenset(positions.items),
        clock_hz=int(clock.value),
    )
