"""PCOMP: pulses at equidistant positions.

The state machine and its conditions are those of the FPGA block: thresholds are compared as
levels, STEP is read at each falling edge and WIDTH at each rising one, the direction of a
comparison follows from the order of the last and the next crossing. So the block keeps its
next crossing when the stage halts and backs up, and a STEP below WIDTH stalls it silently.
Whether the position jumped is judged with the STEP of that moment: one lowered by just WIDTH
while OUT is low makes the next crossing look like a jump.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ._blocks import Inputs, Step
from ._positions import Counts, Position
from ._waves import EMPTY, NEVER, Ticks, Wave

__all__ = ["Pcomp", "PcompState"]

WAIT_ENABLE, WAIT_DIR, WAIT_PRE_START, WAIT_RISING, WAIT_FALLING = range(5)
HEALTH_OK, HEALTH_JUMP, HEALTH_GUESS = range(3)
DIR_POSITIVE, DIR_EITHER = 0, 2
BATCH = 65536
"""Most crossings looked for at once."""


@dataclass(frozen=True, slots=True)
class PcompState:
    """Registers of the state machine; crossings in counts, relative to `origin`."""

    phase: int = WAIT_ENABLE
    sign: int = 1
    last: int = 0
    next: int = 0
    produced: int = 0
    health: int = HEALTH_OK
    origin: int = 0

    @property
    def active(self) -> bool:
        return self.phase != WAIT_ENABLE

    @property
    def out(self) -> bool:
        return self.phase == WAIT_FALLING


@dataclass(slots=True)
class _Setup:
    """Parameters during a slice."""

    pre_start: int
    start: int
    width: int
    step: int
    pulses: int
    relative: bool
    direction: int


class Pcomp:
    """Behaviour of the PCOMP block."""

    def initial(self) -> PcompState:
        return PcompState()

    def written(self, state: PcompState, name: str, inputs: Inputs) -> PcompState:
        return state

    def register(self, state: PcompState, name: str) -> int:
        return {"PRODUCED": state.produced, "STATE": state.phase, "HEALTH": state.health}[name]

    def step(self, state: PcompState, inputs: Inputs) -> Step:
        enable = inputs.bit("ENABLE")
        if not state.active and not enable.edges.size:
            return Step(state, {"ACTIVE": Wave(False), "OUT": Wave(False)})
        run = _Run(state, _setup(inputs), inputs.position("INP"))
        level, tick = enable.level, inputs.span.start
        for edge in enable.edges.tolist():
            if level:
                run.until(tick, edge - 1)
                run.stop(edge)
            else:
                run.enable(edge)
            level, tick = not level, edge
        if level:
            run.until(tick, inputs.span.end)
        active = Wave(state.active, np.array(run.active_edges, np.int64))
        return Step(run.state, {"ACTIVE": active, "OUT": Wave(state.out, run.out_edges())})


def _setup(inputs: Inputs) -> _Setup:
    return _Setup(
        pre_start=inputs.raw("PRE_START"),
        start=inputs.raw("START"),
        width=inputs.raw("WIDTH"),
        step=inputs.raw("STEP"),
        pulses=inputs.raw("PULSES"),
        relative=bool(inputs.raw("RELATIVE")),
        direction=inputs.raw("DIR"),
    )


class _Run:
    """One slice of one PCOMP: collects edges while its state advances."""

    def __init__(self, state: PcompState, setup: _Setup, position: Position) -> None:
        self.state = state
        self.active_edges: list[int] = []
        self._outs: list[Ticks] = []
        self._setup = setup
        self._position = position

    def out_edges(self) -> Ticks:
        return np.concatenate(self._outs) if self._outs else EMPTY

    def enable(self, tick: int) -> None:
        """Rising ENABLE at `tick`."""
        setup = self._setup
        origin = self._position.value(tick) if setup.relative else 0
        state = PcompState(origin=origin, phase=WAIT_DIR)
        if setup.direction != DIR_EITHER:
            sign = 1 if setup.direction == DIR_POSITIVE else -1
            state = replace(state, phase=WAIT_PRE_START, sign=sign)
            if setup.relative and setup.start == 0 and setup.pre_start == 0:
                state = self._pulse_now(state, tick, 0)
        self.state = state
        self.active_edges.append(tick)

    def stop(self, tick: int) -> None:
        """Falling ENABLE at `tick`."""
        if self.state.active:
            self._finish(tick, self.state.health)

    def until(self, after: int, last: int) -> None:
        """Run through the ticks after < t <= last with ENABLE high."""
        tick = after
        while self.state.active and tick < last:
            tick = self._advance(tick, last)

    def _advance(self, after: int, last: int) -> int:
        phase = self.state.phase
        if phase == WAIT_DIR:
            return self._find_direction(after, last)
        if phase == WAIT_PRE_START:
            return self._await_pre_start(after, last)
        if self._regular():
            return self._pulse_train(after, last)
        return self._one_crossing(after, last)

    # Before the first pulse

    def _find_direction(self, after: int, last: int) -> int:
        setup, origin = self._setup, self.state.origin
        if not setup.relative:
            tick = self._position.first_where(lambda c: c != setup.start, after + 1, last)
            if tick != NEVER:
                above = self._position.value(tick) > setup.start
                self.state = replace(self.state, phase=WAIT_PRE_START, sign=-1 if above else 1)
            return tick
        reach = setup.start + setup.pre_start
        if reach <= 0:
            self._finish(after + 1, HEALTH_GUESS)
            return after + 1
        tick = self._position.first_where(lambda c: np.abs(c - origin) >= reach, after + 1, last)
        if tick != NEVER:
            self._guessed(tick, self._position.value(tick) - origin)
        return tick

    def _guessed(self, tick: int, moved: int) -> None:
        """RELATIVE and DIR=Either: moved far enough to tell the direction."""
        if self._setup.pre_start > 0:
            self.state = replace(self.state, phase=WAIT_PRE_START, sign=-1 if moved > 0 else 1)
            return
        sign = 1 if moved > 0 else -1
        state = replace(self.state, sign=sign)
        self.state = self._pulse_now(state, tick, sign * self._setup.start)

    def _pulse_now(self, state: PcompState, tick: int, at: int) -> PcompState:
        self._outs.append(np.array([tick], np.int64))
        return replace(
            state,
            phase=WAIT_FALLING,
            last=at,
            next=at + state.sign * self._setup.width,
            produced=state.produced + 1,
        )

    def _await_pre_start(self, after: int, last: int) -> int:
        setup, state = self._setup, self.state
        start = setup.start * (state.sign if setup.relative else 1)
        limit = state.origin + start - state.sign * setup.pre_start

        def beyond(counts: Counts) -> Any:
            return state.sign * counts < state.sign * limit

        tick = self._position.first_where(beyond, after + 1, last)
        if tick != NEVER:
            self.state = replace(state, phase=WAIT_RISING, last=start - state.sign, next=start)
        return tick

    # Pulses

    def _regular(self) -> bool:
        """Crossings lie one behind the other in the direction of travel."""
        state, setup = self.state, self._setup
        return setup.step > setup.width > 0 and state.sign * (state.next - state.last) > 0

    def _thresholds(self, last: int) -> Counts:
        """The coming crossings that the position can reach by tick `last`."""
        state, setup, sign = self.state, self._setup, self.state.sign
        _, counts = self._position.samples()
        extreme = int((sign * counts).max()) - sign * state.origin
        count = min(max((extreme - sign * state.next) // setup.step + 2, 1), BATCH)
        if setup.pulses > state.produced:
            count = min(count, setup.pulses - state.produced)
        falling_first = state.phase == WAIT_FALLING
        if falling_first and state.produced == setup.pulses:
            return np.array([state.next], np.int64)
        first = state.last + sign * setup.step if falling_first else state.next
        rises = first + sign * setup.step * np.arange(count, dtype=np.int64)
        pairs = np.stack((rises, rises + sign * setup.width), axis=1).reshape(-1)
        return np.concatenate(([state.next], pairs)) if falling_first else pairs

    def _pulse_train(self, after: int, last: int) -> int:
        state, setup, sign = self.state, self._setup, self.state.sign
        levels = self._thresholds(last)
        ticks = self._position.first_reaching(levels + state.origin, sign, after + 1, last)
        order = np.arange(levels.size, dtype=np.int64)
        ticks = np.maximum.accumulate(ticks - order) + order  # one transition a clock
        done = int(np.searchsorted(ticks, last, side="right"))
        if done == 0:
            return NEVER
        rising = (order + (state.phase == WAIT_FALLING)) % 2 == 0
        done, jumped = self._check_jumps(levels, ticks, rising, done)
        self._take(levels, ticks, rising, done)
        tick = int(ticks[done - 1]) if done else after
        if jumped:
            tick = int(ticks[done])
            self._finish(tick, HEALTH_JUMP)
        elif not rising[done - 1] and self.state.produced == setup.pulses:
            self._finish(tick, self.state.health)
        return tick

    def _check_jumps(
        self, levels: Counts, ticks: Ticks, rising: Any, done: int
    ) -> tuple[int, bool]:
        """How many of the events happen before the position skips a whole step."""
        state, sign = self.state, self.state.sign
        previous = np.concatenate(([state.last], levels[: done - 1]))
        counts = self._position.at(ticks[:done]) - state.origin
        skipped = sign * (counts - previous) >= self._setup.step
        # After STEP was lowered, a crossing may be expected beyond what it now calls a step.
        skipped &= sign * (levels[:done] - previous) <= self._setup.step
        produced = state.produced + np.cumsum(rising[:done])
        skipped &= rising[:done] | (produced != self._setup.pulses)
        return (int(np.argmax(skipped)), True) if skipped.any() else (done, False)

    def _take(self, levels: Counts, ticks: Ticks, rising: Any, done: int) -> None:
        """Let `done` events happen."""
        if not done:
            return
        state, setup, sign = self.state, self._setup, self.state.sign
        self._outs.append(ticks[:done])
        at = int(levels[done - 1])
        produced = state.produced + int(np.count_nonzero(rising[:done]))
        if rising[done - 1]:
            following, phase = at + sign * setup.width, WAIT_FALLING
        else:
            before = int(levels[done - 2]) if done > 1 else state.last
            following, phase = before + sign * setup.step, WAIT_RISING
        self.state = replace(state, phase=phase, last=at, next=following, produced=produced)

    def _one_crossing(self, after: int, last: int) -> int:
        """A single transition, for parameters that do not make a regular train."""
        state, setup = self.state, self._setup
        upward = state.next >= state.last
        goal = state.next + state.origin
        tick = self._position.first_where(
            lambda c: c >= goal if upward else c <= goal, after + 1, last
        )
        if tick == NEVER:
            return tick
        rising = state.phase == WAIT_RISING
        if not rising and state.produced == setup.pulses:
            self._outs.append(np.array([tick], np.int64))
            self.state = replace(state, phase=WAIT_RISING)
            self._finish(tick, state.health)
        elif self._jumped(self._position.value(tick) - state.origin):
            self._finish(tick, HEALTH_JUMP)
        else:
            levels = np.array([state.next], np.int64)
            self._take(levels, np.array([tick], np.int64), np.array([rising]), 1)
        return tick

    def _jumped(self, count: int) -> bool:
        state = self.state
        too_far = state.last + state.sign * self._setup.step
        up = state.last <= state.next <= too_far <= count
        return up or state.last >= state.next >= too_far >= count

    def _finish(self, tick: int, health: int) -> None:
        """Back to WAIT_ENABLE with both outputs low."""
        if self.state.out:
            self._outs.append(np.array([tick], np.int64))
        self.active_edges.append(tick)
        self.state = replace(self.state, phase=WAIT_ENABLE, health=health)
