"""A simulated controller on a socket and the motion that drives it, in time that is jumped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from flyscan.controllers.gcs import GcsMotion
from flyscan.flight import Clock, ManualClock, Path, Sweep, plan_sweep
from flyscan.testing import passing
from flyscan_sim.gcs import C863, C885, E727, GcsServer, Profile
from flyscan_sim.world import AxisSpec, FaultScript, World

PIEZO = AxisSpec("um", 1e-3, 0.0, 100.0, 2000.0, 1e5, lag=1e-3, jitter=2e-3, start=50.0)
MOTOR = AxisSpec("mm", 1e-4, -25.0, 25.0, 50.0, 500.0, lag=2e-3, jitter=5e-5, start=3.0)
STEPPER = AxisSpec("mm", 1e-4, 0.0, 26.0, 0.6, 10.0, start=9.0)

Config = dict[str, dict[str, Any]]

PROFILES: dict[str, tuple[Profile, AxisSpec, dict[str, str], Config]] = {
    "E-727": (
        E727,
        PIEZO,
        {"1": "x", "2": "y"},
        {
            "x": {"id": "1", "velocity": 2000.0, "acceleration": 1e5},
            "y": {"id": "2", "velocity": 2000.0, "acceleration": 1e5},
        },
    ),
    "C-863": (C863, MOTOR, {"1": "x"}, {"x": {"id": "1", "settle": 0.01}}),
    "C-885": (
        C885,
        STEPPER,
        {"1": "x", "5": "y"},
        {"x": {"id": "1", "acceleration": 10.0}, "y": {"id": "5", "acceleration": 10.0}},
    ),
}


class Rig:
    """World, server and motion."""

    def __init__(
        self,
        model: str,
        *,
        axes: Config | None = None,
        homed: bool = True,
        clock: Clock | None = None,
        **options: Any,
    ) -> None:
        self.model = model
        profile, spec, wiring, config = PROFILES[model]
        self.clock = clock or ManualClock()
        stages = dict.fromkeys(wiring.values(), spec)
        faults = FaultScript(self.clock)
        self.world = World(self.clock, stages, {}, horizontal={}, vertical={}, faults=faults)
        self.server = GcsServer(self.world, profile, wiring, homed=homed)
        self._axes = axes or config
        self._options = options

    async def start(self) -> None:
        await self.server.start()
        self.motion = self.make_motion(**self._options)

    def make_motion(self, **options: Any) -> GcsMotion:
        options = {"axes": self._axes, "profile": self.model, "clock": self.clock} | options
        return GcsMotion("box", "127.0.0.1", self.server.port, **options)

    def path(self, spec: Any, period: float) -> Path:
        return Path.from_spec(spec, period=period)

    async def plan(self, path: Path, segment: int = 0, point: int | None = None) -> Sweep:
        found = path.segment(segment)
        first = found.first_point if point is None else point
        await self.motion.save(path)
        return plan_sweep(found, first, await self.motion.limits())

    def axis(self, id_: str = "1"):
        """The box' side of an axis."""
        return self.server.controller.axes[id_]

    async def other_client(self, *lines: str) -> str:
        """Send lines as another client of the same box would; its answers."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        writer.write("".join(f"{line}\n" for line in (*lines, "CSV?")).encode())
        answer = (await reader.readuntil(b"2.0\n")).decode()
        writer.close()
        await writer.wait_closed()
        return answer.removesuffix("2.0\n")


@asynccontextmanager
async def running(model: str, **options: Any) -> AsyncIterator[Rig]:
    rig = Rig(model, **options)
    await rig.start()
    async with AsyncExitStack() as stack:
        if isinstance(rig.clock, ManualClock):
            await stack.enter_async_context(passing(rig.clock))
        stack.push_async_callback(rig.server.stop)
        stack.push_async_callback(rig.motion.close)
        await rig.motion.connect()
        yield rig
