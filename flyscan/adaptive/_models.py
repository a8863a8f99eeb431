"""Edge, peak and slit: counts per row with exact means over rows, fitted by maximum likelihood.

Rows may be as long as the feature: the model is the mean over the row, in closed form from the
antiderivatives of the normal distribution. Parameters are logarithms where they are positive.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from ..errors import ConfigurationError
from ..flight import FloatArray

__all__ = ["MODELS", "Fit", "Model", "fit"]

SQRT_2PI = float(np.sqrt(2 * np.pi))
STEPS = 60
CONVERGED = 1e-6
STARTS = 69
WIDTHS = 4
BEST = 4

Shape = Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]


@dataclass(frozen=True, slots=True)
class Model:
    """``A + B shape(x)``, with parameters (ln A, ln B, centre, ln width[, ln half-length]).

    Args:
        name: "edge", "peak" or "slit".
        mean: gives the mean of the shape over rows between edges and its derivatives by the
            parameters after A and B: from edges of shape ``(n + 1,)`` and parameters of shape
            ``(m, k)`` arrays of shape ``(m, n)`` and ``(m, k, n)``.
        extra: number of shape parameters.
        targets: name of what is wanted to its place among the parameters.
    """

    name: str
    mean: Shape
    extra: int
    targets: dict[str, int]

    def rate(self, edges: FloatArray, theta: FloatArray, falling: bool) -> FloatArray:
        """Mean rate of every row, shape ``(m, n)``, for parameters of shape ``(m, p)``."""
        shape, _ = self.mean(edges, theta[:, 2:])
        shape = 1 - shape if falling else shape
        return np.exp(theta[:, :1]) + np.exp(theta[:, 1:2]) * shape

    def gradient(
        self, edges: FloatArray, theta: FloatArray, falling: bool
    ) -> tuple[FloatArray, FloatArray]:
        """Mean rate ``(m, n)`` and its derivatives ``(m, p, n)``."""
        shape, slopes = self.mean(edges, theta[:, 2:])
        if falling:
            shape, slopes = 1 - shape, -slopes
        a, b = np.exp(theta[:, :1]), np.exp(theta[:, 1:2])
        base = np.broadcast_to(a, shape.shape)
        rows = np.stack((base, b * shape), axis=1)
        return a + b * shape, np.concatenate((rows, b[:, None] * slopes), axis=1)


def _normal(z: FloatArray) -> FloatArray:
    return np.exp(-0.5 * z * z) / SQRT_2PI


def _edge(edges: FloatArray, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
    centre, s = theta[:, :1], np.exp(theta[:, 1:2])
    h = np.diff(edges)
    z = (edges - centre) / s
    phi, cdf = _normal(z), ndtr(z)
    mean = s * np.diff(z * cdf + phi, axis=1) / h
    return mean, np.stack((-np.diff(cdf, axis=1) / h, s * np.diff(phi, axis=1) / h), axis=1)


def _peak(edges: FloatArray, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
    centre, s = theta[:, :1], np.exp(theta[:, 1:2])
    h = np.diff(edges)
    z = (edges - centre) / s
    bell, cdf = SQRT_2PI * _normal(z), ndtr(z)
    mean = SQRT_2PI * s * np.diff(cdf, axis=1) / h
    by_width = mean - s * np.diff(z * bell, axis=1) / h
    return mean, np.stack((-np.diff(bell, axis=1) / h, by_width), axis=1)


def _slit(edges: FloatArray, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
    half = np.exp(theta[:, 2:3])
    left, right = theta[:, :2].copy(), theta[:, :2].copy()
    left[:, :1] -= half
    right[:, :1] += half
    up, up_slopes = _edge(edges, left)
    down, down_slopes = _edge(edges, right)
    by_half = -half * (up_slopes[:, 0] + down_slopes[:, 0])
    both = up_slopes - down_slopes
    return up - down, np.concatenate((both, by_half[:, None]), axis=1)


MODELS = {
    "edge": Model("edge", _edge, 2, {"centre": 2, "width": 3}),
    "peak": Model("peak", _peak, 2, {"centre": 2, "width": 3}),
    "slit": Model("slit", _slit, 3, {"centre": 2, "width": 3, "length": 4}),
}


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """Maximum likelihood estimate.

    Args:
        theta: parameters, shape ``(p,)``.
        covariance: inverse of the Fisher information, shape ``(p, p)``.
        deviance: twice the log likelihood ratio against a model that meets every row.
        falling: whether the shape is turned upside down.
        rows: how many rows were fitted.
    """

    theta: FloatArray
    covariance: FloatArray
    deviance: float
    falling: bool
    rows: int


def fit(
    model: Model, edges: list[FloatArray], counts: list[FloatArray], exposure: list[FloatArray],
    near: FloatArray | None = None, falling: bool | None = None,
) -> Fit:  # fmt: skip
    """Poisson maximum likelihood over several passes by Fisher scoring from many starts.

    Args:
        model: what to fit.
        edges, counts, exposure: per pass; edges ascending.
        near: parameters to start from instead of searching.
        falling: known orientation; None to try both.

    Raises:
        ConfigurationError: nothing was counted, or no start converged.
    """
    data = _Data(edges, counts, exposure)
    if data.total <= 0:
        raise ConfigurationError(
            f"no counts to fit the {model.name} to",
            remedy="check shutter, detector and the channel's name",
        )
    found: list[Fit] = []
    for down in (False, True) if falling is None else (falling,):
        starts = data.starts(model, down) if near is None else near[None]
        found.append(_score(model, data, starts, down))
    return min(found, key=lambda one: one.deviance)


class _Data:
    """All rows to be fitted."""

    def __init__(
        self, edges: list[FloatArray], counts: list[FloatArray], exposure: list[FloatArray]
    ) -> None:
        self.edges = edges
        self.counts = np.concatenate(counts)
        self.exposure = np.concatenate(exposure)
        self.total = float(self.counts.sum())

    def each(self, part: Callable[[FloatArray], FloatArray]) -> FloatArray:
        """`part` of the edges of every pass, joined along the last axis."""
        return np.concatenate([part(edges) for edges in self.edges], axis=-1)

    def starts(self, model: Model, falling: bool) -> FloatArray:
        """The best of a grid of centres and widths by linear least squares for A and B."""
        low = min(float(e[0]) for e in self.edges)
        high = max(float(e[-1]) for e in self.edges)
        centre = np.linspace(low, high, STARTS + 2)[1:-1]
        width = (high - low) * np.geomspace(0.003, 0.2, WIDTHS)
        shape = np.array([(c, np.log(w)) for w in width for c in centre])
        if model.extra == 3:
            halves = np.log((high - low) * np.array([0.02, 0.06, 0.15]))
            shape = np.concatenate(
                [np.column_stack((shape, np.full(len(shape), half))) for half in halves]
            )
        mean = self.each(lambda edges: model.mean(edges, shape)[0])
        mean = 1 - mean if falling else mean
        rate = self.counts / self.exposure
        # Weights by exposure and a smooth scale: never by single counts, which biases.
        weight = self.exposure / np.maximum(rate.mean(), 1e-300)
        norm = weight.sum()
        m1, y1 = mean @ weight / norm, rate @ weight / norm
        deviation = mean - m1[:, None]
        b = (deviation * weight) @ (rate - y1) / np.maximum((deviation**2) @ weight, 1e-300)
        b = np.maximum(b, 1e-6 * abs(y1) + 1e-300)
        a = np.maximum(y1 - b * m1, 1e-4 * abs(y1) + 1e-300)
        misfit = ((a[:, None] + b[:, None] * mean - rate) ** 2) @ weight
        best = np.argsort(misfit)[:BEST]
        return np.column_stack((np.log(a), np.log(b), shape))[best]


def _score(model: Model, data: _Data, theta: FloatArray, falling: bool) -> Fit:
    """Damped Fisher scoring of all starts together; gives the best."""
    damping = np.full(len(theta), 1e-3)
    deviance, information, force = _state(model, data, theta, falling)
    for _ in range(STEPS):
        diagonal = np.einsum("mii->mi", information)
        damped = information + damping[:, None, None] * np.einsum(
            "mi,ij->mij", diagonal + 1e-12, np.eye(theta.shape[1])
        )
        step = np.asarray(np.linalg.solve(damped, force[..., None]), dtype=np.float64)[..., 0]
        size = np.max(np.abs(step[:, [0, 1, *range(3, theta.shape[1])]]), axis=1)
        trial = theta + step * np.minimum(1.0, 1.0 / np.maximum(size, 1e-12))[:, None]
        trial_deviance, trial_information, trial_force = _state(model, data, trial, falling)
        better = trial_deviance <= deviance
        gain = np.where(better, deviance - trial_deviance, np.inf)
        theta = np.where(better[:, None], trial, theta)
        information = np.where(better[:, None, None], trial_information, information)
        force = np.where(better[:, None], trial_force, force)
        deviance = np.where(better, trial_deviance, deviance)
        damping = np.clip(np.where(better, damping * 0.2, damping * 8), 1e-9, 1e9)
        if np.all((gain < CONVERGED) | (damping >= 1e8)):
            break
    best = int(np.argmin(deviance))
    covariance = np.asarray(np.linalg.pinv(information[best], hermitian=True), dtype=np.float64)
    return Fit(theta[best], covariance, float(deviance[best]), falling, len(data.counts))


def _state(
    model: Model, data: _Data, theta: FloatArray, falling: bool
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Deviance, Fisher information and gradient of the log likelihood."""
    parts = [model.gradient(edges, theta, falling) for edges in data.edges]
    rate = np.concatenate([part[0] for part in parts], axis=-1)
    slope = np.concatenate([part[1] for part in parts], axis=-1)
    expected = np.maximum(rate * data.exposure, 1e-12)
    counts = data.counts
    log = np.log(np.where(counts > 0, counts, 1.0) / expected)
    deviance = 2 * (np.where(counts > 0, counts * log, 0.0) - (counts - expected)).sum(axis=-1)
    slope = slope * data.exposure
    information = np.einsum("mpn,mqn->mpq", slope / expected[:, None], slope)
    force = np.einsum("mpn,mn->mp", slope, counts / expected - 1)
    return np.where(np.isfinite(deviance), deviance, np.inf), information, force
