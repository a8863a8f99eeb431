"""Speed policies on simulated lines: what they gain, when they refrain, that they end."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flyscan.adaptive import (
    CurvatureSpeed,
    Flown,
    GoBack,
    LineContext,
    Plan,
    Policy,
    PriorSpeed,
    Retune,
    SimulatedLine,
    Steering,
    StepSize,
    TwoPass,
)
from flyscan.errors import ConfigurationError
from tests.adaptive.lines import RAIL, flat, line, now, peak, rows

SCALE = 1e5


def fly(
    policy: Policy, context: LineContext, *samples: Any, seed: int | None = None
) -> tuple[Flown, Steering]:
    """Lines over several samples, one after the other; gives the last."""
    steering = Steering(policy, RAIL)
    rng = None if seed is None else np.random.default_rng(seed)
    first = 0
    flown = None
    for sample in samples:
        flown = SimulatedLine(context, {"y": sample}, rng, first=first).fly(steering)
        first += len(flown.rows)
    assert flown is not None
    assert steering.fault is None
    return flown, steering


def rows_on(flown: Flown, low: float, high: float) -> int:
    """How many rows lie within an interval."""
    middle = 0.5 * (flown.rows.start + flown.rows.stop)
    return int(np.sum((middle > low) & (middle < high)))


@pytest.mark.parametrize("direction", [1, -1])
def test_prior_puts_its_rows_where_the_last_line_bent(direction: int) -> None:
    ends = (0.0, 1.0) if direction > 0 else (1.0, 0.0)
    context = line(start=ends[0], stop=ends[1])
    flown, _ = fly(PriorSpeed("y", 0.01, counting=False), context, peak(0.3), peak(0.302))
    assert flown.plan.gain > 5
    assert rows_on(flown, 0.25, 0.35) > 0.7 * len(flown.rows)
    assert flown.seconds == pytest.approx(1.0, abs=0.003)


def test_nothing_known_means_uniform_set_points() -> None:
    flown, steering = fly(PriorSpeed("y", 0.01), line(), peak(0.3))
    assert flown.plan.reason == "uniform: nothing is known about the line yet"
    assert flown.rows.start == pytest.approx(np.arange(500) / 500, abs=1e-12)
    assert len(steering.decisions) == 1


@pytest.mark.parametrize("seed", range(5))
def test_a_null_signal_is_flown_at_exactly_the_uniform_set_points(seed: int) -> None:
    wave = 2 * np.pi * 10

    def even(x: Any) -> Any:
        return SCALE * (1.2 * x - np.cos(wave * x) / wave)

    flown, _ = fly(PriorSpeed("y", 0.05, counting=False), line(200), even, even, even)
    assert flown.plan.reason == "uniform: predicted gain below 1.1"
    assert np.array_equal(
        flown.rows.start, fly(PriorSpeed("y", 0.05), line(200), even)[0].rows.start
    )
    calm, _ = fly(PriorSpeed("y", 0.01, counting=False), line(), flat(), flat())
    assert calm.plan.profile is None


def test_the_prior_is_refreshed() -> None:
    policy = PriorSpeed("y", 0.01, counting=False)
    _, steering = fly(policy, line(200), *[peak(0.3)] * 22)
    reasons = [d.reason for d in steering.decisions if d.cause == "plan"]
    assert [n for n, r in enumerate(reasons) if r.startswith("uniform")] == [0, 20]


@pytest.mark.parametrize("delay", [2, 10, 50])
def test_prior_goes_back_once_to_what_it_did_not_know(delay: int) -> None:
    context = line(1000, latency=delay / 2000, block_period=delay / 2000, extra_time=0.25)
    both = lambda x: peak(0.3)(x) + peak(0.7)(x)  # noqa: E731
    policy = PriorSpeed("y", 0.01, counting=False)
    flown, steering = fly(policy, context, peak(0.3), peak(0.3), both)
    backs = [d for d in steering.decisions if isinstance(d.proposal, GoBack)]
    assert len(backs) == flown.returns == 1
    low, high = sorted((backs[0].proposed["start"], backs[0].proposed["stop"]))
    assert low < 0.67
    assert high > 0.73
    assert rows_on(flown, 0.68, 0.72) > 60  # 40 in a uniform line
    assert flown.seconds < 1.26


def test_without_extra_time_it_does_not_go_back_and_says_so() -> None:
    policy = PriorSpeed("y", 0.01, counting=False)
    both = lambda x: peak(0.3)(x) + peak(0.7)(x)  # noqa: E731
    flown, _ = fly(policy, line(1000), peak(0.3), peak(0.3), both)
    assert flown.returns == 0
    assert flown.seconds == pytest.approx(1.0, abs=0.002)
    assert "too few to go back" in policy.end()["notes"][0]


@settings(max_examples=6, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    scale=st.sampled_from([3e2, 1e4, 1e6]),
    delay=st.sampled_from([2, 20]),
    features=st.integers(1, 12),
)
def test_going_back_cannot_live_lock(seed: int, scale: float, delay: int, features: int) -> None:
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, 1, features)

    def sample(x: Any) -> Any:
        return sum(peak(c, 0.01, scale)(x) for c in centres)

    context = line(latency=delay / 1000, block_period=delay / 1000, extra_time=0.25)
    for policy in (
        PriorSpeed("y", 0.01),
        CurvatureSpeed("y", 0.01, target_error=0.03 * scale),
    ):
        flown, steering = fly(policy, context, peak(0.1, 0.01, scale), sample, seed=seed)
        backs = [d.proposed for d in steering.decisions if isinstance(d.proposal, GoBack)]
        assert flown.returns <= 12
        assert flown.seconds <= 1.35
        spans = sorted(sorted((b["start"], b["stop"])) for b in backs[len(backs) - flown.returns :])
        for before, after in itertools.pairwise(spans):
            assert after[0] >= before[1] - 0.01  # no interval twice, up to its margin


def test_curvature_flies_fast_and_goes_back_once() -> None:
    policy = CurvatureSpeed("y", 0.01, counting=False, target_error=2e-5 * SCALE)
    flown, _ = fly(policy, line(1000), peak(0.6))
    assert flown.returns == 1
    assert flown.seconds < 0.95
    assert rows_on(flown, 0.57, 0.63) > 120  # 60 in a uniform line
    assert rows_on(flown, 0.1, 0.4) < 40


@pytest.mark.parametrize(
    "make",
    [
        lambda: PriorSpeed("y", 0.01, counting=False),
        lambda: TwoPass("y", 0.01, counting=False),
        lambda: CurvatureSpeed("y", 0.01, counting=False, target_error=1e-4 * SCALE),
    ],
)
def test_both_directions_fly_alike(make: Any) -> None:
    def sample(x: Any) -> Any:
        return peak(0.37)(x) + peak(0.62, 0.02)(x)

    there, _ = fly(make(), line(1000), sample, sample)
    mirrored = lambda x: -sample(1.0 - x)  # noqa: E731
    back, _ = fly(make(), line(1000, start=1.0, stop=0.0), mirrored, mirrored)
    assert there.returns == back.returns
    assert back.seconds == pytest.approx(there.seconds, rel=1e-9)
    assert 1.0 - back.rows.start == pytest.approx(there.rows.start, abs=1e-9)


@pytest.mark.parametrize(("acceleration", "returns"), [(1e3, 1), (1e5, 2)])
def test_where_turning_is_dear_the_stage_waits_for_more(acceleration: float, returns: int) -> None:
    def sample(x: Any) -> Any:
        return peak(0.25)(x) + peak(0.5)(x)

    policy = CurvatureSpeed("y", 0.01, counting=False, target_error=1e-4 * SCALE)
    flown, _ = fly(policy, line(1000, extra_time=1.0, acceleration=acceleration), sample)
    assert flown.returns == returns


def test_parts_flown_again_share_the_time_by_least_squares() -> None:
    def sample(x: Any) -> Any:
        return peak(0.15, 0.02)(x) + peak(0.7, 0.05)(x)

    policy = CurvatureSpeed("y", 0.01, counting=False, target_error=1e-5 * SCALE)
    flown, _ = fly(policy, line(1000, extra_time=1.0, acceleration=1e4), sample)
    assert flown.returns == 2
    shortest = []
    for number in (1, 2):
        rows = flown.rows.take(flown.rows.pass_number == number)
        middle, length = 0.5 * (rows.start + rows.stop), np.abs(rows.stop - rows.start)
        shortest.append(np.min(length[np.abs(middle - (0.15, 0.7)[number - 1]) < 0.01]))
    # 2.5 times the size is 1 / 6.25 of the curvature: h ~ |f''|^(-2/5), not ^(-1/2).
    assert shortest[1] / shortest[0] == pytest.approx(6.25**0.4, rel=0.08)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"goes_back": False}, "cannot go back"),
        ({"period": 0.02}, "no room for a faster look"),
        ({"profile_pieces": 0, "velocity_in_flight": False}, "one speed per line"),
    ],
)
def test_curvature_says_why_it_flies_uniformly(changes: dict[str, Any], why: str) -> None:
    plan = CurvatureSpeed("y", 0.01, target_error=1.0).begin(line(1000, **changes))
    assert plan.profile is None
    assert why in plan.reason


def test_two_passes_gain_and_take_the_time_of_one_line() -> None:
    policy = TwoPass("y", 0.01, counting=False)
    flown, _ = fly(policy, line(1000), peak(0.6))
    assert flown.seconds == pytest.approx(1.0, abs=0.005)
    assert policy.end()["declared_uniform"] is None
    assert rows_on(flown, 0.57, 0.63) > 500


def test_two_passes_declare_a_uniform_second_pass() -> None:
    policy = TwoPass("y", 0.01)
    flown, _ = fly(policy, line(1000), flat(), seed=1)
    assert "predicted gain too small" in policy.end()["declared_uniform"]
    lengths = np.abs(flown.rows.stop - flown.rows.start)[flown.rows.pass_number == 1]
    assert np.ptp(lengths) < 1e-9


@pytest.mark.parametrize("phase", [0.0, 0.2, 0.35, 0.5])
def test_structure_a_look_cannot_resolve_is_not_trusted(phase: float) -> None:
    def wave(x: Any) -> Any:
        return SCALE * (1.2 * x - np.cos(20 * np.pi * (x - 0.1 * phase)) / (20 * np.pi))

    policy = TwoPass("y", 0.05, counting=False)  # the look has two rows per period
    fly(policy, line(200), wave)
    assert policy.end()["declared_uniform"] is not None


def test_a_coarse_look_pays_where_it_clearly_does() -> None:
    policy = TwoPass("y", 0.025, counting=False)  # a look of 2.5 standard deviations per row
    flown, _ = fly(policy, line(400), peak(0.6))
    assert policy.end()["declared_uniform"] is None
    assert rows_on(flown, 0.57, 0.63) > 60  # 24 in a uniform line


def test_two_passes_are_not_tried_where_the_look_would_be_dear() -> None:
    plan = TwoPass("y", 0.01).begin(line(300))
    assert plan.reason.startswith("uniform: a first pass would cost")


def test_a_box_without_profiles_gets_speeds_on_the_way() -> None:
    policy = PriorSpeed("y", 0.01, counting=False)
    context = line(profile_pieces=0)
    _, steering = fly(policy, context, peak(0.3), peak(0.3))
    retunes = [d.proposal for d in steering.decisions if isinstance(d.proposal, Retune)]
    speeds = [r.velocity for r in retunes if r.velocity is not None]
    assert max(speeds) > 2
    assert min(speeds) < 0.5
    raised = [b / a for a, b in zip([1.0, *speeds], speeds, strict=False)]
    assert max(raised) <= 1.5 + 1e-9


def test_a_box_with_few_pieces_gets_few_pieces() -> None:
    policy = PriorSpeed("y", 0.01, counting=False)
    flown, _ = fly(policy, line(profile_pieces=20), peak(0.3), peak(0.3))
    assert flown.plan.profile is not None
    assert len(flown.plan.profile.position) <= 21
    assert rows_on(flown, 0.25, 0.35) > 0.5 * len(flown.rows)


def test_a_box_of_one_speed_is_flown_uniformly() -> None:
    policy = PriorSpeed("y", 0.01, counting=False)
    flown, _ = fly(policy, line(profile_pieces=0, velocity_in_flight=False), peak(0.3), peak(0.3))
    assert "neither on the way nor by profile" in flown.plan.reason


def test_gain_and_loss_of_other_channels_are_reported() -> None:
    policy = PriorSpeed("y", 0.01, counting=False, others=("z",))
    steering = Steering(policy, RAIL)
    context = line(channels=("y", "z"))
    samples = {"y": peak(0.3), "z": peak(0.7)}
    first = SimulatedLine(context, samples).fly(steering)
    plan = SimulatedLine(context, samples, first=len(first.rows)).fly(steering).plan
    assert plan.gain > 5
    assert plan.others["z"] < 0.5  # ten times fewer rows where z bends


def test_slices_of_a_stack_are_planned_from_the_slice_before() -> None:
    policy = PriorSpeed("y", 0.01, counting=False, lines_per_slice=2)
    steering = Steering(policy, RAIL)
    plans: list[Plan] = []
    first = 0
    for segment, centre in enumerate((0.2, 0.8, 0.2, 0.8)):
        flown = SimulatedLine(line(segment=segment), {"y": peak(centre)}, first=first).fly(steering)
        first += len(flown.rows)
        plans.append(flown.plan)
    slowest = [
        plan.profile.position[int(np.argmin(plan.profile.velocity))]
        for plan in plans
        if plan.profile is not None
    ]
    assert slowest == pytest.approx([0.2, 0.8], abs=0.05)


def test_steps_shrink_at_curvature_and_grow_slowly() -> None:
    policy = StepSize("y", 0.02, counting=False, target_error=20.0)
    context = line(trigger="position", step_in_flight=True)
    assert policy.begin(context).profile is None
    bent = 100.0 + 50.0 * np.sin(np.arange(50) / 3.0)
    policy.tell(rows(50, counts=bent))
    small = policy.ask(now(step=0.01, velocity=5.0))
    assert isinstance(small, Retune)
    assert small.step is not None
    assert small.step < 0.005
    assert small.velocity == pytest.approx(500 * small.step)
    policy.tell(rows(50, first=50, at=0.1))
    large = policy.ask(now(step=0.002))
    assert isinstance(large, Retune)
    assert large.step == pytest.approx(0.003)


@pytest.mark.parametrize(
    "make",
    [
        lambda: PriorSpeed("y", 0.0),
        lambda: PriorSpeed("y", float("nan")),
        lambda: CurvatureSpeed("y", 0.01),
        lambda: StepSize("y", 0.01, target_error=-1.0),
        lambda: PriorSpeed("nobody", 0.01).begin(line()),
        lambda: PriorSpeed("y", 0.01).tell(rows()),
    ],
)
def test_bad_parameters_are_named(make: Any) -> None:
    with pytest.raises(ConfigurationError, match="Remedy"):
        make()
