"""The table of cells: default policy, two passes and oracle against uniform lines."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from flyscan.adaptive import Sampled
from flyscan.adaptive._knowledge import Knowledge, grid_nodes
from flyscan.adaptive._plan import plan_speed
from flyscan.adaptive._prior import PriorSpeed, learn_passes, plan_lines
from flyscan.adaptive._speed import fast_look
from flyscan.adaptive._two_pass import DEAREST_LOOK, TwoPass, plan_second
from flyscan.flight import FloatArray

from ._lines import ACCELERATION, TURN, Cell, context, edges_of, measure, rows_in_time
from ._picture import picture, rms

__all__ = [
    "DELAYS",
    "POINTS_PER_WIDTH",
    "CellResult",
    "Evaluation",
    "cell_result",
    "plan_prior",
    "plan_two_pass",
]

DELAYS = (2, 10, 50)
LINES = 4
POINTS_PER_WIDTH = 30
SHIFT = 0.3
LADDER = (2.0, 4.0, 8.0, 16.0)
LADDER_SEEDS = 48
DEFINED = 0.4
POLICY, LOOK_POLICY = PriorSpeed("y", 1.0), TwoPass("y", 1.0)


@dataclass
class CellResult:
    """One cell; errors are ratios to uniform lines at equal total time."""

    name: str
    oracle: float
    prior: dict[int, float] = field(default_factory=dict)
    declared: dict[int, float] = field(default_factory=dict)
    two_pass: float = 1.0
    two_pass_declared: float = 1.0
    predicted: float = 1.0
    achieved: float | None = None
    null: bool = False


def plan_prior(cell: Cell, curves: list[Sampled], late: int) -> tuple[FloatArray, FloatArray]:
    """Speeds and predicted gains of the line after `curves`, flown in turn to and fro.

    Args:
        cell: the setting.
        curves: earlier lines, the first of them uniform.
        late: rows of each line's end that had not arrived when the next was planned.
    """
    grid = np.linspace(0.0, 1.0, grid_nodes(1.0, cell.signal.width))
    known = Knowledge(grid, len(curves[0].rate))
    for number, curve in enumerate(curves):
        arrived = _arrived(curve, late, number)
        learn_passes(known, [] if arrived is None else [arrived], cell.signal.width, POLICY.shift)
    planned = plan_lines(known, cell.task(insurance=POLICY.insurance))
    return planned.speed, planned.gain


def _arrived(curve: Sampled, late: int, number: int) -> Sampled | None:
    """What of a line was known when the next one was planned; lines alternate in direction."""
    if not late or number == 0:  # the first line is waited for
        return curve
    if curve.rate.shape[1] - late < 3:
        return None
    part = slice(None, -late) if number % 2 == 0 else slice(late, None)
    edges = slice(None, -late) if number % 2 == 0 else slice(late, None)
    return Sampled(curve.edges[:, edges], curve.rate[:, part], curve.variance[:, part])


def plan_two_pass(
    cell: Cell, offsets: FloatArray, key: tuple[int, ...]
) -> tuple[FloatArray, FloatArray, float, float]:
    """Speeds and gains of second passes, their time, and what the look cost.

    Gives no speeds and gain 1 where a look would be too dear.
    """
    line = context(cell.rows, turnaround=TURN)
    look = fast_look(line, min(line.v_max, cell.signal.width / cell.period))
    turn = TURN + 2.5 / ACCELERATION + 2 * np.sqrt(0.5) / ACCELERATION
    price = look.duration + turn
    if price > DEAREST_LOOK:
        return np.empty(0), np.ones(len(offsets)), 1.0, 0.0
    speed, _ = look.on_nodes(2001)
    edges = edges_of(speed[None], rows_in_time(look.duration, cell.period), cell.period)
    curve = measure(cell, offsets, np.repeat(edges, len(offsets), axis=0), (*key, 1))
    grid = np.linspace(0.0, 1.0, grid_nodes(1.0, cell.signal.width))
    known = Knowledge(grid, len(offsets))
    known.learn(curve)
    left = 1.0 - price
    planned = plan_second(known, cell.task(duration=left, insurance=LOOK_POLICY.insurance), left)
    return planned.speed, planned.gain, left, price


def cell_result(cell: Cell, seeds: int, key: int) -> CellResult:
    """Everything about one cell."""
    return Evaluation(cell, seeds, key).result()


class Evaluation:
    """A cell flown for many seeds.

    Args:
        cell: the setting.
        seeds: how many.
        key: of the random numbers.
        shift: how far features move from line to line, in widths.
        offsets: where the features are, instead of random places that move.
    """

    def __init__(
        self, cell: Cell, seeds: int, key: int, *, shift: float = SHIFT,
        offsets: FloatArray | None = None,
    ) -> None:  # fmt: skip
        self.cell, self.seeds, self.key = cell, seeds, key
        rng = np.random.default_rng((key, 0))
        w = cell.signal.width
        first = rng.uniform(*cell.signal.offsets, seeds) if offsets is None else offsets
        steps = shift * w * rng.choice([-1.0, 1.0], (LINES - 1, seeds))
        moves = np.concatenate((np.zeros((1, seeds)), np.cumsum(steps, axis=0)))
        self.offsets = first + (moves if offsets is None else 0.0 * moves)
        self.grid = np.linspace(0.0, 1.0, round(POINTS_PER_WIDTH / w) + 1)
        self.uniform = np.repeat(np.linspace(0, 1, cell.rows + 1)[None], seeds, axis=0)
        self.truth = cell.signal.value(self.grid, self.offsets[-1])
        self.error = self.square(self.fly(LINES - 1, self.uniform))

    def fly(self, line: int, edges: FloatArray) -> Sampled:
        """Line number `line` with these edges."""
        return measure(self.cell, self.offsets[line], edges, (self.key, 2, line))

    def square(self, rows: Sampled) -> FloatArray:
        """Mean square error per seed against the truth of the last line."""
        seeds = len(rows.rate)
        found = picture(self.grid, rows, self.cell.signal.width)
        return np.mean((found - self.truth[:seeds]) ** 2, axis=1)

    def ratio(self, square: FloatArray) -> float:
        """Pooled error relative to uniform lines."""
        return rms(np.sqrt(square)) / rms(np.sqrt(self.error))

    def result(self) -> CellResult:
        cell = self.cell
        found = CellResult(cell.name(), self.oracle(), null=cell.signal.null)
        lates: dict[int, tuple[float, float, float]] = {}
        for delay in DELAYS:
            late = max(0, delay - round(TURN * cell.rows))
            if late not in lates:
                lates[late] = self.prior(late)
            found.prior[delay], found.declared[delay], gain = lates[late]
            if delay == DELAYS[0]:
                found.predicted = gain
        found.achieved = self.time_gain(found.prior[DELAYS[0]])
        found.two_pass, found.two_pass_declared = self.two_pass()
        return found

    def oracle(self) -> float:
        cell, offsets = self.cell, self.offsets[-1]
        x = np.linspace(0.0, 1.0, grid_nodes(1.0, cell.signal.width))
        curvature = np.abs(cell.signal.curvature(x, offsets))
        noise = np.zeros_like(curvature)
        if cell.peak:
            noise = np.maximum(cell.signal.value(x, offsets), 0.0) / cell.peak
        planned = plan_speed(curvature, noise, cell.task())
        edges = edges_of(planned.speed, cell.rows, cell.period)
        return self.ratio(self.choose(planned.gain, edges, LINES - 1))

    def choose(self, gain: FloatArray, edges: FloatArray, line: int) -> FloatArray:
        """Square errors; a line declared uniform is the uniform one."""
        if np.all(gain <= 1):
            return self.error
        return np.where(gain > 1, self.square(self.fly(line, edges)), self.error)

    def prior(self, late: int) -> tuple[float, float, float]:
        """Ratio, share of lines declared uniform and predicted gain of the last line."""
        cell = self.cell
        curves = [self.fly(0, self.uniform)]
        for line in range(1, LINES):
            speed, gain = plan_prior(cell, curves, late)
            edges = np.where(
                (gain > 1)[:, None], edges_of(speed, cell.rows, cell.period), self.uniform
            )
            if line < LINES - 1:
                curves.append(self.fly(line, edges))
        square = self.choose(gain, edges, LINES - 1)
        return self.ratio(square), float(np.mean(gain <= 1)), float(np.exp(np.mean(np.log(gain))))

    def two_pass(self) -> tuple[float, float]:
        """Ratio and share declared; a declared line counts 1 plus what the look cost."""
        cell = self.cell
        speed, gain, left, price = plan_two_pass(cell, self.offsets[-1], (self.key, 3))
        if np.all(gain <= 1):
            return 1.0 + float(price), 1.0
        rows = rows_in_time(left, cell.period)
        square = self.square(self.fly(LINES - 1, edges_of(speed, rows, left / rows)))
        declared = (1 + price) ** 2 * self.error
        return self.ratio(np.where(gain > 1, square, declared)), float(np.mean(gain <= 1))

    def uniform_error(self, t: float, seeds: int | None = None) -> float:
        """Pooled error of uniform lines that take `t` times as long."""
        offsets = self.offsets[-1][:seeds]
        edges = np.linspace(0, 1, round(t * self.cell.rows) + 1)
        lines = np.repeat(edges[None], len(offsets), axis=0)
        rows = measure(self.cell, offsets, lines, (self.key, 4, round(10 * t)))
        return rms(np.sqrt(self.square(rows)))

    def time_gain(self, ratio: float) -> float | None:
        """Time a uniform line needs for the same error, where that is defined."""
        seeds = min(self.seeds, LADDER_SEEDS)
        levels = [rms(np.sqrt(self.error[:seeds]))]
        for t in LADDER:
            edges = np.repeat(np.linspace(0, 1, round(t * self.cell.rows) + 1)[None], seeds, axis=0)
            part = self.offsets[-1][:seeds]
            rows = measure(self.cell, part, edges, (self.key, 4, round(t)))
            levels.append(rms(np.sqrt(self.square(rows))))
            slope = np.log(levels[-2] / levels[-1]) / np.log(t / max(t / 2, 1.0))
            if len(levels) == 2 and slope < DEFINED:
                return None
            if levels[-1] <= ratio * levels[0]:
                break
        times = np.log([1.0, *LADDER][: len(levels)])
        wanted = -np.log(ratio * levels[0])
        return float(np.exp(np.interp(wanted, -np.log(levels), times)))
