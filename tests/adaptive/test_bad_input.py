"""Whatever rows hold: a clear error or a uniform flight with a reason, never a wrong move."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flyscan.adaptive import (
    Composite,
    Finish,
    GoBack,
    LineContext,
    Plan,
    Policy,
    PriorSpeed,
    Proposal,
    Retune,
    Rows,
    Situation,
    Steering,
)
from flyscan.errors import CaptureError, ConfigurationError
from tests.adaptive.lines import RAIL, line, now, rows

ODD = st.sampled_from([np.nan, np.inf, -1.0, -np.inf, 0.0, 1e12, 100.0])


@settings(max_examples=60, deadline=None)
@given(blocks=st.lists(st.lists(ODD, min_size=1, max_size=40), min_size=1, max_size=8))
def test_any_counts_give_a_plan_within_limits(blocks: list[list[float]]) -> None:
    steering = Steering(PriorSpeed("y", 0.01, saturation=1e9), RAIL)
    context = line(extra_time=0.25)
    steering.begin(context)
    first = 0
    for block in blocks:
        steering.tell(rows(len(block), first=first, at=first / 500, counts=np.array(block)))
        first += len(block)
        steering.ask(now(position=first / 500))
    steering.end()
    plan = steering.begin(context)
    if plan.profile is not None:
        assert max(plan.profile.velocity) <= context.v_max * (1 + 1e-6)
        assert min(plan.profile.velocity) >= context.v_min * (1 - 1e-6)
    else:
        assert plan.reason.startswith("uniform")


def test_mostly_bad_rows_switch_the_policy_off() -> None:
    steering = Steering(PriorSpeed("y", 0.01), RAIL)
    steering.begin(line())
    steering.tell(rows(50, counts=np.nan))
    assert steering.fault is not None
    assert "50 of 50 rows are NaN, negative, saturated or without beam" in steering.fault
    assert steering.ask(now()) is None
    plan = steering.begin(line(segment=1))
    assert plan.profile is None
    assert plan.reason.startswith("uniform: policy switched off, CaptureError")


def test_a_few_bad_rows_are_left_out() -> None:
    policy = PriorSpeed("y", 0.01)
    policy.begin(line())
    counts = np.full(50, 100.0)
    counts[[3, 20, 21]] = np.nan, -5.0, 1e9
    policy.tell(rows(50, counts=counts))
    assert policy.end()["bad_rows"] == 2
    strict = PriorSpeed("y", 0.01, saturation=1e6)
    strict.begin(line())
    strict.tell(rows(50, counts=counts))
    assert strict.end()["bad_rows"] == 3


@pytest.mark.parametrize("first", [0, 49])
def test_blocks_out_of_order_are_refused(first: int) -> None:
    policy = PriorSpeed("y", 0.01)
    policy.begin(line())
    policy.tell(rows(50))
    with pytest.raises(CaptureError, match="come after frame 49"):
        policy.tell(rows(10, first=first, at=0.1))


def test_a_missing_channel_is_named() -> None:
    policy = PriorSpeed("y", 0.01)
    policy.begin(line())
    with pytest.raises(ConfigurationError, match="y: rows have no such channel; they have z"):
        policy.tell(rows(5, counts=1.0, at=0.0).__class__(**_renamed()))


def _renamed() -> dict[str, Any]:
    block = rows(5)
    return {
        "first": 0,
        "point": block.point,
        "start": block.start,
        "stop": block.stop,
        "time": block.time,
        "live": block.live,
        "counts": {"z": block.counts["y"]},
    }


def test_columns_of_other_lengths_are_refused() -> None:
    with pytest.raises(CaptureError, match="3 rows have columns of other lengths"):
        rows(3, live=np.ones(2))


def test_single_rows_are_blocks_too() -> None:
    one, whole = PriorSpeed("y", 0.02, counting=False), PriorSpeed("y", 0.02, counting=False)
    counts = 100 + 50 * np.exp(-((np.arange(500) - 200) ** 2) / 200)
    for policy, size in ((one, 1), (whole, 500)):
        policy.begin(line())
        for at in range(0, 500, size):
            policy.tell(rows(size, first=at, at=at / 500, counts=counts[at : at + size]))
    plans = [policy.begin(line()) for policy in (one, whole)]
    assert plans[0].profile is not None
    assert plans[1].profile is not None
    assert plans[0].profile.velocity == pytest.approx(plans[1].profile.velocity, rel=1e-6)


class Wild(Policy):
    """Proposes what it is told to, or raises."""

    def __init__(self, proposal: Any) -> None:
        self.proposal = proposal

    def begin(self, line: LineContext) -> Plan:
        return Plan(None, "wild")

    def tell(self, rows: Rows) -> None:
        if isinstance(self.proposal, Exception):
            raise self.proposal

    def ask(self, now: Situation) -> Proposal | None:
        return self.proposal


@pytest.mark.parametrize(
    "proposal",
    [
        Retune("nonsense", velocity=float("nan")),
        Retune("nonsense", velocity=-1.0),
        Retune("nonsense", velocity="fast"),  # type: ignore[arg-type]
        GoBack("nonsense", 0.0, 1.0, "slowly"),  # type: ignore[arg-type]
        "faster",
        42,
    ],
)
def test_nonsense_moves_nothing(proposal: Any) -> None:
    steering = Steering(Wild(proposal), RAIL)
    steering.begin(line())
    decision = steering.ask(now())
    assert decision is not None
    assert decision.proposal is None
    assert "refused" in decision.reason or "switched off" in decision.reason


def test_a_policy_that_raises_is_switched_off_and_says_so() -> None:
    steering = Steering(Wild(ZeroDivisionError("oops")), RAIL)
    steering.begin(line())
    steering.tell(rows(), 0.1)
    last = steering.decisions[-1]
    assert last.cause == "fault"
    assert last.reason == (
        "policy switched off, the flight goes on uniformly: ZeroDivisionError: oops"
    )
    assert steering.ask(now()) is None
    assert steering.end() == {"fault": "ZeroDivisionError: oops"}


def test_one_bad_part_does_not_silence_a_composite_unnoticed() -> None:
    steering = Steering(Composite([Wild(Finish("enough")), PriorSpeed("y", 0.01)]), RAIL)
    steering.begin(line())
    decision = steering.ask(now())
    assert decision is not None
    assert decision.proposal == Finish("enough")
