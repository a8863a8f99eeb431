"""Questions and answers of a line each: nothing hangs, nothing is taken for another's answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from flyscan.controllers import LineLink
from flyscan.errors import ConnectionLostError, ControllerError


class Echo:
    """A box that answers a question with itself, or as told to."""

    def __init__(self) -> None:
        self.port = 0
        self.heard: asyncio.Queue[str] = asyncio.Queue()
        self.speaking = asyncio.Event()  # cleared, it keeps its answers back
        self.speaking.set()
        self.answers: dict[str, bytes] = {}
        self.clients: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.clients[task] = writer
        try:
            while line := await reader.readline():
                question = line.decode().strip()
                self.heard.put_nowait(question)
                await self.speaking.wait()
                writer.write(self.answers.get(question, line))
        finally:
            del self.clients[task]
            writer.close()

    async def cut(self) -> None:
        self.speaking.set()
        clients = dict(self.clients)
        for writer in clients.values():
            writer.close()
        await asyncio.gather(*clients)


@asynccontextmanager
async def talking(timeout: float = 5.0) -> AsyncGenerator[tuple[Echo, LineLink]]:
    box = Echo()
    server = await asyncio.start_server(box.serve, "127.0.0.1", 0)
    box.port = server.sockets[0].getsockname()[1]
    link = LineLink("stage", "127.0.0.1", box.port, timeout=timeout, refusal="ERR")
    try:
        yield box, link
    finally:
        await link.close()
        server.close()
        await box.cut()


async def test_everybody_gets_his_own_answer() -> None:
    async with talking() as (_, link):
        questions = [f"Q{i}" for i in range(20)]
        assert await asyncio.gather(*map(link.ask, questions)) == questions


async def test_a_line_that_is_cut_is_opened_again() -> None:
    async with talking() as (box, link):
        await link.ask("A")
        await box.cut()

        assert await link.ask("B") == "B"


async def test_a_late_answer_is_not_taken_for_another() -> None:
    async with talking(timeout=0.05) as (box, link):
        box.speaking.clear()
        with pytest.raises(
            ConnectionLostError,
            match=r"stage: 127\.0\.0\.1:\d+ did not answer 'A' within 0.05 s \(TimeoutError",
        ):
            await link.ask("A")
        box.speaking.set()

        assert await link.ask("B") == "B"


async def test_a_cancelled_question_leaves_no_answer_behind() -> None:
    async with talking() as (box, link):
        box.speaking.clear()
        asking = asyncio.create_task(link.ask("A"))
        async with asyncio.timeout(5):
            await box.heard.get()
        asking.cancel()
        box.speaking.set()
        with pytest.raises(asyncio.CancelledError):
            await asking

        assert await link.ask("B") == "B"
        assert len(box.clients) == 1


async def test_nobody_there() -> None:
    with pytest.raises(ConnectionLostError, match=r"127\.0\.0\.1:1 did not answer 'ID"):
        await LineLink("stage", "127.0.0.1", 1).ask("ID?")


async def test_a_refusal_is_an_error() -> None:
    async with talking() as (box, link):
        box.answers["GO 5"] = b"ERR too far\n"
        with pytest.raises(ControllerError, match="answered 'ERR too far' to 'GO 5'"):
            await link.ask("GO 5")

        assert await link.ask("GO 4") == "GO 4"


async def test_numbers() -> None:
    async with talking() as (box, link):
        box.answers |= {"WHERE?": b"1.5 -2e3\r\n", "NAME?": b"far away\n"}

        assert await link.numbers("WHERE?", 2) == [1.5, -2000.0]
        with pytest.raises(ControllerError, match=r"'1.5 -2e3' to 'WHERE\?', expected 1 number"):
            await link.numbers("WHERE?")
        with pytest.raises(ControllerError, match="'far away'"):
            await link.numbers("NAME?", 2)


async def test_an_endless_answer_is_given_up() -> None:
    async with talking() as (box, link):
        box.answers["A"] = b"x" * 200_000
        with pytest.raises(ConnectionLostError, match="LimitOverrun"):
            await link.ask("A")

        assert await link.ask("B") == "B"
