"""The PandA server on the network: unmodified clients, experiments, faults."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import numpy as np
import pytest
from pandablocks.asyncio import AsyncioClient
from pandablocks.blocking import BlockingClient
from pandablocks.commands import (
    Append,
    Arm,
    ChangeGroup,
    CommandError,
    Disarm,
    Get,
    GetBlockInfo,
    GetChanges,
    GetFieldInfo,
    GetState,
    Identify,
    Put,
    SetState,
)
from pandablocks.connections import DataConnection
from pandablocks.responses import Data, EndData, EndReason, FrameData, ReadyData, StartData

from flyscan.errors import ConfigurationError
from flyscan.flight import ManualClock, RealClock
from flyscan_sim.panda import FastSource, PandaServer, PandaWiring
from flyscan_sim.world import FaultScript, World, nanoprobe_world

WIRING = PandaWiring({"INENC1": "x", "INENC2": "y"}, {"TTLIN1": "I0"})


class Control:
    """A bare control connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, command: str) -> str:
        self.writer.write(f"{command}\n".encode())
        lines = [await self._line()]
        while lines[-1].startswith("!"):
            lines.append(await self._line())
        return "\n".join(lines)

    async def _line(self) -> str:
        return (await self.reader.readline()).decode().rstrip("\n")

    async def put(self, *commands: str) -> None:
        for command in commands:
            assert await self.ask(command) == "OK", command

    async def get(self, name: str) -> str:
        return (await self.ask(f"{name}?")).removeprefix("OK =")


class Lab:
    """A world on a manual clock, a server in it, and one control connection."""

    def __init__(self, world: World, clock: ManualClock, server: PandaServer) -> None:
        self.world = world
        self.clock = clock
        self.server = server
        self.controls: list[Control] = []

    @property
    def control(self) -> Control:
        """The connection made last."""
        return self.controls[-1]

    async def connect(self) -> Control:
        port = self.server.control_port
        self.controls.append(Control(*await asyncio.open_connection("127.0.0.1", port)))
        return self.control

    @asynccontextmanager
    async def data(self, options: str = "XML FRAMED RAW") -> AsyncIterator[Reader]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.data_port)
        try:
            yield await Reader.begin(reader, writer, options)
        finally:
            writer.close()
            await writer.wait_closed()

    async def advance(self, seconds: float, step: float = 0.01) -> None:
        """Let world time pass, and what it causes go over the sockets."""
        for _ in range(round(seconds / step)):
            await self.clock.advance(step)
            await turns()

    async def clocked(self, *captures: str) -> None:
        """1 kHz samples from CLOCK1 while BITS.OUTA is high; armed."""
        await self.control.put("CLOCK1.PERIOD=0.001", "CLOCK1.ENABLE=BITS.OUTA")
        await self.control.put("PCAP.TRIG=CLOCK1.OUT", "PCAP.ENABLE=ONE")
        for field in captures or ("PCAP.TS_TRIG",):
            await self.control.put(f"{field}.CAPTURE=Value")
        await self.control.put("*PCAP.ARM=", "BITS.A=1")


async def turns(count: int = 5) -> None:
    """Give sockets the time to carry what has been written."""
    for _ in range(count):
        await asyncio.sleep(0.0005)


class Reader:
    """A data client on the sans-IO connection of pandablocks."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._connection = DataConnection()
        self._waiting: list[Data] = []
        self.raw = b""

    @classmethod
    async def begin(
        cls, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, options: str
    ) -> Reader:
        self = cls(reader)
        self._connection.connect(scaled=False)
        writer.write(options.encode() + b"\n")
        assert isinstance(await self.next(), ReadyData)
        return self

    async def next(self) -> Data:
        while not self._waiting:
            data = await self._reader.read(65536)
            if not data:
                raise ConnectionResetError("data port closed")
            self.raw += data
            self._waiting += self._connection.receive_bytes(data)
        return self._waiting.pop(0)

    async def experiment(self) -> tuple[StartData, list[np.ndarray], EndData]:
        start = await self.next()
        assert isinstance(start, StartData)
        frames: list[np.ndarray] = []
        while isinstance(data := await self.next(), FrameData):
            frames.append(data.data)
        assert isinstance(data, EndData)
        return start, frames, data


@asynccontextmanager
async def running(*faults: dict, block_period: float = 0.1) -> AsyncIterator[Lab]:
    clock = ManualClock()
    world = nanoprobe_world(clock, faults=FaultScript(clock, faults))
    server = PandaServer(world, WIRING, block_period=block_period)
    await server.start()
    lab = Lab(world, clock, server)
    await lab.connect()
    try:
        yield lab
    finally:
        for control in lab.controls:
            control.writer.close()
        await server.stop()
        await turns()


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    async with running() as lab:
        yield lab


# Unmodified clients


@asynccontextmanager
async def fixed_ports(host: str) -> AsyncIterator[World]:
    """A server where the stock clients look for it, on an address of its own."""
    world = nanoprobe_world(RealClock())
    server = PandaServer(
        world, WIRING, host=host, control_port=8888, data_port=8889, block_period=0.02
    )
    await server.start()
    try:
        yield world
    finally:
        await server.stop()


async def test_pandablocks_introspects_sets_and_flies() -> None:
    async with fixed_ports("127.0.0.61") as world, AsyncioClient("127.0.0.61") as client:
        assert (await client.send(Identify())).software == "4.1"
        blocks = await client.send(GetBlockInfo())
        assert blocks["PCOMP"].number == 2
        fields = {name: await client.send(GetFieldInfo(name)) for name in blocks}
        assert fields["PCOMP"]["STEP"].type == "param"
        changes = await client.send(GetChanges(ChangeGroup.ALL, get_multiline=True))
        assert not changes.no_value
        assert len(changes.values) > 900
        await client.send(Put("*CHANGES", "S"))  # else only what is new is the state
        state = await client.send(GetState())
        for name, value in {
            "PCOMP1.INP": "INENC1.VAL",
            "PCOMP1.START": "1000",
            "PCOMP1.STEP": "100",
            "PCOMP1.WIDTH": "1",
            "PCOMP1.PULSES": "100",
            "PCOMP1.PRE_START": "100",
            "PCAP.TRIG": "PCOMP1.OUT",
            "PCAP.ENABLE": "PCOMP1.ACTIVE",
            "INENC1.VAL.CAPTURE": "Value",
            "INENC1.VAL.SCALE": "0.001",
        }.items():
            await client.send(Put(name, value))
        await client.send(Put("INENC1.SETP", "0"))
        got, positions = await fly(client, world)
        assert got.reason is EndReason.OK
        assert got.samples == 100
        # sampled two ticks after the crossing
        assert positions == pytest.approx(1 + 0.1 * np.arange(100), abs=0.0011)
        await client.send(SetState([line for line in state if "QUEUED_LINES" not in line]))
        assert await client.send(Get("PCOMP1.STEP")) == "0"


async def test_pandablocks_streams_a_table_until_it_comes_too_late() -> None:
    row = ["1048577", "0", "50", "50"]  # once, at once, OUTA for 50 of 100 us
    piece = row * 300
    async with fixed_ports("127.0.0.63"), AsyncioClient("127.0.0.63") as client:
        table = "SEQ1.TABLE"
        await client.send(Put("SEQ1.PRESCALE", "0.000001"))
        await client.send(Append(table, piece * 4))
        assert await client.send(Get("SEQ1.STATE")) == "WAIT_ENABLE"
        with pytest.raises(CommandError, match="Table is in streaming mode"):
            await client.send(Put(table, row))
        await client.send(Put("SEQ1.ENABLE", "ONE"))
        for last in (False, True):
            await client.send(Append(table, piece, last=last))
        with pytest.raises(CommandError, match="Last streaming table was sent"):
            await client.send(Append(table, piece))
        await until(client, "SEQ1.STATE", "UNREADY")
        assert await client.send(Get("SEQ1.HEALTH")) == "OK"
        await client.send(Put("SEQ1.ENABLE", "ZERO"))
        await client.send(Put(table, []))
        await client.send(Append(table, piece))
        await client.send(Put("SEQ1.ENABLE", "ONE"))
        await until(client, "SEQ1.STATE", "UNREADY")
        assert await client.send(Get("SEQ1.HEALTH")) == "DMA underrun"
        with pytest.raises(CommandError, match="Broken pipe"):
            await client.send(Append(table, piece))


async def until(client: AsyncioClient, field: str, value: str) -> None:
    for _ in range(1000):
        if await client.send(Get(field)) == value:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{field} did not become {value}")


async def fly(client: AsyncioClient, world: World) -> tuple[EndData, np.ndarray]:
    frames: list[np.ndarray] = []
    async for data in client.data(scaled=True):
        if isinstance(data, ReadyData):
            await client.send(Arm())
            await client.send(Put("PCOMP1.ENABLE", "ONE"))
            x = world.axes["x"]
            x.move(50 + 12.0, velocity=50.0, acceleration=1e4)
        elif isinstance(data, FrameData):
            frames.append(data.data["INENC1.VAL.Value"])
        elif isinstance(data, EndData):
            return data, np.concatenate(frames)
    raise AssertionError("no end of data")


async def test_pandablocks_blocking_client_works() -> None:
    def talk() -> tuple[str, str, list[Data]]:
        with BlockingClient("127.0.0.62") as client:
            identity, status = client.send([Identify(), Get("*PCAP.STATUS")])
            client.send(Put("PCAP.TRIG", "CLOCK1.OUT"))
            client.send([Put("CLOCK1.PERIOD", "0.001"), Put("PCAP.ENABLE", "ONE")])
            client.send([Put("PCAP.TS_TRIG.CAPTURE", "Value"), Put("CLOCK1.ENABLE", "ONE")])
            seen: list[Data] = []
            for data in client.data(frame_timeout=5):
                seen.append(data)
                if isinstance(data, ReadyData):
                    client.send(Arm())
                if isinstance(data, FrameData):
                    client.send(Disarm())
                if isinstance(data, EndData):
                    break
            return identity.software, status, seen

    async with fixed_ports("127.0.0.62"):
        version, status, seen = await asyncio.to_thread(talk)
    assert (version, status) == ("4.1", "Idle 0 0")
    assert isinstance(seen[-1], EndData)
    assert seen[-1].reason is EndReason.DISARMED
    assert seen[-1].samples == sum(len(d.data) for d in seen if isinstance(d, FrameData))


# Experiments


async def test_blocks_come_with_the_block_period(lab: Lab) -> None:
    async with lab.data() as reader:
        await lab.clocked()
        await lab.advance(0.35)
        await lab.control.put("*PCAP.DISARM=")
        await lab.advance(0.02)
        start, frames, end = await reader.experiment()
    assert start.sample_bytes == 8
    assert [len(frame) for frame in frames] == [100, 100, 100, 50]
    assert end.reason is EndReason.DISARMED
    times = np.concatenate(frames)["PCAP.TS_TRIG.Value"]
    assert np.diff(times).tolist() == [125_000] * 349


async def test_header_comes_within_a_second_without_data(lab: Lab) -> None:
    async with lab.data() as reader:
        await lab.control.put("PCAP.TS_TRIG.CAPTURE=Value", "*PCAP.ARM=")
        await lab.advance(2.5, 0.1)
        assert b"<header>" not in reader.raw
        await lab.control.put("PCAP.ENABLE=ONE")
        await lab.advance(1.1, 0.1)
        start = await asyncio.wait_for(reader.next(), 5)
    assert isinstance(start, StartData)
    assert start.missed == 0


async def test_late_client_gets_everything_kept_and_the_rest_counted(lab: Lab) -> None:
    await lab.clocked()
    await lab.advance(12.0, 0.1)
    async with lab.data() as reader:
        await lab.control.put("*PCAP.DISARM=")
        await lab.advance(0.02)
        start, frames, end = await reader.experiment()
    assert start.missed == 2400  # of 119 blocks, 95 are given
    assert sum(len(frame) for frame in frames) == end.samples
    first = frames[0]["PCAP.TS_TRIG.Value"][0]
    assert round(first / 125_000) == 2400
    assert start.missed + end.samples in range(12_000, 12_004)


async def test_reconnecting_loses_nothing(lab: Lab) -> None:
    async with lab.data() as reader:
        await lab.clocked()
        await lab.advance(1.0, 0.1)
        assert isinstance(await reader.next(), StartData)
    await lab.advance(3.0, 0.1)
    async with lab.data() as reader:
        await lab.control.put("*PCAP.DISARM=")
        await lab.advance(0.02)
        start, frames, end = await reader.experiment()
    assert start.missed == 0
    times = np.concatenate(frames)["PCAP.TS_TRIG.Value"]
    assert np.diff(times).tolist() == [125_000] * (end.samples - 1)


async def test_a_client_that_does_not_read_is_overrun(lab: Lab) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", lab.server.data_port, limit=1024)
    writer.write(b"XML FRAMED RAW\n")
    assert await reader.readline() == b"OK\n"
    await lab.control.put("CLOCK1.PERIOD=0.00001")
    await lab.clocked("PCAP.TS_TRIG", "PCAP.TS_START", "PCAP.TS_END", "PCAP.BITS0", "PCAP.BITS1")
    await lab.control.put("CLOCK1.PERIOD=0.00001")
    await lab.advance(30.0, 0.1)
    await lab.control.put("*PCAP.DISARM=")
    await lab.advance(0.1)
    received = b""
    while b"END " not in received[-80:]:
        received += await asyncio.wait_for(reader.read(1 << 20), 10)
        await lab.advance(0.01)
    assert received.endswith(b" Data overrun\n")
    writer.close()
    await writer.wait_closed()


async def test_rearming_waits_for_readers(lab: Lab) -> None:
    lab.world.faults.add("foreign_reader", **{"for": 2.0})
    await lab.advance(1.0, 0.1)
    assert await lab.control.get("*PCAP.STATUS") == "Idle 1 0"
    assert "10.0.0.99" in await lab.control.ask("*WHO?")
    await lab.clocked()
    await lab.advance(0.2)
    await lab.control.put("*PCAP.DISARM=")
    await lab.advance(0.01)
    assert await lab.control.get("*PCAP.STATUS") == "Busy 1 1"
    assert await lab.control.ask("*PCAP.ARM=") == "ERR Data clients still taking data"
    await lab.advance(3.0, 0.1)
    assert await lab.control.get("*PCAP.STATUS") == "Idle 0 0"
    await lab.control.put("*PCAP.ARM=")


async def test_one_shot_closes_and_default_goes_on(lab: Lab) -> None:
    async with lab.data("XML FRAMED RAW ONE_SHOT") as once, lab.data() as forever:
        for _ in range(2):
            await lab.clocked()
            await lab.advance(0.15)
            await lab.control.put("*PCAP.DISARM=")
            await lab.advance(0.02)
        first = await once.experiment()
        assert first[2].reason is EndReason.DISARMED
        with pytest.raises(ConnectionResetError):
            await once.next()
        for _ in range(2):
            assert (await forever.experiment())[2].samples > 100


async def test_a_flight_captures_the_stage_and_the_detector(lab: Lab) -> None:
    """Position triggered, exposures of 1 ms, counts as the world says."""
    x = lab.world.axes["x"]
    put, f = lab.control.put, "PCOMP1."
    await put("INENC1.PROTOCOL=SSI", f + "INP=INENC1.VAL", f + "START=51000", f + "STEP=20")
    await put(f + "WIDTH=1", f + "PULSES=50", f + "PRE_START=100", f + "ENABLE=BITS.OUTA")
    await put("PULSE1.TRIG=PCOMP1.OUT", "PULSE1.ENABLE=ONE", "PULSE1.WIDTH=0.001")
    await put("PCAP.TRIG=PULSE1.OUT", "PCAP.TRIG_EDGE=Falling", "PCAP.GATE=PULSE1.OUT")
    await put("PCAP.ENABLE=ONE", "COUNTER1.TRIG=TTLIN1.VAL", "COUNTER1.ENABLE=ONE")
    await put("INENC1.VAL.CAPTURE=Min Max Mean", "COUNTER1.OUT.CAPTURE=Diff")
    await put("PCAP.TS_TRIG.CAPTURE=Value", "PCAP.GATE_DURATION.CAPTURE=Value")
    async with lab.data() as reader:
        await put("*PCAP.ARM=", "BITS.A=1")
        assert await lab.control.get("PCOMP1.STATE") == "WAIT_RISING"
        x.move(53.0, velocity=10.0, acceleration=1e3)
        await lab.advance(0.6)
        assert await lab.control.get("PCOMP1.PRODUCED") == "50"
        await put("*PCAP.DISARM=")
        await lab.advance(0.02)
        _, frames, end = await reader.experiment()
    rows = np.concatenate(frames)
    assert end.samples == 50
    start = rows["INENC1.VAL.Min"]
    assert (np.abs(start - (51000 + 20 * np.arange(50))) <= 8).all()  # 2 nm of vibration
    assert rows["PCAP.GATE_DURATION.Value"].tolist() == [125_000] * 50
    mean = rows["INENC1.VAL.Mean"] / 125_000
    assert ((rows["INENC1.VAL.Min"] <= mean) & (mean <= rows["INENC1.VAL.Max"])).all()
    times = rows["PCAP.TS_TRIG.Value"]
    begun = lab.server._engine.pcap.begun
    ends = (begun + times) * 8e-9
    counted = lab.world.counted("I0", ends) - lab.world.counted("I0", ends - 1e-3)
    assert rows["COUNTER1.OUT.Diff"] == pytest.approx(counted, abs=2)


# Faults and trouble


async def test_lost_trigger_is_missing_from_the_rows() -> None:
    async with running({"kind": "lost_trigger", "at": 7}) as lab, lab.data() as reader:
        await lab.clocked()
        await lab.advance(0.15)
        await lab.control.put("*PCAP.DISARM=")
        await lab.advance(0.02)
        _, frames, _ = await reader.experiment()
    gaps = np.diff(np.concatenate(frames)["PCAP.TS_TRIG.Value"])
    assert np.flatnonzero(gaps == 250_000).tolist() == [6]
    assert np.count_nonzero(gaps == 125_000) == gaps.size - 1


async def test_the_next_trigger_can_be_lost_once(lab: Lab) -> None:
    async with lab.data() as reader:
        await lab.clocked()
        await lab.advance(0.1)
        lab.world.faults.add("lost_trigger")
        await lab.advance(0.3)
        await lab.control.put("*PCAP.DISARM=")
        await lab.advance(0.02)
        _, frames, _ = await reader.experiment()
    gaps = np.diff(np.concatenate(frames)["PCAP.TS_TRIG.Value"])
    assert np.count_nonzero(gaps == 250_000) == 1
    assert np.count_nonzero(gaps == 125_000) == gaps.size - 1


async def test_rearming_at_once_comes_too_soon(lab: Lab) -> None:
    await lab.clocked()
    await lab.advance(0.1)
    await lab.control.put("*PCAP.DISARM=")
    assert await lab.control.ask("*PCAP.ARM=") == "ERR Data capture already in progress"
    await lab.advance(0.01, 0.001)
    await lab.control.put("*PCAP.ARM=")


async def test_overrun_ends_the_data_but_not_the_experiment() -> None:
    async with running({"kind": "overrun", "at": 0.25}) as lab, lab.data() as reader:
        await lab.clocked()
        await lab.advance(0.4)
        _, _, end = await reader.experiment()
        assert end.reason is EndReason.DATA_OVERRUN
        assert await lab.control.get("*PCAP.STATUS") == "Busy 1 0"


async def test_closed_connections_come_back() -> None:
    cut = {"at": 0.2, "for": 0.5}
    async with running({"kind": "close_data", **cut}, {"kind": "close_control", **cut}) as lab:
        async with lab.data() as reader:
            await lab.clocked()
            await lab.advance(0.3)
            assert await lab.control.reader.read() == b""
            with pytest.raises(ConnectionResetError):
                await reader.experiment()
        refused = await lab.connect()
        assert await refused.reader.read() == b""
        await lab.advance(0.6)
        await lab.connect()
        assert await lab.control.get("*PCAP.STATUS") == "Busy 0 0"
        async with lab.data() as reader:
            await lab.control.put("*PCAP.DISARM=")
            await lab.advance(0.02)
            start, _, end = await reader.experiment()
        assert start.missed == 0
        assert end.samples > 800


async def test_late_arm_stays_idle_for_its_delay() -> None:
    async with running({"kind": "late_arm", "at": 0.0, "delay": 0.5}) as lab:
        await lab.advance(0.01)
        await lab.clocked()
        assert await lab.control.get("*PCAP.STATUS") == "Idle 0 0"
        await lab.advance(0.4)
        assert await lab.control.get("PCAP.ACTIVE") == "0"
        await lab.advance(0.2)
        assert await lab.control.get("*PCAP.STATUS") == "Busy 0 0"
        assert await lab.control.get("PCAP.ACTIVE") == "1"


async def test_foreign_write_shows_in_the_changes() -> None:
    fault = {"kind": "foreign_write", "at": 1.0, "field": "PCOMP1.STEP", "value": 77}
    async with running(fault) as lab:
        await lab.control.put("*CHANGES=")
        await lab.advance(0.9, 0.1)
        assert await lab.control.ask("*CHANGES.CONFIG?") == "."
        await lab.advance(0.3, 0.1)
        assert await lab.control.ask("*CHANGES.CONFIG?") == "!PCOMP1.STEP=77\n."


async def test_a_fault_that_cannot_be_carried_out_is_reported() -> None:
    clock = ManualClock()
    faults = FaultScript(clock)
    faults.add("foreign_write", field="PCOMP9.STEP", value=1)
    server = PandaServer(nanoprobe_world(clock, faults=faults), WIRING)
    await server.start()
    await turns()
    with pytest.raises(ConfigurationError, match=r"PCOMP9\.STEP=1 gives: Invalid block number"):
        await server.stop()


async def test_slow_replies_and_garbage() -> None:
    async with running(
        {"kind": "slow_replies", "at": 1.0, "for": 1.0, "delay": 0.3},
        {"kind": "garbage", "at": 3.0, "for": 1.0, "text": "@@@"},
    ) as lab:
        await lab.advance(1.1, 0.1)
        asked = asyncio.ensure_future(lab.control.ask("*IDN?"))
        await lab.advance(0.2, 0.1)
        assert not asked.done()
        await lab.advance(0.2, 0.1)
        assert (await asked).startswith("OK =PandA SW")
        await lab.advance(1.7, 0.1)
        assert await lab.control.ask("*IDN?") == "@@@"
        await lab.advance(1.0, 0.1)
        assert (await lab.control.ask("*IDN?")).startswith("OK =PandA SW")


async def test_restart_loses_configuration_and_connections(lab: Lab) -> None:
    await lab.control.put("PCOMP1.STEP=5")
    await lab.clocked()
    await lab.server.restart()
    assert await lab.control.reader.read() == b""
    await lab.connect()
    assert await lab.control.get("PCOMP1.STEP") == "0"
    assert await lab.control.get("*PCAP.STATUS") == "Idle 0 0"


async def test_a_line_cut_as_it_is_connected_is_not_left_hanging(lab: Lab) -> None:
    address = "127.0.0.1", lab.server.control_port
    for turn in range(12):  # some of them between accepting a client and serving it
        sock = socket.create_connection(address)
        for _ in range(turn):
            await asyncio.sleep(0)
        await lab.server.restart()
        reader, writer = await asyncio.open_connection(sock=sock)
        writer.write(b"*IDN?\n")
        async with asyncio.timeout(10):
            with suppress(ConnectionResetError):
                answer = await reader.readline()
                assert answer == b"" or answer.startswith(b"OK =PandA SW")
        writer.close()


async def test_who_lists_clients(lab: Lab) -> None:
    async with lab.data():
        listed = (await lab.control.ask("*WHO?")).splitlines()
    assert [line.split()[1] for line in listed[:-1]] == ["config", "data"]
    assert listed[0].startswith("!2023-11-14T22:13:20.000Z config 127.0.0.1:")


@pytest.mark.parametrize(
    "wiring",
    [
        PandaWiring({"INENC9": "x"}),
        PandaWiring({"INENC1": "nowhere"}),
        PandaWiring(pulses={"TTLIN1": "Unobtainium"}),
    ],
)
def test_wrong_wiring_is_refused(wiring: PandaWiring) -> None:
    with pytest.raises(ConfigurationError, match="PandA wiring: expected a cable"):
        PandaServer(nanoprobe_world(ManualClock()), wiring)


async def test_servers_live_side_by_side_and_stop_cleanly() -> None:
    async with running() as one, running() as two:
        assert one.server.control_port != two.server.control_port
        await one.control.put("PCOMP1.STEP=1")
        assert await two.control.get("PCOMP1.STEP") == "0"
    with pytest.raises(ConnectionRefusedError):
        await one.connect()
    await one.server.stop()


# Made-up samples


async def test_a_source_without_pause_sends_until_disarmed() -> None:
    clock = ManualClock()
    server = PandaServer(nanoprobe_world(clock), WIRING, source=FastSource(period_ticks=50))
    await server.start()
    lab = Lab(nanoprobe_world(clock), clock, server)
    await lab.connect()
    await lab.control.put("PCAP.ENABLE=ONE", "PCAP.TS_TRIG.CAPTURE=Value")
    await lab.control.put("INENC1.VAL.CAPTURE=Min Max Mean")
    async with lab.data() as reader:
        await lab.control.put("*PCAP.ARM=")
        assert isinstance(await reader.next(), StartData)
        times = [(await reader.next()).data["PCAP.TS_TRIG.Value"] for _ in range(20)]
        assert set(np.diff(np.concatenate(times)).tolist()) == {50}
        await lab.control.put("*PCAP.DISARM=")
        await clock.advance(0.01)
        while not isinstance(data := await reader.next(), EndData):
            times.append(data.data["PCAP.TS_TRIG.Value"])
        assert data.samples == sum(map(len, times))
        assert data.reason is EndReason.DISARMED
    lab.control.writer.close()
    await server.stop()


async def test_a_source_at_a_rate_keeps_to_it() -> None:
    clock = ManualClock()
    server = PandaServer(nanoprobe_world(clock), WIRING, source=FastSource(rows_per_s=1e6))
    await server.start()
    lab = Lab(nanoprobe_world(clock), clock, server)
    await lab.connect()
    await lab.control.put("PCAP.ENABLE=ONE", "PCAP.TS_TRIG.CAPTURE=Value")
    async with lab.data() as reader:
        await lab.control.put("*PCAP.ARM=")
        await lab.advance(0.55, 0.05)
        await lab.control.put("*PCAP.DISARM=")
        await lab.advance(0.01)
        _, frames, end = await reader.experiment()
    assert end.samples == pytest.approx(550_000, abs=10)
    assert set(np.diff(np.concatenate(frames)["PCAP.TS_TRIG.Value"]).tolist()) == {125}
    lab.control.writer.close()
    await server.stop()
