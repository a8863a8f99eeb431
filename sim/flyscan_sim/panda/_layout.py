"""What a PandABox is made of: blocks, fields and buses, read from ``layout.json``.

The layout is that of FPGA 4.1 for a PandABox without FMC card as its server reports it
(``*BLOCKS?``, ``BLOCK.*?``, ``*DESC``, ``*ENUMS``), listing order included.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

__all__ = ["BlockSpec", "ColumnSpec", "FieldSpec", "Layout", "load_layout"]

UINT32_MAX = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """One column of a table: which bits of a row it takes and how to read them."""

    name: str
    high: int
    low: int
    type: str
    description: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """One field of a block type.

    Attributes:
        number: place of the field in its block, as ``BLOCK.*?`` reports it.
        kind: field class: param, read, write, time, bit_out, pos_out, ext_out, bit_mux,
            pos_mux or table.
        type: subtype, e.g. "uint", "enum", "timestamp"; empty when the class has none.
        default: raw register value after power-on.
        scale: for type scalar, value of one raw count in `units`.
    """

    name: str
    number: int
    kind: str
    type: str
    description: str
    labels: tuple[str, ...]
    maximum: int
    default: int
    scale: float
    units: str
    columns: tuple[ColumnSpec, ...]
    row_words: int
    max_length: int

    @property
    def info(self) -> str:
        """Class and type as the server prints them, e.g. "param uint"."""
        return f"{self.kind} {self.type}" if self.type else self.kind


@dataclass(frozen=True, slots=True)
class BlockSpec:
    """One block type and how many of it there are."""

    name: str
    count: int
    description: str
    fields: Mapping[str, FieldSpec]

    def instance(self, number: int) -> str:
        """Name of instance `number` (from 1): without the number when there is only one."""
        return self.name if self.count == 1 else f"{self.name}{number}"

    def instances(self) -> Iterator[str]:
        """Names of all instances in order."""
        return (self.instance(number) for number in range(1, self.count + 1))


@dataclass(frozen=True, slots=True)
class Layout:
    """The whole box.

    Attributes:
        bit_bus: names of the 128 bus bits in order, "" where unused.
        position_bus: names of the position bus entries in order.
        metadata: (key, "string" | "multiline" | "constant") in the order of ``*METADATA.*?``.
    """

    clock_hz: int
    identity: str
    blocks: Mapping[str, BlockSpec]
    bit_bus: tuple[str, ...]
    position_bus: tuple[str, ...]
    metadata: tuple[tuple[str, str], ...]


@cache
def load_layout() -> Layout:
    """The layout shipped with the simulator."""
    text = files("flyscan_sim.panda").joinpath("layout.json").read_text(encoding="utf-8")
    raw: dict[str, Any] = json.loads(text)
    identity = raw["identity"]
    return Layout(
        clock_hz=raw["clock_hz"],
        identity=(
            f"PandA SW: {identity['software']} FPGA: {identity['fpga']} {identity['build']} "
            f"{identity['user']} rootfs: {identity['rootfs']}"
        ),
        blocks={block["name"]: _block(block) for block in raw["blocks"]},
        bit_bus=tuple(raw["bit_bus"]),
        position_bus=tuple(raw["position_bus"]),
        metadata=tuple((entry["key"], entry["kind"]) for entry in raw["metadata"]),
    )


def _block(raw: dict[str, Any]) -> BlockSpec:
    fields = {field["name"]: _field(field) for field in raw["fields"]}
    return BlockSpec(raw["name"], raw["count"], raw["description"], fields)


def _field(raw: dict[str, Any]) -> FieldSpec:
    return FieldSpec(
        name=raw["name"],
        number=raw["number"],
        kind=raw["class"],
        type=raw.get("type", ""),
        description=raw["description"],
        labels=tuple(raw.get("labels", ())),
        maximum=raw.get("max", UINT32_MAX),
        default=raw.get("default", 0),
        scale=raw.get("scale", 1.0),
        units=raw.get("units", ""),
        columns=tuple(_column(column) for column in raw.get("columns", ())),
        row_words=raw.get("row_words", 0),
        max_length=raw.get("max_length", 0),
    )


def _column(raw: dict[str, Any]) -> ColumnSpec:
    return ColumnSpec(
        name=raw["name"],
        high=raw["high"],
        low=raw["low"],
        type=raw["type"],
        description=raw.get("description", ""),
        labels=tuple(raw.get("labels", ())),
    )
