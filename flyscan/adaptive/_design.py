"""Where to spend time to learn most about one parameter of a model: sequential c-optimal design.

Minimises the variance of one parameter, ``e^T M(w)^-1 e``, over the share of time w, where M is
the Fisher information of counting. Multiplicative algorithm (Silvey, Titterington & Torsney
1978; Yu 2010), averaged over parameters drawn from what is believed after the last pass, so that
one wrong estimate does not decide.
"""

from __future__ import annotations

import numpy as np

from ..flight import FloatArray
from ._models import Fit, Model

__all__ = ["optimal_density"]

DRAWS = 10
ITERATIONS = 120
SPREAD = 5.0
INSURANCE = 0.15
SMALLEST = 0.01
MOST_LOG_SIGMA = 1.0


def optimal_density(model: Model, found: Fit, target: int, nodes: FloatArray) -> FloatArray:
    """Share of time per cell, sum 1, zero where it would teach nothing.

    Args:
        model: of the signal.
        found: what is believed so far.
        target: place of the wanted parameter.
        nodes: ascending edges of equal cells, shape ``(cells + 1,)``.
    """
    draws = _draws(found)
    rate, slope = model.gradient(nodes, draws, found.falling)
    j = slope / np.sqrt(np.maximum(rate, 1e-12))[:, None]
    centre, width = found.theta[2], np.exp(found.theta[3])
    middle = 0.5 * (nodes[1:] + nodes[:-1])
    reach = SPREAD * width + (np.exp(found.theta[4]) if model.extra == 3 else 0.0)
    near = (np.abs(middle - centre) <= reach).astype(np.float64)
    if near.sum() < 3:
        near = np.ones_like(middle)
    near /= near.sum()
    w = np.full(len(middle), 1 / len(middle))
    ridge = 1e-9 * np.eye(draws.shape[1])
    for _ in range(ITERATIONS):
        information = np.einsum("mpn,mqn->mpq", j * w, j)
        scale = np.einsum("mpp->m", information)[:, None, None] / draws.shape[1]
        inverse = np.asarray(np.linalg.inv(information + scale * ridge), dtype=np.float64)
        g = np.mean(np.einsum("mpn,mp->mn", j, inverse[:, target]) ** 2, axis=0)
        w = w * np.sqrt(g)
        w /= w.sum()
    w = (1 - INSURANCE) * w + INSURANCE * near
    w = _smoothed(w, max(1, round(0.25 * width / (nodes[1] - nodes[0]))))
    w[w < SMALLEST * w.max()] = 0.0
    return w / w.sum()


def _draws(found: Fit) -> FloatArray:
    """Parameter sets that are believable after the fit, the same for the same data."""
    p = len(found.theta)
    spread = np.random.default_rng(p).standard_normal((DRAWS, p))
    values, vectors = np.linalg.eigh(found.covariance)
    root = vectors * np.sqrt(np.clip(values, 0.0, None))
    offset = spread @ root.T
    logs = [i for i in range(p) if i != 2]
    offset[:, logs] = np.clip(offset[:, logs], -MOST_LOG_SIGMA, MOST_LOG_SIGMA)
    return found.theta + offset


def _smoothed(values: FloatArray, cells: int) -> FloatArray:
    kernel = np.ones(2 * cells + 1) / (2 * cells + 1)
    return np.convolve(values, kernel, mode="same")
