"""A knife edge of which nothing is known: its width by c-optimal design, by zooming, uniformly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from flyscan.adaptive import Parametric, SimulatedLine, Steering
from flyscan.adaptive._models import MODELS, Fit, fit
from flyscan.flight import FloatArray

from ._lines import context
from ._noise_free import RAIL

__all__ = ["PEAKS", "edge_errors", "edge_figures"]

PEAKS = (1e3, 1e4)
ROWS = 1000
RANGE_IN_WIDTHS = 40.0
V_MAX, ACCELERATION, TURN = 60.0, 6000.0, 0.01
BACKGROUND = 0.05
ZOOM = 4.0
DRAWS = 2000


@dataclass(eq=False)
class Zoom(Parametric):
    """The practice: find the edge, then a uniform scan of four widths to either side."""

    def _region(self, known: Fit) -> tuple[float, float]:
        reach = ZOOM * float(np.exp(known.theta[3]))
        return float(known.theta[2]) - reach, float(known.theta[2]) + reach

    def _density(self, known: Fit, cells: FloatArray) -> FloatArray:
        return np.full(len(cells) - 1, 1.0 / (len(cells) - 1))


def edge_errors(peak: float, seeds: range) -> FloatArray:
    """Errors of ln width, shape ``(seeds, 4)``: uniform, ours, our standard error, zoomed."""
    return np.array([_one(peak, seed) for seed in seeds])


def _one(peak: float, seed: int) -> tuple[float, float, float, float]:
    rng = np.random.default_rng((941, seed, int(peak)))
    width = np.exp(rng.uniform(-0.3, 0.3)) / RANGE_IN_WIDTHS
    centre, scale = rng.uniform(0.2, 0.8), peak * ROWS

    def integral(x: FloatArray) -> FloatArray:
        z = (x - centre) / width
        normal = np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)
        return scale * (BACKGROUND * x + width * (z * ndtr(z) + normal))

    edges = np.linspace(0.0, 1.0, ROWS + 1)
    counts = rng.poisson(np.diff(integral(edges))).astype(np.float64)
    plain = fit(MODELS["edge"], [edges], [counts], [np.full(ROWS, 1.0 / ROWS)])
    line = context(ROWS, v_max=V_MAX, acceleration=ACCELERATION, turnaround=TURN)
    found: list[float] = []
    for kind in (Parametric, Zoom):
        policy = kind("y", "edge", "width")
        SimulatedLine(line, {"y": integral}, rng).fly(Steering(policy, RAIL))
        found += [float(np.log(policy.estimate / width)), policy.error]
    ours, error, zoomed, _ = found
    return float(plain.theta[3] - np.log(width)), ours, error, zoomed


def edge_figures(errors: FloatArray) -> dict[str, float]:
    """Gains in time: the square of the error falls as 1 / time."""
    square = errors[:, [0, 1, 3]] ** 2
    rng = np.random.default_rng(42)
    picks = rng.integers(0, len(square), (DRAWS, len(square)))
    means = square[picks].mean(axis=1)
    mean = square.mean(axis=0)
    return {
        "knife_edge_gain": float(mean[0] / mean[1]),
        "knife_edge_gain_lower95": float(np.quantile(means[:, 0] / means[:, 1], 0.05)),
        "knife_edge_gain_vs_zoom": float(mean[2] / mean[1]),
        "knife_edge_coverage": float(np.mean(np.abs(errors[:, 1]) <= errors[:, 2])),
        "knife_edge_seeds": float(len(errors)),
    }
