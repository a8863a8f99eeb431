"""Motions of PI controllers conform to the contract, against the simulated controllers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

from flyscan.testing import MotionBench, MotionSuite
from tests.controllers.gcs_rig import running

PIEZO = ("VEL?", "WGC? 1 2", "WOS? 1 2", "WSL? 1 2", "WTR?", "SVO?")
MOTOR = ("VEL?", "ACC?", "DEC?", "SVO?")


@asynccontextmanager
async def piezo() -> AsyncGenerator[MotionBench]:
    """An E-727 with two axes, found at a slow velocity."""
    async with running("E-727") as rig:
        await rig.other_client("VEL 1 321 2 123")

        async def settings() -> Mapping[str, str]:
            return {question: await rig.other_client(question) for question in PIEZO}

        yield MotionBench(
            make=rig.make_motion,
            clock=rig.clock,
            settings=settings,
            spans={"x": (40.0, 50.0), "y": (45.0, 49.0)},
            travel=dict.fromkeys("xy", (0.0, 100.0)),
            period=0.005,
            tolerance=0.05,
            rough=0.5,
            truth=lambda: {a: float(rig.world.axes[a].position(rig.clock.now())) for a in "xy"},
        )


@asynccontextmanager
async def motor() -> AsyncGenerator[MotionBench]:
    """A C-863 with its one axis."""
    async with running("C-863") as rig:
        await rig.other_client("ACC 1 300", "DEC 1 200")

        async def settings() -> Mapping[str, str]:
            return {question: await rig.other_client(question) for question in MOTOR}

        yield MotionBench(
            make=rig.make_motion,
            clock=rig.clock,
            settings=settings,
            spans={"x": (2.0, 6.0)},
            travel={"x": (-25.0, 25.0)},
            period=0.02,
            tolerance=0.005,
            rough=0.05,
            truth=lambda: {"x": float(rig.world.axes["x"].position(rig.clock.now()))},
        )


class TestE727(MotionSuite):
    def make_bench(self):
        return piezo()


class TestC863(MotionSuite):
    def make_bench(self):
        return motor()
