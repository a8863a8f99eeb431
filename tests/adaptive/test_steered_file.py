"""Steered flights leave files that are complete, can be replayed, and become even maps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest
from scanspec.specs import Fly, Linspace

import flyscan
from flyscan.adaptive import (
    AdaptivePilot,
    CurvatureSpeed,
    Finish,
    GoBack,
    Hold,
    Policy,
    PriorSpeed,
    Profile,
    Retune,
    SteeringConfig,
    replay_file,
)
from flyscan.flight import Flight, FlightOptions, FloatArray, Path, RunFile, Steered, Trigger
from flyscan.storage import Hdf5Sink, check_file
from flyscan.testing import ManualClock, MemoryBox
from tests.adaptive.tape import Script

PERIOD = 0.01
MAP = Fly(PERIOD @ (Linspace("y", 0, 2, 3) * ~Linspace("x", 0.25, 9.75, 20)))
BACK = GoBack("", 4.0, 2.0, Profile((4.0, 2.0), (10.0, 10.0))).to_dict()


def rate(positions: Mapping[str, FloatArray]) -> FloatArray:
    """Counts per second, straight along a line."""
    return 1e4 * (2 + positions["x"] + positions["y"])


async def fly(
    directory: FilePath, policy: Policy, trigger: Trigger, patience: float = 1.0
) -> FilePath:
    """Fly a small map under a policy; the run's file."""
    clock = ManualClock()
    box = MemoryBox(clock=clock, block_period=0.05, duty=1.0)
    box.capture.signals = {
        "Fe": lambda at, _: rate(at) * PERIOD,
        "I0": lambda at, _: np.full(len(at["x"]), 500.0),
    }
    sink = Hdf5Sink()
    config = SteeringConfig(policy=policy.to_dict(), i0="I0", patience=patience)
    path = Path.from_spec(MAP, trigger=trigger)
    flight = Flight(
        box.motion,
        box.capture,
        sink,
        clock,
        path,
        lambda _: None,
        options=FlightOptions(flush_period=0.05),
        steered=Steered(lambda helm: AdaptivePilot(config, helm, clock), i0="I0", epoch_ns=77),
    )
    run = RunFile(
        str(directory), "run", box.capture.channels(), {"x": "um", "y": "um"}, {}, 77, tuned=True
    )
    await sink.open(run)
    await sink.begin_flight(0, path.to_dict())
    await clock.run(flight.prepare())
    flight.kickoff()
    await clock.run(flight.wait())
    await sink.close()
    return directory / "run.h5"


CASES: dict[str, Policy] = {
    "nothing": Script({}),
    "slower": Script({"0": [Retune("", velocity=25.0).to_dict()]}),
    "faster": Script({"0": [None, Retune("", velocity=70.0).to_dict()]}),
    "back": Script({"0": [BACK], "2": [None, BACK]}),
    "back at the end": Script({}, {"1": [BACK, BACK]}),
    "hold": Script({"1": [Hold("", refly_from=22).to_dict()]}),
    "end of a line": Script({"1": [Finish("", line_only=True).to_dict()]}),
    "end of all": Script({"1": [None, Finish("").to_dict()]}),
    "prior": PriorSpeed("Fe", 0.5),
    "curvature": CurvatureSpeed("Fe", 0.5, target_error=100.0),
}


@pytest.mark.parametrize("trigger", list(Trigger))
@pytest.mark.parametrize("case", CASES)
async def test_the_file_is_complete_and_makes_the_same_decisions_again(
    tmp_path: FilePath, case: str, trigger: Trigger
) -> None:
    name = await fly(tmp_path, CASES[case], trigger)
    report = check_file(name)
    assert report.ok, str(report)
    (found,) = replay_file(name, trusted=["tests.adaptive.tape:Script"])
    assert found.difference is None
    kinds = [d.applied.get("kind") for d in found.recorded if d.applied is not None]
    assert kinds.count(None) >= 2, "lines were planned"
    assert isinstance(CASES[case], Script) == any(kinds) or case == "nothing"
    assert all(d.latency is not None for d in found.recorded)


async def test_a_policy_that_was_too_slow_is_switched_off_in_the_replay_too(
    tmp_path: FilePath,
) -> None:
    name = await fly(tmp_path, CASES["back"], Trigger.POSITION, patience=1e-9)
    assert check_file(name).ok
    (found,) = replay_file(name, trusted=["tests.adaptive.tape:Script"])
    assert found.difference is None
    assert [decision.cause for decision in found.recorded] == ["plan", "late"]


async def test_a_policy_that_raised_raises_again(tmp_path: FilePath) -> None:
    broken = Script({"0": [None, {"kind": "somersault"}]})
    name = await fly(tmp_path, broken, Trigger.POSITION)
    assert check_file(name).ok
    (found,) = replay_file(name, trusted=["tests.adaptive.tape:Script"])
    assert found.difference is None
    assert "somersault" in next(d.reason for d in found.recorded if d.cause == "fault")


@pytest.mark.parametrize("trigger", list(Trigger))
@pytest.mark.parametrize("case", CASES)
async def test_maps_are_even_and_unbiased(tmp_path: FilePath, case: str, trigger: Trigger) -> None:
    name = await fly(tmp_path, CASES[case], trigger)
    found = flyscan.regrid(name, "Fe", 20)
    assert found.value.shape == (3, 20)
    assert found.axis == "x"
    assert found.others["y"] == pytest.approx([0, 1, 2])
    middle = (found.edges[1:] + found.edges[:-1]) / 2
    truth = np.array([rate({"x": middle, "y": np.full(20, y)}) for y in (0.0, 1.0, 2.0)])
    measured = np.isfinite(found.value)
    expected: Any = {"end of a line": 2 / 3, "end of all": 1 / 3}.get(case, 0.97)
    assert measured.mean() >= expected
    inner = measured & np.roll(measured, 1, 1) & np.roll(measured, -1, 1)
    inner[:, [0, -1]] = False  # the first and the last row of a line have one neighbour only
    assert found.value[inner] == pytest.approx(truth[inner], rel=5e-3)
    assert not found.left_out.any()
    assert (found.dose[measured] >= found.exposure[measured] - 1e-12).all()
