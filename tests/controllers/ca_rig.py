"""A simulated beamline over Channel Access, for tests that use aioca in this process.

libca reads where to search once per process, so a block of ports is chosen before its first use
and every test gets one of them. They lie below the range that port 0 picks from.
"""

from __future__ import annotations

import itertools
import os
import random
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache

from flyscan.controllers.epics import EpicsMotion
from flyscan.flight import Clock, ScaledClock
from flyscan_sim.epics import Beamline, CaServer, MotorSettings
from flyscan_sim.world import World, nanoprobe_world

SPEED = 8.0
SETTINGS = MotorSettings(velocity=2.0, acceleration_time=0.1, max_velocity=5.0)
_prefixes = itertools.count()


def _free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(type=kind) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True


@cache
def _ports() -> itertools.cycle[int]:
    candidates = random.SystemRandom().sample(range(20_000, 32_000), 200)
    ports = list(itertools.islice(filter(_free, candidates), 12))
    os.environ["EPICS_CA_ADDR_LIST"] = " ".join(f"127.0.0.1:{port}" for port in ports)
    os.environ["EPICS_CA_AUTO_ADDR_LIST"] = "NO"
    os.environ["EPICS_CA_CONN_TMO"] = "2"
    return itertools.cycle(ports)


@dataclass
class Rig:
    """World, records and server of one test."""

    clock: Clock
    world: World
    beamline: Beamline
    port: int
    server: CaServer = field(init=False)

    def pv(self, name: str) -> str:
        return f"{self.beamline.prefix}{name}"

    async def start(self) -> None:
        self.server = CaServer(self.beamline.records, port=self.port)
        await self.server.start()

    def motion(self, **settings: object) -> EpicsMotion:
        axes = {axis: {"pv": self.pv(axis.upper())} | settings for axis in ("x", "y")}
        return EpicsMotion("coarse", axes, clock=self.clock, timeout=10.0)


@asynccontextmanager
async def serve(
    clock: Clock | None = None, settings: MotorSettings = SETTINGS
) -> AsyncIterator[Rig]:
    """Motors X and Y (mm), ring current, shutter and ion chamber."""
    port = next(_ports())
    clock = clock or ScaledClock(SPEED)
    world = nanoprobe_world(clock)
    prefix = f"T{next(_prefixes)}:"
    motors = {"X": "coarse_x", "Y": "coarse_y"}
    rig = Rig(clock, world, Beamline(world, motors, prefix=prefix, settings=settings), port)
    await rig.start()
    try:
        yield rig
    finally:
        await rig.server.stop()


@asynccontextmanager
async def connected(rig: Rig, **settings: object) -> AsyncIterator[EpicsMotion]:
    """The two motors as a motion."""
    motion = rig.motion(**settings)
    await motion.connect()
    try:
        yield motion
    finally:
        await motion.close()


async def put(pvs: Sequence[str] | str, value: float | str) -> None:
    """Write as some other client would."""
    import aioca

    await aioca.caput(pvs, value, wait=False, timeout=5)
