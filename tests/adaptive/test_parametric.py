"""Edge, peak and slit: exact models, honest errors, less time for the same uncertainty."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import ndtr

from flyscan.adaptive import Finish, Parametric, SimulatedLine, Steering
from flyscan.adaptive._design import optimal_density
from flyscan.adaptive._models import MODELS, Fit, fit
from flyscan.errors import ConfigurationError
from tests.adaptive.lines import RAIL, line, peak

THETA = {
    "edge": np.array([np.log(2.0), np.log(5.0), 0.43, np.log(0.03)]),
    "peak": np.array([np.log(2.0), np.log(5.0), 0.43, np.log(0.03)]),
    "slit": np.array([np.log(2.0), np.log(5.0), 0.43, np.log(0.03), np.log(0.1)]),
}


def shape(name: str, x: Any, theta: Any) -> Any:
    z = (x - theta[2]) / np.exp(theta[3])
    if name == "edge":
        return ndtr(z)
    if name == "peak":
        return np.exp(-0.5 * z * z)
    half = np.exp(theta[4]) / np.exp(theta[3])
    return ndtr(z + half) - ndtr(z - half)


@pytest.mark.parametrize("falling", [False, True])
@pytest.mark.parametrize("name", list(MODELS))
def test_means_over_rows_are_exact_and_so_are_their_derivatives(name: str, falling: bool) -> None:
    model, theta = MODELS[name], THETA[name]
    edges = np.linspace(0, 1, 9)  # rows much longer than the feature
    fine = np.linspace(0, 1, 80_001)
    middle = 0.5 * (fine[1:] + fine[:-1])
    values = shape(name, middle, theta)
    values = 1 - values if falling else values
    expected = (2 + 5 * values).reshape(8, -1).mean(axis=1)
    rate, slope = model.gradient(edges, theta[None], falling)
    assert rate[0] == pytest.approx(expected, rel=1e-6)
    for i in range(len(theta)):
        step = np.zeros_like(theta)
        step[i] = 1e-6
        up = model.rate(edges, (theta + step)[None], falling)
        down = model.rate(edges, (theta - step)[None], falling)
        assert slope[0, i] == pytest.approx((up - down)[0] / 2e-6, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("name", list(MODELS))
@pytest.mark.parametrize("falling", [False, True])
def test_maximum_likelihood_finds_what_was_there(name: str, falling: bool) -> None:
    model, theta = MODELS[name], THETA[name]
    edges = np.linspace(0, 1, 201)
    exposure = np.full(200, 100.0)
    mean = model.rate(edges, theta[None], falling)[0] * exposure
    counts = np.random.default_rng(1).poisson(mean).astype(float)
    found = fit(model, [edges], [counts], [exposure])
    assert found.falling == falling
    error = np.sqrt(np.diag(found.covariance))
    assert np.all(np.abs(found.theta - theta) < 4 * error)
    assert found.deviance == pytest.approx(200, abs=80)


def test_no_counts_are_an_error() -> None:
    with pytest.raises(ConfigurationError, match="no counts to fit"):
        fit(MODELS["edge"], [np.linspace(0, 1, 11)], [np.zeros(10)], [np.ones(10)])


@pytest.mark.parametrize("name", list(MODELS))
def test_designed_time_knows_more_than_even_time(name: str) -> None:
    model, theta = MODELS[name], THETA[name]
    cells = np.linspace(0, 1, 401)
    known = Fit(theta, 1e-6 * np.eye(len(theta)), 0.0, False, 0)
    for target in model.targets.values():
        density = optimal_density(model, known, target, cells)
        assert density.sum() == pytest.approx(1.0)
        assert density.min() >= 0
        rate, slope = model.gradient(cells, theta[None], False)
        j = slope[0] / np.sqrt(rate[0])
        variance = [
            np.linalg.inv(j @ (share[:, None] * j.T))[target, target]
            for share in (density, np.full(400, 1 / 400))
        ]
        assert variance[1] / variance[0] > 1.8


def edge(x: Any) -> Any:
    z = (x - 0.6) / 0.025
    return 1e6 * (0.05 * x + 0.025 * (z * ndtr(z) + np.exp(-z * z / 2) / np.sqrt(2 * np.pi)))


@pytest.mark.parametrize("direction", [1, -1])
def test_a_knife_edge_is_measured_in_the_time_of_one_line(direction: int) -> None:
    ends = (0.0, 1.0) if direction > 0 else (1.0, 0.0)
    context = line(1000, start=ends[0], stop=ends[1], v_max=60.0, acceleration=6000.0)
    policy = Parametric("y", "edge", "width")
    rng = np.random.default_rng(4)
    flown = SimulatedLine(context, {"y": edge}, rng).fly(Steering(policy, RAIL))
    assert flown.seconds == pytest.approx(1.0, abs=0.01)
    assert flown.returns == 1
    assert policy.error < 0.02
    assert abs(np.log(policy.estimate / 0.025)) < 4 * policy.error
    assert policy.end()["estimate"] == policy.estimate


def test_it_stops_when_enough_is_known() -> None:
    policy = Parametric("y", "edge", "centre", uncertainty=0.01)
    steering = Steering(policy, RAIL)
    flown = SimulatedLine(line(1000, v_max=60.0), {"y": edge}, np.random.default_rng(4)).fly(
        steering
    )
    assert isinstance(steering.decisions[-1].proposal, Finish)
    assert flown.returns == 0
    assert flown.seconds < 0.2
    assert abs(policy.estimate - 0.6) < 0.04


def test_a_series_looks_shorter_and_starts_from_the_last_result() -> None:
    policy = Parametric("y", "peak", "centre", series=True)
    steering = Steering(policy, RAIL)
    context = line(1000, v_max=60.0, acceleration=6000.0)
    rng = np.random.default_rng(4)
    plans = []
    first = 0
    for centre in (0.5, 0.503):
        flown = SimulatedLine(context, {"y": peak(centre, 0.02, 1e6)}, rng, first=first).fly(
            steering
        )
        first += len(flown.rows)
        plans.append(flown.plan)
        assert abs(policy.estimate - centre) < 4 * policy.error
    assert steering.fault is None
    fast = [max(plan.profile.velocity) for plan in plans if plan.profile is not None]
    assert fast[1] > 2 * fast[0]


def test_without_room_for_a_look_the_line_is_uniform_but_fitted() -> None:
    policy = Parametric("y", "edge", "centre")
    context = line(1000, goes_back=False)
    flown = SimulatedLine(context, {"y": edge}, np.random.default_rng(4)).fly(
        Steering(policy, RAIL)
    )
    assert flown.plan.profile is None
    assert abs(policy.estimate - 0.6) < 4 * policy.error


@pytest.mark.parametrize(
    "parameters",
    [
        {"model": "step"},
        {"target": "length"},
        {"look": 0.0},
        {"passes": 0},
    ],
)
def test_bad_parameters_are_named(parameters: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"models are edge \(centre, width\)"):
        Parametric("y", **parameters)
