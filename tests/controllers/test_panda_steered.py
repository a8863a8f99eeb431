"""Steered flights on the simulated PandA: steps change on the way, accounts stay exact."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from scanspec.specs import Fly, Linspace

from flyscan.adaptive import (
    AdaptivePilot,
    LineContext,
    Plan,
    Policy,
    Proposal,
    Retune,
    Rows,
    Situation,
    SteeringConfig,
)
from flyscan.controllers import GcsMotion, PandaCapture
from flyscan.errors import LimitError
from flyscan.flight import (
    Flight,
    FlightOptions,
    ManualClock,
    Path,
    RunFile,
    State,
    Steered,
    Trigger,
    cancel,
)
from flyscan.flight._align import Alignment
from flyscan.testing import MemorySink
from flyscan_sim.gcs import E727, GcsServer
from flyscan_sim.panda import PandaServer
from flyscan_sim.world import nanoprobe_world
from tests.controllers.panda_bench import CHANNELS, ENCODERS, WIRING, pump

AXIS = {"velocity": 2000.0, "acceleration": 1e5, "settle": 0.005}
LENGTH, POINTS = 10.0, 200
#: Beside the rounding to a count, the stage trembles by 2 nm rms.
NEAR = 0.012


@dataclass(eq=False)
class Steps(Policy):
    """Changes the step once per line, at its first block."""

    wanted: list[float]
    lines: list[LineContext] = field(default_factory=list[LineContext])
    done: set[int] = field(default_factory=set[int])

    def begin(self, line: LineContext) -> Plan:
        self.lines.append(line)
        return Plan(None, "scripted")

    def tell(self, rows: Rows) -> None:
        """Not interested."""

    def ask(self, now: Situation) -> Proposal | None:
        line = len(self.lines) - 1
        if now.at_end or line in self.done or line >= len(self.wanted):
            return None
        self.done.add(line)
        return Retune("scripted", step=self.wanted[line])

    def params(self) -> dict[str, Any]:
        return {}


@dataclass
class Flown:
    """What came of a flight."""

    sink: MemorySink
    policy: Steps
    flight: Flight

    def line(self, index: int) -> np.ndarray:
        """Where the rows of a line begin, in the order in which they were taken."""
        return np.concatenate([f.facts.start[f.segment == index] for f in self.sink.frames])

    def records(self, event: str) -> list[dict[str, Any]]:
        return [r for r in self.sink.tuning if r["event"] == event]


@asynccontextmanager
async def boxes(**parameters: Any) -> AsyncIterator[tuple[ManualClock, GcsMotion, PandaCapture]]:
    """A PandA that watches a stage on an E-727, in one world, both connected."""
    clock = ManualClock()
    world = nanoprobe_world(clock)
    server = PandaServer(world, WIRING, block_period=0.05)
    stage = GcsServer(world, E727, {"1": "x", "2": "y"}, homed=True)
    async with AsyncExitStack() as stack:
        for part in (server, stage):
            await part.start()
            stack.push_async_callback(part.stop)
        stack.push_async_callback(cancel, asyncio.create_task(pump(clock)))
        axes = {"x": {"id": "1", **AXIS}, "y": {"id": "2", **AXIS}}
        motion = GcsMotion("stage", "127.0.0.1", stage.port, axes=axes, clock=clock)
        capture = PandaCapture(
            "panda",
            "127.0.0.1",
            control_port=server.control_port,
            data_port=server.data_port,
            clock=clock,
            block_period=0.05,
            encoders=ENCODERS,
            channels=CHANNELS,
            **parameters,
        )
        for box in (motion, capture):
            await box.connect()
            stack.push_async_callback(box.close)
        yield clock, motion, capture


async def fly(
    wanted: list[float], points: int = POINTS, period: float = 0.005, **parameters: Any
) -> Flown:
    """A snake of two lines by position, whose steps a policy changes."""
    fast = ~Linspace.bounded("x", 40.0, 40.0 + LENGTH, points)
    path = Path.from_spec(Fly(period @ (Linspace("y", 50, 51, 2) * fast)), trigger=Trigger.POSITION)
    sink, policy = MemorySink(), Steps(wanted)
    settings = SteeringConfig(policy={"class": "unused"})
    async with boxes(**parameters) as (clock, motion, capture):
        flight = Flight(
            motion,
            capture,
            sink,
            clock,
            path,
            lambda event: None,
            options=FlightOptions(flush_period=0.05),
            alignments={axis: Alignment(0.1) for axis in "xy"},
            steered=Steered(lambda helm: AdaptivePilot(settings, helm, clock, policy)),
        )
        await sink.open(RunFile("/", "run", (), {}, {}, 0, tuned=True))
        await flight.prepare()
        flight.kickoff()
        await flight.wait()
        return Flown(sink, policy, flight)


STEP = LENGTH / POINTS
BOXES = [{}, {"streamed": True, "trigger": "seq"}]


@pytest.mark.parametrize("box", BOXES)
async def test_steps_change_on_the_way_and_every_point_is_accounted_for(box: dict[str, Any]):
    f = await fly([1.5 * STEP, 0.5 * STEP], exposure=0.001, **box)
    assert f.flight.state is State.DONE
    assert all(row.closes for row in f.sink.ledger)
    assert [line.step_in_flight for line in f.policy.lines[:2]] == [True, True]
    assert [r.get("refused") or "" for r in f.records("applied")] == [""] * 4
    coarse, fine = f.line(0), f.line(1)
    assert np.diff(coarse)[:3] == pytest.approx(STEP, abs=NEAR)
    assert np.diff(coarse)[-60:] == pytest.approx(1.5 * STEP, abs=NEAR)
    assert 0 < 40.0 + LENGTH - coarse[-1] < 1.5 * STEP + NEAR
    waived = f.records("waived")[0]
    assert (waived["first"], waived["stop"]) == (len(coarse), POINTS)
    # The rail lets it shrink to two thirds at once. What the points of the line did not reach
    # is flown as a line of its own, which begins where its next row would have.
    assert np.diff(fine)[-60:] == pytest.approx(-STEP / 1.5, abs=NEAR)
    (rest,) = f.records("segment")
    everything = np.concatenate([fine, f.line(rest["index"])])
    assert 0 < everything[-1] - 40.0 < STEP + NEAR
    assert np.diff(everything)[-90:] == pytest.approx(-STEP / 1.5, abs=NEAR)


async def test_a_step_too_small_for_the_gate_does_not_spoil_the_flight():
    f = await fly([0.5 * STEP], duty=0.8)
    assert f.flight.state is State.DONE
    assert all(row.closes and not row.lost for row in f.sink.ledger)
    assert np.diff(f.line(0)).min() > 0.8 * STEP - NEAR


async def test_what_the_box_refuses_nevertheless_is_recorded(monkeypatch: pytest.MonkeyPatch):
    async def refuse(self: PandaCapture, factor: float) -> None:
        raise LimitError("not today", device=self.name, remedy="come again")

    monkeypatch.setattr(PandaCapture, "retune", refuse)
    f = await fly([1.5 * STEP], exposure=0.001)
    assert f.flight.state is State.DONE
    assert [r.get("refused", "") for r in f.records("applied")][1].startswith("panda: not today")


@pytest.mark.parametrize("factor", [1.26, 1.345, 1.45])
async def test_the_last_row_before_the_end_of_a_line_keeps_its_whole_gate(factor: float):
    """Gates of 40 ms go on after the stage has come to rest."""
    f = await fly([factor * 0.25], points=40, period=0.05, duty=0.8)
    assert all(row.closes and not row.lost for row in f.sink.ledger)
    assert 0 < 40.0 + LENGTH - f.line(0)[-1] < factor * 0.25 + NEAR
