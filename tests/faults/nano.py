"""The whole stack but the RunEngine: rig, PI stage and PandA against the simulated nanoprobe."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

import numpy as np
from scanspec.specs import Fly, Linspace

from flyscan.controllers.gcs import GcsMotion
from flyscan.controllers.panda import PandaCapture
from flyscan.demo import host_config
from flyscan.errors import FlyscanError
from flyscan.flight import (
    Clock,
    FlightOptions,
    ManualClock,
    Monitor,
    Motion,
    Path,
    State,
    Trigger,
)
from flyscan.flight._rig import Rig
from flyscan.flight.host import HostConfig
from flyscan.flight.host._restore import HostJournal
from flyscan.flight.host._state_folder import StateFolder
from flyscan.testing import MemorySink, passing
from flyscan_sim.nanoprobe import Nanoprobe

#: Real seconds after which a test that waits has hung.
HUNG = 30.0


def snake(
    points: int = 100,
    lines: int = 2,
    period: float = 0.001,
    step: float = 0.05,
    trigger: Trigger = Trigger.POSITION,
) -> Path:
    """Lines of `points` points on x from 40 um on, 1 um apart on y from 50 um on."""
    fast = Linspace("x", 40.0, 40.0 + step * (points - 1), points)
    spec = Fly(Linspace("y", 50.0, 50.0 + lines - 1, lines) * ~fast) if lines > 1 else Fly(fast)
    return Path.from_spec(spec, trigger=trigger, period=period)


@dataclass
class Station:
    """Everything one test needs."""

    clock: Clock
    nano: Nanoprobe
    rig: Rig
    sink: MemorySink
    state: StateFolder
    events: list[dict[str, Any]]
    folder: FilePath
    file: str = ""
    found: dict[str, Any] = field(default_factory=dict[str, Any])

    # --- flying ----------------------------------------------------------------------------

    async def prepare(self, path: Path) -> None:
        """Open a run if none is open, and get ready."""
        if not self.file:
            self.found = await self.settings()
            self.file = await self.rig.open_run(str(self.folder), "run", {})
        await self.rig.prepare(path)

    async def kickoff(self, path: Path) -> None:
        """Get ready and go."""
        await self.prepare(path)
        self.rig.kickoff()

    async def finish(self) -> None:
        """Wait for the end of the flight; never for long."""
        async with asyncio.timeout(HUNG):
            await self.rig.finish()

    async def fly(self, path: Path) -> None:
        await self.kickoff(path)
        await self.finish()

    async def failure(self) -> FlyscanError:
        """What the flight under way fails of."""
        try:
            await self.finish()
        except FlyscanError as error:
            return error
        raise AssertionError("the flight succeeded, in silence")

    async def when(self, condition: Callable[[], bool]) -> None:
        """Wait until something is true of the world."""
        async with asyncio.timeout(HUNG):
            while not condition():
                await self.clock.sleep(0.001)

    def at(self, axis: str) -> float:
        """Where a stage really is."""
        return float(self.nano.world.axes[axis].position(self.clock.now()))

    async def in_line(self, x: float = 42.0) -> None:
        """Wait until the first line has come to `x`."""
        await self.when(lambda: self.at("x") > x)

    async def in_turnaround(self) -> None:
        """Wait until y is on its way to the second line."""
        await self.when(lambda: self.at("y") > 50.3)

    def fault(self, kind: str, **params: Any) -> float:
        """From now on something goes wrong; returns when."""
        self.nano.world.faults.add(kind, **params)
        return self.clock.now()

    # --- afterwards ------------------------------------------------------------------------

    @property
    def points(self) -> list[int]:
        """Point of every frame, in the order of frames."""
        return self.sink.column("point").tolist()

    @property
    def journal(self) -> list[str]:
        """Controllers the restore journal still has something for."""
        return sorted(entry.controller for entry in self.state.journal())

    def check_frames(self, path: Path, flights: int = 1) -> None:
        """Every frame once; one kept frame per point, where the point is; the ledger closes."""
        numbers = np.concatenate(
            [np.arange(f.first_frame, f.first_frame + len(f)) for f in self.sink.frames]
        )
        assert numbers.tolist() == list(range(len(numbers)))
        kept = np.ones(len(numbers), bool)
        kept[sorted(self.sink.superseded)] = False
        flight = np.repeat([f.flight for f in self.sink.frames], [len(f) for f in self.sink.frames])
        order = np.lexsort((self.sink.column("point")[kept], flight[kept]))
        points = self.sink.column("point")[kept][order]
        assert points.tolist() == list(range(path.points)) * flights
        x = self.sink.column("x")[kept][order]
        wanted = np.tile(path.setpoints(0, path.points)["x"], flights)
        # Exposed for 0.8 of the period, and up to the stage's tremble apart.
        assert np.abs(x - wanted).max() < 0.5 * path.segment(0).step
        assert len(self.sink.ledger) == path.segment_count * flights
        assert all(row.closes for row in self.sink.ledger)

    def check_prefix(self, path: Path) -> None:
        """What was stored before the flight failed has its right numbers and places."""
        assert self.points == list(range(len(self.points)))
        wanted = path.setpoints(0, path.points)["x"][: len(self.points)]
        x = np.asarray(self.sink.column("x"))
        assert np.abs(x - wanted).max(initial=0.0) < path.segment(0).step
        assert sum(row.captured for row in self.sink.ledger) == len(self.points)

    async def check_exact(self, path: Path) -> None:
        """The flight went well, whatever happened on the way."""
        assert self.rig.flight is not None
        assert self.rig.flight.state is State.DONE
        self.check_frames(path)
        await self.check_restored()

    async def check_failed(self, path: Path) -> None:
        """The flight failed and left everything as found."""
        self.check_told()
        self.check_prefix(path)
        await self.check_restored()

    def check_told(self) -> None:
        """The flight failed, and said so once."""
        assert self.rig.flight is not None
        assert self.rig.flight.state is State.FAILED
        assert [e["event"] for e in self.events].count("failed") == 1

    async def check_restored(self) -> None:
        await self.check_rest()
        assert await self.settings() == self.found
        assert self.journal == []

    async def check_rest(self) -> None:
        now = self.clock.now()
        assert not [a for a, stage in self.nano.world.axes.items() if stage.moving(now)]
        assert (await self.panda("*PCAP.STATUS?"))[0].startswith("OK =Idle")

    async def settings(self) -> dict[str, Any]:
        """All settings of both boxes, as another client of theirs finds them."""
        config = await self.panda("*CHANGES.CONFIG?")
        attributes = await self.panda("*CHANGES.ATTR?")
        stage = await self.stage("VEL? 1 2", "SVO? 1 2", lines=4)
        return {"panda": sorted(config), "attributes": sorted(attributes), "stage": stage}

    async def panda(self, request: str) -> list[str]:
        """The reply to a request on a connection of its own."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.nano.panda.control_port)
        writer.write(f"{request}\n".encode())
        lines = [(await reader.readline()).decode().strip()]
        while lines[-1].startswith("!"):
            lines.append((await reader.readline()).decode().strip())
        writer.close()
        await writer.wait_closed()
        return lines

    async def stage(self, *requests: str, lines: int = 0) -> list[str]:
        """The lines another client of the stage's controller is answered."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.nano.gcs.port)
        writer.write("".join(f"{request}\n" for request in requests).encode())
        answer = [(await reader.readline()).decode().strip() for _ in range(lines)]
        writer.close()
        await writer.wait_closed()
        return answer


@asynccontextmanager
async def station(
    folder: FilePath,
    *,
    clock: Clock | None = None,
    sink: Any = None,
    panda: Mapping[str, Any] | None = None,
    gcs: Mapping[str, Any] | None = None,
    options: Mapping[str, float] | None = None,
    motion: Callable[[Motion], Motion] | None = None,
    monitors: Callable[[Nanoprobe], tuple[Monitor, ...]] | None = None,
    channel_access: int | None = None,
) -> AsyncIterator[Station]:
    """A connected rig, its simulated beamline, and time that passes by itself.

    Args:
        folder: for the state folder and the data file.
        clock: jumped from deadline to deadline unless given.
        sink: keeps frames in memory unless given.
        panda, gcs: further parameters of the two bindings.
        options: of the flight.
        motion: makes the rig's motion of the stage.
        monitors: makes the rig's monitors.
        channel_access: port to serve the beamline's records on, if they are wanted.
    """
    clock = clock or ManualClock()
    nano = Nanoprobe(clock=clock, prefix=f"F{channel_access or 0}:")
    events: list[dict[str, Any]] = []
    async with AsyncExitStack() as stack:
        servers: list[Any] = [nano.panda, nano.gcs]
        if channel_access is not None:
            nano.ca.port = channel_access
            servers.append(nano.ca)
        for server in servers:
            stack.push_async_callback(server.stop)
            await server.start()
        if isinstance(clock, ManualClock):
            await stack.enter_async_context(passing(clock))
        config = host_config(nano.endpoints)["controllers"]
        config["stage"]["params"] |= dict(gcs or {})
        config["panda"]["params"] |= dict(panda or {})
        stage = GcsMotion("stage", clock=clock, **config["stage"]["params"])
        capture = PandaCapture("panda", clock=clock, **config["panda"]["params"])
        config["both"] = {"class": "flyscan.controllers:CombinedMotion", "params": {}}
        state = StateFolder(folder / "state")
        memory = MemorySink()
        rig = Rig(
            "nano",
            stage if motion is None else motion(stage),
            capture,
            () if monitors is None else monitors(nano),
            lambda: memory if sink is None else sink,
            clock,
            events.append,
            FlightOptions(**(options or {})),
            journal=HostJournal(state, HostConfig.from_dict({"controllers": config, "flyers": {}})),
        )
        stack.push_async_callback(rig.close)
        await rig.connect()
        for axis in ("x", "y"):

            async def readback(axis: str = axis) -> float:
                return (await rig.motion.position())[axis]

            await capture.align(axis, readback, tolerance=0.05)
        yield Station(clock, nano, rig, memory, state, events, folder)
