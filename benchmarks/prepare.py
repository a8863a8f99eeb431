"""What it costs to prepare a path of ten million points.

Prepared means: ready to fly and known to fit. The Spec is read from its serialised form, every
segment is validated against limits, counts, extents and times are known, and the first segments
with their sweeps and set-points are at hand. The first preparation in a fresh process is timed;
memory is the growth of the process in that one, or what a second one allocates at its peak,
whichever is more. The baseline expands the same points with scanspec alone.
"""

from __future__ import annotations

import argparse
import gc
import resource
import sys
import time
import tracemalloc
from collections.abc import Callable
from itertools import islice
from typing import Any, TypeVar

from scanspec.core import Path as ScanPath
from scanspec.specs import Fly, Linspace, Spec

from flyscan.flight import AxisLimits, Path, plan_sweep

LIMITS = {a: AxisLimits(0, 100, 2000, 1e5, "um", settle=0.005) for a in ("x", "y", "z")}
MEGABYTE = 1e6
T = TypeVar("T")


def snake_2d() -> Spec[str]:
    return Fly(0.001 @ (Linspace("y", 5, 95, 3162) * ~Linspace("x", 5, 95, 3162)))


def snake_3d() -> Spec[str]:
    rows = Linspace("y", 5, 95, 1000) * ~Linspace("x", 5, 95, 1000)
    return Fly(0.001 @ (Linspace("z", 0, 90, 10) * rows))


def prepare(serialised: dict[str, Any]) -> Path:
    """Make, validate and begin a path."""
    path = Path.from_spec(serialised)
    path.validate(LIMITS, min_period=0.001)
    path.extents()
    path.times(LIMITS)
    for segment in islice(path.segments(), 10):
        plan_sweep(segment, segment.first_point, LIMITS)
    path.setpoints(0, 10_000)
    path.segment_of(path.points - 1)
    return path


def main(argv: list[str]) -> dict[str, Any]:
    parser = argparse.ArgumentParser(prog="benchmarks prepare", description=__doc__)
    parser.parse_args(argv)
    figures: dict[str, Any] = {}
    worst_s = worst_mb = 0.0
    for name, spec in (("2d", snake_2d()), ("3d", snake_3d())):
        serialised = dict(spec.serialize())
        seconds, grown, path = _timed(lambda s=serialised: prepare(s))
        peak = max(grown, _peak_mb(lambda s=serialised: prepare(s)))
        figures[f"points_{name}"], figures[f"segments_{name}"] = path.points, path.segment_count
        figures[f"seconds_{name}"], figures[f"peak_mb_{name}"] = seconds, peak
        worst_s, worst_mb = max(worst_s, seconds), max(worst_mb, peak)
    spec = snake_2d()
    baseline_s, _, _ = _timed(lambda: ScanPath(spec.calculate(bounds=True)).consume())
    baseline_mb = _peak_mb(lambda: ScanPath(spec.calculate(bounds=True)).consume())
    return {
        "seconds": worst_s,
        "peak_mb": worst_mb,
        "baseline_seconds": baseline_s,
        "baseline_peak_mb": baseline_mb,
        **figures,
    }


def _timed(work: Callable[[], T]) -> tuple[float, float, T]:
    """Seconds, growth of the process' peak memory in MB, and the result."""
    gc.collect()
    before = _high_water_mb()
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, _high_water_mb() - before, result


def _high_water_mb() -> float:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MEGABYTE


def _peak_mb(work: Callable[[], object]) -> float:
    """Memory allocated at the peak, in MB; slower than untraced, so never timed."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] / MEGABYTE
    finally:
        tracemalloc.stop()
