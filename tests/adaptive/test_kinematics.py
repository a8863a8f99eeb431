"""Profiles keep to their limits and take the time they were asked to take."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flyscan.adaptive import Profile
from flyscan.adaptive._kinematics import accelerable, fit_duration, node_times, positions_at
from flyscan.errors import LimitError

SPEEDS = st.lists(st.floats(0.05, 10.0), min_size=20, max_size=60)


@given(SPEEDS, st.floats(1.0, 1e4))
def test_acceleration_is_kept(speeds: list[float], acceleration: float) -> None:
    wanted = np.array([speeds])
    speed = accelerable(wanted, 0.01, acceleration)
    assert np.all(speed <= wanted * (1 + 1e-9))
    assert np.all(np.abs(np.diff(speed**2)) / 0.02 <= acceleration * (1 + 1e-9) + 1e-9)


def test_acceleration_limit_is_the_fastest_there_is() -> None:
    speed = accelerable(np.array([1.0, 9.0, 9.0, 9.0, 1.0]), 1.0, 2.0)
    assert speed**2 == pytest.approx([1, 5, 9, 5, 1])


@settings(deadline=None)
@given(SPEEDS, st.floats(0.3, 3.0))
def test_duration_is_met_within_the_limits(shape: list[float], duration: float) -> None:
    spacing = 1 / (len(shape) - 1)
    speed, took = fit_duration(
        np.array([shape]), spacing, duration, v_min=0.01, v_max=10.0, acceleration=1e3, v_end=1.0
    )
    assert took[0] >= duration * (1 - 1e-9)
    if duration > 0.4:  # the fastest line with its ramps takes less
        assert took[0] == pytest.approx(duration)
    assert node_times(speed, spacing)[0, -1] == pytest.approx(took[0])
    assert speed.max() <= 10.0 * (1 + 1e-9)
    assert max(speed[0, 0], speed[0, -1]) <= 1.0 + 1e-9
    assert np.all(np.abs(np.diff(speed**2)) / (2 * spacing) <= 1e3 * (1 + 1e-6))


def test_lines_fitted_together_do_not_depend_on_each_other() -> None:
    rng = np.random.default_rng(1)
    shapes = np.exp(rng.normal(0, 1, (5, 101)))
    limits = {"v_min": 0.01, "v_max": 10.0, "acceleration": 1e3}
    together, _ = fit_duration(shapes, 0.01, 1.0, **limits)
    for shape, line in zip(shapes, together, strict=True):
        alone, _ = fit_duration(shape[None], 0.01, 1.0, **limits)
        assert np.array_equal(alone[0], line)


def test_positions_follow_constant_acceleration() -> None:
    speed = np.sqrt(2 * 3.0 * np.linspace(0, 1, 11) + 0.25)  # a = 3 from 0.5
    times = np.linspace(0, 0.4, 7)
    assert positions_at(times, speed, 0.1) == pytest.approx(0.5 * times + 1.5 * times**2)


@settings(deadline=None)
@given(SPEEDS, st.integers(1, 20))
def test_simplified_profile_stays_within_what_it_was(speeds: list[float], pieces: int) -> None:
    speed = accelerable(np.array(speeds), 0.05, 50.0)
    profile = Profile.of(0.05 * np.arange(len(speeds)), speed)
    simple = profile.simplified(pieces)
    assert len(simple.position) - 1 <= pieces
    assert simple.peak_acceleration <= profile.peak_acceleration * (1 + 1e-9)
    assert max(simple.velocity) <= max(profile.velocity) * (1 + 1e-9)
    assert simple.duration >= profile.duration * (1 - 1e-9)


@pytest.mark.parametrize(
    ("position", "velocity"),
    [
        ((0.0,), (1.0,)),
        ((0.0, 1.0), (1.0, 0.0)),
        ((0.0, 0.0), (1.0, 1.0)),
        ((0.0, 1.0, 0.5), (1.0, 1.0, 1.0)),
        ((0.0, 1.0), (1.0, float("nan"))),
        ((0.0, 1.0), (1.0, 1.0, 1.0)),
    ],
)
def test_nonsense_is_no_profile(position: tuple[float, ...], velocity: tuple[float, ...]) -> None:
    with pytest.raises(LimitError, match="fly uniformly"):
        Profile(position, velocity)


def test_speed_between_nodes_either_way() -> None:
    down = Profile((1.0, 0.0), (3.0, 1.0))
    assert down.at(np.array([0.5, 2.0]))[0] == pytest.approx(np.sqrt(5.0))
    assert down.slowest(0.8, 0.2) == pytest.approx(np.sqrt(1 + 8 * 0.2))
    assert Profile.from_dict(down.to_dict()) == down
