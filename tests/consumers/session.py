"""A RunEngine and a flyer on a box in memory, flown in real time by a host in its own process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import h5py
import numpy as np
import numpy.typing as npt
from bluesky import RunEngine
from bluesky.utils import RunEngineInterrupted
from event_model import unpack_event_page
from ophyd_async.core import StaticPathProvider, UUIDFilenameProvider

from flyscan import Flyer, ProcessHost

HOST = {
    "controllers": {"box": {"class": "flyscan.testing:MemoryBox", "params": {"axes": ["x", "y"]}}},
    "flyers": {"nano": {"motion": "box.motion", "capture": "box.capture"}},
}
PATIENCE_S = 30.0


class Session:
    """What a user has in front of them, and the documents of what they ran.

    Args:
        folder: where files go.
    """

    def __init__(self, folder: Path) -> None:
        self.RE: Any = RunEngine()
        self.host = ProcessHost(HOST)
        self.nano = Flyer(self.host, "nano", StaticPathProvider(UUIDFilenameProvider(), folder))
        self._wait_for(self.nano.connect())
        self.documents: list[tuple[str, dict[str, Any]]] = []
        self.RE.subscribe(lambda name, document: self.documents.append((name, document)))

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.RE.state == "paused":
            self.RE.abort()
        self._wait_for(self.host.close())

    def _wait_for(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self.RE.loop).result(PATIENCE_S)

    def pause_after(self, frames: int) -> None:
        """Have the next run paused from a thread, as soon as documents describe that many."""

        def watch(_name: str, document: dict[str, Any]) -> None:
            if document["indices"]["stop"] >= frames:
                self.RE.unsubscribe(token)
                threading.Thread(target=self.RE.request_pause).start()

        token = self.RE.subscribe(watch, "stream_datum")

    def run_until_paused(self, plan: Any) -> None:
        """Run a plan that somebody is going to pause."""
        try:
            self.RE(plan)
        except RunEngineInterrupted:
            return
        raise AssertionError("the plan ended before it was paused")

    @property
    def start(self) -> dict[str, Any]:
        """The last start document."""
        return [document for name, document in self.documents if name == "start"][-1]

    @property
    def stop(self) -> dict[str, Any]:
        """The last stop document."""
        return [document for name, document in self.documents if name == "stop"][-1]

    def described(self, key: str) -> int:
        """Frames of a column that documents describe by now."""
        (uid,) = (
            document["uid"]
            for name, document in self.documents
            if name == "stream_resource" and document["data_key"] == key
        )
        return max(
            document["indices"]["stop"]
            for name, document in self.documents
            if name == "stream_datum" and document["stream_resource"] == uid
        )

    def events(self, stream: str) -> list[dict[str, Any]]:
        """Data of the events of a stream, in order."""
        (descriptor,) = (
            document["uid"]
            for name, document in self.documents
            if name == "descriptor" and document["name"] == stream
        )
        pages = [
            d for n, d in self.documents if n == "event_page" and d["descriptor"] == descriptor
        ]
        return [event["data"] for page in pages for event in unpack_event_page(page)]

    def columns(self) -> Mapping[str, npt.NDArray[np.generic]]:
        """Every described column as it is in the file, by data key."""
        resources = [document for name, document in self.documents if name == "stream_resource"]
        (uri,) = {resource["uri"] for resource in resources}
        with h5py.File(url2pathname(urlsplit(uri).path), "r") as file:
            return {r["data_key"]: file[r["parameters"]["dataset"]][:] for r in resources}
