"""Whatever a policy proposes: accounts close, nothing leaves the limits, the flight ends."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flyscan.adaptive import (
    Finish,
    Flag,
    GoBack,
    Hold,
    LineContext,
    Plan,
    Policy,
    Profile,
    Proposal,
    Resume,
    Retune,
    Rows,
    Situation,
)
from flyscan.flight import AxisLimits, Trigger
from flyscan.testing import MemoryBox
from tests.adaptive.steered import SteeredFlight

LIMITS = AxisLimits(low=-2.0, high=12.0, velocity=80.0, acceleration=1000.0, unit="um")
MIN_PERIOD = 4e-3
ODD = (math.nan, math.inf, -math.inf, 0.0, -1.0, 1e12, 1e-12)
SLACK = 1e-6


@dataclass(eq=False)
class Chaos(Policy):
    """Proposes anything at all for a while, then leaves the flight alone."""

    seed: int
    proposals: int = 30
    _line: LineContext | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)

    def _number(self, scale: float) -> Any:
        if self._rng.random() < 0.3:
            return self._rng.choice(ODD)
        return scale * float(np.exp(self._rng.normal(0, 1)))

    def _profile(self, low: float, high: float) -> Profile:
        nodes = int(self._rng.integers(2, 8))
        calm = self._rng.random() < 0.5
        speeds = 40 * np.exp(self._rng.normal(0, 0.05 if calm else 0.6, nodes))
        return Profile.of(np.linspace(low, high, nodes), speeds)

    def begin(self, line: LineContext) -> Plan:
        self._line = line
        if self._rng.random() < 0.5:
            return Plan(None, "chaos")
        ends = (line.start, line.stop)
        if self._rng.random() < 0.2:
            ends = tuple(self._rng.uniform(-3, 13, 2).tolist())
        return Plan(self._profile(*ends), "chaos")

    def tell(self, rows: Rows) -> None:
        """Does not care."""

    def ask(self, now: Situation) -> Proposal | None:
        rng = self._rng
        if now.held and (self.proposals <= 0 or rng.random() < 0.4):
            return Resume("chaos")
        if self.proposals <= 0 or rng.random() < 0.3:
            return None
        self.proposals -= 1
        kind = int(rng.integers(8))
        if kind <= 2:
            return Retune("chaos", *(self._number(s) for s in (50.0, 0.5)))
        if kind <= 4:
            low, high = rng.uniform(-1, 11, 2) if rng.random() < 0.3 else rng.uniform(0, 10, 2)
            return GoBack("chaos", low, high, self._profile(low, high))
        if kind == 5:
            point = None if rng.random() < 0.3 else int(now.next_point - rng.integers(-3, 12))
            return Hold("chaos", refly_from=point)
        if kind == 7:
            return Flag("chaos", *rng.integers(-2, 80, 2).tolist())
        if kind == 6 and rng.random() < 0.3:
            return Finish("chaos", line_only=bool(rng.random() < 0.8))
        return Resume("chaos")


def check_limits(box: MemoryBox) -> None:
    """What the axes did, piece by piece, and no more than they can."""
    for axis, trajectory in box.motion.trajectories.items():
        pieces = trajectory._pieces[1:]
        for piece, following in pairwise(pieces):
            seconds = following.start - piece.start
            for t in (piece.start, following.start, piece.start + seconds / 2):
                position, velocity = piece.at(t)
                assert LIMITS.low - SLACK <= position <= LIMITS.high + SLACK, axis
                assert abs(velocity) <= LIMITS.velocity * (1 + SLACK), axis
            assert abs(piece.acceleration) <= LIMITS.acceleration * (1 + SLACK), axis


def check_triggers(flight: SteeredFlight) -> None:
    """Rows are never closer together than triggers may be."""
    apart = np.diff(flight.column("time_ns")) / 1e9
    assert np.all(apart >= MIN_PERIOD * (1 - 1e-3))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    trigger=st.sampled_from(list(Trigger)),
    pauses=st.lists(st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 0.3)), max_size=3),
)
@example(  # what is flown again had its rows faster than it is flown then
    seed=89668, trigger=Trigger.POSITION, pauses=[(0.6, 0.1975), (0.3125, 0.0), (0.875, 0.1875)]
)
async def test_any_policy(seed: int, trigger: Trigger, pauses: list[tuple[float, float]]) -> None:
    flight = SteeredFlight(Chaos(seed), trigger, limits=LIMITS, min_period=MIN_PERIOD, duty=0.35)
    await flight.begin()
    clock = flight.clock
    for after, length in pauses:
        await clock.run(clock.sleep(after))
        if flight.flight.state.final:
            break
        await clock.run(flight.flight.hold("user"))
        await clock.run(clock.sleep(length))
        flight.flight.release("user")
    await flight.end()
    flight.check_accounts()
    check_limits(flight.box)
    check_triggers(flight)
