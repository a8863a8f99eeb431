"""The default policy through everything there is: RunEngine, flight host, sockets, simulated boxes.

A sample whose lines are those of the offline benchmark, each shifted a little against the one
before, is flown by ``adaptive_fly_grid``: uniformly, and with the default policy, at equal line
time. Offline the same lines, with the kinematics the flight had, are flown on paper.

How good lines are is told in two steps. That rows hold what they should where they say they were
taken: their chi square against the truth. How well rows taken just there show the signal: by
measuring there many times with other random numbers, the same for the flown and the simulated
lines, so that a handful of lines tells a gain to some per cent.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

import numpy as np

from flyscan.adaptive import (
    Budget,
    GuardRail,
    LineContext,
    Policy,
    PriorSpeed,
    Rows,
    SimulatedLine,
    Steering,
)
from flyscan.adaptive._record import RecordedFlight
from flyscan.adaptive._replay import Began, Told
from flyscan.adaptive._rows import advancing
from flyscan.flight import FloatArray
from flyscan.plans import adaptive_fly_grid
from flyscan.storage import open_run, read_tuning, records_by_flight

from .._session import Session, session
from ._cells import Evaluation
from ._costs import policy_costs
from ._lines import Cell, measure
from ._loop import loop_figures
from ._picture import rms
from ._signals import SIGNALS

__all__ = ["full_stack_figures"]

BLOCK_PERIODS = {"": 0.1, "_fast": 0.01}
"""The PandA hands over rows every 100 ms; any faster needs its driver's block time-out lowered."""

CHANNEL = "Fe"
RATE = 1e6
PERIOD = 0.001
LIVE = 0.8
"""Share of its period for which the PandA counts a row."""

FIRST, LAST = 20.0, 80.0
LOW, HIGH = 5.0, 95.0
ROWS_PER_WIDTH = 10
SHIFT = 0.3
NODES_PER_WIDTH = 100
LEARNING = 2
"""Lines at the beginning of a flight that are not compared: the first one knows nothing."""

SEEDS = 48
PAPER = 4
"""How often the lines are flown on paper."""

KEY = 941
POINT = 1e-6
"""Length for a row that seems to have none, as a share of the line."""

RAIL = GuardRail(0.0, 100.0)


@dataclass(frozen=True)
class Sample:
    """Lines of a signal, each shifted against the one before.

    Args:
        name: of the signal.
        lines: how many.
    """

    name: str
    lines: int
    cell: Cell = field(init=False)
    offsets: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "cell", Cell(SIGNALS[self.name], ROWS_PER_WIDTH, RATE * PERIOD * LIVE)
        )
        rng = np.random.default_rng(KEY)
        steps = SHIFT * self.cell.signal.width * rng.choice([-1.0, 1.0], self.lines - 1)
        middle = np.mean(self.cell.signal.offsets)
        object.__setattr__(self, "offsets", middle + np.concatenate(([0.0], np.cumsum(steps))))

    @property
    def width(self) -> float:
        """Narrowest feature, um."""
        return self.cell.signal.width * (LAST - FIRST)

    def to_json(self) -> str:
        """As the simulator takes it."""
        u = np.arange(-0.3, 1.3, self.cell.signal.width / NODES_PER_WIDTH)
        values = self.cell.signal.value(u, self.offsets)
        table = {
            "rate": RATE,
            "x": (FIRST + u * (LAST - FIRST)).tolist(),
            "y": np.linspace(LOW, HIGH, self.lines).tolist(),
            "values": np.maximum(values, 0.0).round(7).tolist(),
        }
        return json.dumps({CHANNEL: table})

    def grid(self) -> tuple[Any, ...]:
        """Its lines, for a plan."""
        half = 0.5 * (LAST - FIRST) / self.cell.rows
        return ("y", LOW, HIGH, self.lines, "x", FIRST + half, LAST - half, self.cell.rows)

    def counts(self, line: int, edges: FloatArray) -> FloatArray:
        """Mean signal between edges, shares of the line."""
        ends = self.cell.signal.integral(edges, self.offsets[line : line + 1])[0]
        return np.diff(ends) / np.diff(edges)


@dataclass
class FlownLine:
    """A line as it was flown.

    Args:
        number: of the line.
        context: what the policy knew of it.
        rows: of the line and of ways back.
    """

    number: int
    context: LineContext
    rows: list[Rows] = field(default_factory=list)

    def places(self) -> tuple[FloatArray, FloatArray]:
        """Edges of rows that can be told apart, shares of the line; how many rows each is."""
        rows = Rows.joined(self.rows)
        ends = np.sort((np.stack((rows.start, rows.stop)) - FIRST) / (LAST - FIRST), axis=0)
        low, high = ends[:, np.argsort(ends[0], kind="stable")]
        edges = np.concatenate((low[:1], 0.5 * (high[:-1] + low[1:]), high[-1:]))
        first = advancing(edges)
        if not len(first):
            raise RuntimeError(f"line {self.number} has no rows")
        count = np.diff(np.append(first, len(rows))).astype(np.float64)
        return np.append(edges[first], edges.max()), count

    @property
    def seconds(self) -> float:
        """Time spent on its rows."""
        return PERIOD * sum(map(len, self.rows))


def flown_lines(file: str) -> list[FlownLine]:
    """The lines of the only flight in a run's file."""
    lines: list[FlownLine] = []
    with open_run(file) as run:
        for event in RecordedFlight(run, 0, records_by_flight(read_tuning(run))[0]).events():
            if isinstance(event, Began):
                lines.append(FlownLine(len(lines), event.line))
            elif isinstance(event, Told) and event.rows.good is None:
                lines[-1].rows.append(event.rows)
    return lines


def paper_lines(sample: Sample, contexts: list[LineContext], seed: int) -> list[FlownLine]:
    """The same lines on paper, with the same kinematics."""
    steering = Steering(policy_of(sample), RAIL)
    length = LAST - FIRST
    lines: list[FlownLine] = []
    first = 0
    for number, context in enumerate(contexts):
        at = sample.offsets[number : number + 1]

        def integral(x: FloatArray, at: FloatArray = at) -> FloatArray:
            return (
                LIVE
                * RATE
                * length
                * sample.cell.signal.integral(((x - FIRST) / length)[None], at)[0]
            )

        rng = np.random.default_rng((KEY, seed, number))
        flown = SimulatedLine(context, {CHANNEL: integral}, rng, first).fly(steering)
        first += len(flown.rows)
        lines.append(FlownLine(number, context, [flown.rows]))
    return lines


def policy_of(sample: Sample) -> Policy:
    """The default policy."""
    return PriorSpeed(CHANNEL, sample.width)


class Judge:
    """Tells how well lines show a sample.

    Args:
        sample: the truth.
    """

    def __init__(self, sample: Sample) -> None:
        self.sample = sample
        offsets = np.tile(sample.offsets[LEARNING:], SEEDS)
        self.uniform = Evaluation(sample.cell, len(offsets), KEY, offsets=offsets)

    def ratio(self, lines: list[FlownLine]) -> float:
        """Pooled error of rows at the places of `lines`, relative to uniform lines."""
        squares = [self._square(line) for line in lines[LEARNING:]]
        return rms(np.sqrt(np.concatenate(squares))) / rms(np.sqrt(self.uniform.error))

    def gain(self, ratio: float) -> float | None:
        """Time that uniform lines need for the same error."""
        return self.uniform.time_gain(ratio)

    def _square(self, line: FlownLine) -> FloatArray:
        cell, (edges, count) = self.sample.cell, line.places()
        one = Evaluation(cell, SEEDS, KEY, offsets=np.full(SEEDS, self.sample.offsets[line.number]))
        repeated = np.repeat(edges[None], SEEDS, axis=0)
        return one.square(measure(cell, one.offsets[-1], repeated, (KEY, 5, line.number), count))

    def chi_square(self, lines: list[FlownLine]) -> float:
        """Of all rows against the truth, reduced; the flux of each line is fitted."""
        terms: list[FloatArray] = []
        for line in lines:
            rows = Rows.joined(line.rows)
            edges = (np.stack((rows.start, rows.stop)) - FIRST) / (LAST - FIRST)
            edges[1] += np.where(edges[0] == edges[1], POINT, 0.0)
            at = self.sample.offsets[line.number : line.number + 1]
            ends = [self.sample.cell.signal.integral(e[None], at)[0] for e in edges]
            mean = (ends[1] - ends[0]) / (edges[1] - edges[0]) * RATE * rows.live
            mean *= rows.counts[CHANNEL].sum() / mean.sum()
            terms.append((rows.counts[CHANNEL] - mean) ** 2 / mean)
        return float(np.mean(np.concatenate(terms)))


def full_stack_figures(*, quick: bool = False) -> dict[str, Any]:
    """Gain, latency of the loop and costs of the policies."""
    costs = {"policy_ms": policy_costs()}
    return loop_figures(quick=quick) | full_stack_gains(quick=quick) | costs


def full_stack_gains(*, quick: bool = False) -> dict[str, Any]:
    """Gain of the default policy through the whole stack and offline, per block period."""
    sample = Sample("S1", 4 if quick else 19)
    judge = Judge(sample)
    figures: dict[str, Any] = {}
    for suffix, block_period in list(BLOCK_PERIODS.items())[: 1 if quick else None]:
        figures |= {f"{k}{suffix}": v for k, v in _one(sample, judge, block_period).items()}
    return figures


def _one(sample: Sample, judge: Judge, block_period: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        file = FilePath(folder, "sample.json")
        file.write_text(sample.to_json())

        def adapt(config: dict[str, Any]) -> None:
            config["controllers"]["panda"]["params"]["block_period"] = block_period

        options = ("--sample", str(file), "--block-period", str(block_period))
        with session(*options, adapt=adapt) as stack:
            uniform = _fly(stack, sample, Budget())
            adaptive = _fly(stack, sample, policy_of(sample))
    contexts = [line.context for line in adaptive]
    offline = [judge.ratio(paper_lines(sample, contexts, seed)) for seed in range(PAPER)]
    ratio, on_paper = judge.ratio(adaptive), float(np.mean(offline))
    return {
        "full_stack_gain": judge.gain(ratio),
        "offline_gain": judge.gain(on_paper),
        "full_stack_error_ratio": ratio,
        "offline_error_ratio": on_paper,
        "full_stack_uniform_ratio": judge.ratio(uniform),
        "full_stack_chi2": judge.chi_square(adaptive),
        "full_stack_time_ratio": _seconds(adaptive) / _seconds(uniform),
    }


def _fly(stack: Session, sample: Sample, policy: Policy) -> list[FlownLine]:
    plan: Callable[..., Any] = adaptive_fly_grid
    stack.RE(plan(stack.nano, *sample.grid(), period=PERIOD, policy=policy, extra=0.0))
    return flown_lines(stack.files[-1])


def _seconds(lines: list[FlownLine]) -> float:
    return sum(line.seconds for line in lines)
