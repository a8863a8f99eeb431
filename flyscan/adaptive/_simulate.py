"""Flying a line on paper: what a policy would do on a sample, before there is beam time.

Exact kinematics under the acceleration limit, rows of a fixed period, counting noise, a loop
delay between a row and what it can change, and what going back costs. The policy is driven by
the same :class:`~flyscan.adaptive.Steering` as in a flight.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from ..flight import FloatArray
from ._kinematics import node_times, positions_at
from ._line import cost_of_return
from ._policy import Finish, Flag, GoBack, LineContext, Plan, Proposal, Retune, Situation
from ._rows import Rows
from ._steering import Steering

__all__ = ["Flown", "SimulatedLine"]

Integral = Callable[[FloatArray], FloatArray]
NODES = 2001
MOST_RETURNS = 50


@dataclass(frozen=True, slots=True, eq=False)
class Flown:
    """A line as it was flown.

    Args:
        rows: every row of every pass.
        seconds: time from the first row to the last, with all ways back and turns.
        plan: what was planned.
        returns: how often the stage went back.
    """

    rows: Rows
    seconds: float
    plan: Plan
    returns: int


@dataclass(eq=False)
class SimulatedLine:
    """One line over a sample.

    Args:
        line: the line and its limits.
        samples: channel to the antiderivative along the axis of its rate in counts per second.
        rng: source of the counting noise; None for a signal without noise.
        first: frame number of the first row.
    """

    line: LineContext
    samples: Mapping[str, Integral]
    rng: np.random.Generator | None = None
    first: int = 0
    _told: list[Rows] = field(default_factory=list[Rows], init=False, repr=False)
    _seconds: float = field(default=0.0, init=False, repr=False)
    _returns: int = field(default=0, init=False, repr=False)
    _speed: FloatArray = field(default_factory=lambda: np.empty(0), init=False, repr=False)
    _edges: FloatArray = field(default_factory=lambda: np.empty(0), init=False, repr=False)
    _row: int = field(default=0, init=False, repr=False)
    _rows: int = field(default=0, init=False, repr=False)

    def fly(self, steering: Steering) -> Flown:
        """Fly the line as `steering` decides."""
        line = self.line
        plan = steering.begin(line)
        self._speed = np.full(NODES, line.velocity)
        if plan.profile is not None and line.profile_pieces != 0:
            self._speed, _ = plan.profile.on_nodes(max(NODES, 2 * len(plan.profile.position)))
        self._edges = self._rest_of_line(0.0)
        block = max(1, round(line.block_period / line.period))
        delay = max(0, round(line.latency / line.period))
        pending: tuple[int, Proposal] | None = None
        while self._row < len(self._edges) - 1:
            last = len(self._edges) - 1
            upto = min(self._row + block, last if pending is None else pending[0])
            self._tell(steering, self._edges[self._row : upto + 1], 0)
            self._row = upto
            if pending is not None and upto == pending[0]:
                self._act(steering, pending[1])
                pending = None
            elif pending is None and upto < last:
                decision = steering.ask(self._situation(steering))
                if decision is not None and decision.proposal is not None:
                    pending = (min(upto + delay, last), decision.proposal)
        if pending is not None:
            self._act(steering, pending[1])
        self._at_end(steering)
        steering.end()
        return Flown(Rows.joined(self._told), self._seconds, plan, self._returns)

    def _at_end(self, steering: Steering) -> None:
        for _ in range(MOST_RETURNS):
            decision = steering.ask(self._situation(steering, at_end=True))
            if decision is not None and isinstance(decision.proposal, Flag):
                continue
            if decision is None or not isinstance(decision.proposal, GoBack):
                return
            self._return(steering, decision.proposal, self.line.length, go_on=False)

    def _act(self, steering: Steering, proposal: Proposal) -> None:
        """Do what was decided, from the present row on."""
        at = float(self._edges[self._row])
        if isinstance(proposal, Retune) and proposal.velocity is not None:
            self._retune(at, proposal.velocity)
        elif isinstance(proposal, GoBack):
            self._decelerate(steering, at)
            self._return(steering, proposal, at, go_on=True)
        elif isinstance(proposal, Finish):
            self._edges = self._edges[: self._row + 1]

    def _retune(self, at: float, velocity: float) -> None:
        grid = np.linspace(0.0, self.line.length, len(self._speed))
        present = self._speed_at(at)
        change = 2 * self.line.acceleration * np.maximum(grid - at, 0.0)
        faster = np.minimum(np.sqrt(present**2 + change), velocity)
        slower = np.sqrt(np.maximum(present**2 - change, velocity**2))
        ahead = faster if velocity > present else slower
        self._speed = np.where(grid > at, ahead, self._speed)
        self._edges = np.concatenate((self._edges[: self._row], self._rest_of_line(at)))

    def _decelerate(self, steering: Steering, at: float) -> None:
        """Rows taken while the stage comes to rest; the line goes on where the last one ends."""
        line, velocity = self.line, self._speed_at(at)
        t = line.period * np.arange(int(velocity / line.acceleration / line.period) + 1)
        edges = at + velocity * t - 0.5 * line.acceleration * t**2
        edges = np.minimum(edges, line.length)
        edges = edges[: 1 + int(np.argmax(edges))]
        self._tell(steering, edges, 0)
        self._edges = self._rest_of_line(float(edges[-1]))
        self._row = 0

    def _return(self, steering: Steering, back: GoBack, at: float, *, go_on: bool) -> None:
        line, profile = self.line, back.profile
        velocity = self._speed_at(at)
        position = line.start + line.direction * at
        overhead = cost_of_return(line, position, velocity, profile, go_on=go_on)
        self._seconds += overhead - profile.duration
        self._returns += 1
        speed, spacing = profile.on_nodes(max(NODES, 2 * len(profile.position)))
        duration = float(node_times(speed, spacing)[-1])
        rows = max(1, int(np.ceil(duration / line.period - 1e-6)))
        way = positions_at(line.period * np.arange(rows + 1.0), speed, spacing)
        way[-1] += max(0.0, rows * line.period - duration) * speed[-1]
        sign = np.sign(back.stop - back.start)
        edges = (back.start + sign * way - line.start) * line.direction
        block = max(1, round(line.block_period / line.period))
        for row in range(0, rows, block):
            self._tell(steering, edges[row : row + block + 1], self._returns)

    def _rest_of_line(self, at: float) -> FloatArray:
        """Edges of the rows from `at` to the end of the line, in distance along the line."""
        line = self.line
        spacing = line.length / (len(self._speed) - 1)
        from_start = node_times(self._speed, spacing)
        grid = np.linspace(0.0, line.length, len(self._speed))
        began = _time_of(at, grid, from_start, self._speed)
        rows = max(0, int(np.ceil((from_start[-1] - began) / line.period - 1e-6)))
        times = began + line.period * np.arange(rows + 1.0)
        edges = positions_at(times, self._speed, spacing)
        edges[0] = at
        if rows:  # the last row ends on the way out, at constant speed
            beyond = max(0.0, float(times[-1] - from_start[-1]))
            edges[-1] += beyond * self._speed[-1]
        return edges

    def _speed_at(self, at: float) -> float:
        grid = np.linspace(0.0, self.line.length, len(self._speed))
        return float(np.sqrt(np.interp(at, grid, self._speed**2)))

    def _situation(self, steering: Steering, *, at_end: bool = False) -> Situation:
        line = self.line
        at = line.length if at_end else float(self._edges[self._row])
        velocity = self._speed_at(at)
        return Situation(
            time=self._seconds,
            position=line.start + line.direction * at,
            velocity=velocity,
            step=velocity * line.period,
            block=len(self._told),
            at_end=at_end,
        )

    def _tell(self, steering: Steering, edges: FloatArray, number: int) -> None:
        """Rows between `edges` are taken and handed over."""
        n = len(edges) - 1
        if n < 1:
            return
        line = self.line
        x = line.start + line.direction * edges
        first = self.first + self._rows
        self._rows += n
        live = np.full(n, line.period)
        length = np.abs(np.diff(x))
        counts: dict[str, FloatArray] = {}
        for name, integral in self.samples.items():
            mean = np.abs(np.diff(integral(x))) / length * live
            counts[name] = mean if self.rng is None else self.rng.poisson(mean).astype(np.float64)
        rows = Rows(
            first=first,
            point=np.arange(first, first + n),
            start=x[:-1],
            stop=x[1:],
            time=self._seconds + line.period * np.arange(1.0, n + 1.0),
            live=live,
            counts=counts,
            passes=np.full(n, number),
        )
        self._told.append(rows)
        self._seconds += n * line.period
        steering.tell(rows, self._seconds)


def _time_of(at: float, grid: FloatArray, times: FloatArray, speed: FloatArray) -> float:
    """Seconds from the start of the line to a distance along it."""
    i = int(np.clip(np.searchsorted(grid, at, side="right") - 1, 0, len(grid) - 2))
    here = np.sqrt(np.interp(at, grid, speed**2))
    return float(times[i] + 2 * (at - grid[i]) / (speed[i] + here))
