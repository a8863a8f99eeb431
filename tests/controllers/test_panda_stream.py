"""The stream of rows against a scripted data port: overruns, replays, slow readers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import numpy as np
import pytest

from flyscan.controllers.panda import _stream
from flyscan.controllers.panda._columns import GATE, TIMESTAMP, Column
from flyscan.controllers.panda._data import DataLink
from flyscan.controllers.panda._rows import RowAssembler
from flyscan.controllers.panda._stream import FULL, QUEUED, RowStream
from flyscan.errors import CaptureError, ControllerError, WatchdogError
from flyscan.flight import Block, Channel, RealClock
from tests.controllers.test_panda_wire import server

DTYPE = np.dtype([("COUNTER1.OUT.Diff", "<i4"), (GATE, "<i4"), (TIMESTAMP, "<i8")])
ROW_BYTES = 20
"""Of a row in a block: time, exposure and the counter."""
Script = Callable[[int, asyncio.StreamWriter], Awaitable[None]]


def header(missed: int = 0) -> bytes:
    assert DTYPE.names is not None
    fields = "".join(
        f'<field name="{name.rpartition(".")[0]}" type="{np.dtype(DTYPE[name]).name}" '
        f'capture="{name.rpartition(".")[2]}" scale="1" offset="0" units="" />\n'
        for name in DTYPE.names
    )
    return (
        '<header>\n<data arm_time="2026-11-20T05:55:48Z" start_time="2026-11-20T05:55:48Z" '
        f'missed="{missed}" process="Raw" format="Framed" sample_bytes="16" />\n<fields>\n'
        f"{fields}</fields>\n</header>\n\n"
    ).encode()


def frame(first: int, stop: int) -> bytes:
    rows = np.zeros(stop - first, DTYPE)
    rows["COUNTER1.OUT.Diff"] = np.arange(first, stop)
    rows[GATE] = 1000
    rows[TIMESTAMP] = np.arange(first, stop) * 5000 + 1000
    data = rows.tobytes()
    return b"BIN " + (len(data) + 8).to_bytes(4, "little") + data


@asynccontextmanager
async def stream(
    script: Script,
    patience: float = 2.0,
    *,
    begun_ago: float | None = None,
    captured: Callable[[], Awaitable[int | None]] | None = None,
) -> AsyncIterator[RowStream]:
    """A stream from a box that does what the script says on its n-th connection."""
    connections = 0
    clock = RealClock()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        await reader.readline()
        writer.write(b"OK\n")
        connections += 1
        await script(connections - 1, writer)
        await writer.drain()

    async with server(serve) as port:
        rows = RowAssembler(
            "panda", (Column(Channel("n", "<i4"), "COUNTER1.OUT.Diff"),), None, 125_000_000
        )
        rows.expect_gate(0, 1000)
        if begun_ago is not None:
            begun = clock.epoch_ns + round((clock.now() - begun_ago) * 1e9)
            rows.begun_between(begun, begun)
        the_stream = RowStream(
            "panda",
            lambda: DataLink("panda", "127.0.0.1", port, 2.0),
            rows,
            clock,
            patience,
            fresh=5.0,
            captured=captured,
        )
        await the_stream.open()
        try:
            yield the_stream
        finally:
            await the_stream.close()


async def take(the_stream: RowStream, blocks: list[Block]) -> list[int]:
    """All rows; blocks are kept even if the stream fails."""
    async for block in the_stream.blocks():
        blocks += [block]  # one by one: those before a failure count
    return rows_of(blocks)


def rows_of(blocks: list[Block]) -> list[int]:
    return [int(n) for block in blocks for n in block.columns["n"]]


async def test_a_planned_end_delivers_everything():
    async def script(_: int, writer: asyncio.StreamWriter) -> None:
        writer.write(header() + frame(0, 10) + frame(10, 12) + b"END 12 Ok\n")

    async with stream(script) as s:
        s.ending = True
        assert await take(s, []) == list(range(12))
        assert s.reason is not None
        assert (s.reason.ok, s.reason.rows, s.reason.text) == (True, 12, "Ok")


async def test_frames_that_come_together_make_one_block():
    async def script(_: int, writer: asyncio.StreamWriter) -> None:
        writer.write(header() + b"".join(frame(i, i + 1) for i in range(50)) + b"END 50 Ok\n")

    async with stream(script) as s:
        s.ending = True
        blocks: list[Block] = []
        assert await take(s, blocks) == list(range(50))
        assert len(blocks) < 5


async def test_the_last_frame_before_an_overrun_is_discarded():
    """In raw format the box notices only afterwards that it sent a spoilt frame."""

    async def script(_: int, writer: asyncio.StreamWriter) -> None:
        writer.write(header() + frame(0, 10) + frame(10, 20))
        await writer.drain()
        writer.write(b"END 20 Data overrun\n")

    async with stream(script) as s:
        blocks: list[Block] = []
        with pytest.raises(CaptureError, match="after 10 rows with 'Data overrun'"):
            await take(s, blocks)
        assert rows_of(blocks) == list(range(10))


async def test_after_a_lag_a_frame_waits_to_be_taken_back(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("flyscan.controllers.panda._stream.GRACE", 3600.0)

    async def script(_: int, writer: asyncio.StreamWriter) -> None:
        writer.write(header() + frame(0, 10) + frame(10, 20))
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(b"END 20 Data overrun\n")

    async with stream(script, begun_ago=6.0) as s:
        blocks: list[Block] = []
        with pytest.raises(CaptureError, match="after 10 rows with 'Data overrun'"):
            await take(s, blocks)
        assert rows_of(blocks) == list(range(10))


async def test_without_a_lag_a_frame_is_believed_at_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("flyscan.controllers.panda._stream.GRACE", 3600.0)
    released = asyncio.Event()

    async def script(_: int, writer: asyncio.StreamWriter) -> None:
        for first in (0, 10):
            writer.write(header() * (first == 0) + frame(first, first + 10))
            await writer.drain()
            await released.wait()
            released.clear()
        writer.write(b"END 20 Ok\n")

    async with stream(script, begun_ago=0.0) as s, asyncio.timeout(10):
        s.ending = True
        rows: list[int] = []
        async for block in s.blocks():
            rows += rows_of([block])
            released.set()
        assert rows == list(range(20))


async def test_a_frame_without_successor_is_believed_soon():
    released = asyncio.Event()

    async def script(_: int, writer: asyncio.StreamWriter) -> None:
        writer.write(header() + frame(0, 10))
        await writer.drain()
        await released.wait()
        writer.write(b"END 10 Ok\n")

    async with stream(script) as s:
        async with asyncio.timeout(1.0):
            block = await anext(aiter(s.blocks()))
        assert len(block) == 10
        s.ending = True
        released.set()


@pytest.mark.parametrize("missed", [0, 4, 10])
async def test_what_comes_again_after_a_reconnection_is_skipped(missed: int):
    async def script(connection: int, writer: asyncio.StreamWriter) -> None:
        if connection == 0:
            writer.write(header() + frame(0, 10) + frame(10, 20)[:-5])  # cut within a frame
        else:
            writer.write(header(missed) + frame(missed, 25) + f"END {25 - missed} Ok\n".encode())

    async with stream(script) as s:
        s.ending = True
        assert await take(s, []) == list(range(25))
        assert s.reason is not None
        assert s.reason.rows == 25


async def test_a_capture_that_ends_as_we_come_back_is_over(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_stream, "RESUMED", 0.05)
    answers = [None, 12]

    async def script(connection: int, writer: asyncio.StreamWriter) -> None:
        if connection:
            await asyncio.Event().wait()
        writer.write(header() + frame(0, 12))
        await writer.drain()
        writer.close()

    async def captured() -> int | None:
        return answers.pop(0)

    async with stream(script, captured=captured) as s:
        s.ending = True
        assert await take(s, []) == list(range(12))
        assert s.reason is not None
        assert (s.reason.ok, s.reason.rows) == (True, 12)
    assert not answers


async def test_rows_the_box_has_no_more_fail_the_stream_after_what_came():
    async def script(connection: int, writer: asyncio.StreamWriter) -> None:
        writer.write(header(30 * connection) + frame(30 * connection, 30 * connection + 10))

    async with stream(script) as s:
        blocks: list[Block] = []
        with pytest.raises(CaptureError, match="rows 10 to 29 are missing"):
            await take(s, blocks)
        assert rows_of(blocks) == list(range(10))
        assert s.reason is not None
        assert not s.reason.ok


async def test_nonsense_fails_the_stream_and_spoils_the_frame_before_it():
    async def script(_: int, writer: asyncio.StreamWriter) -> None:
        writer.write(header() + frame(0, 10) + frame(10, 20) + b"NONSENSE")

    async with stream(script) as s:
        blocks: list[Block] = []
        with pytest.raises(ControllerError, match="sent nonsense"):
            await take(s, blocks)
        assert rows_of(blocks) == list(range(10))


async def test_an_end_nobody_asked_for_is_an_error():
    async def script(_: int, writer: asyncio.StreamWriter) -> None:
        writer.write(header() + frame(0, 10) + b"END 10 Ok\n")

    async with stream(script) as s:
        with pytest.raises(CaptureError, match="though flyscan did not end it"):
            await take(s, [])


async def test_an_end_that_counts_other_rows_is_an_error():
    async def script(_: int, writer: asyncio.StreamWriter) -> None:
        writer.write(header() + frame(0, 10) + b"END 11 Ok\n")

    async with stream(script) as s:
        s.ending = True
        with pytest.raises(CaptureError, match="says it sent 11 rows, 10 came"):
            await take(s, [])


async def test_waits_are_bounded_and_name_what_is_missing():
    async def script(_: int, writer: asyncio.StreamWriter) -> None:
        writer.write(header() + frame(0, 10))
        await asyncio.Event().wait()

    async with stream(script) as s:
        await s.wait_streaming(1.0)
        await s.wait_seen(10, 1.0)
        with pytest.raises(WatchdogError, match=r"10 of 11 triggered rows arrived within 0\.02 s"):
            await s.wait_seen(11, 0.02)
        with pytest.raises(WatchdogError, match=r"end of the capture did not come within 0\.02 s"):
            await s.wait_over(0.02)


async def test_no_header_is_noticed():
    async def script(_: int, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with stream(script) as s:
        with pytest.raises(WatchdogError, match="did not begin to send rows"):
            await s.wait_streaming(0.02)


async def test_closing_ends_a_reader_that_waits():
    async def script(_: int, writer: asyncio.StreamWriter) -> None:
        writer.write(header())
        await asyncio.Event().wait()

    async with stream(script) as s:
        reader = asyncio.create_task(take(s, []))
        await s.wait_streaming(1.0)
        await s.close()
        assert await reader == []


async def test_closing_while_connecting_anew_leaves_no_connection_behind():
    silent, gone = asyncio.Event(), asyncio.Event()
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readline()
        if connections == 1:
            writer.write(b"OK\n" + header())
            return
        silent.set()
        with suppress(ConnectionError):
            assert await reader.read() == b""
        gone.set()

    async with server(serve) as port, asyncio.timeout(10):
        rows = RowAssembler("panda", (), None, 125_000_000)
        link = lambda: DataLink("panda", "127.0.0.1", port, 20.0)  # noqa: E731
        the_stream = RowStream("panda", link, rows, RealClock(), 20.0, fresh=5.0)
        await the_stream.open()
        await silent.wait()
        await the_stream.close()
        await gone.wait()


async def test_a_reader_that_is_late_finds_everything():
    """Intake stops when enough bytes wait, and goes on when there is room."""
    many = 100_000
    count = 4 * QUEUED // ROW_BYTES // many

    async def script(_: int, writer: asyncio.StreamWriter) -> None:
        writer.write(header())
        for i in range(count):
            writer.write(frame(i * many, (i + 1) * many))
            await writer.drain()
        writer.write(f"END {count * many} Ok\n".encode())

    async with stream(script) as s:
        s.ending = True
        before = -1
        while s.rows.accepted > before:
            before = s.rows.accepted
            await asyncio.sleep(0.05)
        assert QUEUED <= before * ROW_BYTES < 2 * QUEUED
        blocks = [block async for block in s.blocks()]
        numbers = np.concatenate([block.columns["n"] for block in blocks])
        assert np.array_equal(numbers, np.arange(count * many))


async def test_what_waited_long_comes_in_handy_blocks():
    """Blocks stay small enough for the caches however much has come meanwhile."""
    count, many = 40, 10_000

    async def script(_: int, writer: asyncio.StreamWriter) -> None:
        frames = (frame(i * many, (i + 1) * many) for i in range(count))
        writer.write(header() + b"".join(frames) + f"END {count * many} Ok\n".encode())

    async with stream(script) as s:
        s.ending = True
        lengths = [len(block) async for block in s.blocks()]
        assert sum(lengths) == count * many
        assert max(lengths) * DTYPE.itemsize < FULL + many * DTYPE.itemsize
