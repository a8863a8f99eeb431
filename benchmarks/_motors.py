"""The nanoprobe's piezo stage behind EPICS motor records: ``python -m benchmarks._motors``.

Prints ``{"port": ..., "x": ..., "y": ...}`` when ready and ends with its standard input. The
records are set up for run-ups of 5e4 um/s^2 at the speed of the lines; between lines they use all
the acceleration the stage has.
"""

from __future__ import annotations

import asyncio
import json
import sys

from flyscan.flight import RealClock
from flyscan_sim.epics import Beamline, CaServer, MotorSettings
from flyscan_sim.world import nanoprobe_world

ACCELERATION = 5e4
TRANSFER_ACCELERATION = 1e5


async def serve(speed: float) -> None:
    """Serve until standard input ends."""
    world = nanoprobe_world(RealClock())
    settings = MotorSettings(
        velocity=speed,
        acceleration_time=speed / ACCELERATION,
        max_velocity=speed * TRANSFER_ACCELERATION / ACCELERATION,
        update_period=0.02,
    )
    beamline = Beamline(world, {"X": "x", "Y": "y"}, prefix="PIEZO:", settings=settings)
    server = CaServer(beamline.records)
    await server.start()
    try:
        ready = {"port": server.port, "x": "PIEZO:X", "y": "PIEZO:Y"}
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)
    finally:
        await server.stop()


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1])))
