"""Measuring one number: the place or the width of an edge, a peak, a slit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import ConfigurationError
from ..flight import FloatArray
from ._design import optimal_density
from ._kinematics import fit_duration
from ._line import LineRecord, cost_of_return
from ._models import MODELS, Fit, fit
from ._policy import Finish, GoBack, LineContext, Plan, Policy, Proposal, Situation
from ._profile import Profile
from ._rows import Rows, advancing
from ._speed import fast_look, fastest

__all__ = ["Parametric"]

CELLS = 400
LEAST_ROWS = 8
REACH = 8.0


@dataclass(eq=False)
class Parametric(Policy):
    """Puts the time where it tells most about one parameter, and stops when it is known.

    A fast pass over the whole line finds the feature by maximum likelihood; the rest of the time
    is spent by sequential c-optimal design, in `passes` passes, and all counts are fitted
    together. In a series the next line starts from what the last one found.

    Args:
        channel: the counts.
        model: "edge", "peak" or "slit".
        target: "centre", "width" or, for a slit, "length".
        uncertainty: stop when the standard error is this small: user units for a centre,
            relative for a width or length; None to use all of the time.
        look: share of the time for the first pass.
        passes: passes after the first.
        series: start from the last line's result instead of a first pass.
    """

    channel: str
    model: str = "edge"
    target: str = "centre"
    uncertainty: float | None = None
    look: float = 0.08
    passes: int = 1
    series: bool = False
    _line: LineContext | None = field(default=None, init=False, repr=False)
    _record: LineRecord | None = field(default=None, init=False, repr=False)
    _plan: Plan | None = field(default=None, init=False, repr=False)
    _known: Fit | None = field(default=None, init=False, repr=False)
    _left: float = field(default=0.0, init=False, repr=False)
    _done: int = field(default=0, init=False, repr=False)
    _reason: str = field(default="", init=False, repr=False)

    def __post_init__(self) -> None:
        known = self.model in MODELS and self.target in MODELS[self.model].targets
        if not known or not 0 < self.look < 1 or self.passes < 1:
            raise ConfigurationError(
                f"model {self.model!r}, target {self.target!r}, look {self.look}, "
                f"passes {self.passes}",
                device="Parametric",
                remedy="models are "
                + ", ".join(f"{n} ({', '.join(m.targets)})" for n, m in MODELS.items()),
            )

    def begin(self, line: LineContext) -> Plan:
        """A fast pass over the whole line."""
        if self.channel not in line.channels:
            raise ConfigurationError(
                f"the line has no such channel; it has {', '.join(line.channels) or 'none'}",
                device=self.channel,
                remedy="name a channel the capture box delivers",
            )
        self._line, self._record = line, LineRecord(line, (self.channel,))
        self._done, self._reason = 0, ""
        share = self.look / 3 if self.series and self._known is not None else self.look
        self._known = self._known if self.series else None
        fast = min(fastest(line), line.length / (share * line.duration))
        fast = min(fast, line.length / (LEAST_ROWS * line.period))
        if not line.goes_back or fast < 1.5 * line.velocity:
            self._reason = "uniform: no room for a fast first pass and a way back"
            self._plan = Plan(None, self._reason)
            return self._plan
        look = fast_look(line, fast)
        self._left = line.duration - look.duration
        self._plan = Plan(look, f"first look at {fast:.4g} per second for the {self.model}")
        return self._plan

    def tell(self, rows: Rows) -> None:
        """Take in a block."""
        if self._record is None:
            raise ConfigurationError(
                "no line was begun", device="Parametric", remedy="call begin() first"
            )
        self._record.add(rows)

    def ask(self, now: Situation) -> Proposal | None:
        """At the end of a pass: fit, then another pass or enough."""
        line, plan = self._line, self._plan
        if line is None or plan is None or now.held or not now.at_end:
            return None
        self._known = self._fit(self._known if self._done or self.series else None)
        if plan.profile is None:
            return None
        error = self.error
        if self.uncertainty is not None and error <= self.uncertainty:
            self._reason = f"{self.target} known to {error:.3g}, {self.uncertainty:.3g} wanted"
            return Finish(self._reason, line_only=True)
        if self._done >= self.passes:
            return None
        return self._next_pass(line, now)

    @property
    def error(self) -> float:
        """Standard error of the target: user units for a centre, relative for lengths."""
        if self._known is None:
            return float("inf")
        at = MODELS[self.model].targets[self.target]
        return float(np.sqrt(self._known.covariance[at, at]))

    @property
    def estimate(self) -> float:
        """The target, in user units."""
        if self._known is None:
            return float("nan")
        value = float(self._known.theta[MODELS[self.model].targets[self.target]])
        return value if self.target == "centre" else float(np.exp(value))

    def _fit(self, near: Fit | None) -> Fit:
        if self._record is None:
            raise ConfigurationError(
                "no line was begun", device="Parametric", remedy="call begin() first"
            )
        rows = Rows.joined(self._record.parts)
        rows = rows.take(rows.usable)
        edges: list[FloatArray] = []
        counts: list[FloatArray] = []
        exposure: list[FloatArray] = []
        for number in np.unique(rows.pass_number).tolist():
            one = rows.take(rows.pass_number == number)
            low = np.minimum(one.start, one.stop)
            order = np.argsort(low)
            high = np.maximum(one.start, one.stop)[order]
            ends = np.concatenate((low[order], high[-1:]))
            first = advancing(ends)
            if len(first):
                edges.append(np.append(ends[first], ends.max()))
                counts.append(np.add.reduceat(one.counts[self.channel][order], first))
                exposure.append(np.add.reduceat(one.exposure[order], first))
        model = MODELS[self.model]
        best = fit(model, edges, counts, exposure, falling=None if near is None else near.falling)
        if near is None:
            return best
        again = fit(model, edges, counts, exposure, near.theta, near.falling)
        return again if again.deviance <= best.deviance else best

    def _next_pass(self, line: LineContext, now: Situation) -> Proposal | None:
        known = self._known
        if known is None:
            return None
        low, high = sorted((line.start, line.stop))
        near = self._region(known)
        cells = np.linspace(max(low, near[0]), min(high, near[1]), CELLS + 1)
        if not cells[-1] > cells[0]:
            return None
        density = self._density(known, cells)
        used = np.flatnonzero(density)
        cells = cells[used[0] : used[-1] + 2]
        density = density[used[0] : used[-1] + 1]
        profile = self._profile(line, now, cells, np.maximum(density, 1e-4 * density.max()))
        if profile is None:
            return None
        self._done += 1
        reason = f"pass {self._done} for the {self.target}, known to {self.error:.3g} so far"
        return GoBack(reason, profile.position[0], profile.position[-1], profile)

    def _region(self, known: Fit) -> tuple[float, float]:
        """Where the next pass may go: around the feature, as far as its place is uncertain."""
        around = max(float(np.exp(known.theta[3])), 5 * float(np.sqrt(known.covariance[2, 2])))
        half = float(np.exp(known.theta[4])) if len(known.theta) > 4 else 0.0
        reach = half + REACH * around
        return float(known.theta[2]) - reach, float(known.theta[2]) + reach

    def _density(self, known: Fit, cells: FloatArray) -> FloatArray:
        """Share of time per cell."""
        model = MODELS[self.model]
        return optimal_density(model, known, model.targets[self.target], cells)

    def _profile(
        self, line: LineContext, now: Situation, cells: FloatArray, density: FloatArray
    ) -> Profile | None:
        """Speed 1 / density over the cells in the time this pass may take."""
        spacing = float(cells[1] - cells[0])
        shape = np.interp(cells, 0.5 * (cells[1:] + cells[:-1]), 1 / density)
        forward = self._done % 2 == 1
        ends = (cells[0], cells[-1]) if (forward == (line.direction > 0)) else (cells[-1], cells[0])
        trial = Profile((float(ends[0]), float(ends[1])), (line.velocity, line.velocity))
        lost = cost_of_return(line, now.position, now.velocity, trial, go_on=False)
        lost -= trial.duration
        room = self._left / (self.passes - self._done) - lost
        if room <= 2 * line.period:
            self._reason = "no time left for another pass"
            return None
        speed, took = fit_duration(
            shape[None], spacing, room, v_min=line.v_min, v_max=fastest(line),
            acceleration=line.acceleration, v_end=line.velocity,
        )  # fmt: skip
        self._left -= float(took[0]) + lost
        order = slice(None) if ends[0] < ends[1] else slice(None, None, -1)
        profile = Profile.of(cells[order], speed[0][order])
        return profile.simplified(line.profile_pieces) if line.profile_pieces else profile

    def end(self) -> dict[str, Any]:
        """The result with its standard error."""
        known = self._known
        return {
            "policy": "Parametric",
            "plan": None if self._plan is None else self._plan.reason,
            "target": self.target,
            "estimate": self.estimate,
            "error": self.error,
            "deviance": None if known is None else known.deviance,
            "rows": 0 if known is None else known.rows,
            "reason": self._reason,
        }
