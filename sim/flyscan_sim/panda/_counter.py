"""COUNTER and INENC: positions that follow pulses and stages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ._blocks import Inputs, Step
from ._positions import Counts, Position, constant, wrap32
from ._waves import EMPTY, HIGH, LOW, Ticks, Wave, edges_of

__all__ = ["Counter", "CounterState", "Inenc", "InencState"]

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
ON_DISABLE = 1
QUADRATURE = 0


@dataclass(frozen=True, slots=True)
class CounterState:
    """Count at the end of the last slice, value at the last disable, and the carry bit."""

    count: int = 0
    latched: int = 0
    carry: bool = False
    low: int = INT32_MIN
    high: int = INT32_MAX


class Counter:
    """Behaviour of the COUNTER block: counts without looking at single pulses."""

    def initial(self) -> CounterState:
        return CounterState()

    def written(self, state: CounterState, name: str, inputs: Inputs) -> CounterState:
        if name == "SET":
            return replace(state, count=inputs.raw("SET"))
        if name in ("MIN", "MAX"):
            low, high = inputs.raw("MIN"), inputs.raw("MAX")
            if low == high == 0:
                low, high = INT32_MIN, INT32_MAX
            return replace(state, low=low, high=high)
        return state

    def register(self, state: CounterState, name: str) -> int:
        return 0

    def step(self, state: CounterState, inputs: Inputs) -> Step:
        enable, span = inputs.bit("ENABLE"), inputs.span
        latching = inputs.raw("OUT_MODE") == ON_DISABLE
        shown = state.latched if latching else state.count
        if not enable.level and not enable.edges.size:
            return Step(
                replace(state, carry=False),
                {"CARRY": Wave(state.carry, _first(span.start) if state.carry else EMPTY)},
                {"OUT": constant(shown, span)},
            )
        run = _Pieces(state, inputs, enable)
        end = np.array([span.end], np.int64)
        carry = _carry(state, inputs, enable, run)
        count = int(run.count(end)[0])
        after = replace(state, count=count, latched=int(run.latched(end)[0]), carry=carry.final)
        at = run.latched if latching else run.count
        return Step(after, {"CARRY": carry}, {"OUT": Position(at, span)})


def _first(start: int) -> Ticks:
    return np.array([start + 1], np.int64)


class _Pieces:
    """The count over a slice, piece by piece between changes of ENABLE and DIR."""

    def __init__(self, state: CounterState, inputs: Inputs, enable: Wave) -> None:
        direction, span = inputs.bit("DIR"), inputs.span
        self._triggers = inputs.count("TRIG", inputs.raw("TRIG_EDGE"))
        self._step = inputs.raw("STEP") or 1
        self._low, self._range = state.low, state.high - state.low + 1
        begins = np.unique(np.concatenate(([span.start], enable.edges, direction.edges)))
        self._begins = begins
        self._active = enable.at(begins)
        self._signs = np.where(direction.at(begins), -1, 1)
        self._origins = self._triggers(begins)
        self._bases, self._latches = self._chain(state, inputs.raw("START"), enable)

    def _chain(self, state: CounterState, start: int, enable: Wave) -> tuple[Counts, Counts]:
        """Count and latched value at the beginning of each piece."""
        bases, latches = [state.count], [state.latched]
        rises, falls = set(enable.rising.tolist()), set(enable.falling.tolist())
        for index, tick in enumerate(self._begins.tolist()[1:]):
            gained = int(self._triggers(np.array([tick]))[0] - self._origins[index])
            moved = gained * self._step * int(self._signs[index]) if self._active[index] else 0
            value = self._wrap(bases[-1] + moved)
            latches.append(value if tick in falls else latches[-1])
            bases.append(start if tick in rises else value)
        return np.array(bases, np.int64), np.array(latches, np.int64)

    def raw(self, ticks: Ticks) -> Counts:
        """Count before it is wrapped into its range."""
        piece = np.searchsorted(self._begins, ticks, side="right") - 1
        gained = (self._triggers(ticks) - self._origins[piece]) * self._active[piece]
        return self._bases[piece] + self._signs[piece] * self._step * gained

    def count(self, ticks: Ticks) -> Counts:
        return self._wrap_all(self.raw(ticks))

    def latched(self, ticks: Ticks) -> Counts:
        return self._latches[np.searchsorted(self._begins, ticks, side="right") - 1]

    def _wrap(self, value: int) -> int:
        return int(self._wrap_all(np.array([value], np.int64))[0])

    def _wrap_all(self, values: Counts) -> Counts:
        return (values - self._low) % self._range + self._low

    def turns(self, ticks: Ticks) -> Counts:
        """How often the range has been left, with sign."""
        return (self.raw(ticks) - self._low) // self._range


def _carry(state: CounterState, inputs: Inputs, enable: Wave, run: _Pieces) -> Wave:
    """CARRY: from a trigger that rolls over to the next edge of TRIG.

    The pulses of a detector are not resolved: its counter rolls over without a carry.
    """
    if inputs.is_train("TRIG"):
        return LOW
    wave = inputs.bit("TRIG")
    ticks = wave.edges[enable.at(wave.edges)]
    if not ticks.size:
        return Wave(state.carry)
    levels = run.turns(ticks) != run.turns(ticks - 1)
    before = np.concatenate(([state.carry], levels[:-1]))
    return Wave(state.carry, ticks[levels != before])


@dataclass(frozen=True, slots=True)
class InencState:
    """Quadrature: `offset` makes the count; None until the first slice, when it counts from 0."""

    offset: int | None = None
    homed: bool = False
    preset: bool = False


class Inenc:
    """Behaviour of the INENC block for one wired encoder, or none.

    A quadrature input counts from 0 at power-on, wherever the stage is: only SETP (or an
    absolute protocol) makes VAL a position.
    """

    def initial(self) -> InencState:
        return InencState()

    def written(self, state: InencState, name: str, inputs: Inputs) -> InencState:
        if name == "PROTOCOL":
            return InencState()
        return replace(state, preset=True) if name == "SETP" else state

    def register(self, state: InencState, name: str) -> int:
        return int(state.homed) if name == "HOMED" else 0

    def step(self, state: InencState, inputs: Inputs) -> Step:
        source, span = inputs.encoder(), inputs.span
        bits = {"CONN": HIGH if source else LOW, **dict.fromkeys(("A", "B", "Z", "DATA"), LOW)}
        if source is None:
            return Step(state, bits, {"VAL": constant(0, span)})
        quadrature = inputs.raw("PROTOCOL") == QUADRATURE
        offset, homed = state.offset, state.homed
        if not quadrature:
            offset, homed = 0, True
        elif offset is None or state.preset:
            target = inputs.raw("SETP") if state.preset else 0
            offset = target - int(source(np.array([span.start], np.int64))[0])
            homed = homed or state.preset
        return Step(InencState(offset, homed), bits, {"VAL": _offset(source, offset, inputs)})


def _offset(source: Callable[[Ticks], Counts], offset: int, inputs: Inputs) -> Position:
    return Position(lambda ticks: wrap32(source(ticks) + offset), inputs.span)


def counter_of(wave: Wave, edge: int) -> Callable[[Ticks], Counts]:
    """Number of triggers of a wave up to any tick of the slice."""
    ticks = edges_of(wave, edge)
    return lambda at: np.searchsorted(ticks, at, side="right").astype(np.int64)
