"""How the blocks are set for one sweep, and how its progress is read from them.

Gate and row are the same for every kind of trigger: PULSE makes the gate, PCAP captures on its
falling edge. What triggers PULSE differs: PCOMP or SEQ for every point, PCOMP or a soft bit for
the first point of a timed train.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ...errors import CaptureError, FlyscanError
from ...flight import Segment, Sweep
from .._axis_map import AxisMap
from ._config import Names
from ._feed import SeqFeed
from ._lines import Method, Timing, compare_line, pre_start, seq_line, seq_table
from ._spacing import Spacing
from ._text import int32, seconds, uint32

__all__ = ["Program", "program_for"]

#: STEP of a PCOMP that makes one pulse only: its check for jumps must never strike.
ONE_PULSE_STEP = 1 << 20
#: Line of the SEQ table in which the first point waits; line 1 waits for the stage to be ahead.
FIRST_LINE = 2


@dataclass(slots=True)
class Program:
    """The triggers of one sweep, as set on the box.

    Args:
        method: what makes them.
        segment: whose points they are.
        first: path index of the first one.
        timing: gate and period.
        fields: what to set; written only where it differs.
        table: lines of the sequencer table, if there is one.
        table_rows: its rows per trigger.
        spacing: where the pulses of a position compare lie.
        feed: the rows of a streamed sequencer table.
        before: counts the stage must stand before the first of them.
        static: True for a dwell, started by the soft bit.
        rows_before: triggers of earlier programs since arming.
        row: edges before its first one, cut ones counted.
        done: triggers known to have been made.
        edges: edges since arming, cut ones counted, when a train was stopped.
        over: every trigger has been made, and the last gate is closed.
        problem: what was found wrong when it was over.
    """

    method: Method
    segment: Segment
    first: int
    timing: Timing
    fields: Mapping[str, str]
    table: tuple[str, ...] = ()
    table_rows: int = 1
    spacing: Spacing | None = None
    feed: SeqFeed | None = None
    before: int = 0
    static: bool = False
    rows_before: int = 0
    row: int = 0
    done: int = 0
    edges: int | None = None
    over: bool = False
    problem: FlyscanError | None = None
    state: str = field(default="", repr=False)

    @property
    def points(self) -> int:
        """Triggers to make, at the nominal step."""
        return self.segment.end_point - self.first

    @property
    def retuned(self) -> bool:
        """Whether the step was changed on the way."""
        line = self.spacing or self.feed
        return line is not None and line.changed

    @property
    def due(self) -> int:
        """Triggers that come before the end of the line."""
        if not self.retuned:
            return self.points
        if self.feed is not None:
            return self.feed.points
        return self.points if self.spacing is None else self.spacing.pulses

    @property
    def next_point(self) -> int:
        """Path index of the next point, as far as known."""
        return self.first + self.done

    def raise_problem(self) -> None:
        """Raise what was found wrong when it was over."""
        if self.problem is not None:
            raise self.problem

    def ready_fields(self, names: Names) -> tuple[str, ...]:
        """Fields that show whether the block waits for the first trigger."""
        if self.method is Method.SEQ:
            return names.seq["STATE"], names.seq["TABLE_LINE"]
        return (names.pcomp["STATE"], names.pcomp["PRODUCED"])

    def ready(self, values: list[str]) -> bool:
        """Whether the block waits for a trigger, given the values of :meth:`ready_fields`."""
        self.state = values[0]
        if self.method is Method.SEQ:
            return values[0] == "WAIT_TRIGGER" and int(values[1]) >= FIRST_LINE
        # Held within the width of a pulse, the block waits for its falling edge first.
        return values[0] == "WAIT_RISING" or (values[0] == "WAIT_FALLING" and int(values[1]) > 0)

    def progress_fields(self, names: Names) -> tuple[str, ...]:
        """Fields that tell how many triggers were made.

        A sequencer that ran dry forgets the line it was in, the counter does not.
        """
        if self.feed is not None:
            return names.counter_out or "", names.seq["STATE"], names.seq["HEALTH"]
        if self.method is Method.SEQ:
            return names.seq["TABLE_LINE"], names.seq["STATE"], names.seq["HEALTH"]
        if self.method is Method.PCOMP:
            return names.pcomp["PRODUCED"], names.pcomp["STATE"], names.pcomp["HEALTH"]
        return names.counter_out or "", names.pcomp["STATE"], names.pcomp["HEALTH"]

    def progress(self, values: list[str], device: str) -> int:
        """Triggers made, given the values of :meth:`progress_fields`; kept in `done`.

        Raises:
            CaptureError: the block says that something went wrong.
        """
        count, state, health = int(values[0]), values[1], values[2]
        if self.method is Method.SEQ and self.feed is None:
            made = 0 if health != "OK" else self._seq_progress(count, state)
            self.done = max(self.done, min(made, self.points))
        else:
            self.count(count)
        if health != "OK":
            raise self._unhealthy(health, device)
        return self.done

    def count_field(self, names: Names) -> str | None:
        """Field that tells how many triggers were made also when none can be made any more.

        A sequencer's own position then says nothing; without a counter none tells.
        """
        return names.pcomp["PRODUCED"] if self.method is Method.PCOMP else names.counter_out

    def count(self, value: int) -> None:
        """Take in the value of :meth:`count_field`."""
        made = value if self.method is Method.PCOMP else value - self.row
        self.done = max(self.done, min(made, self.points))

    def _seq_progress(self, line: int, state: str) -> int:
        if state in ("WAIT_ENABLE", "UNREADY"):  # enabled, so it has come to its end
            return self.points
        return (line - FIRST_LINE + (state != "WAIT_TRIGGER")) // self.table_rows

    def _unhealthy(self, health: str, device: str) -> CaptureError:
        if self.feed is not None:
            return CaptureError(
                f"segment {self.segment.index}: the sequencer stopped with {health!r} before "
                f"point {self.next_point}, with {self.feed.given} of {self.points} triggers given "
                "to it: they did not come in time",
                device=device,
                remedy=f"fly again from point {self.next_point}; look for what keeps the flight "
                "host or the network busy, or fly without `streamed`",
            )
        return CaptureError(
            f"segment {self.segment.index}: the {self.method} block stopped with {health!r} after "
            f"{self.done} of {self.points} triggers",
            device=device,
            remedy="check the encoder signal and cable; a jump of more than a step means lost "
            "counts or a speed above the encoder's update rate",
        )


def program_for(
    names: Names,
    method: Method,
    sweep: Sweep,
    axis_map: AxisMap | None,
    timing: Timing,
    clock_hz: int,
    gate_bit: str | None,
    *,
    streamed: bool,
) -> Program:
    """Set-up of a sweep's triggers; with a `gate_bit`, positions wait for it, too.

    If `streamed`, sequencer rows are given in pieces while it runs.

    Raises:
        LimitError: a number does not fit its field.
    """
    pulse = {
        names.pulse["WIDTH"]: seconds(names.pulse["WIDTH"], timing.gate, clock_hz),
        names.pulse["STEP"]: seconds(names.pulse["STEP"], timing.period, clock_hz),
    }
    program = Program(method, sweep.segment, sweep.from_point, timing, pulse, static=sweep.static)
    if axis_map is None or sweep.static:
        program.fields = (
            pulse | _train(names, sweep, names.go_out) | {names.pcomp["ENABLE"]: "ZERO"}
        )
    elif method is Method.TIME:
        train = _train(names, sweep, names.pcomp_out)
        program.fields = pulse | train | _train_start(names, sweep, axis_map)
    elif method is Method.PCOMP:
        single = {names.pulse["PULSES"]: "1", names.pulse["TRIG"]: names.pcomp_out}
        program.fields = pulse | single | _compare(names, sweep, axis_map)
        program.spacing = _spacing(sweep, axis_map)
    else:
        program.fields = pulse | _sequence(names, axis_map, gate_bit)
        if streamed:
            program.feed, program.before = _feed(sweep, axis_map, timing.period / clock_hz)
        else:
            program.table = _table(sweep, axis_map, gated=gate_bit is not None)
        program.table_rows = 1 if gate_bit is None else 2
    return program


def _train(names: Names, sweep: Sweep, trigger: str) -> dict[str, str]:
    """PULSE makes the gates of all points from one trigger."""
    count = uint32(names.pulse["PULSES"], sweep.points)
    return {names.pulse["PULSES"]: count, names.pulse["TRIG"]: trigger}


def _sequence(names: Names, axis_map: AxisMap, gate_bit: str | None) -> dict[str, str]:
    return {
        names.pulse["PULSES"]: "1",
        names.pulse["TRIG"]: names.seq_out,
        names.pcomp["ENABLE"]: "ZERO",
        names.seq["ENABLE"]: names.run_out,
        names.seq["BITA"]: gate_bit or "ZERO",
        names.seq["POSA"]: f"{axis_map.encoder}.VAL",
        names.seq["PRESCALE"]: "0",
        names.seq["REPEATS"]: "1",
    }


def _table(sweep: Sweep, axis_map: AxisMap, *, gated: bool) -> tuple[str, ...]:
    line = seq_line(sweep.segment, axis_map)
    index = sweep.from_point - sweep.segment.first_point
    before = pre_start(sweep, axis_map, int(line.positions[index]), line.direction)
    return seq_table(line, index, before, gated=gated)


def _feed(sweep: Sweep, axis_map: AxisMap, period: float) -> tuple[SeqFeed, int]:
    """The points to give, and how many counts the stage must stand before them."""
    segment, fast = sweep.segment, sweep.segment.fast or ""
    line = seq_line(segment, axis_map)
    index = sweep.from_point - segment.first_point
    end = axis_map.counts(segment.stop[fast])
    end += axis_map.compare_shift(segment.velocity[fast])
    step = abs(segment.step / axis_map.scale)
    before = pre_start(sweep, axis_map, int(line.positions[index]), line.direction)
    return SeqFeed(line, index, end, step, period), before


def _compare(names: Names, sweep: Sweep, axis_map: AxisMap) -> dict[str, str]:
    line = compare_line(sweep.segment, axis_map)
    start = line.at(sweep.from_point - sweep.segment.first_point)
    return _pcomp(names, sweep, axis_map, start, line.step, sweep.points)


def _spacing(sweep: Sweep, axis_map: AxisMap) -> Spacing:
    segment, fast = sweep.segment, sweep.segment.fast or ""
    way = segment.stop[fast] - segment.bound(sweep.from_point)[fast]
    step = compare_line(segment, axis_map).step
    return Spacing(abs(step), abs(way / axis_map.scale), sweep.points)


def _train_start(names: Names, sweep: Sweep, axis_map: AxisMap) -> dict[str, str]:
    """One pulse where the first point begins."""
    fast = sweep.segment.fast or ""
    begin = sweep.segment.bound(sweep.from_point)[fast]
    velocity = sweep.velocity[fast]
    start = round(axis_map.counts(begin) + axis_map.compare_shift(velocity))
    forward = velocity / axis_map.scale > 0
    return _pcomp(names, sweep, axis_map, start, ONE_PULSE_STEP if forward else -ONE_PULSE_STEP, 1)


def _pcomp(
    names: Names, sweep: Sweep, axis_map: AxisMap, start: int, step: int, pulses: int
) -> dict[str, str]:
    direction = 1 if step > 0 else -1
    field_of = names.pcomp
    return {
        field_of["ENABLE"]: names.run_out,
        field_of["INP"]: f"{axis_map.encoder}.VAL",
        field_of["RELATIVE"]: "Absolute",
        field_of["WIDTH"]: "1",
        field_of["DIR"]: "Positive" if direction > 0 else "Negative",
        field_of["START"]: int32(field_of["START"], start),
        field_of["STEP"]: int32(field_of["STEP"], abs(step)),
        field_of["PULSES"]: uint32(field_of["PULSES"], pulses),
        field_of["PRE_START"]: int32(
            field_of["PRE_START"], pre_start(sweep, axis_map, start, direction)
        ),
    }
