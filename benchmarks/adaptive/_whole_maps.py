"""Whole maps by the default policy as a flight runs it: nothing left out of the score.

The table of cells scores one line after three others, flown as planned. Here the whole policy
steers, block by block through its guard rail: the first line that knows nothing, lines that
refresh the prior, going back on surprises with its turns. Uniform lines get the same mean time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from flyscan.adaptive import Budget, Policy, PriorSpeed, SimulatedLine, Steering
from flyscan.flight import FloatArray

from ._cells import POINTS_PER_WIDTH, SHIFT
from ._lines import TURN, context
from ._noise_free import RAIL, drawn
from ._signals import signal_of

__all__ = ["LINES", "WholeMap", "whole_map"]

LINES = 24
EXTRA = 0.25
DELAY = 10.0


@dataclass(frozen=True)
class WholeMap:
    """Sums over all lines of some maps.

    Args:
        ours, uniform: mean square error.
        time: mean time over that of planned uniform lines.
        longest: largest time of a map, likewise.
        returns: how often a line went back, per map.
    """

    ours: float
    uniform: float
    time: float
    longest: float
    returns: float

    @property
    def ratio(self) -> float:
        """Pooled error relative to uniform lines of the same time."""
        return float(np.sqrt(self.ours / self.uniform))


def whole_map(name: str, rows_per_width: int, peak: float, maps: int) -> WholeMap:
    """Fly maps of :data:`LINES` lines whose features drift from line to line."""
    signal = signal_of(name)
    flown = [_Map(name, rows_per_width, peak, seed) for seed in range(maps)]
    ours = [one.fly(PriorSpeed("y", signal.width, counting=peak > 0), 1.0) for one in flown]
    times = [seconds for _, seconds, _ in ours]
    even = [one.fly(Budget(), time) for one, time in zip(flown, times, strict=True)]
    return WholeMap(
        float(np.mean([square for square, _, _ in ours])),
        float(np.mean([square for square, _, _ in even])),
        float(np.mean(times)),
        float(np.max(times)),
        float(np.mean([returns for _, _, returns in ours])),
    )


class _Map:
    """One map: the same sample and the same random numbers whoever flies it."""

    def __init__(self, name: str, rows_per_width: int, peak: float, seed: int) -> None:
        self.signal, self.peak, self.seed = signal_of(name), peak, seed
        self.rows = round(rows_per_width / self.signal.width)
        rng = np.random.default_rng((81, seed))
        steps = SHIFT * self.signal.width * rng.choice([-1.0, 1.0], LINES)
        self.offsets = rng.uniform(*self.signal.offsets) + np.cumsum(steps)
        self.grid = np.linspace(0.0, 1.0, round(POINTS_PER_WIDTH / self.signal.width) + 1)

    def fly(self, policy: Policy, time: float) -> tuple[float, float, int]:
        """Mean square error, time per line and returns with lines planned to take `time`."""
        rows = round(time * self.rows)
        steering, first, returns = Steering(policy, RAIL), 0, 0
        square: list[float] = []
        seconds: list[float] = []
        for number, offset in enumerate(self.offsets.tolist()):
            # Every row takes as long as ever: a line of more time is one of more rows.
            line = context(rows, DELAY, segment=number, turnaround=TURN, extra_time=EXTRA)
            rng = np.random.default_rng((82, self.seed, number)) if self.peak else None
            sample = {"y": self._integral(rows, offset)}
            flown = SimulatedLine(line, sample, rng, first=first).fly(steering)
            first += len(flown.rows)
            returns += flown.returns
            seconds.append(flown.seconds * rows / self.rows)
            found = drawn(flown, self.grid, self.signal.width, counting=self.peak > 0)
            truth = self.signal.value(self.grid, np.array([offset]))[0]
            square.append(float(np.mean((found / self._scale(rows) - truth) ** 2)))
        return float(np.mean(square)), float(np.mean(seconds)), returns

    def _scale(self, rows: int) -> float:
        """Counts per unit of time at signal 1; the line takes one unit of time."""
        return self.peak * rows if self.peak else 1.0

    def _integral(self, rows: int, offset: float) -> Callable[[FloatArray], FloatArray]:
        scale, at = self._scale(rows), np.array([offset])

        def integral(x: FloatArray) -> FloatArray:
            return scale * self.signal.integral(x[None], at)[0]

        return integral
