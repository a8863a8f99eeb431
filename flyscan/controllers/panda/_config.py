"""Parameters of a PandA capture, JSON-able, and the field names they lead to on one box."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, TypeVar, cast

from ...errors import ConfigurationError
from ._layout import Layout

__all__ = ["KINDS", "Blocks", "ChannelSpec", "Names", "TriggerChoice", "build"]

T = TypeVar("T")

#: Block types whose fields are asked for.
KINDS = ("PCAP", "PCOMP", "SEQ", "PULSE", "BITS", "COUNTER", "INENC")

#: What can be captured of a position; combinations are separate entries on the wire.
CAPTURES = ("Value", "Diff", "Sum", "Mean", "Min", "Max")


class TriggerChoice(StrEnum):
    """Which block compares positions."""

    AUTO = "auto"
    PCOMP = "pcomp"
    SEQ = "seq"


@dataclass(frozen=True, slots=True)
class Blocks:
    """Which blocks of the box this capture may use.

    Args:
        pcomp: position compare.
        seq: sequencer, for positions the position compare cannot make.
        pulse: makes the gate of each row.
        arm: soft bit that enables the capture.
        run: soft bit that enables the triggers.
        go: soft bit that starts the triggers of a dwell.
        counter: counts triggers, so that a lost row is noticed and a cut train resumed exactly;
            None takes the last one that no channel uses.
    """

    pcomp: str = "PCOMP1"
    seq: str = "SEQ1"
    pulse: str = "PULSE1"
    arm: str = "BITS.A"
    run: str = "BITS.B"
    go: str = "BITS.C"
    counter: str | None = None


@dataclass(frozen=True, slots=True)
class ChannelSpec:
    """One captured quantity beside the encoders.

    Args:
        field: entry of the position bus, e.g. ``"COUNTER1.OUT"``.
        capture: ``Value``, ``Diff``, ``Sum``, ``Mean``, ``Min`` or ``Max`` over the row's gate.
        unit: physical unit; None takes the box's.
        scale: physical units per count; None takes the box's.
        offset: physical value at 0 counts; None takes the box's.
        trig: for a counter, the bit whose rising edges it counts, e.g. ``"TTLIN1.VAL"``.
    """

    field: str
    capture: str = "Diff"
    unit: str | None = None
    scale: float | None = None
    offset: float | None = None
    trig: str | None = None

    def __post_init__(self) -> None:
        if self.capture not in CAPTURES:
            raise ConfigurationError(
                f"unknown capture {self.capture!r}",
                device=self.field,
                remedy=f"choose one of {', '.join(CAPTURES)}",
            )


def build(cls: type[T], data: T | Mapping[str, Any], device: str) -> T:
    """Make a parameter object from its JSON form.

    Raises:
        ConfigurationError: unknown parameters, or required ones missing.
    """
    if not isinstance(data, Mapping):
        return data
    given = cast(Mapping[str, Any], data)
    try:
        return cls(**given)
    except TypeError as exc:
        known = ", ".join(f.name for f in fields(cast(type[Any], cls)))
        raise ConfigurationError(
            f"bad parameters {dict(given)!r}: {exc}",
            device=device,
            remedy=f"parameters are {known}",
        ) from exc


@dataclass(frozen=True, slots=True)
class Names:
    """Full field names of the blocks in use, checked against the box's layout."""

    arm: str
    run: str
    go: str
    arm_out: str
    run_out: str
    go_out: str
    pcomp_out: str
    seq_out: str
    pulse_out: str
    counter: str | None
    counter_out: str | None
    pcap: Mapping[str, str] = field(default_factory=dict[str, str])
    pcomp: Mapping[str, str] = field(default_factory=dict[str, str])
    seq: Mapping[str, str] = field(default_factory=dict[str, str])
    pulse: Mapping[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def on(cls, layout: Layout, blocks: Blocks, taken: frozenset[str]) -> Names:
        """Resolve `blocks` on a box; `taken` are the position bus entries channels use.

        Raises:
            ConfigurationError: a block or field is missing; it says which.
        """
        counter = blocks.counter or _free_counter(layout, taken)
        bits = {soft: _soft_bit(layout, soft) for soft in (blocks.arm, blocks.run, blocks.go)}
        if len(bits) != 3:
            raise ConfigurationError(
                f"arm, run and go need three different soft bits, got {', '.join(bits)}",
                device=layout.device,
                remedy="name three bits such as BITS.A, BITS.B and BITS.C",
            )
        return cls(
            *(name for name, _ in bits.values()),
            *(out for _, out in bits.values()),
            pcomp_out=layout.bit(f"{blocks.pcomp}.OUT"),
            seq_out=layout.bit(f"{blocks.seq}.OUTA"),
            pulse_out=layout.bit(f"{blocks.pulse}.OUT"),
            counter=layout.block(counter) if counter else None,
            counter_out=layout.position(f"{counter}.OUT") if counter else None,
            pcap=_named(layout, "PCAP", "ENABLE GATE TRIG TRIG_EDGE SHIFT_SUM ACTIVE"),
            pcomp=_named(
                layout,
                blocks.pcomp,
                "ENABLE INP PRE_START START WIDTH STEP PULSES RELATIVE DIR PRODUCED STATE HEALTH",
            ),
            seq=_named(
                layout,
                blocks.seq,
                "ENABLE BITA POSA TABLE PRESCALE REPEATS TABLE_LINE STATE HEALTH",
            ),
            pulse=_named(
                layout,
                blocks.pulse,
                "ENABLE TRIG DELAY WIDTH PULSES STEP TRIG_EDGE QUEUED DROPPED OUT",
            ),
        )


def _named(layout: Layout, block: str, wanted: str) -> dict[str, str]:
    return {name: layout.field(block, name) for name in wanted.split()}


def _soft_bit(layout: Layout, soft: str) -> tuple[str, str]:
    block, _, letter = soft.partition(".")
    return layout.field(block, letter), layout.bit(f"{block}.OUT{letter}")


def _free_counter(layout: Layout, taken: frozenset[str]) -> str | None:
    for number in range(layout.blocks.get("COUNTER", 0), 0, -1):
        if f"COUNTER{number}.OUT" not in taken:
            return f"COUNTER{number}"
    return None
