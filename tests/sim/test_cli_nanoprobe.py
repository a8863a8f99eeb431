"""`flyscan-sim nanoprobe` as a process, and the same world inside this one."""

import asyncio
import json
import signal
import sys
from contextlib import asynccontextmanager, suppress

import numpy as np
import pytest

from flyscan.errors import ConfigurationError
from flyscan.flight import ManualClock, ScaledClock
from flyscan_sim.cli import main
from flyscan_sim.nanoprobe import Nanoprobe, NanoprobePorts

PIPE = asyncio.subprocess.PIPE
HOST = "127.0.0.1"


@asynccontextmanager
async def simulator(*options, module="flyscan_sim"):
    """The process; killed if a test leaves it running."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *options, stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    try:
        async with asyncio.timeout(60):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ready(process):
    return json.loads(await process.stdout.readline())


@asynccontextmanager
async def connection(port, host=HOST):
    reader, writer = await asyncio.open_connection(host, port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):  # the simulator may have closed it first
            await writer.wait_closed()


async def ask(port, command, host=HOST):
    """One line to a TCP port, one line back."""
    async with connection(port, host) as (reader, writer):
        writer.write(command)
        await writer.drain()
        line = await asyncio.wait_for(reader.readline(), 5)
    return line.decode().strip()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_one_ready_line_reachable_end_points_and_a_clean_end(number):
    async with simulator("nanoprobe") as process:
        ends = await ready(process)
        assert (await ask(ends["panda"]["control_port"], b"*IDN?\n")).startswith("OK =PandA")
        assert float((await ask(ends["gcs"]["port"], b"POS? 1\n"))[2:]) == pytest.approx(50, abs=1)
        assert "E-727" in await ask(ends["gcs"]["port"], b"*IDN?\n")
        assert "C-863" in await ask(ends["gcs_c863"]["port"], b"*IDN?\n")
        assert ends["ca"]["motors"] == ["SIM:COARSE:X", "SIM:COARSE:Y", "SIM:COARSE:Z"]
        async with connection(ends["panda"]["data_port"]), connection(ends["ca"]["port"]):
            process.send_signal(number)
            output, errors = await process.communicate()
    assert (process.returncode, output, errors) == (0, b"", b"")


async def test_it_ends_with_its_parent_if_asked_to():
    async with simulator("nanoprobe", "--exit-with-parent") as process:
        await ready(process)
        process.stdin.close()
        assert await process.wait() == 0
        assert await process.stderr.read() == b""


async def test_it_outlives_its_standard_input_otherwise():
    async with simulator("nanoprobe", module="flyscan_sim.cli") as process:
        ends = await ready(process)
        process.stdin.close()
        assert "E-727" in await ask(ends["gcs"]["port"], b"*IDN?\n")
        process.terminate()
        assert await process.wait() == 0


async def test_several_run_side_by_side():
    async with simulator("nanoprobe") as first, simulator("nanoprobe") as second:
        both = [await ready(first), await ready(second)]
        ports = [
            end[key]
            for ends in both
            for end in ends.values()
            if isinstance(end, dict)
            for key in end
            if key.endswith("port")
        ]
        assert len(ports) == len(set(ports)) == 10
        for process in (first, second):
            process.terminate()
            assert await process.wait() == 0


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ((), "required: WORLD"),
        (("wiggler",), "invalid choice: 'wiggler'"),
        (("nanoprobe", "--sped", "2"), "unrecognized arguments: --sped 2"),
        (("nanoprobe", "--speed", "0"), "0 is not a positive number"),
        (("nanoprobe", "--speed", "nan"), "nan is not a positive number"),
        (("nanoprobe", "--speed", "fast"), "fast is not a positive number"),
        (("nanoprobe", "--seed", "-1"), "-1 is not a whole number from 0 on"),
        (("nanoprobe", "--seed", "x"), "x is not a whole number from 0 on"),
        (("nanoprobe", "--ca-port", "70000"), "70000 is not a port number"),
        (("nanoprobe", "--ca-port", "http"), "http is not a port number"),
        (("nanoprobe", "--panda-ports", "8888"), "expected 2 arguments"),
        (("nanoprobe", "--fault", "@/nowhere/f.json"), "cannot read /nowhere/f.json"),
    ],
)
def test_bad_options_are_refused_in_one_line(options, text, capsys):
    with pytest.raises(SystemExit) as ended:
        main(options)
    output, errors = capsys.readouterr()
    assert (ended.value.code, output) == (2, "")
    assert text in errors
    assert errors.count("\n") == 1
    assert errors.startswith("flyscan-sim")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--fault", "[{"), "fault script: not JSON"),
        (("--fault", '{"kind": "meteor"}'), "unknown kind 'meteor'"),
        (("--fault", '{"kind": "stall", "axis": "w"}'), "no axis 'w'"),
        (("--host", "203.0.113.1"), "203.0.113.1"),
    ],
)
def test_a_world_that_cannot_start_is_refused_in_one_line(options, text, capsys):
    assert main(["nanoprobe", *options]) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert text in errors
    assert errors.count("\n") == 1
    assert errors.startswith("flyscan-sim: ")


async def test_a_taken_port_is_refused_in_one_line():
    async with Nanoprobe() as probe:
        taken = str(probe.endpoints["gcs"]["port"])
        async with simulator("nanoprobe", "--gcs-port", taken) as process:
            output, errors = await process.communicate()
    assert (process.returncode, output) == (2, b"")
    assert taken in errors.decode()
    assert errors.count(b"\n") == 1


async def test_options_reach_the_world(tmp_path):
    script = tmp_path / "faults.json"
    script.write_text('[{"kind": "ring_dump", "at": 0}]')
    options = ["--seed", "7", "--speed", "20", "--fault", f"@{script}", "--prefix", "NP7:"]
    async with simulator("nanoprobe", *options, "--panda-host", "127.0.0.2") as process:
        ends = await ready(process)
        assert ends["ca"]["ring"] == "NP7:RING:CURRENT"
        assert ends["panda"]["host"] == "127.0.0.2"
        control = ends["panda"]["control_port"]
        assert (await ask(control, b"*IDN?\n", "127.0.0.2")).startswith("OK =PandA")
        process.terminate()
        assert await process.wait() == 0


async def test_the_servers_share_one_world():
    async with Nanoprobe(clock=ScaledClock(20.0), seed=1) as probe:
        ends = probe.endpoints
        control = ends["panda"]["control_port"]

        async def counts():
            return int((await ask(control, b"INENC1.VAL?\n")).split("=")[1])

        before = await counts()
        assert await ask(ends["gcs"]["port"], b"VEL 1 100\nMOV 1 60\nMOV? 1\n") == "1=60.0000000"
        await probe.world.clock.sleep_until(probe.world.axes["x"].end_time() + 0.1)
        assert await counts() - before == pytest.approx(10_000, abs=30)


async def test_trigger_outputs_of_the_piezo_controller_reach_the_panda():
    async with Nanoprobe(clock=ScaledClock(20.0)) as probe:
        control, gcs = probe.panda.control_port, probe.gcs.port
        for command in (b"COUNTER1.TRIG=TTLIN5.VAL", b"COUNTER1.ENABLE=ONE"):
            assert await ask(control, command + b"\n") == "OK"
        distance = b"CTO 1 2 1 1 3 0 1 1 0.5 1 8 50.2 1 9 59.8\nTRO 1 1\n"
        assert await ask(gcs, distance + b"VEL 1 100\nMOV 1 60\nMOV? 1\n") == "1=60.0000000"
        await probe.world.clock.sleep_until(probe.world.axes["x"].end_time() + 0.1)
        pulses = int((await ask(control, b"COUNTER1.OUT?\n")).split("=")[1])
    assert pulses == pytest.approx(10 / 0.5, abs=1)


async def test_it_lives_on_a_manual_clock_and_leaves_nothing_behind():
    before = asyncio.all_tasks()
    clock = ManualClock()
    async with Nanoprobe(clock=clock, faults=['{"kind": "stall", "axis": "x", "at": 1}']) as probe:
        await clock.advance(2.0)
        assert probe.world.faults.active("stall", clock.now(), "x") is not None
        assert np.diff(probe.world.counted("I0", [0.0, 2.0]))[0] > 900_000
    for _ in range(5):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_a_failed_start_closes_what_was_opened():
    async with Nanoprobe() as first:
        taken = first.endpoints["ca"]["port"]
        second = Nanoprobe(ports=NanoprobePorts(ca=taken))
        with pytest.raises(ConfigurationError, match="cannot listen"):
            await second.start()
        await second.stop()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(HOST, second.panda.control_port)
