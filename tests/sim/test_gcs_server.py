"""The controller behind a socket: framing, latency, faults, clean shutdown."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flyscan.flight import ManualClock
from flyscan_sim.gcs import C885, E727, GcsServer
from flyscan_sim.gcs._codec import Request, RequestDecoder, encode_answer
from tests.sim.gcs_bench import make_world, stages, wired


@asynccontextmanager
async def serving(profile=E727, **options):
    clock = ManualClock()
    world = make_world(clock, stages(profile))
    server = GcsServer(world, profile, wired(profile), **options)
    await server.start()
    try:
        yield server, world, clock
    finally:
        await server.stop()


class Client:
    def __init__(self, reader, writer) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    @asynccontextmanager
    async def to(cls, server):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        try:
            yield cls(reader, writer)
        finally:
            writer.transport.abort()
            await asyncio.sleep(0)

    def send(self, text: str) -> None:
        self.writer.write(text.encode("cp1252"))

    async def line(self) -> str:
        async with asyncio.timeout(5):
            return (await self.reader.readline()).decode("cp1252")

    async def ask(self, text: str) -> str:
        self.send(text)
        return await self.line()


async def test_moves_over_a_socket_in_manual_time():
    async with serving() as (server, world, clock), Client.to(server) as client:
        assert await client.ask("CSV?\n") == "2.0\n"
        assert await client.ask("SVO 1 1\nVEL 1 10\nMOV 1 60\nERR?\n") == "0\n"
        assert await client.ask("\x05") == "1\n"
        await clock.advance(1.1)
        assert await client.ask("ONT? 1\n") == "1=1\n"
        assert world.axes["stage1"].commanded(clock.now()) == 60


async def test_commands_may_arrive_in_any_pieces():
    async with serving() as (server, _, _), Client.to(server) as client:
        for piece in ("SV", "O? 1\nPO", "S? 4", "\nERR?", "\n"):
            client.send(piece)
            await asyncio.sleep(0.002)
        assert await client.line() == "1=0\n"
        assert await client.line() == "15\n"


async def test_clients_share_one_controller():
    async with serving() as (server, _, _), Client.to(server) as one, Client.to(server) as two:
        assert await one.ask("SVO 2 1\nMOV 1 3\nSVO? 2\n") == "2=1\n"
        assert await two.ask("ERR?\n") == "5\n"
        assert await one.ask("ERR?\n") == "0\n"


async def test_latency_is_time_of_the_world():
    async with serving(latency=0.005) as (server, _, clock), Client.to(server) as client:
        client.send("ERR?\nERR?\n")
        first = asyncio.create_task(client.line())
        await wait_for_sleepers(clock, 0.005)
        assert not first.done()
        await clock.advance(0.005)
        assert await first == "0\n"
        assert clock.now() == 0.005
        second = asyncio.create_task(client.line())
        await wait_for_sleepers(clock, 0.01)
        await clock.advance(0.005)
        assert await second == "0\n"


async def wait_for_sleepers(clock: ManualClock, deadline: float) -> None:
    async with asyncio.timeout(5):
        while clock.next_deadline != pytest.approx(deadline):  # noqa: ASYNC110  clock has no event
            await asyncio.sleep(0.001)


async def test_slow_replies():
    async with serving() as (server, world, clock), Client.to(server) as client:
        world.faults.add("slow_replies", delay=0.02, **{"for": 0.5})
        answer = asyncio.create_task(client.ask("ERR?\n"))
        await wait_for_sleepers(clock, 0.02)
        await clock.advance(0.02)
        assert await answer == "0\n"
        await clock.advance(0.5)
        assert await client.ask("ERR?\n") == "0\n"


async def test_a_garbled_reply_comes_once():
    async with serving() as (server, world, _), Client.to(server) as client:
        world.faults.add("garbage", text="#?!")
        assert await client.ask("SVO 1 1\nPOS? 1\n") == "#?!\n", "silent commands cannot be garbled"
        assert (await client.ask("POS? 1\n")).startswith("1=")


async def test_a_lost_connection_is_refused_for_a_while_then_comes_back():
    async with serving() as (server, world, clock):
        world.faults.add("close_gcs", at=1.0, **{"for": 2.0})
        async with Client.to(server) as client:
            await client.ask("SVO 1 1\nERR?\n")
            await clock.advance(1.1)
            with pytest.raises(ConnectionError):
                raise_end(await client.ask("ERR?\n"))
        async with Client.to(server) as client:
            with pytest.raises(ConnectionError):
                raise_end(await client.ask("ERR?\n"))
        await clock.advance(2.0)
        async with Client.to(server) as client:
            assert await client.ask("SVO? 1\n") == "1=1\n", "the box kept its state"


def raise_end(answer: str) -> None:
    if not answer:
        raise ConnectionError


async def test_waves_go_on_without_anybody_asking():
    async with serving() as (server, world, clock), Client.to(server) as client:
        client.send("SVO 1 1\nWAV 1 X SIN_P 2000 10 40 2000 0 1000\nWSL 1 1\nWGC 1 0\nWGO 1 1\n")
        assert await client.ask("ERR?\n") == "0\n"
        await clock.advance(25.0)
        assert world.axes["stage1"].moving(clock.now())
        assert await client.ask("\x09") == "1\n"


async def test_several_servers_side_by_side_and_restart_on_the_same_port():
    async with serving() as (one, _, _), serving(C885) as (two, _, _):
        assert one.port != two.port
        async with Client.to(one) as a, Client.to(two) as b:
            assert "E-727" in await a.ask("*IDN?\n")
            assert "C-885" in await b.ask("*idn?\n")
    port = one.port
    assert port == 0, "a stopped server has no port"


async def test_stopping_ends_connections_and_tasks():
    before = asyncio.all_tasks()
    async with serving() as (server, _, _), Client.to(server) as client:
        await client.ask("ERR?\n")
        await server.stop()
        with pytest.raises(ConnectionError):
            raise_end(await client.ask("ERR?\n"))
        await server.stop()
    assert asyncio.all_tasks() == before


@given(st.lists(st.integers(1, 40), max_size=30))
@settings(deadline=None)
def test_framing_does_not_depend_on_the_pieces(sizes):
    stream = b"MOV 1 2\n\x05POS?\r\n\n  mov? \t1\nVEL 1 \x1825\n\x07*IDN?\n"
    whole = list(RequestDecoder().feed(stream))
    decoder, pieces, at = RequestDecoder(), [], 0
    for size in [*sizes, len(stream)]:
        pieces += decoder.feed(stream[at : at + size])
        at += size
    assert pieces == whole
    assert whole == [
        Request("MOV", ("1", "2")),
        Request("#5"),
        Request("POS?"),
        Request("#9"),
        Request("MOV?", ("1",)),
        Request("#24"),
        Request("VEL", ("1", "25")),
        Request("#7"),
        Request("*IDN?"),
    ]


def test_answers_of_several_lines_end_in_space_linefeed():
    assert encode_answer(["1=0", "2=1"]) == b"1=0 \n2=1\n"
    assert encode_answer(["\xb1"]) == b"\xb1\n"
