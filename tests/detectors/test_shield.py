"""A pause in the middle of collecting several detectors loses and doubles nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from event_model import StreamDatum, StreamResource

import flyscan.devices._shield as shield_module
from flyscan.devices import ShieldedDetector
from flyscan.errors import ControllerError, WatchdogError


class Writer:
    """Writes stream assets after a flush that takes a while, as ``StandardDetector`` does."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.written = 0
        self.flushing = asyncio.Event()
        self.flushed = asyncio.Event()
        self.flushed.set()
        self._emitted = 0

    async def get_index(self) -> int:
        return self.written

    async def collect_asset_docs(self, index: int | None = None) -> AsyncIterator[Any]:
        assert index is not None
        self.flushing.set()
        await self.flushed.wait()
        if not self._emitted:
            yield (
                "stream_resource",
                StreamResource(
                    uid=self.name, data_key=self.name, mimetype="", uri="", parameters={}
                ),
            )
        if index > self._emitted:
            yield (
                "stream_datum",
                StreamDatum(
                    uid=f"{self.name}/{self._emitted}",
                    stream_resource=self.name,
                    descriptor="",
                    indices={"start": self._emitted, "stop": index},
                    seq_nums={"start": 0, "stop": 0},
                ),
            )
            self._emitted = index


async def collect(*shields: ShieldedDetector) -> list[tuple[str, str, Any]]:
    """What the RunEngine does in one message."""
    index = min(await asyncio.gather(*(s.get_index() for s in shields)))
    assets = [asset for s in shields async for asset in s.collect_asset_docs(index)]
    return [
        (name, str(doc.get("stream_resource", doc["uid"])), doc.get("indices"))
        for name, doc in assets
    ]


@pytest.mark.parametrize("slow", [0, 1])
async def test_a_pause_while_any_of_them_flushes_loses_nothing(slow):
    writers = [Writer("a"), Writer("b")]
    shields = ShieldedDetector.together(*writers)
    for writer in writers:
        writer.written = 10
    writers[slow].flushed.clear()
    message = asyncio.ensure_future(collect(*shields))
    await writers[slow].flushing.wait()
    message.cancel()
    await asyncio.sleep(0)
    for writer in writers:
        writer.written = 25
        writer.flushed.set()
    with pytest.raises(asyncio.CancelledError):
        await message

    assert await collect(*shields) == [
        (kind, name, indices)
        for name in "ab"
        for kind, indices in (
            ("stream_resource", None),
            ("stream_datum", {"start": 0, "stop": 25}),
        )
    ]
    assert await collect(*shields) == []


async def test_all_go_as_far_as_the_slowest():
    writers = [Writer("a"), Writer("b")]
    shields = ShieldedDetector.together(*writers)
    writers[0].written, writers[1].written = 7, 5
    assert {str(i) for kind, _, i in await collect(*shields) if kind == "stream_datum"} == {
        "{'start': 0, 'stop': 5}"
    }
    assert [shield.index for shield in shields] == [7, 5]


async def test_a_detector_that_stops_answering_is_named_and_does_not_block_again(monkeypatch):
    monkeypatch.setattr(shield_module, "ANSWER_TIMEOUT", 0.05)
    writer = Writer("cam")
    (shield,) = ShieldedDetector.together(writer)
    writer.written = 3
    await collect(shield)

    async def silence() -> int:
        await asyncio.Event().wait()
        return 0

    monkeypatch.setattr(writer, "get_index", silence)
    with pytest.raises(WatchdogError, match=r"cam: did not answer within 0\.05 s\. Remedy: check"):
        await shield.get_index()
    assert await shield.get_index() == 3


async def test_what_a_detector_fails_of_is_told_with_its_name(monkeypatch):
    writer = Writer("cam")
    (shield,) = ShieldedDetector.together(writer)

    async def broken() -> int:
        raise OSError("no such channel")

    monkeypatch.setattr(writer, "get_index", broken)
    with pytest.raises(ControllerError, match=r"cam: cannot be collected: OSError: no such chann"):
        await shield.get_index()
