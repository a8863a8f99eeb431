"""Rows of any speed onto pixels: unbiased, with the errors they have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyscan.adaptive import regrid_line
from flyscan.errors import CaptureError, ConfigurationError

PIXELS = np.linspace(0, 1, 21)


def flown(edges: Any, rate: Any, period: float = 0.01) -> dict[str, Any]:
    """Rows with the exact counts of a rate given as its antiderivative."""
    mean = np.diff(rate(edges)) / np.diff(edges)
    return {
        "start": edges[:-1],
        "stop": edges[1:],
        "live": np.full(len(mean), period),
        "counts": mean * period,
    }


@given(st.integers(0, 10**6), st.booleans())
def test_straight_signals_are_exact_whatever_the_speed(seed: int, backwards: bool) -> None:
    steps = np.random.default_rng(seed).uniform(0.2, 4.0, 60)
    edges = np.concatenate(([0.0], np.cumsum(steps) / steps.sum()))
    data = flown(edges, lambda x: 1000 * (3 * x + 2 * x**2))
    if backwards:
        data["start"], data["stop"] = data["stop"], data["start"]
    found = regrid_line(PIXELS, **data)
    middle = 0.5 * (PIXELS[1:] + PIXELS[:-1])
    inner = slice(3, -3)  # the first and last row have one neighbour only
    assert found.value[inner] == pytest.approx(1000 * (3 + 4 * middle[inner]), rel=1e-9)
    assert found.exposure.sum() == pytest.approx(0.6)
    assert found.dose.sum() == pytest.approx(0.6)


@pytest.mark.parametrize("mean", [6.0, 60.0])
def test_values_are_unbiased_and_errors_have_the_right_size(mean: float) -> None:
    rng = np.random.default_rng(7)
    edges = np.concatenate((np.linspace(0, 0.5, 11)[:-1], np.linspace(0.5, 1, 101)))
    live = np.full(110, 0.01)
    deviation, chi2 = [], []
    for _ in range(1500):
        counts = rng.poisson(mean, 110).astype(float)
        found = regrid_line(PIXELS, edges[:-1], edges[1:], live, counts)
        deviation.append(found.value - mean / 0.01)
        chi2.append(np.mean((deviation[-1] / found.error) ** 2))
    bias = np.mean(deviation, axis=0) / np.std(deviation, axis=0)
    assert np.max(np.abs(bias)) < 0.12
    assert np.mean(chi2) == pytest.approx(1.0, abs=0.05)


def test_incident_flux_is_divided_out_row_by_row() -> None:
    i0 = np.where(np.arange(100) < 50, 1.0, 0.25)
    edges = np.linspace(0, 1, 101)
    found = regrid_line(PIXELS, edges[:-1], edges[1:], np.full(100, 0.01), 5.0 * i0, i0=i0)
    assert found.value == pytest.approx(np.full(20, 500.0))
    assert found.error[-3] > 1.5 * found.error[2]


def test_a_slow_pass_replaces_fast_rows_where_it_was() -> None:
    coarse, fine = np.linspace(0, 1, 21), np.linspace(0.3, 0.6, 61)
    start = np.concatenate((coarse[:-1], fine[:0:-1]))
    stop = np.concatenate((coarse[1:], fine[-2::-1]))
    counts = np.concatenate((np.full(20, 7.0), np.full(60, 9.0)))
    number = np.concatenate((np.zeros(20, dtype=np.int64), np.ones(60, dtype=np.int64)))
    found = regrid_line(PIXELS, start, stop, np.full(80, 0.01), counts, passes=number)
    inside = (PIXELS[:-1] >= 0.3 - 1e-9) & (PIXELS[1:] <= 0.6 + 1e-9)
    assert found.value[inside] == pytest.approx(np.full(inside.sum(), 900.0))
    assert found.value[~inside] == pytest.approx(np.full((~inside).sum(), 700.0))
    assert found.dose.sum() == pytest.approx(0.8)
    assert found.exposure[inside].sum() == pytest.approx(0.6)


def test_equal_passes_are_averaged_by_time_not_by_counts() -> None:
    edges = np.linspace(0, 1, 21)
    start, stop = np.tile(edges[:-1], 2), np.tile(edges[1:], 2)
    live = np.concatenate((np.full(20, 0.01), np.full(20, 0.03)))
    counts = np.concatenate((np.full(20, 8.0), np.full(20, 12.0)))
    number = np.repeat([0, 1], 20)
    found = regrid_line(PIXELS, start, stop, live, counts, passes=number)
    assert found.value == pytest.approx(np.full(20, 20 / 0.04))


def test_rows_not_used_leave_holes_but_their_dose() -> None:
    edges = np.linspace(0, 1, 21)
    used = np.arange(20) != 5
    counts = np.full(20, 4.0)
    counts[5] = np.nan
    found = regrid_line(PIXELS, edges[:-1], edges[1:], np.full(20, 0.01), counts, used=used)
    assert np.isnan(found.value).tolist() == (~used).tolist()
    assert found.dose == pytest.approx(np.full(20, 0.01))
    nothing = regrid_line(
        PIXELS, edges[:-1], edges[1:], np.full(20, 0.01), counts, used=used & False
    )
    assert np.isnan(nothing.value).all()


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"pixels": PIXELS[::-1]}, ConfigurationError, "must ascend"),
        ({"counts": np.full(20, -1.0)}, CaptureError, "20 of 20 rows"),
        ({"counts": np.ones(3)}, CaptureError, "expected the same number"),
        ({"live": np.zeros(20)}, CaptureError, "no exposure"),
        ({"stop": PIXELS[:-1]}, CaptureError, "no length"),
    ],
)
def test_nonsense_is_refused(change: dict[str, Any], error: type[Exception], text: str) -> None:
    data: dict[str, Any] = {
        "pixels": PIXELS,
        "start": PIXELS[:-1],
        "stop": PIXELS[1:],
        "live": np.full(20, 0.01),
        "counts": np.ones(20),
    }
    with pytest.raises(error, match=text):
        regrid_line(**(data | change))


def test_rows_stand_for_the_way_up_to_the_next_one() -> None:
    rate = lambda x: 1e4 * (2 * x + 3 * x**2)  # noqa: E731
    edges = np.linspace(0, 1, 41)
    start, stop = edges[:-1], edges[:-1] + 0.3 * np.diff(edges)
    mean = (rate(stop) - rate(start)) / (stop - start)
    live, dwell = np.full(40, 0.003), np.full(40, 0.01)
    found = regrid_line(PIXELS, start, stop, live, mean * live, dwell=dwell)
    truth = np.diff(rate(PIXELS)) / np.diff(PIXELS)
    assert found.value[1:-1] == pytest.approx(truth[1:-1], rel=1e-9)
    assert found.exposure == pytest.approx(np.full(20, 0.006))
    assert found.dose == pytest.approx(np.full(20, 0.02))
    without = regrid_line(PIXELS, start, stop, live, mean * live)
    assert without.dose == pytest.approx(np.full(20, 0.006))


@pytest.mark.parametrize("length", [0.6, 1.4])
def test_rows_that_overlap_or_leave_gaps_do_not_tilt_a_slope(length: float) -> None:
    edges = np.linspace(0, 1, 21)
    start, stop = edges[:-1], edges[:-1] + length * np.diff(edges)
    rate = 1000 * (1 + start + stop)
    found = regrid_line(PIXELS, start, stop, np.full(20, 0.01), rate * 0.01)
    middle = 0.5 * (PIXELS[1:] + PIXELS[:-1])
    assert found.value[2:-2] == pytest.approx(1000 * (1 + 2 * middle[2:-2]), rel=1e-9)


def test_rows_at_the_same_place_are_averaged() -> None:
    edges = np.linspace(0, 1, 21)
    start, stop = np.tile(edges[:-1], 2), np.tile(edges[1:], 2)
    counts = np.concatenate((np.full(20, 4.0), np.full(20, 6.0)))
    found = regrid_line(PIXELS, start, stop, np.full(40, 0.01), counts)
    assert found.value == pytest.approx(np.full(20, 500.0))


def test_errors_are_right_at_rates_at_which_the_detector_is_often_dead() -> None:
    rng = np.random.default_rng(11)
    rate, tau, live, rows = 2e5, 2e-6, 2e-3, 100
    edges = np.linspace(0, 1, rows + 1)
    chi2, deviation = [], []
    for _ in range(400):
        counts = dead_counts(rng, rate, tau, live, rows)
        alive = 1 - counts * tau / live
        found = regrid_line(PIXELS, edges[:-1], edges[1:], np.full(rows, live), counts, alive=alive)
        deviation.append(found.value / rate - 1)
        chi2.append(np.mean(((found.value - rate) / found.error) ** 2))
    # Correcting row by row is too high by one dead time in a live time.
    assert np.mean(deviation) == pytest.approx(tau / live, abs=1e-3)
    assert np.mean(chi2) == pytest.approx(1.0, abs=0.05)


def dead_counts(
    rng: np.random.Generator, rate: float, tau: float, live: float, rows: int
) -> np.ndarray:
    """Counts per row of a detector that is dead for `tau` after each, running all the time."""
    gaps = tau + rng.exponential(1 / rate, int(1.2 * rows * live / (tau + 1 / rate)) + 100)
    times = np.cumsum(gaps) - live
    return np.histogram(times, np.arange(rows + 1) * live)[0].astype(float)
