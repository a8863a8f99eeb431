"""What goes wrong with a PandA, before and during a flight: one precise error each."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from scanspec.specs import Fly, Linspace

from flyscan.controllers.panda import PandaCapture
from flyscan.errors import (
    BusyError,
    CaptureError,
    ConfigurationError,
    ConnectionLostError,
    ControllerError,
    LimitError,
    NotReadyError,
    WatchdogError,
)
from flyscan.flight import Path, Trigger, plan_sweep
from tests.controllers.panda_bench import ENCODERS, LIMITS, Bench, bench, grid
from tests.controllers.test_panda_flights import check_rows


async def line_under_way(b: Bench, path: Path) -> asyncio.Task[None]:
    """Armed and in the middle of the first line."""
    sweep = plan_sweep(path.segment(0), 0, LIMITS)
    await b.go_to(dict(sweep.origin))
    await b.capture.save(path)
    await b.capture.arm(path, 0)
    reader = b.read()
    await b.capture.begin(sweep)
    b.start(sweep)
    await b.clock.sleep(sweep.duration / 2)
    return reader


async def read_to_the_end(b: Bench) -> None:
    async for block in b.capture.blocks():
        b.blocks.append(block)


# --- the data connection -------------------------------------------------------------------


@pytest.mark.parametrize("away", [0.0, 0.5, 3.0])
async def test_a_lost_data_connection_is_remade_and_nothing_lost(away: float):
    async with bench() as b:
        path = grid(points=200, lines=2)
        b.world.faults.add("close_data", at=b.clock.now() + 0.35, **{"for": away})
        check_rows(b, path, await b.fly(path))


async def test_a_data_connection_lost_for_good_names_the_missing_rows():
    async with bench(patience=1.0) as b:
        path = grid(points=100, lines=1)
        reader = await line_under_way(b, path)
        b.world.faults.add("close_data", **{"for": 1e9})
        with pytest.raises(CaptureError, match=r"not remade within 1 s.*rows from \d+ on are mis"):
            await reader
        with pytest.raises(CaptureError, match="not remade"):
            await b.capture.reached()
        with pytest.raises(CaptureError, match="not remade"):
            await b.capture.disarm()
        assert b.capture.end_reason is not None
        assert not b.capture.end_reason.ok
        await b.capture.stop()
        await b.capture.restore()


async def test_a_restarted_box_is_noticed():
    async with bench() as b:
        path = grid(points=100, lines=1)
        reader = await line_under_way(b, path)
        await b.server.restart()
        await b.clock.sleep(0.1)
        with pytest.raises(CaptureError, match=r"box was restarted during .*PULSES is .0., fly"):
            await b.capture.reached()
        await b.capture.stop()
        reader.cancel()
        with contextlib.suppress(asyncio.CancelledError, CaptureError):
            await reader


# --- the box ends by itself ----------------------------------------------------------------


async def test_overrun_is_named():
    async with bench() as b:
        reader = await line_under_way(b, grid(points=400, lines=1))
        b.world.faults.add("overrun")
        with pytest.raises(CaptureError, match=r"'Data overrun': rows were not fetched fast"):
            await reader


async def test_disarmed_by_somebody_else_is_named():
    async with bench() as b:
        reader = await line_under_way(b, grid(points=100, lines=1))
        _, writer = await asyncio.open_connection("127.0.0.1", b.server.control_port)
        writer.write(b"*PCAP.DISARM=\n")
        await writer.drain()
        with pytest.raises(CaptureError, match=r"'Disarmed': somebody disarmed it"):
            await reader
        with pytest.raises(CaptureError, match="somebody disarmed it"):
            await b.capture.reached()
        writer.close()
        await writer.wait_closed()


async def test_the_numbers_of_lost_triggers_are_left_out():
    """And that of the row after, which has the data of two of them."""
    async with bench() as b:
        path = grid(points=50, lines=1)
        b.world.faults.add("lost_trigger", at=20)
        b.world.faults.add("lost_trigger", at=49)
        assert await b.fly(path) == 47
        numbers = [n for block in b.blocks for n in range(block.first, block.stop)]
        assert numbers == [n for n in range(50) if n not in (20, 21, 49)]


async def test_rows_captured_are_told_when_the_last_are_lost():
    async with bench() as b:
        path = grid(points=50, lines=1)
        b.world.faults.add("lost_trigger", at=49)
        await b.capture.save(path)
        await b.capture.arm(path, 0)
        reader = b.read()
        assert await b.sweep(path.segment(0), 0) == 50
        await b.clock.sleep(0.2)
        assert await b.capture.captured() == 49
        assert await b.capture.disarm() == 49
        await reader
        assert await b.capture.captured() == 49


async def test_triggers_within_a_gate_are_counted():
    """A stage that runs away brings triggers while the gate is still open."""
    async with bench(duty=0.95) as b:
        path = grid(points=40, lines=1)
        sweep = plan_sweep(path.segment(0), 0, LIMITS)
        await b.go_to(dict(sweep.origin))
        await b.capture.save(path)
        await b.capture.arm(path, 0)
        b.read()
        await b.capture.begin(sweep)
        end = b.world.axes["x"].move(sweep.target["x"], velocity=70.0, acceleration=1e5)
        await b.clock.sleep_until(end + 0.01)
        with pytest.raises(CaptureError, match=r"\d+ of 40 triggers came while the gate of"):
            await b.capture.end(sweep)
        await b.capture.stop()


@pytest.mark.parametrize("delay", [0.0, 0.5])
async def test_a_box_that_arms_late_is_waited_for(delay: float):
    async with bench() as b:
        b.world.faults.add("late_arm", delay=delay)
        path = grid(points=30, lines=1)
        began = b.clock.now()
        check_rows(b, path, await b.fly(path))
        assert b.clock.now() - began > delay


async def test_a_box_that_never_arms_is_named():
    async with bench(timeout=0.2) as b:
        b.world.faults.add("late_arm", delay=60.0)
        with pytest.raises(CaptureError, match=r"PCAP\.ACTIVE is 0, expected 1 within 0\.2 s"):
            await b.capture.arm(grid(), 0)
        await b.capture.stop()
        await b.capture.restore()


async def test_slow_answers_cost_time_only():
    async with bench() as b:
        b.world.faults.add("slow_replies", delay=0.01)
        path = grid(points=30, lines=2)
        check_rows(b, path, await b.fly(path, [0.02]))


# --- others ---------------------------------------------------------------------------------


async def test_another_reader_of_the_data_port_is_refused():
    async with bench() as b:
        b.world.faults.add("foreign_reader")
        await b.clock.sleep(0.1)
        with pytest.raises(BusyError, match=r"data port \(10\.0\.0\.99:40000\)"):
            await b.capture.check(grid())


async def test_a_box_that_captures_already_is_refused():
    async with bench() as b, other(b) as rival:
        path = grid()
        await rival.arm(path, 0)
        with pytest.raises(BusyError, match="capturing already"):
            await b.capture.check(path)
        await rival.stop()


@asynccontextmanager
async def other(b: Bench) -> AsyncIterator[PandaCapture]:
    """A second client of the same box."""
    rival = PandaCapture(
        "rival",
        "127.0.0.1",
        control_port=b.server.control_port,
        data_port=b.server.data_port,
        encoders=ENCODERS,
        clock=b.clock,
    )
    await rival.connect()
    try:
        yield rival
    finally:
        await rival.close()


@pytest.mark.parametrize(("field", "value"), [("PCOMP1.STEP", "51"), ("PULSE1.TRIG", "ZERO")])
async def test_writes_by_others_in_flight_are_noticed(field: str, value: str):
    async with bench() as b:
        await line_under_way(b, grid(points=100, lines=1))
        b.world.faults.add("foreign_write", field=field, value=value)
        await b.clock.sleep(0.1)
        with pytest.raises(CaptureError, match=f"{field} was changed to '{value}' during the"):
            await b.capture.reached()
        await b.capture.stop()


async def test_writes_to_other_fields_do_not_matter():
    async with bench() as b:
        b.world.faults.add("foreign_write", at=b.clock.now() + 0.3, field="PCOMP2.STEP", value="5")
        path = grid(points=100, lines=2)
        check_rows(b, path, await b.fly(path))


# --- the control connection -----------------------------------------------------------------


async def test_a_lost_control_connection_is_remade():
    async with bench() as b:
        path = grid(points=100, lines=3)
        b.world.faults.add("close_control", at=b.clock.now() + 0.2, **{"for": 0.002})
        before = b.capture._control.connections
        check_rows(b, path, await b.fly(path))
        assert b.capture._control.connections == before + 1


async def test_garbage_on_the_control_port_is_named():
    async with bench() as b:
        b.world.faults.add("garbage", **{"for": 1.0})
        with pytest.raises(ControllerError, match=r"expected a PandA's answer|was answered"):
            await b.capture.check(grid())


async def test_no_answer_is_named_in_time():
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    capture = PandaCapture("panda", "127.0.0.1", control_port=port, timeout=0.05)
    with pytest.raises(WatchdogError, match=r"panda: no answer to '\*IDN\?' within 0.05 s"):
        await capture.connect()
    await capture.close()
    server.close()
    await server.wait_closed()


async def test_wrong_port_is_named():
    server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    capture = PandaCapture("panda", "127.0.0.1", control_port=port)
    with pytest.raises(ConnectionLostError, match=f"control port 127.0.0.1:{port}"):
        await capture.connect()


async def test_what_is_no_panda_is_named():
    async def other_box(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readline():
            writer.write(b"OK =(c)2015 Physik Instrumente, E-727\n")
        writer.close()

    server = await asyncio.start_server(other_box, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    capture = PandaCapture("panda", "127.0.0.1", control_port=port)
    with pytest.raises(ConfigurationError, match="expected a PandA at"):
        await capture.connect()
    await capture.close()
    server.close()
    await server.wait_closed()


async def test_a_wrong_data_port_is_named():
    async with bench() as b:
        b.capture._data_port = b.server.control_port
        with pytest.raises(ControllerError, match=r"data port 127\.0\.0\.1"):
            await b.capture.arm(grid(), 0)


# --- bad input ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"blocks": {"pcomp": "PCOMP3"}}, "block PCOMP3 does not exist; the box has 2 of PCOMP"),
        ({"blocks": {"pulse": "LUT1"}}, "block LUT1 has no field|LUT1.OUT"),
        ({"blocks": {"arm": "BITS.B"}}, "three different soft bits"),
        ({"encoders": {"x": {"encoder": "INENC7", "resolution": 1.0}}}, "block INENC7 does not"),
        ({"channels": {"I0": {"field": "COUNTER1.NOPE"}}}, "COUNTER1.NOPE is not on the position"),
        ({"channels": {"I0": {"field": "COUNTER1.OUT", "trig": "TTLIN9.VAL"}}}, "TTLIN9"),
    ],
)
async def test_what_the_box_lacks_is_named(parameters: dict[str, Any], named: str):
    async with bench(connect=False, **parameters) as b:
        with pytest.raises(ConfigurationError, match=named):
            await b.capture.connect()


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"blocks": {"nope": "PCOMP1"}}, "parameters are pcomp, seq"),
        ({"encoders": {"x": {"encoder": "INENC1"}}}, "missing"),
        ({"encoders": {"x": {"encoder": "INENC1", "resolution": 0.0}}}, "resolution must be"),
        ({"channels": {"I0": {"field": "COUNTER1.OUT", "capture": "Median"}}}, "unknown capture"),
        ({"trigger": "psychic"}, "choose one of auto, pcomp, seq"),
    ],
)
def test_bad_parameters_are_named(parameters: dict[str, Any], named: str):
    with pytest.raises(ConfigurationError, match=named):
        PandaCapture("panda", "127.0.0.1", **parameters)


def line(axis: str = "x", points: int = 41, stop: float = 42.0, period: float = 0.001) -> Path:
    spec = Fly(Linspace(axis, 40.0, stop, points))
    return Path.from_spec(spec, trigger=Trigger.POSITION, period=period)


async def test_an_axis_without_encoder_is_refused():
    async with bench(encoders={"x": ENCODERS["x"]}) as b:
        with pytest.raises(ConfigurationError, match="axis y, which has no encoder wired"):
            b.capture.validate(line("y"))
        timed = Path.from_spec(Fly(Linspace("y", 40.0, 42.0, 5)), trigger=Trigger.TIME, period=0.01)
        with pytest.raises(ConfigurationError, match="axis y, which has no encoder wired"):
            b.capture.validate(timed)


async def test_an_unplugged_encoder_is_refused():
    encoders = {"x": ENCODERS["x"] | {"encoder": "INENC3"}}
    async with bench(connect=False, encoders=encoders) as b:
        await b.capture.connect()
        with pytest.raises(NotReadyError, match="encoder INENC3: connected 0"):
            await b.capture.check(grid())


async def test_a_step_of_less_than_two_counts_is_refused():
    async with bench() as b:
        with pytest.raises(ConfigurationError, match=r"a trigger step of 1 counts cannot be made"):
            b.capture.validate(line(stop=40.040))


async def test_a_step_not_in_counts_is_refused_for_position_compare_alone():
    async with bench(trigger="pcomp") as b:
        assert b.capture.validate(line(points=1001, stop=52.0)) == ()
        with pytest.raises(ConfigurationError, match=r"12\.5000 counts; .* 500\.0 counts off"):
            b.capture.validate(line(points=1001, stop=52.5))


async def test_an_exposure_must_fit_the_period():
    async with bench(exposure=0.001) as b:
        with pytest.raises(LimitError, match=r"exposure of 0\.001 s does not fit"):
            b.capture.validate(line())


async def test_counts_beyond_32_bits_are_refused():
    async with bench(connect=False, encoders={"x": ENCODERS["x"] | {"zero": -3e6}}) as b:
        await b.capture.connect()
        with pytest.raises(LimitError, match=r"spans counts 3000039975 to|holds -2147483648"):
            b.capture.validate(line())
