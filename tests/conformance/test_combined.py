"""Several motions joined into one conform to the contract."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

from flyscan.controllers import CombinedMotion
from flyscan.testing import MotionBench, MotionSuite
from tests.controllers.gcs_rig import running

MOTOR = {"height": {"id": "1", "acceleration": 500.0, "settle": 0.01}}


@asynccontextmanager
async def piezo_and_motor(fast: str) -> AsyncGenerator[MotionBench]:
    """Fine x and y of an E-727, height by a C-863, on one clock; `fast` sweeps."""
    async with running("E-727") as piezo, running("C-863", axes=MOTOR, clock=piezo.clock) as motor:
        await piezo.other_client("VEL 1 321 2 123")
        await motor.other_client("VEL 1 40", "ACC 1 300", "DEC 1 200")

        def make() -> CombinedMotion:
            return CombinedMotion("stage", {"fine": piezo.make_motion(), "z": motor.make_motion()})

        async def settings() -> Mapping[str, str]:
            fine = {question: await piezo.other_client(question) for question in ("VEL?", "SVO?")}
            asked = ("VEL?", "ACC?", "DEC?")
            return fine | {
                f"z {question}": await motor.other_client(question) for question in asked
            }

        def truth() -> Mapping[str, float]:
            now = piezo.clock.now()
            places = {a: float(piezo.world.axes[a].position(now)) for a in "xy"}
            return places | {"height": float(motor.world.axes["x"].position(now))}

        spans = {"x": (40.0, 50.0), "height": (3.0, 5.0)}
        yield MotionBench(
            make=make,
            clock=piezo.clock,
            settings=settings,
            spans={fast: spans.pop(fast)} | spans,
            travel={"x": (0.0, 100.0), "height": (-25.0, 25.0)},
            period=0.02,
            tolerance=0.045,
            rough=0.5,
            truth=truth,
        )


class TestPiezoSweepsMotorSteps(MotionSuite):
    def make_bench(self):
        return piezo_and_motor("x")


class TestMotorSweepsPiezoSteps(MotionSuite):
    def make_bench(self):
        return piezo_and_motor("height")
