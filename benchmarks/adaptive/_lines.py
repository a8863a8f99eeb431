"""Lines flown for many seeds at once, for policies whose profile is fixed before the line.

The planning functions are those the policies call; a test holds both to the same set-points.
Length 1, time 1, uniform speed 1, 0 to the highest speed of 10 in 1 % of the time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flyscan.adaptive import LineContext, Sampled, Task, poisson_variance
from flyscan.adaptive._kinematics import positions_at
from flyscan.flight import FloatArray

from ._signals import Signal

__all__ = ["TURN", "Cell", "context", "edges_of", "measure", "rows_in_time"]

TURN = 0.01
V_MIN, V_MAX, ACCELERATION = 0.02, 10.0, 1000.0


@dataclass(frozen=True)
class Cell:
    """One setting of the benchmark.

    Args:
        signal: what is measured.
        rows_per_width: rows per narrowest feature at uniform speed.
        peak: counts per row at signal 1 and uniform speed; 0 for no noise.
    """

    signal: Signal
    rows_per_width: int
    peak: float

    @property
    def rows(self) -> int:
        """Rows of a uniform line."""
        return round(self.rows_per_width / self.signal.width)

    @property
    def period(self) -> float:
        """Time per row."""
        return 1.0 / self.rows

    def task(self, *, duration: float = 1.0, insurance: float = 0.0) -> Task:
        """What a line may cost."""
        return Task(
            length=1.0, duration=duration, period=self.period, v_min=V_MIN, v_max=V_MAX,
            acceleration=ACCELERATION, v_end=1.0, width=self.signal.width, insurance=insurance,
        )  # fmt: skip

    def name(self, *more: object) -> str:
        """Such as ``"S1/10/1e4"``."""
        peak = f"{self.peak:.0e}".replace("e+0", "e") if self.peak else "none"
        return "/".join(map(str, (self.signal.name, self.rows_per_width, peak, *more)))


def context(rows: int, delay: float = 10.0, **changes: object) -> LineContext:
    """The line of the benchmark for policies; the delay is half loop latency, half block."""
    values: dict[str, object] = {
        "segment": 0, "start": 0.0, "stop": 1.0, "velocity": 1.0, "v_min": V_MIN,
        "v_max": V_MAX, "acceleration": ACCELERATION, "period": 1 / rows,
        "min_period": 1 / rows, "max_period": 1.0, "latency": 0.5 * delay / rows,
        "block_period": 0.5 * delay / rows, "turnaround": 0.0, "channels": ("y",),
    }  # fmt: skip
    return LineContext(**(values | changes))  # type: ignore[arg-type]


def rows_in_time(seconds: float, period: float) -> int:
    """Whole rows in a time."""
    return max(3, int(np.floor(seconds / period + 1e-6)))


def edges_of(speed: FloatArray, rows: int, period: float) -> FloatArray:
    """Edges of rows of lines with speeds ``(lines, nodes)``; the last row ends at 1."""
    spacing = 1.0 / (speed.shape[1] - 1)
    times = period * np.arange(rows + 1)
    edges = np.stack([positions_at(times, line, spacing) for line in speed])
    edges[:, -1] = 1.0
    return edges


def measure(
    cell: Cell,
    offsets: FloatArray,
    edges: FloatArray,
    key: tuple[int, ...],
    count: FloatArray | float = 1.0,
) -> Sampled:
    """Rows between `edges`; the same key gives the same random numbers, whatever is flown.

    `count` tells how many rows of the usual length each is.
    """
    mean = np.diff(cell.signal.integral(edges, offsets), axis=1) / np.diff(edges, axis=1)
    if not cell.peak:
        return Sampled(edges, mean, np.zeros_like(mean))
    counts = np.stack(
        [
            np.random.default_rng((*key, seed)).poisson(np.maximum(line, 0.0) * cell.peak * count)
            for seed, line in enumerate(mean)
        ]
    ).astype(np.float64)
    exposure = np.broadcast_to(cell.peak * np.asarray(count, dtype=np.float64), counts.shape)
    return Sampled(edges, counts / exposure, poisson_variance(counts, exposure))
