"""A host in the calling process, on a thread and loop of its own: for tests and notebooks."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Coroutine, Mapping
from concurrent.futures import Future
from typing import Any, TypeVar

from ...errors import HostError
from .._clock import Clock
from ._api import Host
from ._config import HostConfig
from ._station import Station

__all__ = ["InProcessHost"]

T = TypeVar("T")


class InProcessHost(Host):
    """Runs the station on a thread; every message still passes through JSON.

    Args:
        config: what may be loaded.
        clock: time for every flight and controller; real time by default. It belongs to the
            host's loop: move a manual clock with :meth:`run`.
    """

    def __init__(self, config: HostConfig | Mapping[str, Any], clock: Clock | None = None) -> None:
        super().__init__()
        self._config = config if isinstance(config, HostConfig) else HostConfig.from_dict(config)
        self._clock = clock
        self._client: asyncio.AbstractEventLoop | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self.station: Station | None = None

    async def start(self) -> None:
        if self._loop is not None:
            return
        self._client = asyncio.get_running_loop()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="flyscan-host", daemon=True
        )
        self._thread.start()
        self.station = Station(self._config, self._emit, self._clock)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run something on the host's loop, from any thread.

        Raises:
            HostError: the host is not running.
        """
        if self._loop is None:
            coroutine.close()
            raise HostError("not running", device="in-process host", remedy="start it first")
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    async def call(self, method: str, **params: Any) -> Any:
        if self.station is None:
            raise HostError("not running", device="in-process host", remedy="start it first")
        params = json.loads(json.dumps(params))
        answer = asyncio.wrap_future(self.run(self.station.handle(method, params)))
        return json.loads(json.dumps(await asyncio.shield(answer)))

    async def close(self) -> None:
        loop, station, thread = self._loop, self.station, self._thread
        if loop is None or station is None or thread is None:
            return
        try:
            await asyncio.wrap_future(self.run(station.close()))
        finally:
            self._loop = self.station = self._thread = None
            loop.call_soon_threadsafe(loop.stop)
            await asyncio.to_thread(thread.join)
            loop.close()

    def _emit(self, flyer: str, event: dict[str, Any]) -> None:
        text = json.dumps(event)
        if self._client is not None and not self._client.is_closed():
            self._client.call_soon_threadsafe(lambda: self._deliver(flyer, json.loads(text)))
