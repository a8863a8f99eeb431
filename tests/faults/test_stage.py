"""The stage, its controller and the connection to it fail."""

from __future__ import annotations

import re
from pathlib import Path as FilePath

import pytest

from flyscan.controllers.gcs import GcsMotion
from flyscan.errors import CaptureError, ConnectionLostError, MotionError
from flyscan.flight import RealClock, Sweep
from tests.faults.nano import snake, station

RESTORE_LATER = (
    "; settings of stage could not be put back: the next flight, or `flyscan restore` once this "
    "host has ended, will do it"
)
COLLISION = "Remedy: check the stage for a collision, its load and its cable"


# --- the connection --------------------------------------------------------------------------


@pytest.mark.parametrize("away", [0.0, 0.5, 4.0])
async def test_gcs_cut_in_mid_move_loses_nothing(tmp_path: FilePath, away: float):
    async with station(tmp_path) as st:
        path = snake()
        await st.kickoff(path)
        await st.in_line()
        cut = st.fault("close_gcs", **{"for": away})
        await st.finish()
        assert st.clock.now() - cut < away + 1.0
        await st.check_exact(path)


@pytest.mark.parametrize("away", [0.0, 0.5, 4.0])
async def test_gcs_cut_in_a_turnaround_loses_nothing(tmp_path: FilePath, away: float):
    async with station(tmp_path) as st:
        path = snake(lines=3)
        await st.kickoff(path)
        await st.in_turnaround()
        cut = st.fault("close_gcs", **{"for": away})
        await st.finish()
        assert st.clock.now() - cut < away + 1.0
        await st.check_exact(path)


@pytest.mark.parametrize("late", [0.0, 0.05])
@pytest.mark.parametrize("away", [0.0, 0.5, 1.5, 4.0])
async def test_gcs_cut_as_a_line_begins_loses_nothing(
    tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch, away: float, late: float
):
    """The line begins when the connection is back, and is not missed where it would be by then."""
    async with station(tmp_path) as st:
        path = snake(points=400)
        await st.prepare(path)
        start, cut = GcsMotion.start, list[float]()

        async def cut_first(self: GcsMotion, sweep: Sweep) -> None:
            if not cut:
                cut.append(st.fault("close_gcs", **{"for": away}))
                await st.clock.sleep(late)
            await start(self, sweep)

        monkeypatch.setattr(GcsMotion, "start", cut_first)
        st.rig.kickoff()
        await st.finish()
        assert st.clock.now() - cut[0] < away + 2.5
        await st.check_exact(path)


async def test_gcs_cut_for_good_is_named_within_6_s_and_the_stage_rests_at_the_line_end(
    tmp_path: FilePath,
):
    async with station(tmp_path) as st:
        path = snake()
        await st.kickoff(path)
        await st.in_line()
        fault = st.nano.world.faults.add("close_gcs")
        error = await st.failure()
        assert st.clock.now() - fault.at < 6.0
        assert isinstance(error, ConnectionLostError)
        assert re.fullmatch(
            r"stage: controller at 127\.0\.0\.1:\d+ closed the connection; not connected again "
            r"within 5 s \(controller at \S+ .*\)\. Remedy: check its power, the network and the "
            r"configured host and port" + RESTORE_LATER,
            str(error),
        )
        # The move was bounded by its target, just behind the last point.
        assert st.at("x") == pytest.approx(45.0, abs=0.2)
        st.check_told()
        st.check_prefix(path)
        assert st.journal == ["stage"]

        st.nano.world.faults.remove(fault)
        await st.fly(path)
        await st.check_restored()


async def test_garbage_from_the_stage_is_asked_again(tmp_path: FilePath):
    async with station(tmp_path) as st:
        path = snake()
        await st.kickoff(path)
        await st.in_line()
        for _ in range(2):
            st.fault("garbage", box="gcs")
            await st.clock.sleep(0.03)
        await st.finish()
        await st.check_exact(path)


async def test_slow_replies_of_the_stage_cost_time_only(tmp_path: FilePath):
    async with station(tmp_path) as st:
        path = snake()
        await st.kickoff(path)
        await st.in_line()
        began = st.fault("slow_replies", box="gcs", delay=0.02)
        await st.finish()
        assert st.clock.now() - began < 5.0
        await st.check_exact(path)


async def test_a_stage_that_answers_too_late_is_named(tmp_path: FilePath):
    """On real time, since that is what sockets go by."""
    async with station(tmp_path, clock=RealClock(), gcs={"timeout": 0.2, "reconnect": 0.5}) as st:
        path = snake()
        await st.kickoff(path)
        await st.in_line()
        fault = st.nano.world.faults.add("slow_replies", box="gcs", delay=0.6)
        error = await st.failure()
        assert st.clock.now() - fault.at < 6.0
        assert isinstance(error, ConnectionLostError)
        assert re.match(
            r"stage: controller at 127\.0\.0\.1:\d+ .*not connected again within 0\.5 s .*Remedy: "
            r"check its power, the network and the configured host and port" + RESTORE_LATER,
            str(error),
        )
        st.check_told()
        assert st.journal == ["stage"]
        st.nano.world.faults.remove(fault)
        await st.clock.sleep(0.7)
        await st.fly(path)
        await st.check_restored()


# --- the stage -------------------------------------------------------------------------------


async def test_stalled_stage_is_named_within_1_s(tmp_path: FilePath):
    async with station(tmp_path) as st:
        path = snake()
        await st.kickoff(path)
        await st.in_line()
        began = st.fault("stall", axis="x")
        error = await st.failure()
        assert st.clock.now() - began < 1.0
        assert isinstance(error, MotionError)
        assert re.fullmatch(
            rf"stage x: is at 42\.0\d+ um, expected at \d+\.?\d* um\. {COLLISION}", str(error)
        )
        assert len(st.points) in range(38, 44)
        await st.check_failed(path)


async def test_stalled_stage_in_a_turnaround_is_named_within_3_s(tmp_path: FilePath):
    async with station(tmp_path) as st:
        path = snake()
        await st.kickoff(path)
        await st.in_turnaround()
        began = st.fault("stall", axis="y")
        error = await st.failure()
        assert st.clock.now() - began < 3.0
        assert isinstance(error, MotionError)
        assert re.fullmatch(
            rf"stage y: is at 50\.\d+ um, expected at 51 um\. {COLLISION}", str(error)
        )
        assert len(st.points) == 100
        await st.check_failed(path)


async def test_stage_that_slips_and_jumps_is_named_within_1_s(tmp_path: FilePath):
    """A short stall: the stage catches up faster than its points can be exposed."""
    async with station(tmp_path) as st:
        path = snake()
        await st.kickoff(path)
        await st.in_line()
        began = st.fault("stall", axis="x", **{"for": 0.01})
        error = await st.failure()
        assert st.clock.now() - began < 1.0
        assert isinstance(error, CaptureError)
        assert re.fullmatch(
            r"panda: segment 0: \d+ of 100 triggers came while the gate of 0\.0008 s was open\. "
            r"Remedy: use a shorter exposure or a longer period, or look for speed ripple",
            str(error),
        )
        await st.check_failed(path)


async def test_following_error_in_a_line_is_named_within_1_s(tmp_path: FilePath):
    async with station(tmp_path) as st:
        path = snake()
        await st.kickoff(path)
        await st.in_line()
        began = st.fault("following_error", axis="x", offset=-2.0)
        error = await st.failure()
        assert st.clock.now() - began < 1.0
        assert isinstance(error, MotionError)
        assert re.fullmatch(
            rf"stage x: is at 4\d\.?\d* um, expected at \d+\.?\d* um\. {COLLISION}", str(error)
        )
        st.check_told()
        await st.check_restored()


async def test_following_error_between_lines_is_named_within_3_s(tmp_path: FilePath):
    async with station(tmp_path) as st:
        path = snake()
        await st.kickoff(path)
        await st.in_line()
        began = st.fault("following_error", axis="y", offset=2.0)
        error = await st.failure()
        assert st.clock.now() - began < 3.0
        assert isinstance(error, MotionError)
        assert re.fullmatch(
            rf"stage y: is at 52\.99\d um, expected at 51 um\. {COLLISION}|"
            rf"stage y: is at 53\.?\d* um, expected at 51 um\. {COLLISION}",
            str(error),
        )
        await st.check_failed(path)


async def test_a_stage_stopped_by_another_client_is_named_within_1_s(tmp_path: FilePath):
    async with station(tmp_path) as st:
        path = snake()
        await st.kickoff(path)
        await st.in_line()
        began = st.clock.now()
        await st.stage("STP", "*IDN?", lines=1)
        error = await st.failure()
        assert st.clock.now() - began < 1.0
        assert isinstance(error, MotionError)
        assert re.match(
            r"stage x: is at 42\.\d+ um, expected at 45 um; stopped by another client or a "
            r"stop command\. Remedy: check the stage",
            str(error),
        )
        await st.check_failed(path)


@pytest.mark.parametrize("moment", ["while held", "on leaving"])
async def test_trembling_past_a_trigger_position_while_held_loses_nothing(
    tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch, moment: str
):
    async with station(tmp_path) as st:
        path = snake(points=40, step=0.5, period=0.01)
        await st.kickoff(path)
        await st.in_line()
        await st.rig.hold("coffee")
        x, line = st.nano.world.axes["x"], path.segment(0)

        async def tremble() -> None:
            """The stage gets past the next trigger position, as far as it should not."""
            beyond = line.bound(st.points[-1] + 1)["x"] + 0.2 * line.step
            await st.clock.sleep_until(x.move(beyond, velocity=50.0, acceleration=1e5) + 0.02)

        prepare, trembled = GcsMotion.prepare, list[Sweep]()

        async def tremble_first(self: GcsMotion, sweep: Sweep) -> None:
            if not trembled:
                trembled.append(sweep)
                await tremble()
            await prepare(self, sweep)

        if moment == "while held":
            await tremble()
        else:
            monkeypatch.setattr(GcsMotion, "prepare", tremble_first)
        st.rig.release("coffee")
        await st.finish()
        assert len(trembled) == (moment == "on leaving")
        await st.check_exact(path)
