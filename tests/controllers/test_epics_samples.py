"""Slow channels: joining by time, never dropping silently, clock offsets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyscan.controllers.epics._clock_offset import ClockOffset
from flyscan.controllers.epics._samples import Samples
from flyscan.errors import CaptureError


def filled(times: list[int], capacity: int = 100) -> Samples:
    samples = Samples("current", capacity)
    for time in times:
        samples.add(time, float(time))
    return samples


def test_a_row_gets_the_last_sample_at_or_before_it() -> None:
    samples = filled([10, 20, 30])

    joined = samples.join(np.array([9, 10, 19, 20, 29, 30, 99]))

    np.testing.assert_array_equal(joined, [np.nan, 10, 10, 20, 20, 30, 30])


def test_before_any_sample_there_is_no_value() -> None:
    np.testing.assert_array_equal(filled([]).join(np.array([1, 2])), [np.nan, np.nan])
    assert len(filled([5]).join(np.array([], dtype=np.int64))) == 0


def test_of_samples_at_one_time_the_last_counts() -> None:
    samples = Samples("current", 10)
    samples.add(10, 1.0)
    samples.add(10, 2.0)

    assert samples.join(np.array([10]))[0] == 2.0


def test_a_clock_set_back_keeps_the_order_of_arrival() -> None:
    samples = Samples("current", 10)
    samples.add(20, 1.0)
    samples.add(15, 2.0)

    np.testing.assert_array_equal(samples.join(np.array([15, 20])), [np.nan, 2.0])
    np.testing.assert_array_equal(samples.drain()[0], [20, 20])


def test_drain_gives_each_sample_once() -> None:
    samples = filled([1, 2])

    np.testing.assert_array_equal(samples.drain()[1], [1.0, 2.0])
    samples.add(3, 3.0)
    np.testing.assert_array_equal(samples.drain()[0], [3])
    assert len(samples.drain()[0]) == 0
    assert samples.join(np.array([2]))[0] == 2.0


def test_samples_nobody_stores_end_in_an_error_not_in_a_gap() -> None:
    samples = filled(list(range(5)), capacity=4)

    with pytest.raises(CaptureError, match="current: 1 samples found no room: 4 were waiting"):
        samples.join(np.array([3]))
    with pytest.raises(CaptureError, match="larger capacity"):
        samples.drain()


def test_a_join_with_forgotten_samples_is_an_error_not_a_wrong_value() -> None:
    samples = filled([0, 10, 20, 30], capacity=4)
    samples.drain()
    samples.add(40, 40.0)

    np.testing.assert_array_equal(samples.join(np.array([20, 40])), [20.0, 40.0])
    with pytest.raises(CaptureError, match="older than the oldest of the 4 samples kept"):
        samples.join(np.array([15]))


@given(
    steps=st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=200),
    capacity=st.integers(2, 20),
)
def test_whatever_is_kept_or_drained_nothing_is_wrong_or_missing(
    steps: list[tuple[int, bool]], capacity: int
) -> None:
    samples = Samples("current", capacity)
    now, times, values = 0, list[int](), list[float]()
    drained: list[float] = []
    for number, (advance, drain) in enumerate(steps):
        now += advance
        samples.add(now, float(number))
        times.append(now)
        values.append(float(number))
        if drain or number - len(drained) + 1 >= capacity - 1:
            drained.extend(samples.drain()[1])
        assert len(samples) <= capacity
        assert samples.join(np.array([now]))[0] == number
    drained.extend(samples.drain()[1])
    assert drained == values
    for when in range(now + 1):
        known = [v for t, v in zip(times, values, strict=True) if t <= when]
        try:
            joined = samples.join(np.array([when]))[0]
        except CaptureError:
            continue
        assert joined == known[-1] if known else np.isnan(joined)


S = 1_000_000_000
MS = 1_000_000


def test_clocks_that_agree_are_left_alone() -> None:
    offset = ClockOffset()
    offset.observe(10 * S, 10 * S + 3 * MS)

    assert offset.ns == 0


@pytest.mark.parametrize("ahead", [2 * S, -2 * S])
def test_an_offset_is_seen_through_the_fastest_event(ahead: int) -> None:
    offset = ClockOffset()
    for second, delay in enumerate([40, 2, 15]):
        offset.observe(second * S + ahead, second * S + delay * MS)

    assert offset.ns == ahead - 2 * MS


def test_the_age_of_a_first_value_is_no_offset() -> None:
    offset = ClockOffset()
    offset.observe(0, 500 * S, aged=True)
    assert offset.ns == 0

    offset.observe(505 * S, 500 * S, aged=True)
    assert offset.ns == 5 * S
