"""What every simulated block has in common.

A block is a pure function of its state, its registers and its inputs over a slice of time;
it gives the state at the end of the slice and its outputs over the slice. Output bits carry
the ticks of their causes: the engine adds the one clock that every block takes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from ._positions import Counts, Position
from ._waves import Span, Ticks, Wave

__all__ = ["Block", "Inputs", "Step"]


class Inputs(Protocol):
    """What a block instance sees during a slice."""

    @property
    def span(self) -> Span:
        """The slice."""
        ...

    def bit(self, name: str) -> Wave:
        """The wave of a bit input."""
        ...

    def position(self, name: str) -> Position:
        """The position at a position input."""
        ...

    def raw(self, name: str) -> int:
        """The raw value of a parameter, or of what was last written to a write register."""
        ...

    def count(self, name: str, edge: int) -> Callable[[Ticks], Counts]:
        """Triggers at a bit input up to any tick, from an arbitrary origin."""
        ...

    def is_train(self, name: str) -> bool:
        """Whether a bit input carries detector pulses, which are counted and not resolved."""
        ...

    def encoder(self) -> Callable[[Ticks], Counts] | None:
        """The encoder wired to this block instance."""
        ...

    def bus_position(self, label: str) -> Position:
        """A position bus entry by name."""
        ...

    def bus_bits(self, word: int) -> list[tuple[int, Wave]]:
        """The used bits of a 32-bit word of the bit bus: offset and wave."""
        ...

    def spoilt_triggers(self, kind: str) -> tuple[int, ...]:
        """Numbers of the triggers that do not arrive at PCAP, or arrive twice."""
        ...


@dataclass(slots=True)
class Step:
    """Result of one slice: state at its end, outputs by field name, samples of PCAP."""

    state: Any
    bits: dict[str, Wave] = field(default_factory=dict[str, Wave])
    positions: dict[str, Position] = field(default_factory=dict[str, Position])
    batch: Any = None


class Block(Protocol):
    """The behaviour of one block type; states are immutable."""

    def initial(self) -> Any:
        """State after power-on."""
        ...

    def step(self, state: Any, inputs: Inputs) -> Step:
        """Run through one slice."""
        ...

    def written(self, state: Any, name: str, inputs: Inputs) -> Any:
        """State after a register write at the start of the slice."""
        ...

    def register(self, state: Any, name: str) -> int:
        """Raw value of a read register."""
        ...
