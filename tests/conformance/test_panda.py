"""The PandA conforms to the contract, against the simulated box and a piezo stage.

Motion and capture are two boxes joined by encoder cables in one simulated world.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from flyscan.controllers import GcsMotion, PandaCapture
from flyscan.flight import ManualClock, cancel
from flyscan.testing import CaptureBench, CaptureSuite
from flyscan_sim.gcs import E727, GcsServer
from flyscan_sim.panda import PandaServer
from flyscan_sim.world import nanoprobe_world
from tests.controllers.panda_bench import CHANNELS, ENCODERS, WIRING, pump

ASKED = ("*CHANGES.CONFIG?", "*CAPTURE?", "SEQ1.TABLE.B?")
AXIS = {"velocity": 2000.0, "acceleration": 1e5, "settle": 0.005}
BLOCK_PERIOD = 0.1


async def ask(port: int, *questions: str) -> dict[str, str]:
    """Put questions with many-line answers to the box, as another client would."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answers: dict[str, str] = {}
    for question in questions:
        writer.write(f"{question}\n".encode())
        answers[question] = (await reader.readuntil(b".\n")).decode()
    writer.close()
    await writer.wait_closed()
    return answers


@asynccontextmanager
async def panda(**parameters: Any) -> AsyncGenerator[CaptureBench]:
    """A PandA that somebody has used before, watching a stage on an E-727."""
    clock = ManualClock()
    world = nanoprobe_world(clock)
    server = PandaServer(world, WIRING, block_period=BLOCK_PERIOD)
    stage = GcsServer(world, E727, {"1": "x", "2": "y"}, homed=True)
    await server.start()
    await stage.start()
    ticking = asyncio.create_task(pump(clock))

    def make() -> PandaCapture:
        return PandaCapture(
            "panda",
            "127.0.0.1",
            control_port=server.control_port,
            data_port=server.data_port,
            clock=clock,
            block_period=BLOCK_PERIOD,
            **({"encoders": ENCODERS, "channels": CHANNELS} | parameters),
        )

    async def settings() -> Mapping[str, str]:
        return await ask(server.control_port, *ASKED)

    axes = {"x": {"id": "1", **AXIS}, "y": {"id": "2", **AXIS}}
    try:
        yield CaptureBench(
            make=make,
            lose=lambda number: world.faults.add("lost_trigger", at=number),
            motion=GcsMotion("stage", "127.0.0.1", stage.port, axes=axes, clock=clock),
            clock=clock,
            settings=settings,
            spans={"x": (40.0, 48.0), "y": (50.0, 51.0)},
            points=40,
            period=0.002,
            tolerance=0.09,
            truth=lambda: {a: float(world.axes[a].position(clock.now())) for a in "xy"},
        )
    finally:
        await stage.stop()
        await server.stop()
        await cancel(ticking)


class TestPanda(CaptureSuite):
    def make_bench(self):
        return panda()


class TestPandaSequencer(CaptureSuite):
    def make_bench(self):
        return panda(trigger="seq")


class TestPandaStreamed(CaptureSuite):
    def make_bench(self):
        return panda(trigger="seq", streamed=True)
