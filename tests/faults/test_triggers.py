"""Triggers are lost or doubled, or the box is not ready for the first one."""

from __future__ import annotations

import re
from pathlib import Path as FilePath

import pytest
from scanspec.specs import Fly, Static

from flyscan.errors import CaptureError
from flyscan.flight import Path, State, Trigger
from tests.faults.nano import Station, snake, station


async def test_late_arm_is_waited_for(tmp_path: FilePath):
    async with station(tmp_path) as st:
        path = snake()
        began = st.fault("late_arm", delay=1.0)
        await st.fly(path)
        assert 1.0 < st.clock.now() - began < 3.0
        await st.check_exact(path)


async def test_a_box_that_does_not_arm_is_named_in_time_before_motion(tmp_path: FilePath):
    async with station(tmp_path, panda={"timeout": 0.5}) as st:
        path = snake()
        fault = st.nano.world.faults.add("late_arm", delay=60.0)
        stood = st.at("x")
        with pytest.raises(CaptureError) as caught:
            await st.kickoff(path)
        assert str(caught.value) == (
            "panda: PCAP.ACTIVE is 0, expected 1 within 0.5 s after arming. Remedy: check the "
            "health of PCAP on the box's web page, and restart the box"
        )
        assert st.clock.now() - fault.at < 1.0
        assert abs(st.at("x") - stood) < 0.05
        await st.check_restored()


async def test_missed_pre_start_is_named_within_a_second_before_the_line(tmp_path: FilePath):
    """The box' idea of the position changes between preparing and the first line."""
    async with station(tmp_path, panda={"timeout": 0.5}) as st:
        path = snake()
        await st.prepare(path)
        st.fault("foreign_write", field="INENC1.SETP", value="48000")
        await st.clock.sleep(0.1)
        st.found["panda"] = [
            "!INENC1.SETP=48000" if line.startswith("!INENC1.SETP=") else line
            for line in st.found["panda"]
        ]
        began = st.clock.now()
        st.rig.kickoff()
        error = await st.failure()
        assert st.clock.now() - began < 1.0
        assert isinstance(error, CaptureError)
        assert re.fullmatch(
            r"panda: segment 0: the first trigger is at x = 39\.975 um; the run-up begins at "
            r"39\.\d+, the encoder says 4[78]\.\d+, and the pcomp block is in WAIT_PRE_START\. "
            r"Remedy: check that the encoder follows the stage and agrees with it \(align the axis "
            r"map\), and that the acceleration leaves a run-up",
            str(error),
        )
        assert st.points == []
        await st.check_failed(path)


def lost(st: Station) -> list[int]:
    """Points that got no row when they were due, by the ledger."""
    return sorted(point for row in st.sink.ledger for point in row.lost)


@pytest.mark.parametrize(
    ("trigger", "triggers", "points"),
    [
        (Trigger.POSITION, [0], [0, 1]),
        (Trigger.POSITION, [70, 80, 81], [70, 71, 80, 81, 82]),  # twice in one line
        (Trigger.TIME, [70, 80, 81], [70, 71, 80, 81, 82]),
        (Trigger.POSITION, [150], [150, 151]),  # on the way back
        (Trigger.POSITION, [99], [99, 100]),  # at the turn: the next row is of the next line
        (Trigger.POSITION, [199], [199, 199]),  # the last of all: the next is of the re-take
        (Trigger.TIME, [199], [199, 199]),
    ],
)
async def test_points_of_lost_triggers_are_flown_again(
    tmp_path: FilePath, trigger: Trigger, triggers: list[int], points: list[int]
):
    """A row with the data of two triggers counts for neither."""
    async with station(tmp_path) as st:
        path = snake(trigger=trigger)
        for number in triggers:
            st.fault("lost_trigger", at=number)
        await st.fly(path)
        await st.check_exact(path)
        assert lost(st) == points
        assert len(st.points) < path.points + 50


async def test_a_trigger_lost_in_the_retake_itself(tmp_path: FilePath):
    async with station(tmp_path) as st:
        path = snake(lines=1)
        for number in (70, 100):
            st.fault("lost_trigger", at=number)
        await st.fly(path)
        await st.check_exact(path)
        assert lost(st) == [70, 70, 71, 71]


async def test_triggers_lost_in_a_dwell_are_made_again(tmp_path: FilePath):
    path = Path.from_spec(Fly(Static("x", 42.0, 60)), trigger=Trigger.TIME, period=0.002)
    async with station(tmp_path) as st:
        for number in (3, 59):
            st.fault("lost_trigger", at=number)
        await st.prepare(path)
        st.rig.kickoff()
        await st.finish()
        assert sorted(set(st.points)) == list(range(path.points))
        assert lost(st) == [3, 3, 4, 59]  # 3 is flown next after 59
        assert all(row.closes for row in st.sink.ledger)
        await st.check_restored()


@pytest.mark.parametrize("trigger", list(Trigger))
async def test_triggers_lost_around_a_pause(tmp_path: FilePath, trigger: Trigger):
    async with station(tmp_path) as st:
        path = snake(points=400, trigger=trigger)
        await st.kickoff(path)
        await st.in_line(45.0)
        reached = await st.rig.capture.reached()
        for number in range(reached, reached + 60):  # the stage is at rest amid these
            st.fault("lost_trigger", at=number)
        await st.rig.hold("coffee")
        assert st.rig.flight is not None
        assert st.rig.flight.state is State.HELD
        assert all(point < reached for point in st.points)
        st.rig.release("coffee")
        await st.finish()
        await st.check_exact(path)
        assert set(range(reached, reached + 40)) <= set(lost(st))
        assert len(lost(st)) > 60


async def test_lost_triggers_of_a_sequencer(tmp_path: FilePath):
    async with station(tmp_path, panda={"trigger": "seq"}) as st:
        path = snake(lines=1)
        st.fault("lost_trigger", at=42)
        st.fault("lost_trigger", at=99)
        await st.fly(path)
        await st.check_exact(path)
        assert lost(st) == [42, 42, 43, 99]  # 42 is flown next after 99


async def test_a_trigger_lost_again_and_again_is_named(tmp_path: FilePath):
    async with station(tmp_path) as st:
        path = snake()
        for number in range(199, 203):
            st.fault("lost_trigger", at=number)
        await st.kickoff(path)
        error = await st.failure()
        assert isinstance(error, CaptureError)
        assert str(error) == (
            "panda: segment 1: point 199 got no row in 4 sweeps: the trigger did not come, or made "
            "none. Remedy: check that the encoder follows the stage, the trigger wiring, and that "
            "the exposure is shorter than the time between triggers"
        )
        await st.check_failed(path)
        assert st.sink.ledger[-1].missing == (199,)


async def test_doubled_trigger_is_named_with_its_row_within_a_block(tmp_path: FilePath):
    async with station(tmp_path) as st:
        path = snake()
        await st.kickoff(path)
        await st.in_line()
        began = st.fault("doubled_trigger", at=70)
        error = await st.failure()
        assert st.clock.now() - began < 0.5
        assert isinstance(error, CaptureError)
        assert str(error) == (
            "panda: row 71 belongs to trigger 71, the row before it to trigger 71: one made two "
            "rows. Remedy: check the trigger wiring for noise and reflections"
        )
        await st.check_failed(path)


async def test_a_doubled_trigger_at_the_very_end_is_noticed_too(tmp_path: FilePath):
    async with station(tmp_path) as st:
        path = snake()
        st.fault("doubled_trigger", at=199)
        await st.kickoff(path)
        error = await st.failure()
        assert str(error).startswith("panda: row 200 belongs to trigger 200, the row before it to")
        await st.check_failed(path)


async def test_a_line_that_ends_before_its_triggers_came_is_flown_on_from_there(tmp_path: FilePath):
    """The gate that positions wait for is low, and high again for the next sweep."""
    async with station(tmp_path, panda={"gate": "BITS.OUTD"}) as st:
        path = snake()
        assert await st.panda("BITS.D=1") == ["OK"]
        await st.kickoff(path)
        await st.in_line(42.0)
        await st.panda("BITS.D=0")
        await st.in_line(45.0)
        await st.when(lambda: st.at("x") < 43.0)
        await st.panda("BITS.D=1")
        await st.finish()
        await st.check_exact(path)
        assert lost(st)
        assert lost(st) == list(range(lost(st)[0], 100))


async def test_triggers_that_never_come_are_named_after_four_sweeps(tmp_path: FilePath):
    async with station(tmp_path, panda={"gate": "BITS.OUTD"}) as st:
        path = snake()
        began = st.clock.now()
        await st.kickoff(path)
        error = await st.failure()
        assert st.clock.now() - began < 4.0
        assert isinstance(error, CaptureError)
        assert str(error).startswith(
            "panda: segment 0: 100 points from 0 to 99 got no row in 4 sweeps: the trigger did not "
        )
        assert st.points == []
        await st.check_failed(path)
