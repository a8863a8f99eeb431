"""PULSE: delays and stretches triggers, or makes trains of pulses of them.

As the FPGA block: DELAY and WIDTH of 1-4 ticks act as 5, a trigger that comes before the
train of the last one is out is dropped and counted, at most 255 are queued, and any write to
a register of the block while it is enabled clears the queue and the count.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from ._blocks import Inputs, Step
from ._waves import EMPTY, Ticks, Wave, edges_of, no_ticks

__all__ = ["Pulse", "PulseState"]

MIN_TICKS = 5
QUEUE_DEPTH = 255
EITHER = 2


@dataclass(frozen=True, slots=True, eq=False)
class PulseState:
    """Queue and output.

    Attributes:
        starts: first ticks of the trains that are not over, in order.
        levels: with WIDTH=0, the level the output takes at each of `starts`.
        free_at: first tick at which a trigger is accepted.
        reset: a register was written, so that the block restarts with the next tick.
    """

    starts: Ticks = field(default_factory=no_ticks)
    levels: Ticks = field(default_factory=no_ticks)
    out: bool = False
    free_at: int = 0
    dropped: int = 0
    reset: bool = False


@dataclass(frozen=True, slots=True)
class _Setup:
    """Parameters as the block uses them, ticks."""

    delay: int
    width: int
    step: int
    pulses: int
    edge: int

    @property
    def length(self) -> int:
        """Ticks from the first rising to the last falling edge of a train."""
        return (self.pulses - 1) * self.step + self.width


class Pulse:
    """Behaviour of the PULSE block."""

    def initial(self) -> PulseState:
        return PulseState()

    def written(self, state: PulseState, name: str, inputs: Inputs) -> PulseState:
        return state if name in ("ENABLE", "TRIG") else replace(state, reset=True)

    def register(self, state: PulseState, name: str) -> int:
        return {"QUEUED": state.starts.size, "DROPPED": state.dropped}[name]

    def step(self, state: PulseState, inputs: Inputs) -> Step:
        enable, span = inputs.bit("ENABLE"), inputs.span
        if not enable.level and not enable.edges.size and not state.out:
            return Step(replace(state, reset=False), {"OUT": Wave(False)})
        run = _Run(state, _setup(inputs), inputs.bit("TRIG"))
        if state.reset and enable.level:
            run.restart(span.start + 1)
        level, tick = enable.level, span.start
        for edge in enable.edges.tolist():
            if level:
                run.until(tick, edge - 1)
                run.stop(edge)
            else:
                run.restart(edge)
            level, tick = not level, edge
        if level:
            run.until(tick, span.end)
        return Step(replace(run.state, reset=False), {"OUT": Wave(state.out, run.edges())})


def _setup(inputs: Inputs) -> _Setup:
    width, delay, step = inputs.raw("WIDTH"), inputs.raw("DELAY"), inputs.raw("STEP")
    width = max(width, MIN_TICKS) if width else 0
    return _Setup(
        delay=max(delay, MIN_TICKS) if delay else 0,
        width=width,
        step=step if step > width else width + 1,
        pulses=max(inputs.raw("PULSES"), 1),
        edge=inputs.raw("TRIG_EDGE"),
    )


class _Run:
    """One slice of one PULSE."""

    def __init__(self, state: PulseState, setup: _Setup, trigger: Wave) -> None:
        self.state = state
        self._setup = setup
        self._trigger = trigger
        self._edges: list[Ticks] = []

    def edges(self) -> Ticks:
        return np.concatenate(self._edges) if self._edges else EMPTY

    def restart(self, tick: int) -> None:
        """Rising ENABLE, or a write while enabled."""
        self.stop(tick)
        self.state = replace(self.state, free_at=0, dropped=0)

    def stop(self, tick: int) -> None:
        """Falling ENABLE: output low, queue lost."""
        if self.state.out:
            self._edges.append(np.array([tick], np.int64))
        self.state = replace(self.state, starts=EMPTY, levels=EMPTY, out=False)

    def until(self, after: int, last: int) -> None:
        """Run through the ticks after < t <= last while enabled."""
        if last <= after:
            return
        if self._setup.width == 0:
            self._pass_edges(after, last)
        else:
            self._make_trains(after, last)

    def _pass_edges(self, after: int, last: int) -> None:
        """WIDTH=0: the input itself, DELAY later."""
        wave, state = self._trigger, self.state
        within = (wave.edges > after) & (wave.edges <= last)
        starts = np.concatenate((state.starts, wave.edges[within] + self._setup.delay))
        levels = np.concatenate((state.levels, wave.at(wave.edges[within]).astype(np.int64)))
        due = int(np.searchsorted(starts, last, side="right"))
        before = np.concatenate(([int(state.out)], levels[: max(due - 1, 0)]))[:due]
        self._edges.append(starts[:due][levels[:due] != before])
        out = bool(levels[due - 1]) if due else state.out
        self.state = replace(state, starts=starts[due:], levels=levels[due:], out=out)

    def _make_trains(self, after: int, last: int) -> None:
        setup, state = self._setup, self.state
        triggers = edges_of(self._trigger, setup.edge)
        triggers = triggers[(triggers > after) & (triggers <= last)]
        accepted = self._accept(triggers)
        starts = np.concatenate((state.starts, accepted + setup.delay))
        offsets = np.arange(setup.pulses, dtype=np.int64)[:, None] * setup.step
        pulse = (offsets + np.array([0, setup.width])).reshape(-1)
        ticks = (starts[:, None] + pulse).reshape(-1)
        lower, upper = np.searchsorted(ticks, (after, last), side="right")
        self._edges.append(ticks[lower:upper])
        over = int(np.searchsorted(starts + setup.length, last, side="right"))
        self.state = replace(
            self.state,
            starts=starts[over:],
            levels=EMPTY,
            out=state.out ^ bool((upper - lower) & 1),
        )

    def _accept(self, triggers: Ticks) -> Ticks:
        """The triggers that find the block free; the others are counted as dropped."""
        if not triggers.size:
            return triggers
        window = self._setup.length + 1
        free = triggers[0] >= self.state.free_at
        if not (free and (np.diff(triggers) >= window).all() and self._queue_fits(triggers)):
            return self._accept_singly(triggers, window)
        self.state = replace(self.state, free_at=int(triggers[-1]) + window)
        return triggers

    def _queue_fits(self, triggers: Ticks) -> bool:
        lasting = self._setup.delay + self._setup.length
        done = np.searchsorted(triggers + lasting, triggers, side="right")
        waiting = np.arange(triggers.size) - done + self.state.starts.size
        return bool((waiting < QUEUE_DEPTH).all())

    def _accept_singly(self, triggers: Ticks, window: int) -> Ticks:
        lasting = self._setup.delay + self._setup.length
        ends = (self.state.starts + self._setup.length).tolist()
        accepted: list[int] = []
        free_at, finished = self.state.free_at, 0
        for trigger in triggers.tolist():
            while finished < len(ends) and ends[finished] <= trigger:
                finished += 1
            if trigger >= free_at and len(ends) - finished < QUEUE_DEPTH:
                accepted.append(trigger)
                ends.append(trigger + lasting)
                free_at = trigger + window
        dropped = self.state.dropped + triggers.size - len(accepted)
        self.state = replace(self.state, free_at=free_at, dropped=dropped)
        return np.array(accepted, np.int64)
