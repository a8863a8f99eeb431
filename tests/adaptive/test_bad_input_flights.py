"""Whatever comes in, a whole steered flight ends well, uniform with a reason, or with an error."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scanspec.specs import Fly, Linspace

from flyscan.adaptive import (
    BeamGuard,
    Composite,
    CurvatureSpeed,
    GuardRail,
    Policy,
    PriorSpeed,
    Proposal,
    Retune,
    StabilityGuard,
    StepSize,
)
from flyscan.errors import ConfigurationError, FlyscanError, LedgerError
from flyscan.flight import Block, FloatArray, Path, State, Trigger
from tests.adaptive.steered import LENGTH, LIMITS, SteeredFlight
from tests.adaptive.test_pilot import Scripted

PERIOD, POINTS, LINES = 0.002, 100, 3
SPEC = Fly(PERIOD @ (Linspace("y", 0, 2, LINES) * ~Linspace.bounded("x", 0, LENGTH, POINTS)))
Change = Callable[[FloatArray], FloatArray]


def peak(at: Mapping[str, FloatArray], _: FloatArray) -> FloatArray:
    """Counts of a narrow peak."""
    return np.round(1e5 * PERIOD * (1 + 30 * np.exp(-((at["x"] - 5.0) ** 2) / 0.1)))


def steered(policy: Policy, counts: Any = peak, **more: Any) -> SteeredFlight:
    path = Path.from_spec(SPEC, trigger=more.pop("trigger", Trigger.TIME))
    return SteeredFlight(policy, path=path, signals={"Fe": counts}, **more)


def check_uniform(flight: SteeredFlight, reason: str) -> None:
    """Every point where it was planned, and somebody said why."""
    flight.check_accounts()
    assert flight.column("point").tolist() == list(range(POINTS * LINES))
    assert all((r["applied"] or {}).get("profile") is None for r in flight.tuning())
    assert any(reason in row["reason"] for row in flight.tuning()), flight.tuning()


def spoilt(how: Change, share: float = 1.0) -> Any:
    """Counts of which every so many are spoilt."""

    def counts(at: Mapping[str, FloatArray], seconds: FloatArray) -> FloatArray:
        good = peak(at, seconds)
        every = max(1, round(1 / share))
        hit = np.round(seconds / PERIOD).astype(int) % every == 0
        return np.where(hit, how(good), good)

    return counts


BAD = {
    "NaN": lambda good: good * np.nan,
    "negative": lambda good: -good - 1,
    "infinite": lambda good: good * np.inf,
    "saturated": lambda good: 0 * good + 1e7 * PERIOD,
}


@pytest.mark.parametrize("how", BAD.values(), ids=list(BAD))
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: PriorSpeed("Fe", 0.2, saturation=9e6), id="prior"),
        pytest.param(
            lambda: CurvatureSpeed("Fe", 0.2, saturation=9e6, target_error=1e3), id="curvature"
        ),
    ],
)
async def test_nothing_but_bad_counts_is_flown_uniformly(how: Change, make: Any) -> None:
    flight = steered(make(), spoilt(how))
    await flight.fly()
    flight.check_accounts()
    (fault,) = flight.tuning("fault")
    assert "rows are NaN, negative, saturated or without beam" in fault["reason"]
    assert "the flight goes on uniformly" in fault["reason"]
    lines = [r for r in flight.tuning("plan") if r["segment"] > 0]
    assert all((r["applied"] or {}).get("profile") is None for r in lines)


@pytest.mark.parametrize("how", BAD.values(), ids=list(BAD))
async def test_a_few_bad_counts_are_left_out(how: Change) -> None:
    flight = steered(PriorSpeed("Fe", 0.2, saturation=9e6), spoilt(how, 0.1))
    await flight.fly()
    flight.check_accounts()
    assert flight.tuning("fault") == []
    plans = [r["applied"]["profile"] for r in flight.tuning("plan")]
    assert plans[0] is None
    slowest = [p["position"][int(np.argmin(p["velocity"]))] for p in plans[1:] if p is not None]
    assert slowest
    assert slowest == pytest.approx([5.0] * len(slowest), abs=0.5)


@pytest.mark.parametrize(
    "policy",
    [
        PriorSpeed("Fe", 0.2),
        StepSize("Fe", 0.2, target_error=1e9),
        Composite([BeamGuard(monitor="ring", monitor_low=1, monitor_high=2), PriorSpeed("I", 1)]),
        StabilityGuard("interferometer", 0.1),
    ],
    ids=lambda policy: type(policy).__name__,
)
async def test_a_missing_channel_is_named_before_anything_moves(policy: Policy) -> None:
    flight = SteeredFlight(policy, signals={"Si": peak})
    with pytest.raises(ConfigurationError, match=r"the flight has no channel .*; it has x, y, Si"):
        await flight.begin()
    assert flight.flight.state is State.FAILED
    assert not flight.box.motion.moving
    assert flight.clock.now() == 0


async def test_a_constant_signal_is_flown_uniformly() -> None:
    flight = steered(PriorSpeed("Fe", 0.2), lambda at, _: np.full(len(at["x"]), 1e3))
    await flight.fly()
    check_uniform(flight, "predicted gain below 1.1")


@pytest.mark.parametrize("trigger", list(Trigger))
@pytest.mark.parametrize("block_period", [PERIOD / 2, 5.0], ids=["single rows", "late"])
async def test_single_rows_and_late_blocks(trigger: Trigger, block_period: float) -> None:
    plans: list[Any] = []
    for period in (0.05, block_period):
        duty = 1.0 if trigger is Trigger.TIME else 0.2
        flight = steered(
            PriorSpeed("Fe", 0.2), trigger=trigger, block_period=period, duty=duty, extra=0.0
        )
        await flight.fly()
        flight.check_accounts()
        assert flight.tuning("fault") == []
        plans.append([r["applied"]["profile"] for r in flight.tuning("plan")])
    for usual, odd in zip(*plans, strict=True):
        assert (usual is None) == (odd is None)
        if usual is not None:
            assert odd["velocity"] == pytest.approx(usual["velocity"], rel=1e-6)
    assert any(plans[0])


async def test_stale_rows_never_speed_a_line_up() -> None:
    faster: list[Proposal] = [Retune("no reason", velocity=90.0) for _ in range(200)]
    flight = steered(Scripted(script={0: faster}), block_period=0.05)
    late = Delayed(flight, seconds=0.09)
    late.install()
    await flight.fly()
    flight.check_accounts()
    for row in flight.tuning("block"):
        applied = (row["applied"] or {}).get("velocity")
        assert applied is None or applied <= row["old"]["velocity"] * 1.5 * (1 + 1e-9)


class Delayed:
    """Delivers the blocks of a flight's box late."""

    def __init__(self, flight: SteeredFlight, seconds: float) -> None:
        self.flight, self.seconds = flight, seconds
        self.original = flight.box.capture.blocks

    def install(self) -> None:
        self.flight.box.capture.blocks = self.blocks  # type: ignore[method-assign]

    async def blocks(self) -> AsyncIterator[Block]:
        async for block in self.original():
            await self.flight.clock.sleep(self.seconds)
            yield block


class Shuffled(Delayed):
    """Delivers every second block twice, or before the one it follows."""

    async def blocks(self) -> AsyncIterator[Block]:
        kept: Block | None = None
        async for block in self.original():
            if kept is None:
                kept = block
                continue
            yield block
            yield kept
            kept = None
        if kept is not None:
            yield kept


async def test_blocks_out_of_order_end_the_flight_with_the_box_named() -> None:
    flight = steered(PriorSpeed("Fe", 0.2))
    Shuffled(flight, 0.0).install()
    await flight.begin()
    with pytest.raises(LedgerError, match=r"memory\.capture: expected trigger") as failure:
        await flight.end()
    assert "Remedy" in str(failure.value)
    assert flight.flight.state is State.FAILED
    assert not flight.box.motion.moving
    assert flight.box.capture.settings["armed"] == "0"


@pytest.mark.parametrize(
    "nonsense",
    [
        "faster",
        42,
        Retune("nonsense", velocity=float("nan")),
        Retune("nonsense", velocity=-1.0),
        Retune("nonsense", velocity="fast"),  # type: ignore[arg-type]
    ],
    ids=str,
)
async def test_a_policy_that_proposes_nonsense_moves_nothing(nonsense: Any) -> None:
    flight = steered(Scripted(script={i: [nonsense] for i in range(LINES)}))
    await flight.fly()
    flight.check_accounts()
    assert flight.column("point").tolist() == list(range(POINTS * LINES))
    step = np.abs(flight.column("stop") - flight.column("start"))
    assert step == pytest.approx(LENGTH / POINTS, rel=1e-3), "all at the planned speed"
    assert any("refused" in r["reason"] or "switched off" in r["reason"] for r in flight.tuning())


@pytest.mark.parametrize(
    "make",
    [
        lambda: GuardRail(1.0, -1.0),
        lambda: steered(PriorSpeed("Fe", 0.2), max_raise=0.0),
        lambda: steered(PriorSpeed("Fe", 0.2), extra=-1.0),
        lambda: steered(PriorSpeed("Fe", 0.2), time_limit=float("inf")),
    ],
)
def test_zero_or_contradictory_limits_are_refused(make: Any) -> None:
    with pytest.raises(FlyscanError, match="Remedy"):
        make()


async def test_a_raise_below_one_is_refused_before_anything_moves() -> None:
    flight = steered(PriorSpeed("Fe", 0.2), max_raise=0.5)
    with pytest.raises(ConfigurationError, match="contradictory limits"):
        await flight.begin()
    assert flight.clock.now() == 0


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"velocity": 1.0}, "the axis allows 1"),
        ({"velocity": 0.0}, "limits make no sense: .* velocity 0"),
        ({"acceleration": float("nan")}, "limits make no sense: .* acceleration nan"),
        ({"acceleration": 0.0}, "limits make no sense"),
        ({"low": 20.0, "high": 0.0}, "limits make no sense: travel 20 to 0"),
    ],
)
async def test_an_axis_that_cannot_fly_the_path_is_refused_before_anything_moves(
    changes: dict[str, float], error: str
) -> None:
    flight = steered(PriorSpeed("Fe", 0.2), limits=replace(LIMITS, **changes))
    with pytest.raises(FlyscanError, match=f"[xy]: .*{error}.*Remedy"):
        await flight.begin()
    assert flight.clock.now() == 0
