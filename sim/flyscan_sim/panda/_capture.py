"""What a sample consists of: capture list, raw words, scaled values, header.

Raw samples hold, in this order: the gate duration if means need it and nobody captures it,
32-bit words without scaling, scaled 32-bit words, 64-bit words, sums for means (64 bits),
sums and sums of squares for standard deviations (64 and 96 bits).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._bus_fields import ExtOut, PosOut
from ._text import CommandError

__all__ = ["CaptureOutput", "CapturePlan", "RawColumn", "plan_capture"]

TICK_S = 8e-9
GATE_DURATION = "PCAP.GATE_DURATION"
MAX_WORDS = 64
"""Words that fit in a sample: more is refused with "Too many captures for PCAP"."""

UNSCALED, SCALED32, SCALED64, AVERAGE, DEVIATION = range(5)
_MODES = {
    "Value": SCALED32,
    "Diff": SCALED32,
    "Min": SCALED32,
    "Max": SCALED32,
    "Sum": SCALED64,
    "Mean": AVERAGE,
    "StdDev": DEVIATION,
}
_EXT_MODES = {"timestamp": SCALED64, "samples": SCALED32, "bits": UNSCALED}
_RAW_TYPES = ("<u4", "<i4", "<i8", "<i8", "<i8")
_RAW_NAMES = ("uint32", "int32", "int64", "int64", "int96")


@dataclass(frozen=True, slots=True)
class RawColumn:
    """One entry of a raw sample.

    Attributes:
        source: label of the captured field, e.g. "INENC1.VAL".
        measure: Value, Diff, Sum, Min, Max or Squares.
        dtype: numpy type; Squares are 12 bytes.
    """

    source: str
    measure: str
    dtype: str

    @property
    def key(self) -> str:
        return f"{self.source}.{self.measure}"


@dataclass(frozen=True, slots=True)
class CaptureOutput:
    """One value of a sample as the client gets it."""

    source: str
    capture: str
    mode: int
    scale: float
    offset: float
    units: str
    with_mean: bool = False

    def raw_columns(self) -> list[RawColumn]:
        measure = "Sum" if self.mode in (AVERAGE, DEVIATION) else self.capture
        columns = [RawColumn(self.source, measure, _RAW_TYPES[self.mode])]
        if self.mode == DEVIATION:
            columns.append(RawColumn(self.source, "Squares", "V12"))
        return columns


@dataclass(frozen=True)
class CapturePlan:
    """The samples of one experiment.

    Attributes:
        outputs: in the order of the data, without the hidden gate duration.
        hidden_samples: raw samples begin with a gate duration that only means need.
        columns: the raw sample.
    """

    outputs: tuple[CaptureOutput, ...]
    hidden_samples: bool
    columns: tuple[RawColumn, ...]

    @property
    def raw_dtype(self) -> np.dtype[np.void]:
        return np.dtype([(f"{i}", column.dtype) for i, column in enumerate(self.columns)])

    @property
    def words(self) -> int:
        return self.raw_dtype.itemsize // 4

    @property
    def scaled_dtype(self) -> np.dtype[np.void]:
        return np.dtype([(f"{i}", kind) for i, (_, kind) in enumerate(self._scaled_parts())])

    def _scaled_parts(self) -> list[tuple[CaptureOutput, str]]:
        """Outputs with their scaled types; a standard deviation may bring its mean along."""
        parts: list[tuple[CaptureOutput, str]] = []
        for output in self.outputs:
            if output.with_mean:
                parts.append((_mean_of(output), "<f8"))
            parts.append((output, "<u4" if output.mode == UNSCALED else "<f8"))
        return parts

    def header_outputs(self, *, raw: bool) -> list[tuple[CaptureOutput, str]]:
        """Outputs and type names as the header lists them."""
        if not raw:
            names = {"<u4": "uint32", "<f8": "double"}
            return [(output, names[kind]) for output, kind in self._scaled_parts()]
        listed: list[tuple[CaptureOutput, str]] = []
        if self.hidden_samples:
            listed.append((_samples_output(), _RAW_NAMES[SCALED32]))
        for output in self.outputs:
            if output.mode == DEVIATION:
                listed.append((_mean_of(output), _RAW_NAMES[AVERAGE]))
            listed.append((output, _RAW_NAMES[output.mode]))
        return listed

    def scaled(self, raw: NDArray[np.void]) -> NDArray[np.void]:
        """Samples (n,) of `raw_dtype` converted to `scaled_dtype`."""
        result = np.empty(raw.size, self.scaled_dtype)
        names = {column.key: f"{i}" for i, column in enumerate(self.columns)}
        samples = raw[names[f"{GATE_DURATION}.Value"]] if self._averaging else None
        for index, (output, _) in enumerate(self._scaled_parts()):
            result[f"{index}"] = _convert(output, raw, names, samples)
        return result

    @property
    def _averaging(self) -> bool:
        return any(output.mode in (AVERAGE, DEVIATION) for output in self.outputs)


def plan_capture(fields: Iterable[PosOut | ExtOut]) -> CapturePlan:
    """The plan for the present CAPTURE settings.

    Raises:
        CommandError: nothing or too much to capture.
    """
    outputs = sorted(_outputs(fields), key=lambda output: output.mode)
    averaging = any(output.mode in (AVERAGE, DEVIATION) for output in outputs)
    counted = any(output.source == GATE_DURATION for output in outputs)
    hidden = averaging and not counted
    columns = [RawColumn(GATE_DURATION, "Value", "<u4")] if hidden else []
    for output in outputs:
        columns.extend(output.raw_columns())
    if not columns:
        raise CommandError("Nothing configured for capture")
    plan = CapturePlan(tuple(outputs), hidden, tuple(columns))
    if plan.words >= MAX_WORDS:
        raise CommandError("Too many captures for PCAP")
    return plan


def _outputs(fields: Iterable[PosOut | ExtOut]) -> list[CaptureOutput]:
    outputs: list[CaptureOutput] = []
    for field in fields:
        if isinstance(field, ExtOut):
            if field.capture:
                mode = _EXT_MODES[field.spec.type]
                outputs.append(CaptureOutput(field.label, "Value", mode, TICK_S, 0.0, "s"))
            continue
        deviating = "StdDev" in field.capture
        for option in field.capture:
            if option == "Mean" and deviating:
                continue  # comes along with the standard deviation
            mean = option == "StdDev" and "Mean" in field.capture
            outputs.append(
                CaptureOutput(
                    field.label,
                    option,
                    _MODES[option],
                    field.scale,
                    field.offset,
                    field.units,
                    mean,
                )
            )
    return outputs


def _mean_of(output: CaptureOutput) -> CaptureOutput:
    return CaptureOutput(output.source, "Mean", AVERAGE, output.scale, output.offset, output.units)


def _samples_output() -> CaptureOutput:
    return CaptureOutput(GATE_DURATION, "Value", SCALED32, TICK_S, 0.0, "s")


def _convert(
    output: CaptureOutput,
    raw: NDArray[np.void],
    names: dict[str, str],
    samples: NDArray[np.integer] | None,
) -> NDArray[np.generic]:
    columns = output.raw_columns()
    values = raw[names[columns[0].key]]
    if output.mode == UNSCALED:
        return values
    if output.mode in (AVERAGE, DEVIATION) and samples is not None:
        counts = np.where(samples == 0, np.nan, samples.astype(np.uint32))
        if output.mode == AVERAGE:
            return output.scale * values / counts + output.offset
        squares = raw[names[columns[1].key]]
        return output.scale * _deviations(samples, values, squares)
    return output.scale * values.astype(float) + output.offset


def _deviations(
    samples: NDArray[np.integer], sums: NDArray[np.integer], squares: NDArray[np.void]
) -> NDArray[np.float64]:
    """Standard deviations from n, sum(x) and sum(x^2), in exact integers."""
    result = np.empty(samples.size)
    for index, (count, total) in enumerate(zip(samples.tolist(), sums.tolist(), strict=True)):
        square = int.from_bytes(squares[index].tobytes(), "little")
        spread = count * square - total * total
        result[index] = math.sqrt(spread) / count if count > 0 <= spread else math.nan
    return result
