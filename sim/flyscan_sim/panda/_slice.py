"""One slice of time through the whole graph of blocks.

Blocks are evaluated when something asks for their outputs, so any wiring works. Where the
wiring has a loop the slice is repeated with what the loop gave last time until it agrees with
itself; as every block takes at least one clock, each repetition makes a longer part right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from ._blocks import Block, Step
from ._bus_fields import BitMux, PosMux
from ._counter import counter_of
from ._fields import Field
from ._layout import Layout
from ._positions import Counts, Position, constant
from ._registers import Parameter, Writing
from ._waves import EMPTY, HIGH, LOW, Span, Ticks, Wave, merge_toggles, no_ticks

__all__ = ["Circuit", "Line", "Slice", "Train"]

Train = Callable[[Ticks], Counts]
"""Pulses of a detector up to any tick."""

PULSE_TICKS = 6
"""Half the least distance of resolved detector pulses: 48 ns high, 48 ns low."""


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """A bit between slices: level at the last tick, and edges already on their way."""

    level: bool = False
    pending: Ticks = field(default_factory=no_ticks)

    def extend(self, start: int, level: bool, edges: Ticks) -> Ticks:
        """All coming edges, given those of a source and its level at the start of the slice.

        A source whose level is not what the line leads to has been rewired or rewritten: that
        is an edge at the first tick.
        """
        expected = self.level ^ bool(self.pending.size & 1)
        if level != expected:
            return merge_toggles(self.pending, edges, np.array([start + 1], np.int64))
        return np.concatenate((self.pending, edges)) if self.pending.size else edges

    def cut(self, coming: Ticks, end: int) -> tuple[Wave, Line]:
        """What is seen up to `end`, and the line from there on."""
        if not coming.size:
            return (HIGH if self.level else LOW), self
        seen = int(np.searchsorted(coming, end, side="right"))
        wave = Wave(self.level, coming[:seen])
        return wave, Line(wave.final, coming[seen:])


class Circuit(Protocol):
    """What a slice starts from."""

    layout: Layout
    fields: Mapping[str, Mapping[str, Field]]
    blocks: dict[str, Block]
    states: dict[str, Any]
    bits: dict[str, Line]
    inputs: dict[tuple[str, str], Line]
    encoders: dict[str, Callable[[Ticks], Counts]]
    trains: dict[str, Train]
    asleep: set[str]

    def held(self, label: str) -> int:
        """Value of a position at the end of the last slice."""
        ...

    def spoilt_triggers(self, kind: str) -> tuple[int, ...]:
        """Numbers of the triggers that faults are going to take or double."""
        ...


class Slice:
    """One attempt at a slice; `steps`, `bits` and `inputs` are its results."""

    def __init__(self, circuit: Circuit, span: Span, assumed: dict[str, Wave]) -> None:
        self.circuit = circuit
        self.span = span
        self.steps: dict[str, Step] = {}
        self.bits: dict[str, Line] = {}
        self.inputs: dict[tuple[str, str], Line] = {}
        self.waves: dict[str, Wave] = {}
        self._assumed = assumed
        self._cut: set[str] = set()
        self._running: set[str] = set()
        self._seen: dict[tuple[str, str], Wave] = {}

    def evaluate(self) -> dict[str, Wave]:
        """Run all blocks; the loops whose waves are not what was assumed, with those waves."""
        for instance in self.circuit.blocks:
            if instance not in self.circuit.asleep:
                self.step(instance)
        wrong = {label: self.waves[label] for label in self._cut}
        return {label: wave for label, wave in wrong.items() if not wave.same(self._guess(label))}

    def step(self, instance: str) -> Step:
        """The step of a block instance, taken once."""
        step = self.steps.get(instance)
        if step is None:
            self._running.add(instance)
            block = self.circuit.blocks[instance]
            step = block.step(self.circuit.states[instance], InstanceInputs(self, instance))
            self._running.discard(instance)
            self.steps[instance] = step
            for name, wave in step.bits.items():
                self._emit(f"{instance}.{name}", wave)
        return step

    def _emit(self, label: str, wave: Wave) -> None:
        """Put an output on the bus, one clock after its cause."""
        line = self.circuit.bits[label]
        edges = wave.edges + 1 if wave.edges.size else EMPTY
        coming = line.extend(self.span.start, wave.level, edges)
        self.waves[label], self.bits[label] = line.cut(coming, self.span.end)

    def wave(self, label: str) -> Wave:
        """A bit of the bus by name."""
        if label in ("ZERO", "ONE"):
            return LOW if label == "ZERO" else HIGH
        wave = self.waves.get(label)
        if wave is not None:
            return wave
        if label in self.circuit.trains:
            wave = self.waves[label] = self._resolve(self.circuit.trains[label])
            return wave
        instance = label.split(".")[0]
        if instance not in self.circuit.blocks:
            return LOW
        if instance in self.circuit.asleep:
            return HIGH if self.circuit.bits[label].level else LOW
        if instance in self._running:
            self._cut.add(label)
            return self._guess(label)
        self.step(instance)
        return self.waves.get(label, LOW)

    def _guess(self, label: str) -> Wave:
        """What a bit in a loop is taken for."""
        guess = self._assumed.get(label)
        if guess is None:
            line = self.circuit.bits[label]
            guess, _ = line.cut(line.pending, self.span.end)
        return guess

    def _resolve(self, train: Train) -> Wave:
        """Single pulses of a detector."""
        start, end = self.span.start, self.span.end
        before, after = train(np.array([start, end], np.int64)).tolist()
        if before == after:
            return LOW
        counts = np.arange(before + 1, after + 1, dtype=np.int64)
        rises = Position(train, self.span).first_reaching(counts, 1, start + 1, end)
        order = 2 * PULSE_TICKS * np.arange(rises.size, dtype=np.int64)
        rises = np.maximum.accumulate(rises - order) + order
        edges = np.stack((rises, rises + PULSE_TICKS), axis=1).reshape(-1)
        edges = edges[edges <= end]
        return Wave(False, edges[: edges.size & ~1])

    def position(self, label: str) -> Position:
        """A position of the bus by name."""
        instance, _, name = label.partition(".")
        if label == "ZERO" or instance not in self.circuit.blocks:
            return constant(0, self.span)
        if instance in self._running or instance in self.circuit.asleep:
            return constant(self.circuit.held(label), self.span)
        return self.step(instance).positions[name]

    def input(self, instance: str, name: str) -> Wave:
        """What a bit input sees, its delay included."""
        key = (instance, name)
        wave = self._seen.get(key)
        if wave is None:
            mux = self.circuit.fields[instance][name]
            source, delay = _choice(mux)
            wave = self.wave(source)
            line = self.circuit.inputs[key]
            edges = wave.edges + delay if wave.edges.size else EMPTY
            coming = line.extend(self.span.start, wave.level, edges)
            wave, self.inputs[key] = line.cut(coming, self.span.end)
            self._seen[key] = wave
        return wave


class InstanceInputs:
    """A slice as one block instance sees it."""

    def __init__(self, slice_: Slice, instance: str) -> None:
        self._slice = slice_
        self._instance = instance
        self._fields = slice_.circuit.fields[instance]
        self.span = slice_.span

    def bit(self, name: str) -> Wave:
        return self._slice.input(self._instance, name)

    def position(self, name: str) -> Position:
        mux = self._fields[name]
        return self._slice.position(mux.source if isinstance(mux, PosMux) else "ZERO")

    def raw(self, name: str) -> int:
        return raw_value(self._fields[name])

    def count(self, name: str, edge: int) -> Callable[[Ticks], Counts]:
        source, delay = _choice(self._fields[name])
        train = self._slice.circuit.trains.get(source)
        if train is None:
            return counter_of(self.bit(name), edge)
        factor = 2 if edge == 2 else 1
        return lambda ticks: train(ticks - delay) * factor

    def is_train(self, name: str) -> bool:
        return _choice(self._fields[name])[0] in self._slice.circuit.trains

    def encoder(self) -> Callable[[Ticks], Counts] | None:
        return self._slice.circuit.encoders.get(self._instance)

    def bus_position(self, label: str) -> Position:
        return self._slice.position(label)

    def bus_bits(self, word: int) -> list[tuple[int, Wave]]:
        circuit = self._slice.circuit
        names = circuit.layout.bit_bus[32 * word : 32 * word + 32]
        return [
            (offset, self._slice.wave(name))
            for offset, name in enumerate(names)
            if name and name not in circuit.trains
        ]

    def spoilt_triggers(self, kind: str) -> tuple[int, ...]:
        return self._slice.circuit.spoilt_triggers(kind)


def raw_value(field: Field) -> int:
    """Raw value of a parameter or of the last write to a write register."""
    return field.raw if isinstance(field, Parameter | Writing) else 0


def _choice(mux: Field) -> tuple[str, int]:
    return (mux.source, mux.delay) if isinstance(mux, BitMux) else ("ZERO", 0)
