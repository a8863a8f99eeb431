"""Motor records over Channel Access, seen by clients that know nothing of the simulator."""

import asyncio
import json
import os
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from caproto import ChannelType
from caproto.asyncio.client import Context

from flyscan.errors import ConfigurationError
from flyscan.flight import RealClock, ScaledClock
from flyscan_sim.epics import Beamline, CaServer
from flyscan_sim.world import nanoprobe_world

CLIENTS = Path(__file__).parent / "ca_clients"
MOTOR = "SIM:COARSE:X"


@asynccontextmanager
async def serve(clock=None, prefix="SIM:"):
    world = nanoprobe_world(clock or RealClock())
    beamline = Beamline(world, {"COARSE:X": "coarse_x", "COARSE:Y": "coarse_y"}, prefix=prefix)
    server = CaServer(beamline.records)
    await server.start()
    try:
        yield world, server
    finally:
        await server.stop()


@asynccontextmanager
async def connect(monkeypatch, server, *names):
    monkeypatch.setenv("EPICS_CA_ADDR_LIST", f"127.0.0.1:{server.port}")
    monkeypatch.setenv("EPICS_CA_AUTO_ADDR_LIST", "NO")
    context = Context()
    try:
        pvs = await context.get_pvs(*names, timeout=5)
        await asyncio.gather(*(pv.wait_for_connection(timeout=5) for pv in pvs))
        yield pvs
    finally:
        await context.disconnect()


async def until(condition, seconds=5.0):
    """Poll, over the network, what nobody else would tell."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - the far side has no event for us
            await asyncio.sleep(0.005)


async def value(pv):
    return (await pv.read()).data[0]


async def run_client(script, server):
    """Run a client in a process of its own: libca reads its environment once, at import."""
    settings = {
        "EPICS_CA_ADDR_LIST": f"127.0.0.1:{server.port}",
        "EPICS_CA_AUTO_ADDR_LIST": "NO",
        "EPICS_CA_REPEATER_PORT": str(server.port + 1 if server.port < 65535 else 1024),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(CLIENTS / script),
        MOTOR,
        env={**os.environ, **settings},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return json.loads(output.decode().splitlines()[-1])


async def test_ophyd_async_motor_works_unmodified():
    async with serve() as (_, server):
        seen = await run_client("ophyd_motor.py", server)
    assert 1.55 < seen["took"] < 5  # 3 mm at 2 mm/s and the ramps; the rest is a busy machine
    assert seen["updates"] >= 5
    assert seen["readback"] == pytest.approx(3.0, abs=1e-4)
    assert seen["moving_after"] is False
    assert seen["location"]["setpoint"] == 3.0
    assert (seen["units"], seen["precision"]) == ("mm", 4)
    assert seen["limits"]["control"] == {"low": -24.5, "high": 24.5}
    assert "motor-velocity" in seen["configuration"]
    assert 3.2 < seen["stopped_at"] < 6
    assert seen["setpoint_after_stop"] == seen["stopped_at"]
    assert "motor trajectory" in seen["limit_error"]
    assert seen["run_up"] < 1.0
    assert seen["run_down"] > 3.0


async def test_pyepics_motor_works_unmodified():
    async with serve() as (_, server):
        seen = await run_client("pyepics_motor.py", server)
    assert (seen["type"], seen["description"]) == ("motor", "coarse_x")
    assert seen["moved"] == 0
    assert 1.05 < seen["took"] < 5
    assert seen["readback"] == pytest.approx(2.0, abs=1e-4)
    assert seen["beyond"] == -4  # pyepics: soft limit violation
    assert seen["after_tweak"] == pytest.approx(3.0, abs=1e-4)
    assert seen["offset"] == pytest.approx(-3.0, abs=1e-4)
    assert 0 < seen["stopped_at"] < 2
    assert seen["updates"] > 10
    assert seen["state"] == "Go"


async def test_monitors_tell_a_motion_from_beginning_to_end(monkeypatch):
    fields = ("RBV", "DMOV", "MOVN", "VAL")
    async with (
        serve(ScaledClock(2.0)) as (_, server),
        connect(monkeypatch, server, *(f"{MOTOR}.{f}" for f in fields)) as pvs,
    ):
        seen = {field: [] for field in fields}
        ready, at_rest = asyncio.Event(), asyncio.Event()

        def follow(field, pv):
            subscription = pv.subscribe(data_type="time")

            async def note(_, response):
                seen[field].append((response.metadata.timestamp, response.data[0]))
                if all(seen.values()):
                    ready.set()
                if len(seen["DMOV"]) >= 3 and len(seen["MOVN"]) >= 3:
                    at_rest.set()

            subscription.add_callback(note)
            return subscription, note  # caproto holds callbacks weakly

        kept = [follow(f, pv) for f, pv in zip(fields, pvs, strict=True)]
        async with asyncio.timeout(5):
            await ready.wait()
        await pvs[3].write([4.0], wait=True, timeout=10)
        await pvs[0].read()
        async with asyncio.timeout(5):
            await at_rest.wait()
        for subscription, _ in kept:
            await subscription.clear()
    assert [value for _, value in seen["DMOV"]] == [1, 0, 1]
    assert [value for _, value in seen["MOVN"]] == [0, 1, 0]
    times, positions = zip(*seen["RBV"], strict=True)
    assert list(positions) == sorted(positions)
    assert positions[-1] == pytest.approx(4.0)
    assert 12 <= len(positions) <= 26  # 2.1 s at 10 Hz, start and end
    assert times[-1] - times[1] == pytest.approx(2.0, abs=0.6)  # the world's seconds
    assert seen["DMOV"][-1][0] >= times[-1]


async def test_a_write_with_completion_waits_and_holds_back_the_next_one(monkeypatch):
    async with (
        serve(ScaledClock(4.0)) as (world, server),
        connect(monkeypatch, server, MOTOR, f"{MOTOR}.VELO", f"{MOTOR}.STOP") as (val, velo, stop),
    ):

        async def moving():
            return world.axes["coarse_x"].moving(world.clock.now())

        async def faster():
            return await value(velo) == 3.0

        move = asyncio.create_task(val.write([4.0], wait=True, timeout=10))
        await until(moving)
        await velo.write([3.0], wait=False)
        await until(faster)  # a plain write acts at once
        late = asyncio.create_task(velo.write([1.0], wait=True, timeout=10))
        await asyncio.wait({move, late}, return_when=asyncio.FIRST_COMPLETED)
        assert move.done()
        assert world.axes["coarse_x"].commanded(world.clock.now()) == pytest.approx(4.0)
        await late
        assert (await velo.read()).data[0] == 1.0
        move = asyncio.create_task(val.write([0.0], wait=True, timeout=10))
        await until(moving)
        await stop.write([1], wait=False)
        await move
        assert (await val.read()).data[0] > 3.0


async def test_refused_writes_are_errors_and_leave_no_alarm(monkeypatch):
    names = (f"{MOTOR}.RBV", f"{MOTOR}.SPMG", f"{MOTOR}.SEVR", MOTOR)
    async with serve() as (_, server), connect(monkeypatch, server, *names) as pvs:
        readback, spmg, severity, target = pvs
        refused = await target.write([float("nan")], wait=True, timeout=5)
        assert refused.status.name == "ECA_PUTFAIL"
        assert "WRITE" not in str(readback.access_rights)
        refused = await spmg.write([9], wait=True, timeout=5)
        assert refused.status.name == "ECA_PUTFAIL"
        assert (await severity.read()).data[0] == 0
        assert (await spmg.read(data_type="time")).metadata.severity == 0
        await spmg.write([b"Pause"], data_type=ChannelType.STRING, wait=True, timeout=5)
        assert (await spmg.read()).data[0] == 1


async def test_ring_ion_chamber_and_shutter_are_served(monkeypatch):
    names = ("SIM:RING:CURRENT", "SIM:I0", "SIM:SHUTTER", "SIM:SHUTTER:STATUS", "SIM:I0.EGU")
    async with (
        serve(ScaledClock(5.0)) as (world, server),
        connect(monkeypatch, server, *names) as (ring, chamber, shutter, status, units),
    ):
        reading = await ring.read(data_type="control")
        assert reading.data[0] == pytest.approx(200.0, rel=0.01)
        assert reading.metadata.units == b"mA"
        assert (await units.read()).data[0] == b"counts/s"
        await world.clock.sleep(0.3)
        assert (await chamber.read()).data[0] == pytest.approx(500_000, rel=0.05)
        await shutter.write([b"Close"], data_type=ChannelType.STRING, wait=True, timeout=5)
        assert not world.shutter.is_open(world.clock.now() + 1e-6)

        async def dark():
            return await value(status) == 0 and await value(chamber) < 1000

        await until(dark)
        stamp = (await ring.read(data_type="time")).metadata.timestamp
        now = world.clock.epoch_ns * 1e-9 + world.clock.now()
        assert stamp == pytest.approx(now, abs=0.5)


async def test_servers_stand_side_by_side_and_answer_only_their_own_names(monkeypatch):
    async with (
        serve(prefix="A:") as (_, first),
        serve(prefix="B:") as (_, second),
        connect(monkeypatch, second, "B:COARSE:X.DESC") as (mine,),
    ):
        assert first.port != second.port
        assert (await mine.read()).data[0] == b"coarse_x"
        context = Context()
        (foreign,) = await context.get_pvs("A:COARSE:X", timeout=1)
        with pytest.raises(TimeoutError):
            await foreign.wait_for_connection(timeout=0.5)
        await context.disconnect()


async def test_a_taken_port_is_a_clear_error():
    async with serve() as (_, server):
        second = CaServer([], port=server.port)
        with pytest.raises(ConfigurationError, match=f"cannot listen on 127.0.0.1:{server.port}"):
            await second.start()
        await second.stop()


async def test_a_restarted_server_is_found_again(monkeypatch):
    async with serve() as (_, server), connect(monkeypatch, server, f"{MOTOR}.VELO") as (speed,):
        await speed.write([1.5], wait=True, timeout=5)
        speed.subscribe().add_callback(print)
        await speed.read()
        port, old = server.port, server._bound.context.subscription_queue
        await server.stop()
        await server.start()
        assert server.port == port
        context = Context()
        (again,) = await context.get_pvs(f"{MOTOR}.VELO", timeout=5)
        await again.wait_for_connection(timeout=5)
        assert await value(again) == 1.5
        await again.write([1.0], wait=True, timeout=5)
        assert old.empty()  # nobody would ever read it
        await context.disconnect()


async def test_nothing_is_left_after_stop_with_clients_connected(monkeypatch):
    before = asyncio.all_tasks()
    async with serve() as (_, server):
        async with connect(monkeypatch, server, MOTOR) as (motor,):
            subscription = motor.subscribe()
            subscription.add_callback(print)
            await motor.write([20.0], wait=False)
            await motor.read()
            await server.stop()
        await server.stop()
    for _ in range(5):  # what was cancelled ends
        await asyncio.sleep(0)
    left = {t for t in asyncio.all_tasks() - before if "caproto/asyncio/client" not in repr(t)}
    assert not left
