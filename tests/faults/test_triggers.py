"""Triggers are lost or doubled, or the box is not ready for the first one."""

from __future__ import annotations

import re
from pathlib import Path as FilePath

import pytest

from flyscan.errors import CaptureError
from tests.faults.nano import snake, station


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


async def test_lost_trigger_is_named_with_its_row_within_a_block(tmp_path: FilePath):
    async with station(tmp_path) as st:
        path = snake()
        await st.kickoff(path)
        await st.in_line()
        began = st.fault("lost_trigger", at=70)
        error = await st.failure()
        assert st.clock.now() - began < 0.5
        assert isinstance(error, CaptureError)
        assert str(error) == (
            "panda: row 70 belongs to trigger 72, expected 71: a trigger made no row or two. "
            "Remedy: check the trigger wiring, and that the exposure is shorter than the time "
            "between triggers"
        )
        await st.check_failed(path)


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
            "panda: row 71 belongs to trigger 71, expected 72: a trigger made no row or two. "
            "Remedy: check the trigger wiring, and that the exposure is shorter than the time "
            "between triggers"
        )
        await st.check_failed(path)


async def test_the_last_trigger_lost_is_noticed_too(tmp_path: FilePath):
    async with station(tmp_path) as st:
        path = snake()
        await st.kickoff(path)
        began = st.fault("lost_trigger", at=path.points - 1)
        error = await st.failure()
        assert st.clock.now() - began < 3.0
        assert isinstance(error, CaptureError)
        assert str(error).startswith("panda: row 199 belongs to trigger 201, expected 200")
        await st.check_failed(path)
