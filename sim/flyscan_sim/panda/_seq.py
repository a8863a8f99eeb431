"""SEQ: rows of two phases, each begun by a trigger on a bit or a position.

Triggers are levels, as in the FPGA block: a row whose condition already holds begins at once,
outputs keep their phase 2 values while a row waits, a streamed table that runs dry stops with
"DMA underrun", and ENABLE needs a rising edge after STATE has become WAIT_ENABLE.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._blocks import Inputs, Step
from ._positions import Counts
from ._seq_rows import Rows, RowSource, decode
from ._tables import Words
from ._waves import EMPTY, NEVER, Ticks, Wave

__all__ = ["Seq", "SeqState"]

UNREADY, WAIT_ENABLE, WAIT_TRIGGER, PHASE1, PHASE2 = range(5)
HEALTH_OK, HEALTH_UNDERRUN = range(2)
IMMEDIATE, FIRST_POSITION = 0, 7
OUTPUTS = "ABCDEF"
MOST_ROWS = 8192
"""Rows looked at in one go."""


@dataclass(frozen=True, slots=True, eq=False)
class SeqState:
    """Sequencer between slices.

    Attributes:
        active: running; else UNREADY or WAIT_ENABLE, by whether there are rows.
        free_at: tick at which the row under way is over, and the next trigger counts.
        line: rows of the table that have begun with their last repeat.
        executed: repeats of a row that has more to come; `repeat` the one begun last.
        turn: repeat of the table, from 1.
        pending: (tick, outputs) of a phase 2 that has not begun.
        waiting: the next repeat waits for its trigger.
        broken: aborted while streaming: nothing more is taken before a reset.
        reset: the table has been taken away since the last slice.
    """

    source: RowSource = field(default_factory=RowSource)
    active: bool = False
    out: int = 0
    free_at: int = 0
    executed: int = 0
    line: int = 0
    repeat: int = 0
    turn: int = 0
    pending: tuple[int, int] | None = None
    waiting: bool = False
    health: int = HEALTH_OK
    broken: bool = False
    reset: bool = False

    @property
    def shown_line(self) -> int:
        """TABLE_LINE: the row under way or waited for."""
        return self.line + 1 if self.waiting or self.executed else self.line

    @property
    def shown_repeat(self) -> int:
        """LINE_REPEAT likewise."""
        return self.executed + 1 if self.waiting else self.repeat


class Seq:
    """Behaviour of the SEQ block."""

    def initial(self) -> SeqState:
        return SeqState()

    def written(self, state: SeqState, name: str, inputs: Inputs) -> SeqState:
        return state

    def reset(self, state: SeqState) -> SeqState:
        """The table is taken away."""
        return replace(state, source=RowSource(), broken=False, reset=True)

    def load(self, state: SeqState, words: Words, *, streaming: bool, last: bool) -> SeqState:
        """A fixed table, or one more streamed buffer."""
        rows = decode(words)
        source = state.source.push(rows, last=last) if streaming else RowSource((rows,))
        return replace(state, source=source)

    def register(self, state: SeqState, name: str) -> int:
        return {
            "STATE": _phase(state),
            "HEALTH": state.health,
            "TABLE_LINE": state.shown_line,
            "LINE_REPEAT": state.shown_repeat,
            "TABLE_REPEAT": state.turn,
        }[name]

    def step(self, state: SeqState, inputs: Inputs) -> Step:
        enable = inputs.bit("ENABLE")
        run = _Run(state, inputs)
        if state.reset:
            run.drop(inputs.span.start + 1)
        level, tick = enable.level, inputs.span.start
        for edge in enable.edges.tolist():
            if level:
                run.until(tick, edge - 1)
                run.stop(edge)
            else:
                run.start(edge)
            level, tick = not level, edge - 1  # a row may begin with ENABLE itself
        if level:
            run.until(tick, inputs.span.end)
        return Step(run.state, run.waves(state))


def _phase(state: SeqState) -> int:
    if not state.active:
        return WAIT_ENABLE if state.source.ready and not state.broken else UNREADY
    if state.waiting:
        return WAIT_TRIGGER
    return PHASE1 if state.pending is not None else PHASE2


class _Run:
    """One slice of one sequencer."""

    def __init__(self, state: SeqState, inputs: Inputs) -> None:
        self.state = state
        self._inputs = inputs
        self._prescale = max(inputs.raw("PRESCALE"), 1)
        self._turns = inputs.raw("REPEATS")
        self._ticks: list[Ticks] = []
        self._values: list[Counts] = []
        self._active: list[int] = []

    def waves(self, before: SeqState) -> dict[str, Wave]:
        """Outputs over the slice."""
        waves = {"ACTIVE": Wave(before.active, np.array(self._active, np.int64))}
        ticks = np.concatenate(self._ticks) if self._ticks else EMPTY
        values = np.concatenate(self._values) if self._values else EMPTY
        if ticks.size:
            final = np.append(np.diff(ticks) > 0, True)  # the last word of a tick counts
            ticks, values = ticks[final], values[final]
        for bit, letter in enumerate(OUTPUTS):
            levels = values >> bit & 1
            level = bool(before.out >> bit & 1)
            changed = levels != np.concatenate(([int(level)], levels[:-1]))[: levels.size]
            waves[f"OUT{letter}"] = Wave(level, ticks[changed])
        return waves

    def start(self, tick: int) -> None:
        """Rising ENABLE."""
        if self.state.active or not self.state.source.ready or self.state.broken:
            return
        self.state = replace(
            self.state,
            active=True,
            free_at=tick,
            executed=0,
            line=0,
            repeat=1,
            turn=1,
            waiting=True,
            health=HEALTH_OK,
        )
        self._active.append(tick)

    def stop(self, tick: int, health: int | None = None) -> None:
        """Falling ENABLE or an error; a streamed table is lost."""
        state = self.state
        if not state.active:
            return
        if health is None and not state.source.streaming:
            source, broken = state.source.rewound(), False
        else:
            source, broken = RowSource(streaming=True), state.source.streaming
        health = state.health if health is None else health
        self._end(tick, replace(state, source=source, broken=broken, health=health))

    def drop(self, tick: int) -> None:
        """The table was taken away."""
        self.state = replace(self.state, reset=False)
        if self.state.active:
            self._end(tick, self.state)

    def _end(self, tick: int, state: SeqState) -> None:
        self.state = replace(state, active=False, out=0, pending=None, waiting=False)
        self._emit(np.array([tick], np.int64), np.array([0], np.int64))
        self._active.append(tick)

    def _emit(self, ticks: Ticks, values: Counts) -> None:
        self._ticks.append(ticks)
        self._values.append(values)

    def until(self, after: int, last: int) -> None:
        """Run through the ticks after < t <= last with ENABLE high."""
        while self.state.active:
            self._phase_two(last)
            if self.state.free_at > last:
                return
            if self._at_end():
                continue
            if not self._rows(max(after + 1, self.state.free_at), last):
                return

    def _phase_two(self, last: int) -> None:
        """Let a phase 2 begin that the last slice left over."""
        pending = self.state.pending
        if pending is not None and pending[0] <= last:
            self._emit(np.array([pending[0]], np.int64), np.array([pending[1]], np.int64))
            self.state = replace(self.state, pending=None, out=pending[1])

    def _at_end(self) -> bool:
        """At the end of a row: of the table too? True if the sequencer moved on or stopped."""
        state = self.state
        source = state.source
        if source.ready and source.taken < len(source.buffers[0]):
            return False
        if source.streaming:
            if source.last:
                self._end(state.free_at, replace(state, source=RowSource()))
            else:
                self.stop(state.free_at, HEALTH_UNDERRUN)
            return True
        if self._turns and state.turn >= self._turns:
            self._end(state.free_at, replace(state, source=source.rewound()))
        else:
            rewound = source.rewound()
            self.state = replace(state, source=rewound, line=0, turn=state.turn + 1)
        return True

    # Rows

    def _rows(self, first: int, last: int) -> bool:
        """Execute what begins in first <= t <= last; False if nothing more does."""
        rows = self.state.source.current()[:MOST_ROWS]
        repeats = int(rows.repeats[0])
        if repeats == 1:
            return self._single_rows(_alike(rows), first, last)
        return self._repeated_row(rows[:1], repeats, first, last)

    def _durations(self, rows: Rows) -> tuple[Ticks, Ticks]:
        """Ticks of phase 1 and of both phases."""
        phase1 = rows.time1 * self._prescale
        return phase1, phase1 + np.maximum(rows.time2, 1) * self._prescale

    def _single_rows(self, rows: Rows, first: int, last: int) -> bool:
        """Rows that run once, all with the same kind of trigger."""
        phase1, lengths = self._durations(rows)
        starts = self._starts(rows, lengths, first, last)
        count = int(np.searchsorted(starts, last, side="right"))
        if count:
            self._execute(rows[:count], starts[:count], phase1[:count], lengths[:count], last)
            state = self.state
            source = state.source.advance(count)
            self.state = replace(state, source=source, line=state.line + count, repeat=1)
        if count < len(rows):
            self.state = replace(self.state, waiting=self.state.free_at <= last)
        return count > 0

    def _starts(self, rows: Rows, lengths: Ticks, first: int, last: int) -> Ticks:
        """When each row begins, up to the first whose trigger does not come when expected."""
        before = np.cumsum(lengths) - lengths
        fitting = int(np.searchsorted(before, last - first, side="right"))
        rows, before = rows[:fitting], before[:fitting]
        trigger = int(rows.trigger[0]) if fitting else IMMEDIATE
        if trigger < FIRST_POSITION:
            begin = self._level_begins(trigger, 0, first, last)
            starts = np.minimum(begin + before, NEVER)
            return self._while_level(trigger, rows.position, starts)
        sign = 1 if trigger % 2 else -1
        position = self._inputs.position(f"POS{'ABC'[(trigger - FIRST_POSITION) // 2]}")
        crossings = position.first_reaching(rows.position, sign, first, last)
        starts = np.maximum.accumulate(np.maximum(crossings - before, first)) + before
        due = int(np.searchsorted(starts, last, side="right"))
        late = starts[:due] > crossings[:due]
        if late.any():
            counts = position.at(starts[:due])
            missed = late & (sign * counts < sign * rows.position[:due])
            if missed.any():
                at = int(np.argmax(missed))
                return self._from_missed(rows, starts, at, last, trigger)
        return starts

    def _from_missed(self, rows: Rows, starts: Ticks, at: int, last: int, trigger: int) -> Ticks:
        """Row `at` finds its condition gone again: it begins when it holds once more."""
        level = int(rows.position[at])
        begin = self._level_begins(trigger, level, int(starts[at]), last)
        return np.append(starts[:at], begin)

    def _repeated_row(self, row: Rows, repeats: int, first: int, last: int) -> bool:
        """One row again and again; 0 repeats are endless."""
        phase1, lengths = self._durations(row)
        trigger, level = int(row.trigger[0]), int(row.position[0])
        begin = self._level_begins(trigger, level, first, last)
        if begin > last:
            self.state = replace(self.state, waiting=True)
            return False
        count = (last - begin) // int(lengths[0]) + 1
        if repeats:
            count = min(count, repeats - self.state.executed)
        starts = begin + lengths[0] * np.arange(count, dtype=np.int64)
        levels = np.full(count, level, np.int64)
        starts = self._while_level(trigger, levels, starts)
        count = starts.size
        many = _times(row, count)
        self._execute(many, starts, np.repeat(phase1, count), np.repeat(lengths, count), last)
        self._count_repeats(count, repeats)
        return True

    def _count_repeats(self, count: int, repeats: int) -> None:
        state = self.state
        executed = state.executed + count
        if executed == repeats:
            source = state.source.advance(1)
            self.state = replace(
                state, source=source, line=state.line + 1, executed=0, repeat=repeats
            )
        else:
            self.state = replace(state, executed=executed, repeat=executed)

    def _level_begins(self, trigger: int, level: int, first: int, last: int) -> int:
        """First tick of first <= t <= last at which a condition holds, else NEVER."""
        if trigger == IMMEDIATE:
            return first if first <= last else NEVER
        if trigger >= FIRST_POSITION:
            sign = 1 if trigger % 2 else -1
            position = self._inputs.position(f"POS{'ABC'[(trigger - FIRST_POSITION) // 2]}")
            return position.first_where(lambda c: sign * c >= sign * level, first, last)
        wave = self._inputs.bit(f"BIT{'ABC'[(trigger - 1) // 2]}")
        wanted = trigger % 2 == 0
        if bool(wave.at(np.array([first]))[0]) == wanted:
            return first if first <= last else NEVER
        edges = wave.rising if wanted else wave.falling
        edges = edges[(edges > first) & (edges <= last)]
        return int(edges[0]) if edges.size else NEVER

    def _while_level(self, trigger: int, levels: Counts, starts: Ticks) -> Ticks:
        """The starts up to the first, after the very first, at which the condition is gone."""
        if trigger == IMMEDIATE or starts.size < 2 or starts[0] == NEVER:
            return starts
        holds = self._holds(trigger, levels, starts)
        holds[0] = True
        return starts if holds.all() else starts[: int(np.argmin(holds))]

    def _holds(self, trigger: int, levels: Counts, ticks: Ticks) -> NDArray[np.bool_]:
        if trigger >= FIRST_POSITION:
            sign = 1 if trigger % 2 else -1
            position = self._inputs.position(f"POS{'ABC'[(trigger - FIRST_POSITION) // 2]}")
            return sign * position.at(ticks) >= sign * levels
        wave = self._inputs.bit(f"BIT{'ABC'[(trigger - 1) // 2]}")
        return wave.at(ticks) == (trigger % 2 == 0)

    def _execute(self, rows: Rows, starts: Ticks, phase1: Ticks, lengths: Ticks, last: int) -> None:
        """Put the phases of rows on the outputs; what lies beyond `last` stays pending."""
        seconds = starts + phase1
        ticks = np.stack((starts, seconds), axis=1).reshape(-1)
        values = np.stack((rows.out1, rows.out2), axis=1).reshape(-1)
        keep = np.ones(ticks.size, bool)
        keep[::2] = rows.time1 > 0
        ticks, values = ticks[keep], values[keep]
        pending: tuple[int, int] | None = None
        if ticks[-1] > last:
            pending = int(ticks[-1]), int(values[-1])
            ticks, values = ticks[:-1], values[:-1]
        self._emit(ticks, values)
        self.state = replace(
            self.state,
            out=int(values[-1]) if values.size else self.state.out,
            pending=pending,
            free_at=int(starts[-1] + lengths[-1]),
            waiting=False,
        )


def _alike(rows: Rows) -> Rows:
    """The leading rows that run once on one kind of trigger, with positions in its direction."""
    trigger = int(rows.trigger[0])
    same = (rows.trigger == trigger) & (rows.repeats == 1)
    if trigger >= FIRST_POSITION:
        sign = 1 if trigger % 2 else -1
        same[1:] &= sign * np.diff(rows.position) >= 0
    return rows if same.all() else rows[: int(np.argmin(same))]


def _times(row: Rows, count: int) -> Rows:
    """A single row `count` times."""
    columns: list[Any] = [
        np.repeat(column, count)
        for column in (
            row.repeats,
            row.trigger,
            row.out1,
            row.out2,
            row.position,
            row.time1,
            row.time2,
        )
    ]
    return Rows(*columns)
