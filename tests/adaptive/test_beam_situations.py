"""Loss of beam in every situation a steered flight can be in."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest
from scanspec.specs import Fly, Linspace

from benchmarks.adaptive._beam import Beam, RingCurrent
from flyscan.adaptive import (
    BeamGuard,
    Composite,
    Finish,
    PriorSpeed,
    Profile,
    Proposal,
    Retune,
    replay_file,
)
from flyscan.errors import FlightAbortedError
from flyscan.flight import FloatArray, Path, State, Trigger
from flyscan.storage import Hdf5Sink, check_file
from flyscan.testing import ManualClock
from tests.adaptive.steered import LENGTH, LINES, PERIOD, POINTS, SteeredFlight
from tests.adaptive.test_pilot import Scripted

NOMINAL = 1e5


def signals(beam: Beam, exposure: float = PERIOD) -> Any:
    """Incident flux and counts that go with it."""

    def flux(_: Mapping[str, FloatArray], seconds: FloatArray) -> FloatArray:
        return NOMINAL * exposure * beam.share(seconds, exposure)

    def counts(at: Mapping[str, FloatArray], seconds: FloatArray) -> FloatArray:
        return (1 + 50 * np.exp(-((at["x"] - 5.0) ** 2) / 0.1)) * flux(at, seconds)

    return {"I0": flux, "Fe": counts}


def steered(beam: Beam, policy: Any, trigger: Trigger = Trigger.TIME, **more: Any) -> SteeredFlight:
    return SteeredFlight(
        policy, trigger, signals=signals(beam), i0="I0", nominal_i0=NOMINAL, **more
    )


def dark(*intervals: tuple[float, float]) -> Beam:
    return Beam(np.array(intervals))


def check_lit(flight: SteeredFlight) -> None:
    """Everything accounted for, and nothing kept without beam."""
    flight.check_accounts()
    assert flight.column("I0")[flight.kept].min() >= 0.5 * NOMINAL * PERIOD


@pytest.mark.parametrize("begin", np.arange(0.2, 1.4, 0.13).tolist())
async def test_a_stretched_line_is_flown_again_where_its_rows_were(begin: float) -> None:
    script: dict[int, list[Proposal]] = {
        i: [Retune("slower", velocity=30.0), Retune("faster", velocity=44.0)] for i in range(LINES)
    }
    guarded = Composite([BeamGuard(), Scripted(script=script)])
    flight = steered(dark((begin, begin + 0.06)), guarded)
    await flight.fly()
    check_lit(flight)
    kept, y = flight.kept, np.round(flight.column("y"))
    for line in range(LINES):
        rows = kept & (y == line) & (flight.column("passes") == 0)
        low, high = (
            np.sort(f(flight.column("start")[rows], flight.column("stop")[rows]))
            for f in (np.minimum, np.maximum)
        )
        assert low[0] == pytest.approx(0, abs=0.3)
        assert high[-1] == pytest.approx(LENGTH, abs=0.3)
        assert np.max(low[1:] - np.maximum.accumulate(high)[:-1]) < 0.15, "a gap"


@pytest.mark.parametrize("trigger", list(Trigger))
async def test_lines_with_a_profile_are_flown_again_with_it(trigger: Trigger) -> None:
    speed = Profile((0.0, 5.0, 10.0), (65.0, 38.0, 65.0))

    async def flown(beam: Beam) -> SteeredFlight:
        flight = steered(beam, Composite([BeamGuard(), Scripted(profile=speed)]), trigger)
        await flight.fly()
        check_lit(flight)
        return flight

    still, lossy = await flown(dark((9.0, 9.1))), await flown(dark((0.35, 0.4), (1.9, 1.93)))
    assert (~lossy.kept).sum() >= 3
    first, second = (
        f.column("x")[f.kept][np.argsort(f.column("point")[f.kept])] for f in (still, lossy)
    )
    assert second == pytest.approx(first, abs=1e-9)


@pytest.mark.parametrize("trigger", list(Trigger))
async def test_rows_without_beam_decide_nothing(trigger: Trigger) -> None:
    async def plans(beam: Beam) -> list[Any]:
        policy = Composite([BeamGuard(), PriorSpeed("Fe", 0.2)])
        duty = 1.0 if trigger is Trigger.TIME else 0.2  # rows must not overlap where it is fast
        period = 0.002
        spec = period @ (Linspace("y", 0, 2, LINES) * ~Linspace.bounded("x", 0, LENGTH, 200))
        flight = SteeredFlight(
            policy,
            trigger,
            signals=signals(beam, duty * period),
            path=Path.from_spec(Fly(spec), trigger=trigger),
            duty=duty,
            i0="I0",
            nominal_i0=NOMINAL,
        )
        await flight.fly()
        assert [row["reason"] for row in flight.tuning("fault")] == []
        return [row["applied"]["profile"] for row in flight.tuning("plan")]

    still, lossy = await plans(dark((9.0, 9.1))), await plans(dark((0.28, 0.33), (0.9, 1.4)))
    assert len(still) == len(lossy) == LINES
    assert any(still)
    for a, b in zip(still, lossy, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert b["position"] == pytest.approx(a["position"], abs=1e-9)
            assert b["velocity"] == pytest.approx(a["velocity"], rel=0.25)


@pytest.mark.parametrize("trigger", list(Trigger))
async def test_a_loss_while_the_user_pauses_and_one_that_outlasts_the_pause(
    trigger: Trigger,
) -> None:
    for end in (0.5, 4.0):
        flight = steered(dark((0.31, end)), BeamGuard(), trigger)
        await flight.begin()
        await flight.clock.run(flight.clock.sleep_until(0.33))
        await flight.clock.run(flight.flight.hold("user"))
        await flight.clock.run(flight.clock.sleep(2.0))
        assert flight.flight.state is State.HELD
        flight.flight.release("user")
        await flight.end()
        check_lit(flight)
        assert sorted(flight.column("point")[flight.kept]) == list(range(POINTS * LINES))


@pytest.mark.parametrize("trigger", list(Trigger))
async def test_a_pause_while_the_beam_is_away(trigger: Trigger) -> None:
    clock = ManualClock()
    beam = dark((0.3, 1.0))
    ring = RingCurrent(beam, clock, 0.02)
    guard = BeamGuard(monitor="ring", monitor_low=100, monitor_high=200, lag=0.1)
    flight = SteeredFlight(
        guard, trigger, signals={"Fe": signals(beam)["Fe"]}, monitors=(ring,), clock=clock
    )
    await flight.begin()
    await clock.run(clock.sleep_until(0.6))
    assert flight.flight.holds == {"pilot"}
    await clock.run(flight.flight.hold("user"))
    await clock.run(clock.sleep_until(2.0))
    assert flight.flight.holds == {"user"}, "the guard has let go, the user has not"
    flight.flight.release("user")
    await flight.end()
    flight.check_accounts()
    assert flight.column("Fe")[flight.kept].min() >= 0.99 * NOMINAL * PERIOD


@pytest.mark.parametrize("trigger", list(Trigger))
async def test_the_file_of_a_disturbed_map_checks_and_replays(
    tmp_path: FilePath, trigger: Trigger
) -> None:
    policy = Composite([BeamGuard(), PriorSpeed("Fe", 1.0)])
    flight = steered(dark((0.28, 0.33), (0.6, 1.5), (1.7, 1.72)), policy, trigger, sink=Hdf5Sink())
    await flight.fly(str(tmp_path))
    report = check_file(tmp_path / "run.h5")
    assert report.ok, str(report)
    (again,) = replay_file(tmp_path / "run.h5")
    assert again.difference is None
    assert sum(1 for d in again.recorded if (d.applied or {}).get("kind") == "hold") >= 2


async def test_what_was_taken_without_beam_is_not_kept_when_the_run_is_aborted(
    tmp_path: FilePath,
) -> None:
    import h5py

    flight = steered(dark((0.3, 99.0)), BeamGuard(wait=10.0), sink=Hdf5Sink())
    await flight.begin(str(tmp_path))
    while flight.flight.state is not State.HELD:  # for which a thread writes to the disk
        await flight.clock.run(flight.clock.sleep(0.01))
        await asyncio.sleep(0.001)
    await flight.clock.run(flight.flight.stop())
    with pytest.raises(FlightAbortedError):
        await flight.end()
    await flight.sink.close()
    with h5py.File(tmp_path / "run.h5") as file:
        found: dict[str, Any] = {}
        file.visititems(lambda name, one: found.update({name.rpartition("/")[2]: one}))
        flux, keep, used = (np.asarray(found[name]) for name in ("i0", "keep", "used"))
    assert not keep[flux < 0.5].any()
    assert not used[flux < 0.5].any()


async def test_finishing_while_beam_is_away_ends_the_flight() -> None:
    finish: dict[int, list[Proposal]] = {0: [Finish("enough")]}
    flight = steered(dark((0.3, 99.0)), Composite([BeamGuard(wait=5.0), Scripted(script=finish)]))
    await flight.fly()
    check_lit(flight)
    assert flight.clock.now() < 2.0


@pytest.mark.parametrize("trigger", list(Trigger))
async def test_rows_that_will_be_flown_again_are_told_to_nobody(trigger: Trigger) -> None:
    flight = steered(dark((0.15, 0.17), (0.63, 0.66)), BeamGuard(), trigger)
    await flight.fly()
    check_lit(flight)
    thrown_away = set(np.flatnonzero(~flight.kept).tolist())
    told: set[int] = set()
    holding = False
    for record in flight.records_in_order():
        if record["event"] == "decided":
            kind = (record["decision"]["applied"] or {}).get("kind")
            holding = kind == "hold" or (holding and kind != "resume")
        elif record["event"] == "told":
            frames = set(range(record["first"], record["stop"]))
            assert not (holding and frames & thrown_away)
            told |= frames
    assert thrown_away & told, "the block with the loss was"
    assert trigger is Trigger.TIME or thrown_away - told, "what came while it braked was not"
