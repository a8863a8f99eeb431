"""PGEN: positions from a table, one per trigger."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from ._blocks import Inputs, Step
from ._positions import Counts, Position, constant
from ._tables import Words
from ._waves import Wave

__all__ = ["Pgen", "PgenState"]

UNREADY, WAIT_ENABLE, RUNNING = range(3)


def _no_points() -> Counts:
    return np.empty(0, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class PgenState:
    """Table and place in it; `shown` is the present output."""

    points: Counts = field(default_factory=_no_points)
    active: bool = False
    taken: int = 0
    shown: int = 0
    reset: bool = False


class Pgen:
    """Behaviour of the PGEN block; streamed buffers are taken as one long table."""

    def initial(self) -> PgenState:
        return PgenState()

    def written(self, state: PgenState, name: str, inputs: Inputs) -> PgenState:
        return state

    def reset(self, state: PgenState) -> PgenState:
        """The table is taken away."""
        return replace(state, points=_no_points(), reset=True)

    def load(self, state: PgenState, words: Words, *, streaming: bool, last: bool) -> PgenState:
        """A table, or one more buffer of it."""
        points = (words.astype(np.int64) + 2**31) % 2**32 - 2**31
        return replace(state, points=np.concatenate((state.points, points)))

    def register(self, state: PgenState, name: str) -> int:
        if name != "STATE":
            return 0
        return RUNNING if state.active else WAIT_ENABLE if state.points.size else UNREADY

    def step(self, state: PgenState, inputs: Inputs) -> Step:
        enable, span = inputs.bit("ENABLE"), inputs.span
        if not enable.level and not enable.edges.size and not state.active:
            still = {"OUT": constant(state.shown, span)}
            return Step(replace(state, reset=False), {"ACTIVE": Wave(False)}, still)
        active = state.active and not state.reset
        toggles = [span.start + 1] if state.active and state.reset else list[int]()
        ticks, values = [span.start], [state.shown]
        taken, total = state.taken, state.points.size * inputs.raw("REPEATS")
        events = [(t, 0) for t in enable.edges.tolist()]
        events += [(t, 1) for t in inputs.bit("TRIG").rising.tolist()]
        for tick, kind in sorted(events):
            begins = bool(enable.at(np.array([tick]))[0])
            if kind == 0 and begins != active and (state.points.size or active):
                active, taken = begins, 0
                toggles.append(tick)
            elif kind == 1 and active:
                ticks.append(tick)
                values.append(int(state.points[taken % state.points.size]))
                taken += 1
                if taken == total:
                    active = False
                    toggles.append(tick)
        steps, points = np.array(ticks, np.int64), np.array(values, np.int64)
        after = PgenState(state.points, active, taken, values[-1])
        out = Position(lambda at: points[np.searchsorted(steps, at, side="right") - 1], span)
        wave = Wave(state.active, np.array(toggles, np.int64))
        return Step(after, {"ACTIVE": wave}, {"OUT": out})
