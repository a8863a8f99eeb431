"""A detector's rows, drained whole even if a pause lands in the middle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any, TypeVar, cast

from bluesky.protocols import Collectable, StreamAsset, WritesStreamAssets
from bluesky.utils import maybe_await
from event_model import DataKey, StreamDatum

from ..errors import ControllerError, WatchdogError
from ..flight import shielded

__all__ = ["ShieldedDetector"]

T = TypeVar("T")

ANSWER_TIMEOUT = 10.0


class ShieldedDetector(Collectable, WritesStreamAssets):
    """Stands for a detector in ``declare_stream`` and ``collect``.

    The RunEngine's pause cancels the message under way. A detector that awaits its flush while
    being collected then loses the rows it had taken out; here the drain runs to its end first
    and what it took out is kept for the next collect. Detectors collected together drain
    together (see :meth:`together`), or what one has handed over already would be lost when the
    pause hits the flush of the next.

    Args:
        detector: an ophyd-async ``StandardDetector`` or anything that writes stream assets.
    """

    def __init__(self, detector: Any) -> None:
        self._detector = detector
        self._together: Sequence[ShieldedDetector] = (self,)
        self._kept = _Assets()
        self._drained = 0
        self._lost = False
        self.index = 0

    @staticmethod
    def together(*detectors: Any) -> tuple[ShieldedDetector, ...]:
        """Shields of detectors that are collected in one message."""
        shields = tuple(ShieldedDetector(detector) for detector in detectors)
        for shield in shields:
            shield._together = shields
        return shields

    @property
    def name(self) -> str:
        return self._detector.name

    @property
    def hints(self) -> Any:
        """As the flyer's: nothing of the full-rate stream is to be drawn."""
        return {"fields": []}

    async def describe_collect(self) -> dict[str, DataKey]:
        return await maybe_await(self._detector.describe_collect())

    async def describe_configuration(self) -> Any:
        return await maybe_await(self._detector.describe_configuration())

    async def read_configuration(self) -> Any:
        return await maybe_await(self._detector.read_configuration())

    async def get_index(self) -> int:
        """Events that can be collected; those of before if the detector has stopped answering.

        Raises:
            WatchdogError: it has just done so.
        """
        return await shielded(self.look())

    async def look(self) -> int:
        """As :meth:`get_index`, for those who may be cancelled."""
        if not self._lost:
            self.index = await self._answer(maybe_await(self._detector.get_index()))
        return self.index

    async def collect_asset_docs(self, index: int | None = None) -> AsyncIterator[StreamAsset]:
        wanted = await self.get_index() if index is None else index
        if any(shield._drained < wanted for shield in self._together):
            await shielded(self._drain_together(wanted))
        for asset in self._kept.take():
            yield asset

    async def _drain_together(self, index: int) -> None:
        await asyncio.gather(*(shield._drain(index) for shield in self._together))

    async def _drain(self, index: int) -> None:
        if self._drained < index:
            await self._answer(self._take_out(index))
            self._drained = index

    async def _take_out(self, index: int) -> None:
        assets = self._detector.collect_asset_docs(index)
        if hasattr(assets, "__aiter__"):
            async for asset in assets:
                self._kept.add(asset)
        else:
            for asset in assets:
                self._kept.add(asset)

    async def _answer(self, question: Coroutine[Any, Any, T]) -> T:
        """Nothing that the RunEngine waits for may wait for ever, and errors name the detector."""
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                return await question
        except TimeoutError as exc:
            self._lost = True
            raise WatchdogError(
                f"did not answer within {ANSWER_TIMEOUT:g} s",
                device=self.name,
                remedy="check that its IOC runs and can be reached",
            ) from exc
        except Exception as exc:
            raise ControllerError(
                f"cannot be collected: {type(exc).__name__}: {exc}",
                device=self.name,
                remedy="check its IOC and file writer",
            ) from exc


class _Assets:
    """Documents in order; the ranges of one resource joined, as those of one collect must agree."""

    def __init__(self) -> None:
        self._resources: list[StreamAsset] = []
        self._ranges: dict[str, StreamDatum] = {}

    def add(self, asset: StreamAsset) -> None:
        name, document = asset
        if name != "stream_datum":
            self._resources.append(asset)
            return
        datum = cast(StreamDatum, document)
        before = self._ranges.setdefault(datum["stream_resource"], datum)
        before["indices"] = {
            "start": before["indices"]["start"],
            "stop": datum["indices"]["stop"],
        }

    def take(self) -> list[StreamAsset]:
        taken: list[StreamAsset] = [
            *self._resources,
            *(("stream_datum", datum) for datum in self._ranges.values()),
        ]
        self._resources, self._ranges = [], {}
        return taken
