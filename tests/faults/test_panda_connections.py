"""Connections to the PandA are cut, slow, or full of nonsense."""

from __future__ import annotations

import re
from pathlib import Path as FilePath
from typing import Any

import pytest

from flyscan.controllers.panda import PandaCapture
from flyscan.controllers.panda._control import ControlLink
from flyscan.controllers.panda._stream import RowStream
from flyscan.errors import (
    BusyError,
    CaptureError,
    ConnectionLostError,
    ControllerError,
    WatchdogError,
)
from flyscan.flight import RealClock
from tests.faults.nano import Station, snake, station

RESTORE_LATER = (
    "; settings of panda could not be put back: the next flight, or `flyscan restore` once this "
    "host has ended, will do it"
)
LONG = snake(points=1000, lines=1)


async def assert_flies_again(st: Station) -> None:
    """What the failed flight could not do, the next one does first."""
    path = snake()
    await st.fly(path)
    assert st.points[-path.points :] == list(range(path.points))
    await st.check_restored()


# --- the data port ---------------------------------------------------------------------------


@pytest.mark.parametrize("away", [0.0, 0.5, 3.0, 7.5])
async def test_data_port_cut_and_back_within_9_s_loses_nothing(tmp_path: FilePath, away: float):
    async with station(tmp_path) as st:
        path = snake(lines=6)
        await st.kickoff(path)
        await st.in_line()
        cut = st.fault("close_data", **{"for": away})
        await st.finish()
        assert st.clock.now() - cut < away + 1.0 + path.segment_count * 0.2
        await st.check_exact(path)


@pytest.mark.parametrize("away", [0.5, 2.0])
async def test_data_port_away_while_preparing_is_waited_for(tmp_path: FilePath, away: float):
    async with station(tmp_path) as st:
        path = snake()
        st.fault("close_data", **{"for": away})
        await st.fly(path)
        await st.check_exact(path)


async def test_data_port_cut_in_a_turnaround_loses_nothing(tmp_path: FilePath):
    async with station(tmp_path) as st:
        path = snake(lines=3)
        await st.kickoff(path)
        await st.in_turnaround()
        st.fault("close_data", **{"for": 1.0})
        await st.finish()
        await st.check_exact(path)


@pytest.mark.parametrize("away", [0.0, 0.5, 3.0, 60.0])
async def test_data_port_cut_after_the_last_row_loses_nothing(
    tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch, away: float
):
    """The box tells only those who are connected then that the capture is over."""
    async with station(tmp_path) as st:
        streaming = RowStream.wait_streaming

        async def then_cut(self: RowStream, seconds: float) -> None:
            await streaming(self, seconds)
            st.fault("close_data", **{"for": away})

        monkeypatch.setattr(RowStream, "wait_streaming", then_cut)
        path = snake()
        await st.fly(path)
        await st.check_exact(path)


async def test_rows_lost_with_the_end_of_the_capture_are_named(
    tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
):
    """Coming back to a box that has captured more than came, and will not send it again."""
    async with station(tmp_path) as st:
        streaming = RowStream.wait_streaming

        async def then_cut(self: RowStream, seconds: float) -> None:
            await streaming(self, seconds)
            self.rows.seen -= 1
            st.fault("close_data", **{"for": 0.5})

        monkeypatch.setattr(RowStream, "wait_streaming", then_cut)
        path = snake()
        await st.kickoff(path)
        error = await st.failure()
        assert isinstance(error, CaptureError)
        assert "rows from 199 on are missing" in str(error)
        await st.check_restored()


async def test_data_port_back_later_than_the_box_keeps_rows_is_named_with_the_rows(
    tmp_path: FilePath,
):
    """With more patience than the box has memory, the first row that is gone is noticed."""
    async with station(tmp_path, panda={"patience": 30.0}) as st:
        path = snake(points=1500, lines=1, period=0.01, step=0.03)  # 15 s of rows
        await st.kickoff(path)
        await st.in_line(41.0)
        cut = st.fault("close_data", **{"for": 12.0})
        error = await st.failure()
        assert st.clock.now() - cut < 12.0 + 3.0
        assert isinstance(error, CaptureError)
        assert re.fullmatch(
            r"panda: rows \d+ to \d+ are missing: the data connection was away longer than the box "
            r"keeps rows\. Remedy: check the network; the box keeps about 95 blocks "
            r"\(9 s at 100 ms\)",
            str(error),
        )
        await st.check_failed(path)


async def test_data_port_cut_for_good_is_named_within_9_s(tmp_path: FilePath):
    async with station(tmp_path) as st:
        path = snake()
        await st.kickoff(path)
        await st.in_line()
        cut = st.fault("close_data")
        error = await st.failure()
        assert st.clock.now() - cut < 9.0
        assert isinstance(error, CaptureError)
        assert re.match(
            r"panda: the data connection was lost and not remade within 8 s \(.*\); rows from "
            r"\d+ on are missing\. Remedy: check the network and that the server on the box still "
            r"runs$",
            str(error),
        )
        await st.check_failed(path)


async def test_overrun_is_named_at_once(tmp_path: FilePath):
    async with station(tmp_path) as st:
        await st.kickoff(LONG)
        await st.in_line(50.0)
        began = st.fault("overrun")
        error = await st.failure()
        assert st.clock.now() - began < 0.5
        assert isinstance(error, CaptureError)
        assert re.fullmatch(
            r"panda: the capture ended after \d+ rows with 'Data overrun': rows were not fetched "
            r"fast enough and the box's buffer overran\. Remedy: check network and disk speed, "
            r"capture fewer channels, or trigger more slowly",
            str(error),
        )
        assert st.points
        await st.check_failed(LONG)


async def test_garbage_on_the_data_port_is_named_at_once(tmp_path: FilePath):
    async with station(tmp_path) as st:
        await st.kickoff(LONG)
        await st.in_line(50.0)
        garbage = st.nano.world.faults.add("garbage", box="panda")
        error = await st.failure()
        assert st.clock.now() - garbage.at < 0.5
        assert isinstance(error, ControllerError)
        assert re.match(
            r"panda: the data port 127\.0\.0\.1:\d+ sent nonsense \(.*\), beginning with .*\. "
            r"Remedy: check that it is a PandA's data port, and the network" + RESTORE_LATER,
            str(error),
        )
        assert st.points
        assert st.journal == ["panda"]  # the control port talks nonsense, too
        st.nano.world.faults.remove(garbage)
        await assert_flies_again(st)


async def test_foreign_reader_in_flight_is_named_before_the_next_flight(tmp_path: FilePath):
    """A client that takes no data hinders nobody until the box is to be armed again."""
    async with station(tmp_path) as st:
        path = snake()
        await st.kickoff(path)
        await st.in_line()
        reader = st.nano.world.faults.add("foreign_reader")
        await st.finish()
        st.check_frames(path)

        began = st.clock.now()
        with pytest.raises(BusyError) as caught:
            await st.rig.prepare(path)
        assert st.clock.now() - began < 1.0
        assert str(caught.value) == (
            "panda: the box is capturing already (Busy 1 1) (10.0.0.99:40000). Remedy: wait until "
            "the other flight is over, or stop it with `flyscan stop`"
        )
        st.nano.world.faults.remove(reader)
        await st.clock.sleep(1.0)
        await st.check_restored()


async def test_foreign_reader_before_the_flight_is_named(tmp_path: FilePath):
    async with station(tmp_path) as st:
        st.fault("foreign_reader")
        await st.clock.sleep(1.0)
        with pytest.raises(BusyError) as caught:
            await st.kickoff(snake())
        assert str(caught.value) == (
            "panda: another client is connected to the data port (10.0.0.99:40000). Remedy: "
            "disconnect it: a slow reader keeps the box from being armed again"
        )
        await st.check_restored()


# --- the control port ------------------------------------------------------------------------


@pytest.mark.parametrize("away", [0.0, 0.002, 1.0, 6.0])
async def test_control_port_cut_in_mid_line_loses_nothing(tmp_path: FilePath, away: float):
    async with station(tmp_path) as st:
        path = snake()
        await st.kickoff(path)
        await st.in_line()
        cut = st.fault("close_control", **{"for": away})
        await st.finish()
        assert st.clock.now() - cut < away + 1.0
        await st.check_exact(path)


@pytest.mark.parametrize("away", [0.0, 0.002, 1.0, 6.0])
async def test_control_port_cut_in_a_turnaround_loses_nothing(tmp_path: FilePath, away: float):
    async with station(tmp_path) as st:
        path = snake(lines=3)
        await st.kickoff(path)
        await st.in_turnaround()
        cut = st.fault("close_control", **{"for": away})
        await st.finish()
        assert st.clock.now() - cut < away + 1.0
        await st.check_exact(path)


@pytest.mark.parametrize("away", [0.0, 0.002, 1.0, 6.0])
async def test_control_port_cut_while_arming_loses_nothing(
    tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch, away: float
):
    async with station(tmp_path) as st:
        idle = PandaCapture._until_idle

        async def then_cut(self: PandaCapture, stream: RowStream) -> None:
            await idle(self, stream)
            st.fault("close_control", **{"for": away})

        monkeypatch.setattr(PandaCapture, "_until_idle", then_cut)
        path = snake()
        await st.fly(path)
        await st.check_exact(path)


async def test_an_arm_whose_answer_is_lost_is_not_taken_for_another_clients(
    tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
):
    async with station(tmp_path) as st:
        exchange, lost = ControlLink._exchange, []

        async def without_answer(self: ControlLink, requests: Any) -> Any:
            replies = await exchange(self, requests)
            if "*PCAP.ARM=" in requests and not lost:
                lost.append(requests)
                raise self._lost("the box closed it")
            return replies

        monkeypatch.setattr(ControlLink, "_exchange", without_answer)
        path = snake()
        await st.fly(path)
        assert lost
        await st.check_exact(path)


async def test_a_box_that_somebody_else_armed_first_is_named(
    tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
):
    async with station(tmp_path) as st:
        idle = PandaCapture._until_idle

        async def then_arm(self: PandaCapture, stream: RowStream) -> None:
            await idle(self, stream)
            await self._control.run("*PCAP.ARM=")

        with monkeypatch.context() as patch:
            patch.setattr(PandaCapture, "_until_idle", then_arm)
            with pytest.raises(BusyError, match="somebody else has just armed the box"):
                await st.prepare(snake())
        await assert_flies_again(st)


async def test_control_port_cut_for_good_is_named_within_11_s_and_settings_are_kept(
    tmp_path: FilePath,
):
    async with station(tmp_path) as st:
        path = snake()
        await st.kickoff(path)
        await st.in_line()
        fault = st.nano.world.faults.add("close_control")
        error = await st.failure()
        assert st.clock.now() - fault.at < 11.0
        assert isinstance(error, ConnectionLostError)
        assert re.match(
            r"panda: the connection to the control port 127\.0\.0\.1:\d+ broke: .*; not remade "
            r"within 8 s \(.*\)\. Remedy: check the network and that the server on the box still "
            r"runs" + RESTORE_LATER,
            str(error),
        )
        assert not st.nano.world.axes["x"].moving(st.clock.now())
        assert st.points == list(range(100))  # the line went on to its end by itself
        assert st.journal == ["panda"]

        began = st.clock.now()
        with pytest.raises(ConnectionLostError):  # and says so again as long as it is so
            await st.rig.prepare(path)
        assert st.clock.now() - began < 1.0
        assert st.journal == ["panda"]

        st.nano.world.faults.remove(fault)
        await assert_flies_again(st)


async def test_garbage_on_the_control_port_is_named_and_never_taken_for_a_restore(
    tmp_path: FilePath,
):
    async with station(tmp_path) as st:
        path = snake()
        await st.kickoff(path)
        await st.in_line()
        fault = st.nano.world.faults.add("garbage", box="panda")
        error = await st.failure()
        assert st.clock.now() - fault.at < 3.0
        assert isinstance(error, ControllerError)
        assert re.match(r"panda: .*garbage", str(error))
        assert RESTORE_LATER in str(error)
        assert st.journal == ["panda"]
        st.nano.world.faults.remove(fault)
        await assert_flies_again(st)


async def test_slow_replies_cost_time_only(tmp_path: FilePath):
    async with station(tmp_path) as st:
        path = snake()
        await st.kickoff(path)
        await st.in_line()
        began = st.fault("slow_replies", box="panda", delay=0.02)
        await st.finish()
        assert st.clock.now() - began < 5.0
        await st.check_exact(path)


async def test_replies_slower_than_the_time_out_are_named(tmp_path: FilePath):
    """On real time, since that is what sockets go by."""
    async with station(tmp_path, clock=RealClock(), panda={"timeout": 0.3}) as st:
        path = snake()
        await st.kickoff(path)
        await st.in_line()
        fault = st.nano.world.faults.add("slow_replies", box="panda", delay=0.5)
        error = await st.failure()
        assert st.clock.now() - fault.at < 4.0
        assert isinstance(error, WatchdogError)
        assert re.match(
            r"panda: no answer to '\S+' within 0\.3 s\. Remedy: check the network and the server "
            r"on the box at 127\.0\.0\.1:\d+" + RESTORE_LATER,
            str(error),
        )
        assert st.journal == ["panda"]
        st.nano.world.faults.remove(fault)
        await assert_flies_again(st)


async def test_control_port_that_falls_silent_in_mid_line_loses_nothing(tmp_path: FilePath):
    """As when a network swallows packets: nobody closes the connection. On real time too."""
    async with station(tmp_path, clock=RealClock(), panda={"timeout": 0.3}) as st:
        path = snake()
        await st.kickoff(path)
        await st.in_line()
        began = st.fault("slow_replies", box="panda", delay=100.0, **{"for": 0.2})
        await st.finish()
        assert st.clock.now() - began < 5.0
        await st.check_exact(path)


# --- the box itself --------------------------------------------------------------------------


@pytest.mark.parametrize("x", [42.0, 50.0])
async def test_restarted_panda_is_named_within_3_s_of_the_line(tmp_path: FilePath, x: float):
    """Configuration lost, before the first rows are delivered and after."""
    async with station(tmp_path) as st:
        await st.kickoff(LONG)
        await st.in_line(x)
        began = st.fault("restart_panda")
        error = await st.failure()
        line = LONG.points * LONG.period
        assert st.clock.now() - began < line + 3.0
        assert isinstance(error, CaptureError)
        assert re.fullmatch(
            r"panda: the box was restarted during the flight: its connections broke, it does not "
            r"capture any more, and settings are lost \(\S+ is '.*', flyscan had set '.*'\)\. "
            r"Remedy: check its power and the log of its server, align its encoders, and fly again",
            str(error),
        )
        await st.check_failed(LONG)


async def test_restarted_panda_is_noticed_during_a_long_line(tmp_path: FilePath):
    """Nobody asks the control port during a line: the silent data port tells."""
    async with station(tmp_path) as st:
        path = snake(points=1000, lines=1, period=0.02)  # 20 s
        await st.kickoff(path)
        await st.in_line(50.0)
        began = st.fault("restart_panda")
        error = await st.failure()
        assert st.clock.now() - began < 5.0
        assert re.fullmatch(
            r"panda: the data connection was remade, but the box did not go on within 2 s; rows "
            r"from \d+ on are missing\. Remedy: it does not capture any more: it was restarted, or "
            r"somebody disarmed it; fly again",
            str(error),
        )
        await st.check_failed(path)


async def test_foreign_write_is_named_with_field_and_values(tmp_path: FilePath):
    async with station(tmp_path) as st:
        path = snake()
        await st.kickoff(path)
        await st.in_line()
        began = st.fault("foreign_write", field="PCOMP1.STEP", value="51")
        error = await st.failure()
        assert st.clock.now() - began < 1.0
        assert isinstance(error, CaptureError)
        assert str(error) == (
            "panda: PCOMP1.STEP was changed to '51' during the flight, flyscan had set '50'. "
            "Remedy: keep other clients from writing to the box, and fly again"
        )
        await st.check_failed(path)
