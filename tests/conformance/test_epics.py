"""Motor records conform to the contract, against the simulated records."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

from flyscan.flight import ManualClock, cancel
from flyscan.testing import MotionBench, MotionSuite
from tests.controllers.ca_rig import serve

STEP_S = 0.008
FIELDS = ("VELO", "ACCL", "VBAS", "BDST", "VMAX")


async def creep(clock: ManualClock) -> None:
    """Let time pass about eight times as fast as it does, but never jump when we are kept waiting.

    Channel Access has threads and takes real time, which a clock that jumps would not give it.
    """
    while True:
        await asyncio.sleep(STEP_S / 8)
        await clock.advance(STEP_S)


@asynccontextmanager
async def creeping() -> AsyncGenerator[ManualClock]:
    """A clock that creeps."""
    clock = ManualClock()
    pump = asyncio.create_task(creep(clock))
    try:
        yield clock
    finally:
        await cancel(pump)


@asynccontextmanager
async def motors() -> AsyncGenerator[MotionBench]:
    """Two motor records, found at a slow velocity."""
    async with creeping() as clock, serve(clock) as rig:
        names = [rig.pv(f"{motor}.{field}") for motor in "XY" for field in FIELDS]

        async def settings() -> Mapping[str, str]:
            import aioca

            return {name: repr(float(await aioca.caget(name, timeout=5))) for name in names}

        def truth() -> Mapping[str, float]:
            now = rig.clock.now()
            return {a: float(rig.world.axes[f"coarse_{a}"].position(now)) for a in "xy"}

        yield MotionBench(
            make=rig.motion,
            clock=rig.clock,
            settings=settings,
            spans={"x": (0.0, 4.0), "y": (1.0, 2.0)},
            travel=dict.fromkeys("xy", (-24.5, 24.5)),
            points=40,
            period=0.06,
            tolerance=0.002,
            rough=0.05,
            truth=truth,
        )


class TestEpicsMotion(MotionSuite):
    def make_bench(self):
        return motors()
