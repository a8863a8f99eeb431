"""Curvature, noise, planning: known answers, and no answer that depends on how rows arrive."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from flyscan.adaptive import PriorSpeed, Sampled, Task, curvature_on, plan_speed, poisson_variance
from flyscan.adaptive._estimate import dilated, second_difference
from flyscan.adaptive._knowledge import Knowledge
from flyscan.adaptive._plan import allowed_length, local_square
from flyscan.adaptive._watch import Watch, suspicions
from flyscan.errors import CaptureError
from tests.adaptive.lines import line, rows


def parabola(edges: np.ndarray, bend: float = 6.0) -> Sampled:
    """Exact row means of ``bend x^2 / 2``."""
    mean = np.diff(bend * edges**3 / 6) / np.diff(edges)
    return Sampled(edges, mean, np.zeros_like(mean))


def test_second_difference_of_a_parabola_with_uneven_rows() -> None:
    even = parabola(np.linspace(0, 1, 30))
    value, error = second_difference(even.middle, even.rate, even.variance)
    assert value == pytest.approx(np.full(27, 6.0))
    assert np.all(error < 1e-4)
    wide = parabola(np.cumsum(np.r_[0, np.tile([0.01, 0.03], 15)]))
    value, _ = second_difference(wide.middle, wide.rate, wide.variance)
    assert value.mean() == pytest.approx(6.0, rel=0.4)


def test_without_noise_a_kink_stays_where_it_is() -> None:
    edges = np.linspace(0, 1, 51)
    mean = np.diff(0.5 * np.square(np.maximum(edges - 0.49, 0))) / np.diff(edges)
    grid = np.linspace(0, 1, 1001)
    exact = curvature_on(grid, Sampled(edges, mean, np.zeros_like(mean)))
    assert np.all(exact[np.abs(grid - 0.49) > 0.041] < 1e-6)
    assert exact[np.abs(grid - 0.49) < 0.019].min() > 20  # a jump of slope by 1 over a row of 0.02
    noisy = curvature_on(grid, Sampled(edges, mean, np.full_like(mean, 1e-12)))
    assert noisy[np.abs(grid - 0.49) < 0.049].min() > 1  # its place is uncertain too


def test_noise_is_never_taken_for_structure() -> None:
    rng = np.random.default_rng(3)
    edges = np.linspace(0, 1, 501)
    found = 0
    for _ in range(40):
        counts = rng.poisson(20.0, 500).astype(float)
        variance = poisson_variance(counts, np.ones(500))
        found += curvature_on(np.linspace(0, 1, 101), Sampled(edges, counts, variance)).any()
    assert found <= 12  # seven scales at 6e-5 per row, less correlated than independent


def test_a_real_bend_is_seen_through_noise() -> None:
    rng = np.random.default_rng(3)
    edges = np.linspace(0, 1, 501)
    middle = 0.5 * (edges[1:] + edges[:-1])
    counts = rng.poisson(20 + 400 * np.exp(-((middle - 0.5) ** 2) / 2 / 0.02**2)).astype(float)
    variance = poisson_variance(counts, np.ones(500))
    bend = curvature_on(np.linspace(0, 1, 101), Sampled(edges, counts, variance))
    assert 0.2 < bend[50] / (400 / 0.02**2) < 1.5
    assert bend[:35].max() < 0.1 * bend[50]


def test_zero_counts_are_not_zero_variance() -> None:
    variance = poisson_variance(np.zeros(5), np.full(5, 0.1))
    assert np.all(variance > 0)
    rng = np.random.default_rng(1)
    counts = rng.poisson(5.0, (4000, 9)).astype(float)
    inverse = np.mean(1 / poisson_variance(counts, np.ones((4000, 9)))[:, 1:-1])
    assert inverse == pytest.approx(1 / 5.0, rel=0.02)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=40), st.integers(0, 12))
def test_dilation_is_the_largest_within_reach(values: list[float], reach: int) -> None:
    found = dilated(np.array(values), float(reach), 1.0)
    expected = [max(values[max(0, i - reach) : i + reach + 1]) for i in range(len(values))]
    assert found.tolist() == expected


@given(
    error=st.floats(1e-3, 1.0),
    bend=st.floats(1.0, 1e5),
    noise=st.floats(1e-4, 1.0),
)
def test_rows_of_the_allowed_length_keep_the_error(error: float, bend: float, noise: float) -> None:
    for variance in (0.0, noise):
        length = allowed_length(error, np.array([bend]), np.array([variance]), 0.05)
        assume(length[0] > 1e-4 * 0.05)  # shorter rows than any stage can fly
        found = np.sqrt(local_square(length, np.array([bend]), np.array([variance]), 0.05))
        assert found[0] <= 1.6 * error


def flying(width: float = 0.02) -> Task:
    return Task(1.0, 1.0, 0.002, 0.02, 10.0, 1000.0, 1.0, width)


def test_nothing_to_gain_is_flown_uniformly() -> None:
    nothing = np.zeros((2, 101))
    for noise in (nothing, nothing + 0.1):
        planned = plan_speed(nothing, noise, flying())
        assert planned.speed == pytest.approx(np.ones((2, 101)))
        assert np.all(planned.gain == 1.0)
    even = plan_speed(nothing + 50.0, nothing, flying())
    assert np.all(even.gain == 1.0)


def test_time_goes_where_it_bends_and_the_gain_is_what_the_law_says() -> None:
    bend = np.zeros((1, 1001))
    bend[0, 450:551] = 1e4  # a tenth of the line: ten times the rows there
    planned = plan_speed(bend, np.zeros_like(bend), flying())
    assert 6 < planned.gain[0] < 10
    assert planned.speed[0, 500] < 0.15
    assert planned.speed[0, 250] > 5


def test_knowledge_halves_what_is_not_seen_again_and_keeps_what_is_late() -> None:
    known = Knowledge(np.linspace(0, 1, 101))
    bent = parabola(np.linspace(0, 1, 51))
    known.begin([bent], 0.0)
    known.learn(bent)
    assert known.complete
    first = known.curvature.copy()
    straight = Sampled(np.linspace(0, 0.5, 26), np.zeros(25), np.zeros(25))
    known.begin([straight], 0.0)
    known.learn(straight)
    assert known.curvature[0, :49] == pytest.approx(first[0, :49] / 2)
    assert known.curvature[0, 53:] == pytest.approx(first[0, 53:])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), cuts=st.lists(st.integers(1, 199), max_size=12))
def test_intervals_do_not_depend_on_how_rows_are_cut_into_blocks(
    seed: int, cuts: list[int]
) -> None:
    rng = np.random.default_rng(seed)
    middle = (np.arange(200) + 0.5) / 500
    mean = 50 + 300 * np.exp(-((middle - rng.uniform(0.1, 0.3)) ** 2) / 2 / 0.01**2)
    whole = rows(200, counts=rng.poisson(mean).astype(float))
    watches = [Watch("y", 0.02, 2000.0, counting=True) for _ in range(2)]
    watches[0].add(whole)
    for part in np.split(np.arange(200), sorted(set(cuts))):
        watches[1].add(whole.take(part))
    for watch in watches:
        watch.finish()
    spans = [[(i.low, i.high) for i in watch.pending] for watch in watches]
    assert spans[0] == spans[1]
    assert spans[0]


def test_later_rows_change_no_answer() -> None:
    rng = np.random.default_rng(2)
    rate = rng.normal(100, 10, 120) + 300 * np.exp(-((np.arange(120) - 60) ** 2) / 8)
    full = Sampled(np.linspace(0, 1, 121), rate, np.full(120, 100.0))
    part = Sampled(full.edges[:81], rate[:80], full.variance[:80])
    whole, begun = suspicions(full, 0.1, 0.05), suspicions(part, 0.1, 0.05)
    assert np.array_equal(whole[0][:80], begun[0])
    assert whole[0].any()


def test_a_structure_longer_than_a_hundred_widths_is_cut_without_a_gap() -> None:
    watch = Watch("y", 0.002, 1.0, counting=False)
    wave = 100 + 50 * np.sin(np.arange(400) / 2.0)
    watch.add(rows(400, counts=wave))
    watch.finish()
    assert len(watch.pending) >= 3
    for before, after in zip(watch.pending, watch.pending[1:], strict=False):
        assert after.low == before.high


def test_rows_that_overlap_within_a_pass_are_refused() -> None:
    policy = PriorSpeed("y", 0.01)
    policy.begin(line())
    policy.tell(rows(20))
    with pytest.raises(CaptureError, match="overlap or stand still"):
        policy.tell(rows(20, first=20, at=0.02))


def test_rows_flown_again_after_a_hold_replace_those_there_were() -> None:
    plain, held = PriorSpeed("y", 0.02, counting=False), PriorSpeed("y", 0.02, counting=False)
    counts = 100 + 50 * np.exp(-((np.arange(500) - 200) ** 2) / 200)
    for policy in (plain, held):
        policy.begin(line())
    plain.tell(rows(500, counts=counts))
    held.tell(rows(300, counts=np.where(np.arange(300) < 150, counts[:300], 0.0)))
    again = rows(350, first=300, at=0.3, counts=counts[150:], point=np.arange(150, 500))
    held.tell(again)
    plans = [policy.begin(line()) for policy in (plain, held)]
    assert plans[0].profile is not None
    assert plans[1].profile is not None
    assert plans[1].profile.velocity == pytest.approx(plans[0].profile.velocity, rel=1e-6)
