"""Flights end in time, and with the dose they were given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from scanspec.specs import Fly, Linspace

from benchmarks.adaptive._beam import Beam
from flyscan.adaptive import (
    BeamGuard,
    Budget,
    Composite,
    GoBack,
    LineContext,
    Plan,
    Policy,
    PriorSpeed,
    Profile,
    Proposal,
    Rows,
    Situation,
)
from flyscan.flight import FloatArray, Path, Trigger
from tests.adaptive.steered import LENGTH, SteeredFlight

PERIOD, POINTS, LINES = 0.002, 100, 20
SPEC = Fly(PERIOD @ (Linspace("y", 0, 2, LINES) * ~Linspace.bounded("x", 0, LENGTH, POINTS)))
NOMINAL = 1e6


class Greedy(Policy):
    """Spends all extra time of a line on going back over it."""

    def begin(self, line: LineContext) -> Plan:
        self.line, self.left = line, line.extra_time - 2 * line.velocity / line.acceleration
        return Plan(None, "greedy")

    def tell(self, rows: Rows) -> None:
        """Takes what it gets."""

    def ask(self, now: Situation) -> Proposal | None:
        line = self.line
        if not now.at_end or self.left < line.length / line.v_max:
            return None
        ends = (line.stop, line.start)
        speed = max(line.length / self.left, line.v_min)
        self.left = 0.0
        return GoBack("once more", *ends, Profile(ends, (speed, speed)))

    def params(self) -> dict[str, Any]:
        return {}


def signals(beam: Beam) -> Any:
    def flux(_: Mapping[str, FloatArray], seconds: FloatArray) -> FloatArray:
        return NOMINAL * PERIOD * beam.share(seconds, PERIOD)

    def moving(at: Mapping[str, FloatArray], seconds: FloatArray) -> FloatArray:
        """Peaks that no line before has told of."""
        centre = 2 + 6 * np.mod(at["y"] * 7.3, 1)
        return (1 + 50 * np.exp(-((at["x"] - centre) ** 2) / 0.05)) * flux(at, seconds)

    return {"I0": flux, "Fe": moving}


def steered(policy: Any, beam: Beam | None = None, **more: Any) -> SteeredFlight:
    path = Path.from_spec(SPEC, trigger=Trigger.TIME)
    lit = Beam(np.array([(1e6, 1e6 + 1)]))
    return SteeredFlight(
        policy, path=path, signals=signals(beam or lit), i0="I0", nominal_i0=NOMINAL, **more
    )


async def timed(flight: SteeredFlight) -> float:
    """Fly; seconds from kickoff to the end."""
    await flight.begin()
    began = flight.clock.now()
    await flight.end()
    flight.check_accounts()
    return flight.clock.now() - began


@pytest.mark.parametrize("limit", [2.0, 3.3, 5.0])
async def test_it_ends_when_the_time_is_spent(limit: float) -> None:
    flight = steered(Composite([Budget(), PriorSpeed("Fe", 0.2)]), time_limit=limit)
    assert await timed(flight) == pytest.approx(limit, rel=0.05)
    assert flight.records("waived")
    (finish,) = [r for r in flight.tuning() if (r["applied"] or {}).get("kind") == "finish"]
    assert finish["reason"] == "the time is spent"


async def test_going_back_never_costs_the_last_lines() -> None:
    free = await timed(steered(Greedy(), extra=2.0))
    uniform = await timed(steered(Budget()))
    assert free > 1.3 * uniform, "it takes what it gets"
    limit = 1.1 * uniform
    flight = steered(Composite([Budget(), Greedy()]), extra=2.0, time_limit=limit)
    assert 1.05 * limit > await timed(flight) > 1.03 * uniform
    lines = {int(s) for s in np.unique(flight.column("segment")) if s < LINES}
    assert lines == set(range(LINES)), "every line was flown"


async def test_time_passes_while_the_beam_is_away() -> None:
    dark = Beam(np.array([(1.0, 1e6)]))
    policy = Composite([BeamGuard(wait=30.0), Budget(), PriorSpeed("Fe", 0.2)])
    flight = steered(policy, dark, time_limit=4.0)
    assert await timed(flight) == pytest.approx(4.0, rel=0.05)
    assert flight.column("i0")[flight.kept].min() > 0.5


async def test_the_dose_is_spent_to_within_a_block() -> None:
    flight = steered(Composite([Budget(total_dose=1.0), PriorSpeed("Fe", 0.2)]))
    await timed(flight)
    dose = float(np.sum(flight.column("i0") * PERIOD))
    assert 1.0 <= dose <= 1.0 + 0.05 + 0.06, "a block, and what comes while it brakes"
    assert flight.records("waived")


async def test_no_pixel_gets_more_than_its_dose() -> None:
    free = steered(PriorSpeed("Fe", 0.2, return_on_surprise=False))
    await timed(free)
    pixel, dose = 0.1, 0.003
    bounded = steered(
        Composite([Budget(pixel, dose), PriorSpeed("Fe", 0.2, return_on_surprise=False)])
    )
    await timed(bounded)

    def slowest(flight: SteeredFlight) -> float:
        return float(np.min(np.abs(flight.column("stop") - flight.column("start"))) / PERIOD)

    assert slowest(free) < 0.9 * pixel / dose
    assert slowest(bounded) >= 0.98 * pixel / dose
