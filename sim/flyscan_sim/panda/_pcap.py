"""PCAP: one sample per trigger, with statistics over the gate since the last trigger.

GATE never suppresses a sample. A sample's window begins with the tick of the trigger before
it and ends before its own. Statistics of positions are taken from evenly spaced looks at the
position, both ends of every gated stretch included, weighted with the true number of ticks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._blocks import Inputs, Step
from ._capture import CapturePlan, RawColumn
from ._positions import Counts, wrap32
from ._waves import EMPTY, HIGH, NEVER, Ticks, Wave, combine, edges_of

__all__ = ["Batch", "Pcap", "PcapState"]

HEALTH_OK, HEALTH_TOO_CLOSE, HEALTH_OVERFLOW = range(3)
AND = np.array([False, False, False, True])
INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
LOOK_TICKS = 2500
"""Wanted distance of looks at a gated position, 20 us."""
LOOKS_MIN, LOOKS_MAX, LOOKS_TOTAL = 4, 512, 40_000


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Samples of one slice: ticks of their triggers (n,), and raw samples (n,)."""

    ticks: Ticks
    samples: NDArray[np.void]
    lost: tuple[int, ...] = ()
    doubled: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class _Partial:
    """Statistics of the window that no trigger has closed yet, by column key."""

    sums: dict[str, int]
    ticks: int = 0
    first: int = NEVER
    last: int = -1


@dataclass(frozen=True, slots=True, eq=False)
class PcapState:
    """Arming and experiment.

    Attributes:
        begun: tick at which PCAP became armed and enabled, None before.
        ended: tick at which the experiment ended, None before.
        completion: how the last experiment ended.
        triggers: triggers seen since power-on, lost ones included.
    """

    plan: CapturePlan | None = None
    active: bool = False
    begun: int | None = None
    ended: int | None = None
    completion: str = "Ok"
    health: int = HEALTH_OK
    triggers: int = 0
    last_trigger: int = -NEVER
    partial: _Partial = _Partial({})

    @property
    def armed(self) -> bool:
        return self.plan is not None and self.ended is None


class Pcap:
    """Behaviour of the PCAP block."""

    def initial(self) -> PcapState:
        return PcapState()

    def arm(self, state: PcapState, plan: CapturePlan) -> PcapState:
        """``*PCAP.ARM=``."""
        return PcapState(plan=plan, active=state.active, triggers=state.triggers)

    def abort(self, state: PcapState, tick: int, completion: str) -> PcapState:
        """End a running experiment from outside, e.g. "Disarmed"."""
        return replace(state, ended=tick, completion=completion) if state.armed else state

    def written(self, state: PcapState, name: str, inputs: Inputs) -> PcapState:
        return state

    def register(self, state: PcapState, name: str) -> int:
        return state.health

    def step(self, state: PcapState, inputs: Inputs) -> Step:
        span = inputs.span
        edges = [span.start + 1] if state.armed != state.active else []
        if not state.armed or state.plan is None:
            active = Wave(state.active, np.array(edges, np.int64))
            return Step(replace(state, active=False), {"ACTIVE": active})
        enable, plan = inputs.bit("ENABLE"), state.plan
        begun = state.begun if state.begun is not None else _begin(enable, span.start)
        batch: Batch | None = None
        was_active = state.active
        if begun is not None:
            state = replace(state, begun=begun)
            falls = enable.falling[enable.falling > begun]
            ended = int(falls[0]) if falls.size else None
            state, batch = _Window(state, plan, inputs, enable, ended).run()
            if state.ended is not None:
                edges.append(state.ended)
        wave = Wave(was_active, np.array(edges, np.int64))
        return Step(replace(state, active=wave.final), {"ACTIVE": wave}, batch=batch)


def _begin(enable: Wave, start: int) -> int | None:
    if enable.level:
        return start + 1
    return int(enable.rising[0]) if enable.rising.size else None


class _Window:
    """The enabled part of a slice."""

    def __init__(
        self,
        state: PcapState,
        plan: CapturePlan,
        inputs: Inputs,
        enable: Wave,
        ended: int | None,
    ) -> None:
        self._state = state
        self._plan = plan
        self._inputs = inputs
        self._enable = enable
        self._shift = inputs.raw("SHIFT_SUM")
        self._first = max(inputs.span.start + 1, state.begun or 0)
        self._ended = ended
        self._stop = ended if ended is not None else inputs.span.end + 1
        self._origin = state.begun or 0

    def run(self) -> tuple[PcapState, Batch | None]:
        triggers, lost, doubled, seen = self._triggers()
        triggers, completion, health = self._too_close(triggers)
        sums, partial = self._statistics(triggers)
        samples = np.empty(triggers.size, self._plan.raw_dtype)
        for index, column in enumerate(self._plan.columns if triggers.size else ()):
            samples[f"{index}"] = self._column(column, triggers, sums)
        state = replace(
            self._state,
            ended=self._ended,
            completion=completion,
            health=health,
            triggers=self._state.triggers + seen,
            last_trigger=int(triggers[-1]) if triggers.size else self._state.last_trigger,
            partial=partial,
        )
        return state, Batch(triggers, samples, lost, doubled) if triggers.size or lost else None

    def _triggers(self) -> tuple[Ticks, tuple[int, ...], tuple[int, ...], int]:
        """Ticks of the triggers that arrive; those lost and doubled; how many there were."""
        wave = combine(AND, self._inputs.bit("TRIG"), self._enable)
        ticks = edges_of(wave, self._inputs.raw("TRIG_EDGE"))
        ticks = ticks[(ticks >= self._first) & (ticks < self._stop)]
        seen = ticks.size
        before = self._state.triggers
        lost = self._spoilt("lost_trigger", range(before, before + seen))
        doubled = self._spoilt("doubled_trigger", range(before, before + seen))
        # The echo comes as soon as the sample of the first is written, or not in this slice.
        echoes = ticks[[i - before for i in doubled]] + self._plan.words
        ticks = np.delete(ticks, [i - before for i in lost])
        ticks = np.sort(np.concatenate((ticks, echoes[echoes < self._stop])))
        return ticks, lost, doubled, seen

    def _spoilt(self, kind: str, numbers: range) -> tuple[int, ...]:
        return tuple(i for i in self._inputs.spoilt_triggers(kind) if i in numbers)

    def _too_close(self, triggers: Ticks) -> tuple[Ticks, str, int]:
        """Cut at the first trigger that comes before the sample of the last one is written."""
        gaps = np.diff(triggers, prepend=self._state.last_trigger)
        bad = np.flatnonzero(gaps < self._plan.words)
        if not bad.size:
            return triggers, "Ok", HEALTH_OK
        self._ended = self._stop = int(triggers[bad[0]])
        return triggers[: bad[0]], "Framing error", HEALTH_TOO_CLOSE

    # Gate statistics

    def _statistics(self, triggers: Ticks) -> tuple[dict[str, NDArray[Any]], _Partial]:
        """Per sample sums by key, and what is left over for the next sample."""
        begins, ends, rows = self._pieces(triggers)
        count, old = triggers.size + 1, self._state.partial
        if not triggers.size and not begins.size:  # nothing to add, as in every turnaround
            return {}, old
        ticks = np.zeros(count, np.int64)
        ticks[0] = old.ticks
        np.add.at(ticks, rows, ends - begins)
        first = np.full(count, NEVER, np.int64)
        first[0] = old.first
        np.minimum.at(first, rows, begins)
        last = np.full(count, -1, np.int64)
        last[0] = old.last
        np.maximum.at(last, rows, ends)
        sums: dict[str, NDArray[Any]] = {"ticks": ticks, "first": first, "last": last}
        for source, measures in _gated(self._plan).items():
            self._measure(source, measures, (begins, ends, rows), count, sums)
        rest = {k: v[-1] for k, v in sums.items() if k not in ("ticks", "first", "last")}
        partial = _Partial(rest, int(ticks[-1]), int(first[-1]), int(last[-1]))
        return sums, partial

    def _pieces(self, triggers: Ticks) -> tuple[Ticks, Ticks, Ticks]:
        """Stretches of high gate, cut at the triggers, with the sample each belongs to."""
        gate = self._inputs.bit("GATE")
        if (not gate.level and not gate.edges.size) or self._stop <= self._first:
            return EMPTY, EMPTY, EMPTY
        marks = np.concatenate(([self._first], gate.edges, triggers, [self._stop]))
        marks = np.unique(marks[(marks >= self._first) & (marks <= self._stop)])
        begins, ends = marks[:-1], marks[1:]
        high = gate.at(begins)
        begins, ends = begins[high], ends[high]
        return begins, ends, np.searchsorted(triggers, begins, side="right")

    def _measure(
        self,
        source: str,
        measures: Sequence[str],
        pieces: tuple[Ticks, Ticks, Ticks],
        count: int,
        sums: dict[str, NDArray[Any]],
    ) -> None:
        begins, ends, rows = pieces
        position = self._inputs.bus_position(source)
        lengths, old = ends - begins, self._state.partial.sums
        looks = _no_looks(begins.size)
        if any(measure != "Diff" for measure in measures):
            ticks = _looks(begins, ends)
            looks = position.at(ticks.reshape(-1)).reshape(ticks.shape)
        for measure in measures:
            key = f"{source}.{measure}"
            if measure in ("Min", "Max"):
                sums[key] = _extremes(measure, looks, rows, count, old.get(key))
                continue
            wide = object if measure == "Squares" else np.int64
            total = np.zeros(count, wide)
            total[0] = old.get(key, 0)
            if measure == "Diff":
                bounds = position.at(np.concatenate((begins, ends)))
                parts = bounds[begins.size :] - bounds[: begins.size]
            elif measure == "Sum":
                parts = np.rint(looks.mean(axis=1) * lengths).astype(np.int64)
            else:
                means = (looks.astype(float) ** 2).mean(axis=1)
                parts = np.array([round(m * n) for m, n in zip(means, lengths, strict=True)], wide)
            np.add.at(total, rows, parts)
            sums[key] = total

    # Columns

    def _column(
        self, column: RawColumn, triggers: Ticks, sums: dict[str, NDArray[Any]]
    ) -> NDArray[Any]:
        if column.source.startswith("PCAP."):
            return self._own_column(column.source.removeprefix("PCAP."), triggers, sums)
        if column.measure == "Value":
            return self._inputs.bus_position(column.source).at(triggers)
        values = sums[column.key][:-1]
        if column.measure == "Squares":
            return _as_96_bits(values, self._shift)
        if column.measure == "Diff":
            return wrap32(values)
        return values >> self._shift if column.measure == "Sum" else values

    def _own_column(
        self, name: str, triggers: Ticks, sums: dict[str, NDArray[Any]]
    ) -> NDArray[Any]:
        if name == "TS_TRIG":
            return triggers - self._origin
        if name == "GATE_DURATION":
            return (sums["ticks"][:-1] >> self._shift) & 0xFFFF_FFFF
        if name.startswith("BITS"):
            return self._bits(int(name.removeprefix("BITS")), triggers)
        edge = sums["first" if name == "TS_START" else "last"][:-1]
        return np.where(sums["ticks"][:-1] > 0, edge - self._origin, -1)

    def _bits(self, word: int, triggers: Ticks) -> Counts:
        value = np.zeros(triggers.size, np.int64)
        for offset, wave in self._inputs.bus_bits(word):
            if wave is HIGH:
                value |= 1 << offset
            elif wave.level or wave.edges.size:
                value |= wave.at(triggers).astype(np.int64) << offset
        return value


def _gated(plan: CapturePlan) -> dict[str, list[str]]:
    """Measures that need the gate, by position."""
    wanted: dict[str, list[str]] = {}
    for column in plan.columns:
        if not column.source.startswith("PCAP.") and column.measure != "Value":
            measures = wanted.setdefault(column.source, [])
            if column.measure not in measures:
                measures.append(column.measure)
    return wanted


def _no_looks(pieces: int) -> Counts:
    return np.empty((pieces, 0), np.int64)


def _looks(begins: Ticks, ends: Ticks) -> Ticks:
    """Ticks at which to look at a position: the same number in every piece, ends included."""
    if not begins.size:
        return np.zeros((0, LOOKS_MIN), np.int64)
    wanted = int((ends - begins).max()) // LOOK_TICKS + 2
    most = max(LOOKS_TOTAL // begins.size, LOOKS_MIN)
    number = min(max(wanted, LOOKS_MIN), LOOKS_MAX, most)
    steps = np.arange(number, dtype=np.int64)
    return begins[:, None] + (ends - 1 - begins)[:, None] * steps // (number - 1)


def _extremes(measure: str, looks: Counts, rows: Ticks, count: int, old: int | None) -> Counts:
    """Smallest or largest look per sample; the opposite limit where the gate stayed low."""
    least = measure == "Min"
    empty = INT32_MAX if least else INT32_MIN
    result = np.full(count, empty, np.int64)
    result[0] = empty if old is None else old
    if rows.size:
        parts = looks.min(axis=1) if least else looks.max(axis=1)
        (np.minimum if least else np.maximum).at(result, rows, parts)
    return result


def _as_96_bits(values: NDArray[Any], shift: int) -> NDArray[np.void]:
    mask = (1 << 96) - 1
    data = b"".join(((int(v) >> shift) & mask).to_bytes(12, "little") for v in values)
    return np.frombuffer(data, "V12")
