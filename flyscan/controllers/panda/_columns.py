"""From raw captured words to columns in physical units. Pure and vectorised.

In RAW format the box sends integers: Min, Max, Value, Diff and GATE_DURATION as int32, times and
Sum as int64, and for a Mean the int64 sum over the gate, to be divided by GATE_DURATION (the
number of clock ticks summed). Source: PandABlocks-server documentation, "Data Capture".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...flight import Channel, FloatArray
from .._axis_map import AxisMap
from ._config import ChannelSpec

__all__ = [
    "GATE",
    "TIMESTAMP",
    "Column",
    "Words",
    "captures",
    "channel_column",
    "convert",
    "encoder_columns",
]

#: Structured array of rows as they come from the data port.
Words = npt.NDArray[np.void]

GATE = "PCAP.GATE_DURATION.Value"
TIMESTAMP = "PCAP.TS_TRIG.Value"


@dataclass(frozen=True, slots=True)
class Column:
    """How one channel is made from the captured words.

    Args:
        channel: what the column is called and means.
        key: field and capture, e.g. ``"INENC1.VAL.Mean"``.
        scale: channel units per count.
        offset: channel value at 0 counts.
        shift: channel units per (count per clock tick) of `diff`: corrects a late encoder.
        diff: the field and capture `shift` refers to.
    """

    channel: Channel
    key: str
    scale: float = 1.0
    offset: float = 0.0
    shift: float = 0.0
    diff: str = ""

    @property
    def counts(self) -> bool:
        """True if the integers are handed on as they are."""
        return np.dtype(self.channel.dtype).kind == "i"

    def take(self, words: Words, gate: FloatArray) -> npt.NDArray[np.generic]:
        """The column of some rows; `gate` is their gate in ticks, never 0."""
        raw: npt.NDArray[Any] = words[self.key]
        if self.counts:
            return np.ascontiguousarray(raw)
        if self.key.endswith(".Mean"):
            column = raw / gate
            column *= self.scale
        else:
            column = np.multiply(raw, self.scale, dtype=np.float64)
        if self.offset:
            column += self.offset
        if self.shift:
            column += self.shift * words[self.diff] / gate
        return column


def encoder_columns(axis: str, axis_map: AxisMap, source: str, clock_hz: int) -> list[Column]:
    """Mean, lowest and highest position of an axis over each row's gate, in user units."""
    position = f"{axis_map.encoder}.VAL"
    late = axis_map.latency * axis_map.scale * clock_hz
    low, high = ("Min", "Max") if axis_map.scale > 0 else ("Max", "Min")
    digits = max(0, min(9, int(np.ceil(-np.log10(axis_map.resolution))) + 1))
    columns: list[Column] = []
    for name, capture in ((axis, "Mean"), (f"{axis}_min", low), (f"{axis}_max", high)):
        channel = Channel(
            name,
            "<f8",
            unit=axis_map.unit,
            source=f"{source}/{position}.{capture}",
            axis=axis if capture == "Mean" else None,
            precision=digits,
        )
        key = f"{position}.{capture}"
        diff = f"{position}.Diff" if late else ""
        columns.append(Column(channel, key, axis_map.scale, axis_map.origin, late, diff))
    return columns


def channel_column(
    name: str, spec: ChannelSpec, attributes: tuple[str, str, str], source: str
) -> Column:
    """Column of a configured channel; `attributes` are the box's UNITS, SCALE and OFFSET.

    Plain counts stay integers, as the box sends them.
    """
    units, box_scale, box_offset = attributes
    scale = float(box_scale) if spec.scale is None else spec.scale
    offset = float(box_offset) if spec.offset is None else spec.offset
    if spec.capture == "Diff" and spec.offset is None:
        offset = 0.0  # a difference of positions has no origin
    plain = scale == 1.0 and offset == 0.0 and spec.capture != "Mean"
    dtype = ("<i8" if spec.capture == "Sum" else "<i4") if plain else "<f8"
    channel = Channel(
        name,
        dtype,
        unit=units if spec.unit is None else spec.unit,
        source=f"{source}/{spec.field}.{spec.capture}",
        precision=0 if plain else 3,
    )
    return Column(channel, f"{spec.field}.{spec.capture}", scale, offset)


def captures(columns: Iterable[Column], extra: Iterable[str]) -> dict[str, str]:
    """CAPTURE attribute of every field, in the box's order of kinds, for what columns need."""
    order = ("Value", "Diff", "Sum", "Mean", "Min", "Max")
    wanted: dict[str, set[str]] = {}
    keys = [key for c in columns for key in (c.key, c.diff) if key]
    for key in (*keys, *extra):
        field, _, capture = key.rpartition(".")
        wanted.setdefault(field, set()).add(capture)
    return {
        f"{field}.CAPTURE": " ".join(sorted(kinds, key=order.index))
        for field, kinds in wanted.items()
    }


def convert(
    columns: Iterable[Column], words: Words, gate: FloatArray
) -> Mapping[str, npt.NDArray[np.generic]]:
    """All columns of some rows."""
    return {column.channel.name: column.take(words, gate) for column in columns}
