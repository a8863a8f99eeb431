"""The small blocks: BITS, CLOCK, LUT, SRGATE, DIV, CALC, FILTER."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ._blocks import Inputs, Step
from ._positions import Counts, Position, constant, wrap32
from ._waves import EMPTY, HIGH, LOW, Ticks, Wave, combine, edges_of, from_levels, merge_toggles

__all__ = ["Bits", "Calc", "Clock", "Div", "Filter", "Lut", "Srgate"]


class _Stateless:
    """A block without memory and without read registers of its own."""

    def initial(self) -> Any:
        return None

    def written(self, state: Any, name: str, inputs: Inputs) -> Any:
        return state

    def register(self, state: Any, name: str) -> int:
        return 0


class Bits(_Stateless):
    """BITS: soft inputs."""

    def step(self, state: Any, inputs: Inputs) -> Step:
        return Step(None, {f"OUT{c}": HIGH if inputs.raw(c) else LOW for c in "ABCD"})


class Calc(_Stateless):
    """CALC: sum of four positions, each perhaps negated, shifted right."""

    def step(self, state: Any, inputs: Inputs) -> Step:
        terms = [inputs.position(f"INP{c}") for c in "ABCD"]
        signs = [-1 if inputs.raw(f"TYPE{c}") else 1 for c in "ABCD"]
        shift = inputs.raw("SHIFT")

        def at(ticks: Ticks) -> Counts:
            total = sum(sign * term.at(ticks) for sign, term in zip(signs, terms, strict=True))
            return wrap32(np.asarray(total, np.int64) >> shift)

        still = all(term.still for term in terms)
        return Step(None, positions={"OUT": Position(at, inputs.span, still=still)})


class Lut:
    """LUT: any function of five bits, each taken as level or as edge."""

    def initial(self) -> None:
        return None

    def written(self, state: None, name: str, inputs: Inputs) -> None:
        return state

    def register(self, state: None, name: str) -> int:
        return 0

    def step(self, state: None, inputs: Inputs) -> Step:
        function = inputs.raw("FUNC")
        table = np.array([bool(function >> i & 1) for i in range(32)])
        waves = [_input(inputs, letter) for letter in "ABCDE"]
        return Step(None, {"OUT": combine(table, *waves)})


def _input(inputs: Inputs, letter: str) -> Wave:
    """Level, or a pulse of one tick at each rising, falling or either edge."""
    wave = inputs.bit(f"INP{letter}")
    kind = inputs.raw(f"TYPE{letter}")
    if kind == 0 or not wave.edges.size:
        return wave if kind == 0 else LOW
    ticks = edges_of(wave, kind - 1)
    return Wave(False, merge_toggles(ticks, ticks + 1))


@dataclass(frozen=True, slots=True)
class ClockState:
    """`origin`: a tick of a rising edge, None while stopped; `reset`: restart at once."""

    origin: int | None = None
    out: bool = False
    reset: bool = False

    @property
    def active(self) -> bool:
        return self.origin is not None


class Clock:
    """CLOCK: a square wave while enabled; writing PERIOD or WIDTH restarts its phase."""

    def initial(self) -> ClockState:
        return ClockState()

    def written(self, state: ClockState, name: str, inputs: Inputs) -> ClockState:
        return replace(state, reset=name in ("PERIOD", "WIDTH") or state.reset)

    def register(self, state: ClockState, name: str) -> int:
        return 0

    def step(self, state: ClockState, inputs: Inputs) -> Step:
        enable, span = inputs.bit("ENABLE"), inputs.span
        period, high = _clock_periods(inputs.raw("PERIOD"), inputs.raw("WIDTH"))
        if not period:
            stop = np.array([span.start + 1], np.int64) if state.out else EMPTY
            return Step(ClockState(), {"OUT": Wave(state.out, stop)})
        origin = state.origin
        if enable.level and (state.reset or origin is None):
            origin = span.start + 1
        starts, ends = enable.highs(span.start, span.end)
        parts = [EMPTY]
        for begin, end in zip(starts.tolist(), ends.tolist(), strict=True):
            continuing = begin == span.start + 1 and enable.level and origin is not None
            phase = origin if continuing and origin is not None else begin
            parts.append(_square(phase, begin, end, period, high))
            origin = phase
        edges = np.concatenate(parts)
        return self._result(state, enable, edges, origin)

    def _result(self, state: ClockState, enable: Wave, edges: Ticks, origin: int | None) -> Step:
        """Turn absolute rise (> 0) and fall (< 0) marks into toggles from the present level."""
        ticks = np.abs(edges)
        levels = edges > 0
        stops = enable.falling
        ticks = np.concatenate((ticks, stops))
        levels = np.concatenate((levels, np.zeros(stops.size, bool)))
        wave = from_levels(state.out, ticks, levels)
        running = origin if enable.final else None
        return Step(ClockState(running, wave.final), {"OUT": wave})


def _clock_periods(period: int, width: int) -> tuple[int, int]:
    """Full and high ticks as the block corrects them."""
    if period == 0 and width == 0:
        return 0, 0
    full = width + 1 if period <= width else max(period, 2)
    return full, width or full // 2


def _square(origin: int, begin: int, end: int, period: int, high: int) -> Ticks:
    """Marks of a square wave in begin <= t < end: rising ticks positive, falling negative."""
    first = max((begin - origin) // period, 0)
    last = (end - origin) // period
    rises = origin + period * np.arange(first, last + 1, dtype=np.int64)
    marks = np.stack((rises, -(rises + high)), axis=1).reshape(-1)
    ticks = np.abs(marks)
    return marks[(ticks >= begin) & (ticks < end)]


@dataclass(frozen=True, slots=True)
class GateState:
    """`force`: None, or the level a register write has asked for."""

    out: bool = False
    force: bool | None = None


class Srgate:
    """SRGATE: set and reset by edges."""

    def initial(self) -> GateState:
        return GateState()

    def written(self, state: GateState, name: str, inputs: Inputs) -> GateState:
        force = {"FORCE_SET": True, "FORCE_RST": False}.get(name, state.force)
        return replace(state, force=force)

    def register(self, state: GateState, name: str) -> int:
        return 0

    def step(self, state: GateState, inputs: Inputs) -> Step:
        enable, start = inputs.bit("ENABLE"), inputs.span.start
        sets = edges_of(inputs.bit("SET"), inputs.raw("SET_EDGE"))
        resets = edges_of(inputs.bit("RST"), inputs.raw("RST_EDGE"))
        events = [(t, 1, True) for t in sets.tolist() if enable.at(np.array([t]))[0]]
        events += [(t, 2, False) for t in resets.tolist() if enable.at(np.array([t]))[0]]
        if state.force is not None and enable.level:
            events.append((start + 1, 3, state.force))
        disabled = inputs.raw("WHEN_DISABLED")
        if disabled != 2:
            stops = enable.falling.tolist() + ([] if enable.level else [start + 1])
            events += [(t, 4, disabled == 1) for t in stops]
        out, toggles = state.out, list[int]()
        final = {tick: level for tick, _, level in sorted(events)}  # the last of a tick wins
        for tick, level in final.items():
            if level != out:
                out = level
                toggles.append(tick)
        wave = Wave(state.out, np.array(toggles, np.int64))
        return Step(GateState(out), {"OUT": wave})


@dataclass(frozen=True, slots=True)
class DivState:
    """`count`: pulses counted; `masked`: the present pulse goes to OUTD."""

    count: int = 0
    to_d: bool = False
    fresh: bool = True


class Div:
    """DIV: every DIVISOR-th pulse goes to OUTD, the others to OUTN."""

    def initial(self) -> DivState:
        return DivState()

    def written(self, state: DivState, name: str, inputs: Inputs) -> DivState:
        return DivState() if name in ("DIVISOR", "FIRST_PULSE") else state

    def register(self, state: DivState, name: str) -> int:
        return state.count

    def step(self, state: DivState, inputs: Inputs) -> Step:
        enable, wave = inputs.bit("ENABLE"), inputs.bit("INP")
        divisor = max(inputs.raw("DIVISOR"), 1)
        first = divisor - 1 if inputs.raw("FIRST_PULSE") else 0
        if state.fresh or not enable.level:
            state = replace(state, count=first, fresh=False)
        pulses = wave.rising[enable.at(wave.rising)]
        restarts = np.searchsorted(pulses, enable.rising)
        since = np.arange(pulses.size)
        offset = np.full(pulses.size, state.count, np.int64)
        for index in restarts.tolist():
            offset[index:] = first - index
        counts = (since + offset) % divisor
        chosen = counts == divisor - 1
        divided = _routed(wave, pulses[chosen], state.to_d and wave.level)
        others = _routed(wave, pulses[~chosen], wave.level and not state.to_d)
        if pulses.size:
            count = int((counts[-1] + 1) % divisor)
            state = DivState(count, bool(chosen[-1]), fresh=False)
        return Step(state, {"OUTD": divided, "OUTN": others})


def _routed(wave: Wave, begins: Ticks, level: bool) -> Wave:
    """The pulses of `wave` that begin at `begins`; `level`: one is under way."""
    ends = wave.falling
    ticks = np.concatenate((begins, ends))
    levels = np.arange(ticks.size) < begins.size
    return from_levels(level, ticks, levels)


class Filter(_Stateless):
    """FILTER: not simulated beyond its registers; OUT stays 0."""

    def step(self, state: Any, inputs: Inputs) -> Step:
        return Step(None, {"READY": LOW}, {"OUT": constant(0, inputs.span)})
