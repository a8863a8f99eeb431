"""Benches of the in-memory box, on a clock that jumps."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager

from flyscan.flight import AxisLimits
from flyscan.testing import (
    CaptureBench,
    MemoryBox,
    MemoryCapture,
    MemoryMotion,
    MotionBench,
    passing,
)

SPANS = {"x": (-5.0, 5.0), "y": (2.0, 6.0)}
LIMITS = AxisLimits(low=-100.0, high=90.0, velocity=100.0, acceleration=1000.0, unit="um")
PERIOD = 0.02


@asynccontextmanager
async def motion_bench(
    kind: Callable[..., MemoryMotion] = MemoryMotion,
    patience: float = 10.0,
    *,
    truth: bool = True,
) -> AsyncGenerator[MotionBench]:
    """Instances that share settings and stage, as those of a real box would."""
    async with passing() as clock:
        box = MemoryMotion("stage", dict.fromkeys(SPANS, LIMITS), clock)

        def make() -> MemoryMotion:
            motion = kind("memory", dict.fromkeys(SPANS, LIMITS), clock)
            motion.settings, motion.trajectories = box.settings, box.trajectories
            return motion

        def where() -> Mapping[str, float]:
            return {axis: t.at(clock.now())[0] for axis, t in box.trajectories.items()}

        async def settings() -> Mapping[str, str]:
            return {axis: repr(value) for axis, value in box.settings.items()}

        yield MotionBench(
            make=make,
            clock=clock,
            settings=settings,
            spans=SPANS,
            travel=dict.fromkeys(SPANS, (LIMITS.low, LIMITS.high)),
            period=PERIOD,
            tolerance=1e-6,
            rough=0.1,
            truth=where if truth else None,
            patience=patience,
        )


@asynccontextmanager
async def capture_bench(
    kind: Callable[..., MemoryCapture] = MemoryCapture, patience: float = 10.0
) -> AsyncGenerator[CaptureBench]:
    """Captures that share the settings of their box, and the stage it watches."""
    async with passing() as clock:
        box = MemoryBox("box", dict.fromkeys(SPANS, LIMITS), clock=clock)

        def make() -> MemoryCapture:
            capture = kind("memory", box.motion, clock, 1e-5, 0.05, 0.8)
            capture.settings, capture.lose = box.capture.settings, box.capture.lose
            return capture

        async def settings() -> Mapping[str, str]:
            return dict(box.capture.settings)

        def lose(number: int) -> None:
            box.capture.lose[number] = 1

        yield CaptureBench(
            make=make,
            motion=box.motion,
            lose=lose,
            clock=clock,
            settings=settings,
            spans=SPANS,
            period=PERIOD,
            tolerance=1e-6,
            patience=patience,
        )
