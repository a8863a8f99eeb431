"""Lines, rows and samples for the tests of policies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flyscan.adaptive import GuardRail, LineContext, Rows, Situation
from flyscan.flight import FloatArray

RAIL = GuardRail(-10.0, 20.0)


def line(rows: int = 500, **changes: Any) -> LineContext:
    """0 to 1 in one second, 0 to the highest speed of 10 in 10 ms."""
    values: dict[str, Any] = {
        "segment": 0,
        "start": 0.0,
        "stop": 1.0,
        "velocity": 1.0,
        "v_min": 0.02,
        "v_max": 10.0,
        "acceleration": 1000.0,
        "period": 1 / rows,
        "min_period": 1e-4,
        "max_period": 1.0,
        "latency": 5 / rows,
        "block_period": 5 / rows,
        "channels": ("y",),
    }
    return LineContext(**(values | changes))


def rows(
    n: int = 50, *, first: int = 0, counts: FloatArray | float = 100.0, at: float = 0.0, **more: Any
) -> Rows:
    """A block of a uniform line of 500 rows."""
    edges = at + np.arange(n + 1) / 500
    values = np.broadcast_to(np.asarray(counts, dtype=np.float64), (n,)).copy()
    columns: dict[str, Any] = {
        "first": first,
        "point": np.arange(first, first + n),
        "start": edges[:-1],
        "stop": edges[1:],
        "time": edges[1:],
        "live": np.full(n, 1 / 500),
        "counts": {"y": values},
    }
    return Rows(**(columns | more))


def now(**changes: Any) -> Situation:
    """In the middle of a line at uniform speed."""
    values: dict[str, Any] = {
        "time": 0.5,
        "position": 0.5,
        "velocity": 1.0,
        "step": 0.002,
        "block": 1,
        "next_point": 250,
    }
    return Situation(**(values | changes))


def peak(
    centre: float, width: float = 0.01, scale: float = 1e5
) -> Callable[[FloatArray], FloatArray]:
    """Antiderivative of a background and a normal peak, counts per second."""
    from scipy.special import ndtr

    area = scale * width * np.sqrt(2 * np.pi)
    return lambda x: 0.05 * scale * x + area * ndtr((x - centre) / width)


def flat(scale: float = 1e5) -> Callable[[FloatArray], FloatArray]:
    """Antiderivative of a constant."""
    return lambda x: scale * x
