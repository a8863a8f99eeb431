"""A known sample flown by every policy and regridded: bias, errors, time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from flyscan.adaptive import (
    Budget,
    CurvatureSpeed,
    Policy,
    PriorSpeed,
    SimulatedLine,
    Steering,
    TwoPass,
    regrid_line,
)
from flyscan.flight import FloatArray

from ._lines import TURN, context
from ._noise_free import RAIL
from ._signals import SIGNALS

__all__ = ["CASES", "MapResult", "map_result"]

PIXELS = 100
ROWS = 1000
EXTRA = 0.2
LINES = 3
DELAY = 50.0
ERROR = 0.1
"""Error accepted when going back, in those of a row with the peak counts."""
OFFSET = 0.437

POLICIES: dict[str, Callable[[float, float], Policy]] = {
    "uniform": lambda width, error: Budget(),
    "prior": lambda width, error: PriorSpeed("y", width),
    "two_pass": lambda width, error: TwoPass("y", width),
    "going_back": lambda width, error: CurvatureSpeed("y", width, target_error=error),
}
CASES = [
    (policy, signal, peak) for policy in POLICIES for signal in ("S1", "S2") for peak in (1e2, 1e4)
]


@dataclass
class MapResult:
    """What regridding a policy's rows gives.

    Args:
        name: policy, signal and peak counts.
        bias: largest mean deviation of a pixel, in standard errors of one measurement.
        chi2: mean square of deviations in their own standard errors.
        time: mean time over the planned one.
        longest: largest of the times.
    """

    name: str
    bias: float
    chi2: float
    time: float
    longest: float


def map_result(policy: str, name: str, peak: float, seeds: int) -> MapResult:
    """Fly the same sample many times."""
    signal, at = SIGNALS[name], np.array([OFFSET])
    pixels = np.linspace(0.0, 1.0, PIXELS + 1)
    scale = peak * ROWS
    truth = scale * np.diff(signal.integral(pixels[None], at)[0]) * PIXELS

    def integral(x: FloatArray) -> FloatArray:
        return scale * signal.integral(x[None], at)[0]

    extra = EXTRA if policy == "prior" else 0.0  # only the prior line may ask for more
    line = context(ROWS, DELAY, turnaround=TURN, extra_time=extra)
    deviation, errors, seconds = [], [], []
    for seed in range(seeds):
        rng = np.random.default_rng((961, seed, int(peak)))
        steering = Steering(POLICIES[policy](signal.width, ERROR * scale / np.sqrt(peak)), RAIL)
        first = 0
        for _ in range(LINES if policy == "prior" else 1):
            flown = SimulatedLine(line, {"y": integral}, rng, first=first).fly(steering)
            first += len(flown.rows)
            seconds.append(flown.seconds)
        rows = flown.rows
        found = regrid_line(
            pixels, rows.start, rows.stop, rows.live, rows.counts["y"], passes=rows.passes
        )
        deviation.append(found.value - truth)
        errors.append(found.error)
    mean = np.mean(deviation, axis=0) / np.sqrt(np.mean(np.square(errors), axis=0))
    return MapResult(
        f"{policy}/{name}/{peak:.0e}".replace("e+0", "e"),
        float(np.max(np.abs(mean))),
        float(np.mean((np.array(deviation) / np.array(errors)) ** 2)),
        float(np.mean(seconds)),
        float(np.max(seconds)),
    )
