"""What a path costs and whether it fits the axes, from its distinct runs only.

A grid repeats the runs of its innermost level; between two iterations exactly one outer level
steps on while the levels within it wrap around. Every kind of step is counted instead of walked,
so that a million lines cost no more than the two directions of one line and one pass over each
outer level.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ._block import FloatArray
from ._limits import AxisLimits
from ._runs import Runs
from ._stack import BoolArray, Level, Stack
from ._sweep import transfer_times

__all__ = ["Course"]


@dataclass(frozen=True, slots=True, eq=False)
class _Sweeps:
    """The sweeps of a level's runs, in the order they are flown; arrays of shape ``(runs,)``."""

    origin: Mapping[str, FloatArray]
    target: Mapping[str, FloatArray]
    ramps_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """A stack with the runs of its innermost level.

    Args:
        stack: the levels.
        forward: runs of the innermost level.
        backward: the same flown backwards.
    """

    stack: Stack
    forward: Runs
    backward: Runs

    def runs(self, backward: bool) -> Runs:
        """Runs of an iteration flown in the given direction."""
        return self.backward if backward else self.forward

    @property
    def directions(self) -> tuple[bool, ...]:
        """Whether the iterations run backwards: of the distinct ones, in order."""
        both = self.stack.inner.snaked and self.stack.iterations > 1
        return (False, True) if both else (False,)

    def flying_s(self) -> float:
        """Seconds in which triggers come, over the whole path."""
        runs = self.forward
        return float((runs.points * runs.period).sum()) * self.stack.iterations

    def turnaround_s(self, limits: Mapping[str, AxisLimits]) -> float:
        """Seconds of run-up, run-down and of the moves from target to origin."""
        sweeps = {b: _plan(self.runs(b), limits) for b in self.directions}
        backwards = self.stack.iterations // 2 if len(sweeps) == 2 else 0
        counts = {False: self.stack.iterations - backwards, True: backwards}
        within = sum(counts[b] * (s.ramps_s + _moves_s(s, limits)) for b, s in sweeps.items())
        return within + sum(self._steps_s(sweeps, limits))

    def suspects(self, limits: Mapping[str, AxisLimits]) -> list[int]:
        """Numbers of the segments to be planned in full to know that the whole path fits.

        All distinct curves, and straight segments that come out of limits; of outer positions
        out of travel only the first.
        """
        found: set[int] = set()
        for backward in self.directions:
            runs = self.runs(backward)
            doubtful = runs.curved | _outside(runs, _plan(runs, limits), limits)
            found.update((np.flatnonzero(doubtful) + backward * len(runs)).tolist())
        for level, every in zip(self.stack.outer, self.stack.repeats, strict=True):
            for axis, values in level.middle.items():
                wrong = np.flatnonzero((values < limits[axis].low) | (values > limits[axis].high))
                found.update((wrong[:1] * every * len(self.forward)).tolist())
        return sorted(found)

    def _steps_s(
        self, sweeps: Mapping[bool, _Sweeps], limits: Mapping[str, AxisLimits]
    ) -> Iterator[float]:
        """Seconds of the moves between iterations, one sum per outer level."""
        inner = _returns_s(sweeps, limits)
        outer = self.stack.outer
        for d, level in enumerate(outer):
            wrap = _wraps_s(outer[d + 1 :], limits)
            for turn, count in enumerate(self._turns(d)):
                frames = np.arange(1, level.length)
                into = (self.stack.repeats[d] * (turn * level.length + frames)) % len(sweeps)
                if level.snaked and turn:
                    frames = level.length - frames
                longest = np.maximum(inner[into], wrap)
                for axis, values in level.middle.items():
                    moves = np.abs(np.diff(values))[frames - 1]
                    longest = np.maximum(longest, _transfer_s(moves, limits[axis]))
                yield float(longest.sum()) * count

    def _turns(self, d: int) -> tuple[int, int]:
        """How many iterations of outer level `d` are even ones, and how many odd ones."""
        total = self.stack.iterations // (self.stack.repeats[d] * self.stack.outer[d].length)
        return (total + 1) // 2, total // 2


def _plan(runs: Runs, limits: Mapping[str, AxisLimits]) -> _Sweeps:
    """The arithmetic of :func:`plan_sweep` for all runs at once, without its checks."""
    ramp, settle = np.zeros(len(runs)), np.zeros(len(runs))
    for axis in runs.start:
        moves = runs.high[axis] > runs.low[axis]
        speed = np.maximum(np.abs(runs.enter[axis]), np.abs(runs.leave[axis])) / runs.period
        ramp = np.maximum(ramp, speed / limits[axis].acceleration)
        settle = np.maximum(settle, np.where(moves, limits[axis].settle, 0.0))
    ahead, after = (ramp / 2 + settle) / runs.period, ramp / 2 / runs.period
    return _Sweeps(
        origin={a: v - runs.enter[a] * ahead for a, v in runs.start.items()},
        target={a: v + runs.leave[a] * after for a, v in runs.stop.items()},
        ramps_s=float((2 * ramp + settle).sum()),
    )


def _outside(runs: Runs, sweeps: _Sweeps, limits: Mapping[str, AxisLimits]) -> BoolArray:
    """Runs whose straight sweep leaves an axis' travel or is too fast."""
    outside = np.zeros(len(runs), dtype=bool)
    for axis, enter in runs.enter.items():
        limit = limits[axis]
        outside |= np.abs(enter) / runs.period > limit.velocity
        for ends in (sweeps.origin[axis], sweeps.target[axis]):
            outside |= (ends < limit.low) | (ends > limit.high)
    return outside


def _moves_s(sweeps: _Sweeps, limits: Mapping[str, AxisLimits]) -> float:
    """Seconds between the sweeps of one iteration."""
    longest = np.zeros(1)
    for axis, target in sweeps.target.items():
        moves = sweeps.origin[axis][1:] - target[:-1]
        longest = np.maximum(longest, _transfer_s(moves, limits[axis]))
    return float(longest.sum())


def _returns_s(sweeps: Mapping[bool, _Sweeps], limits: Mapping[str, AxisLimits]) -> FloatArray:
    """Seconds the flown axes need from one iteration to the next, by direction of the next."""
    seconds: list[float] = []
    for backward, then in sweeps.items():
        before = sweeps[not backward if len(sweeps) == 2 else backward]
        moves = {a: then.origin[a][:1] - t[-1] for a, t in before.target.items()}
        times = [float(_transfer_s(move, limits[a])[0]) for a, move in moves.items()]
        seconds.append(max(times, default=0.0))
    return np.array(seconds)


def _wraps_s(levels: tuple[Level, ...], limits: Mapping[str, AxisLimits]) -> float:
    """Seconds that outer levels need from the end of their iteration to the next beginning."""
    moves = {axis: level.wrap(axis) for level in levels for axis in level.middle}
    times = [float(_transfer_s(np.array(move), limits[a])) for a, move in moves.items()]
    return max(times, default=0.0)


def _transfer_s(distances: FloatArray, limit: AxisLimits) -> FloatArray:
    return transfer_times(distances, limit.velocity, limit.acceleration)
