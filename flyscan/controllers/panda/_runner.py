"""The sweeps of one arm: sets triggers, knows what was triggered, holds and continues."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from ...errors import CaptureError, FlyscanError
from ...flight import Clock, Sweep, shielded
from ._box import Box
from ._clients import foreign_clients, others_text
from ._control import ControlLink
from ._feeder import Feeder
from ._lines import Method
from ._plan import Planner
from ._settings import Settings, table_request
from ._spacing import Spacing, falls
from ._stream import RowStream
from ._text import Reply, Request, int32, uint32
from ._triggers import Program

__all__ = ["POLL", "SweepRunner"]

#: Pause between polls of a state that changes within microseconds to milliseconds, s.
POLL = 0.001
#: How long the last triggers may come after the stage is at rest, s: lag and settling.
LATE = 0.05


class SweepRunner:
    """Triggers of the sweeps between one arm and its disarm.

    Args:
        box: the connected box.
        control: its control port.
        settings: its settings.
        stream: the rows of this arm.
        planner: turns sweeps into trigger programs.
        clock: time of the waits.
        from_point: path index of the first point.
        timeout: seconds for the box to come into an expected state.
        prompt: seconds after which triggered rows have come, or the box is asked for them.
        delivery: seconds within which captured rows arrive.
    """

    def __init__(
        self,
        box: Box,
        control: ControlLink,
        settings: Settings,
        stream: RowStream,
        planner: Planner,
        clock: Clock,
        *,
        from_point: int,
        timeout: float,
        prompt: float,
        delivery: float,
    ) -> None:
        self._box = box
        self._control = control
        self._settings = settings
        self._stream = stream
        self._planner = planner
        self._clock = clock
        self._next_point = from_point
        self._timeout = timeout
        self._prompt = prompt
        self._delivery = delivery
        self._connections = control.connections
        self._program: Program | None = None
        self._prepared: tuple[Sweep, Program] | None = None
        self._withdrawn = False
        self._feeder: Feeder | None = None

    async def close(self) -> None:
        """Give no more rows to the box. Idempotent."""
        feeder, self._feeder = self._feeder, None
        if feeder is not None:
            await feeder.stop()

    @property
    def _name(self) -> str:
        return self._control.name

    # --- begin -----------------------------------------------------------------------------

    async def begin(self, sweep: Sweep) -> None:
        """Make triggers ready; nothing to do for a box still armed for this point."""
        if await self._continues(sweep):
            return
        await self.close()
        prepared, self._prepared = self._prepared, None
        if prepared is not None and prepared[0] is sweep:
            program = prepared[1]
            replies = await self._enable(program)
        else:
            if self._program is not None:
                await self._settle(self._program)
            program = self._following(sweep)
            replies = await self._set_up(program)
        self._program, self._withdrawn = program, False
        if self._feeder is not None:
            self._feeder.start(self._progress)
        await self._await_ready(program, sweep, await self._checked(replies))

    async def ready(self, sweep: Sweep) -> None:
        """Write what the sweep needs once all gates of the one before are over; no triggers yet."""
        self._prepared = None
        if self._program is None or not self._program.over:
            return
        program = self._following(sweep)
        if program.feed is not None:  # its pieces are given from the moment it begins
            return
        await self._write_program(program)
        self._prepared = sweep, program

    def _following(self, sweep: Sweep) -> Program:
        """The sweep's program, after the rows of the one before."""
        program = self._planner.program(sweep)
        if self._program is not None:
            program.rows_before = self._program.rows_before + self._program.done
        return program

    async def _continues(self, sweep: Sweep) -> bool:
        """Whether the triggers of this sweep are armed already, from before a hold."""
        program = self._program
        if program is None or program.method is Method.TIME or program.done == program.points:
            return False
        if self._withdrawn or program.over:
            return False
        await self.reached()
        if (
            program.retuned
            or program.segment.index != sweep.segment.index
            or program.next_point != sweep.from_point
            or program.done == program.points
        ):
            return False
        await self._await_ready(program, sweep, await self._poll(*self._ready_fields(program)))
        return True

    async def _set_up(self, program: Program) -> list[Reply]:
        """Triggers off, everything that differs written, triggers on, first look at them.

        One round trip, or two with a table. Returns the replies to :meth:`_queries` for
        :meth:`_ready_fields`.
        """
        if program.table or program.feed is not None:
            await self._write_program(program)
            return await self._enable(program)
        writes = self._writes(program)
        replies = await self._control.run(*writes, *self._enabling(program))
        self._written(program, writes, replies)
        return self._enabled(program, replies[len(writes) :])

    async def _write_program(self, program: Program) -> None:
        """Triggers off, and everything that differs written, tables taken."""
        writes = self._writes(program)
        tables = self._tables(program)
        self._written(program, writes, await self._control.run(*writes, *tables))
        if tables:
            await self._await_table()

    def _writes(self, program: Program) -> list[Request]:
        """Triggers off, then a look at the count of rows, and what differs for a program."""
        names = self._box.names
        down = self._settings.pending({names.run: "0", names.go: "0"})
        counter = [f"{names.counter_out}?"] if names.counter_out else []
        writes = [*down, *counter, *self._settings.pending(program.fields)]
        self._settings.doubt((*program.fields, names.run, names.go))
        return writes

    def _written(self, program: Program, writes: list[Request], replies: list[Reply]) -> None:
        names = self._box.names
        self._settings.note({**program.fields, names.run: "0", names.go: "0"})
        counter = f"{names.counter_out}?"
        program.row = program.rows_before
        if counter in writes:
            program.row = int(replies[writes.index(counter)].value)
        self._stream.rows.expect_gate(program.row, program.timing.gate)

    def _tables(self, program: Program) -> tuple[Request, ...]:
        """The sequencer's whole table, or the first pieces of it."""
        table = self._box.names.seq["TABLE"]
        if program.feed is None:
            return (table_request(table, program.table),) if program.table else ()
        self._feeder = Feeder(
            self._name,
            self._control,
            table,
            self._clock,
            program.feed,
            gated=program.table_rows > 1,
            most=self._box.table_rows,
        )
        return self._feeder.first(program.before)

    async def _enable(self, program: Program) -> list[Reply]:
        """Triggers on, and a first look at them, see :meth:`_set_up`."""
        return self._enabled(program, await self._control.run(*self._enabling(program)))

    def _enabling(self, program: Program) -> list[Request]:
        bits = self._bits(program)
        self._settings.doubt(bits)
        on = [f"{bit}={level}" for bit, level in bits.items()]
        return [*on, *self._queries(self._ready_fields(program))]

    def _enabled(self, program: Program, replies: list[Reply]) -> list[Reply]:
        bits = self._bits(program)
        self._settings.note(bits)
        return replies[len(bits) :]

    def _bits(self, program: Program) -> dict[str, str]:
        names = self._box.names
        return {names.run: "1"} | ({names.go: "1"} if program.static else {})

    async def _await_table(self) -> None:
        """The sequencer needs its enable to rise after it has taken the table."""
        state = self._box.names.seq["STATE"]
        deadline = self._clock.now() + self._timeout
        while (found := (await self._control.values(state))[0]) != "WAIT_ENABLE":
            if self._clock.now() > deadline:
                raise CaptureError(
                    f"{state} is {found}, expected WAIT_ENABLE after its table was written",
                    device=self._name,
                    remedy="check the health of the sequencer on the box's web page",
                )
            await self._clock.sleep(POLL)

    def _ready_fields(self, program: Program) -> tuple[str, ...]:
        """What shows that the box waits where the stage is; nothing to see before a dwell."""
        axis_map = self._planner.axis_map(program.segment)
        if program.static or axis_map is None:
            return ()
        return (f"{axis_map.encoder}.VAL", *program.ready_fields(self._box.names))

    async def _await_ready(self, program: Program, sweep: Sweep, values: list[str]) -> None:
        """Wait until the values of :meth:`_ready_fields` are right, beginning with `values`."""
        axis_map = self._planner.axis_map(program.segment)
        if program.static or axis_map is None:
            return
        deadline = self._clock.now() + self._timeout
        while True:
            seen = axis_map.user(int(values[0]))
            if program.ready(values[1:]) and _in_front(sweep, seen):
                return
            if self._clock.now() > deadline:
                raise self._not_ready(program, sweep, seen)
            await self._clock.sleep(POLL)
            values = await self._poll(*self._ready_fields(program))

    def _not_ready(self, program: Program, sweep: Sweep, seen: float) -> CaptureError:
        """Why the stage must not start: triggers would not come, or not where they should."""
        fast = sweep.segment.fast or ""
        unit = self._planner.encoders[fast].unit
        first = sweep.segment.bound(sweep.from_point)[fast]
        return CaptureError(
            f"segment {sweep.segment.index}: the first trigger is at {fast} = {first:.6g} {unit}; "
            f"the run-up begins at {sweep.origin[fast]:.6g}, the encoder says {seen:.6g}, and the "
            f"{program.method} block is in {program.state}",
            device=self._name,
            remedy="check that the encoder follows the stage and agrees with it (align the axis "
            "map), and that the acceleration leaves a run-up",
        )

    # --- progress --------------------------------------------------------------------------

    async def _poll(self, *fields: str) -> list[str]:
        """Values of fields, after making sure that the flight's conditions still hold.

        Raises:
            CaptureError: the capture ended, or somebody changed the settings.
        """
        self._stream.raise_error()
        if self._feeder is not None:
            self._feeder.raise_error()
        return await self._checked(await self._control.run(*self._queries(fields)))

    def _queries(self, fields: tuple[str, ...]) -> list[str]:
        return [f"{f}?" for f in (*fields, "*PCAP.STATUS", "*CHANGES.CONFIG")]

    async def _checked(self, replies: list[Reply]) -> list[str]:
        """Values from the replies to :meth:`_queries`."""
        *values, status, changes = replies
        foreign = self._settings.foreign(changes.items)
        if foreign and self._control.connections > self._connections and _idle(status):
            raise self._restarted(foreign[0])
        if foreign:
            clients = await foreign_clients(self._control, self._stream)
            self._settings.check_changes(changes.items, others_text(clients))
        if _idle(status) and not self._stream.ending:
            await self._stream.wait_over(self._timeout)  # its reason tells more than we know here
        return [reply.value for reply in values]

    def _restarted(self, gone: tuple[str, str]) -> CaptureError:
        field, value = gone
        return CaptureError(
            f"the box was restarted during the flight: its connections broke, it does not "
            f"capture any more, and settings are lost ({field} is {value!r}, flyscan had set "
            f"{self._settings.written(field)!r})",
            device=self._name,
            remedy="check its power and the log of its server, align its encoders, and fly again",
        )

    async def reached(self) -> int:
        """Next untriggered point, live; exact after a hold."""
        program = self._program
        if program is None:
            return self._next_point
        # A sequencer without its enable looks as if it had come to its end.
        if not self._withdrawn and not program.over and not await self._settle(program):
            await self._progress()
        program.raise_problem()
        return program.next_point

    async def _progress(self) -> int:
        """Triggers of the program under way that were made."""
        program = self._program
        if program is None:
            return 0
        values = await self._poll(*program.progress_fields(self._box.names))
        return program.progress(values, self._name)

    async def hold(self) -> None:
        """Stop a timed train; positions wait by themselves.

        A gate that is open at this moment is cut. Its row is not counted, and its point is the
        first one of the resumed train.
        """
        program = self._program
        if program is None or program.method is not Method.TIME or program.edges is not None:
            return
        names = self._box.names
        levels = {names.run: "0", names.go: "0"}
        off = [f"{bit}={level}" for bit, level in levels.items()]
        self._settings.doubt(levels)
        replies = await self._control.run(*off, f"{names.counter_out}?")
        self._settings.note(levels)
        program.edges = int(replies[-1].value)

    async def withdraw(self) -> None:
        """Let nothing trigger until the next begin; a train that was held is quiet already.

        A stage at rest may tremble past one point more until then, so triggers are counted
        behind it.
        """
        program = self._program
        if program is None or program.edges is not None:
            return
        self._prepared = None
        await self.reached()
        await self.close()
        names = self._box.names
        levels = {names.run: "0", names.go: "0"}
        self._settings.doubt(levels)
        off = [f"{bit}={level}" for bit, level in levels.items()]
        count = program.count_field(names)
        replies = await self._control.run(*off, *([f"{count}?"] if count else []))
        self._settings.note(levels)
        if count and not program.over:
            program.count(int(replies[-1].value))
        self._withdrawn = True

    async def _settle(self, program: Program) -> bool:
        """Whether a train was stopped; then wait for its last row to know if that is whole."""
        if program.edges is None:
            return False
        if not await self._stream.reaches(program.edges, self._prompt):
            # Late, or lost: all that the box has captured by now is decisive.
            (count,) = await self._control.values("*PCAP.CAPTURED")
            await self._stream.wait_seen(int(count), self._delivery)
        program.done = self._stream.rows.stopped(program.row, program.edges)
        return True

    async def retune(self, factor: float) -> None:
        """Change the step of what is still to be triggered; nothing to do without a sweep."""
        program = self._program
        if program is None or self._withdrawn or program.over or program.done >= program.due:
            return
        step, least = self._planner.steps(program.segment, factor)
        if program.feed is not None:
            program.feed.change(step)
        elif program.spacing is not None:
            await self._write_step(program, program.spacing, round(step), least)

    async def _write_step(self, program: Program, spacing: Spacing, step: int, least: int) -> None:
        """Write another STEP, and as many PULSES as come before the end of the line with it.

        One round trip for each. What the box says right before and right after the write tells
        which pulse is the first one elsewhere; only if a pulse ended in between, it may have been
        either of two.
        """
        wanted = spacing.writable(step, least, program.done)
        if wanted is None:
            return
        fields = program.progress_fields(self._box.names)
        pcomp = self._box.names.pcomp
        look = self._queries(fields[:2])[:2]
        replies = await self._write({pcomp["STEP"]: int32(pcomp["STEP"], wanted)}, look, look)
        before, after = [[reply.value for reply in half] for half in (replies[:2], replies[-2:])]
        if after[1] == "WAIT_ENABLE":  # all pulses are made, or they ended for another reason
            return
        spacing.change(wanted, falls(int(before[0]), before[1]), falls(int(after[0]), after[1]))
        # A number of pulses that is passed already is none: they would never stop.
        pulses = max(program.due, int(after[0]) + 1)
        await self._write({pcomp["PULSES"]: uint32(pcomp["PULSES"], pulses)})

    async def _write(
        self, fields: Mapping[str, str], before: Sequence[str] = (), after: Sequence[str] = ()
    ) -> list[Reply]:
        """Write fields in flight, with questions before and after."""
        self._settings.doubt(fields)
        writes = [f"{field}={value}" for field, value in fields.items()]
        replies = await self._control.run(*before, *writes, *after)
        self._settings.note(fields)
        return replies

    async def triggered(self, sweep: Sweep) -> None:
        """Wait until the last gate of the sweep is over, for as long as the stage flies."""
        program = self._begun(sweep)
        while program.edges is None:
            open_gate = await self._advance(program, self._control.values)
            if program.done >= program.due and not open_gate:
                await shielded(self._close(program))
                return
            left = (program.due - program.done) * program.timing.period / self._box.clock_hz
            await self._clock.sleep(max(POLL, left / 2))
        await asyncio.Event().wait()  # a train that was stopped: its rows tell the rest

    async def _close(self, program: Program) -> None:
        """Take the program for done. What is wrong by now is told once, so it must not get lost."""
        try:
            await self._poll()
        except FlyscanError as exc:
            program.problem = exc
        program.over = True

    def _begun(self, sweep: Sweep) -> Program:
        if self._program is None:
            raise CaptureError(
                f"segment {sweep.segment.index} has not begun",
                device=self._name,
                remedy="this is a defect of the caller: begin comes before end",
            )
        return self._program

    async def end(self, sweep: Sweep) -> int:
        """Wait for the last gate of the sweep; next point not triggered."""
        program = self._begun(sweep)
        done, deadline = -1, 0.0
        while not program.over and not await self._settle(program):
            open_gate = await self._advance(program, self._poll)
            if program.done > done:
                done, deadline = program.done, self._clock.now() + self._patience(program)
            if (done >= program.due and not open_gate) or self._clock.now() > deadline:
                break
            await self._clock.sleep(POLL)
        program.raise_problem()
        return program.next_point

    def _patience(self, program: Program) -> float:
        """Seconds within which the next trigger must come when the stage is at rest."""
        ticks = program.timing.gate
        if program.method is Method.TIME:
            ticks += 2 * program.timing.period
        return LATE + ticks / self._box.clock_hz

    async def _advance(self, program: Program, ask: Callable[..., Awaitable[list[str]]]) -> bool:
        """Bring the program's progress up to date; whether the gate is open."""
        pulse = self._box.names.pulse
        fields = program.progress_fields(self._box.names)
        *values, out, dropped = await ask(*fields, pulse["OUT"], pulse["DROPPED"])
        program.progress(values, self._name)
        if dropped != "0":
            raise CaptureError(
                f"segment {program.segment.index}: {dropped} of {program.points} triggers came "
                f"while the gate of {program.timing.gate / self._box.clock_hz:g} s was open",
                device=self._name,
                remedy="use a shorter exposure or a longer period, or look for speed ripple",
            )
        return out != "0"


def _idle(status: Reply) -> bool:
    return not status.value.startswith("Busy")


def _in_front(sweep: Sweep, seen: float) -> bool:
    """Whether the encoder agrees, to within the run-up, that the stage is at the sweep's origin.

    An encoder that was never aligned may read anything before the first trigger, and the box
    would wait for ever.
    """
    fast = sweep.segment.fast or ""
    run_up = abs(sweep.segment.bound(sweep.from_point)[fast] - sweep.origin[fast])
    return abs(seen - sweep.origin[fast]) <= run_up
