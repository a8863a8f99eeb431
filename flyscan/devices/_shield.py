"""A detector's rows, drained whole even if a pause lands in the middle."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from bluesky.protocols import Collectable, StreamAsset, WritesStreamAssets
from bluesky.utils import maybe_await
from event_model import DataKey

from ..flight import shielded

__all__ = ["ShieldedDetector"]


class ShieldedDetector(Collectable, WritesStreamAssets):
    """Stands for a detector in ``declare_stream`` and ``collect``.

    The RunEngine's pause cancels the message under way. A detector that awaits its flush while
    being collected then loses the rows it had taken out; here the drain runs to its end first
    and what it took out is kept for the next collect.

    Args:
        detector: an ophyd-async ``StandardDetector`` or anything that writes stream assets.
    """

    def __init__(self, detector: Any) -> None:
        self._detector = detector
        self._kept: list[StreamAsset] = []

    @property
    def name(self) -> str:
        return self._detector.name

    @property
    def hints(self) -> Any:
        return {}

    async def describe_collect(self) -> dict[str, DataKey]:
        return await maybe_await(self._detector.describe_collect())

    async def describe_configuration(self) -> Any:
        return await maybe_await(self._detector.describe_configuration())

    async def read_configuration(self) -> Any:
        return await maybe_await(self._detector.read_configuration())

    async def get_index(self) -> int:
        return await shielded(maybe_await(self._detector.get_index()))

    async def collect_asset_docs(self, index: int | None = None) -> AsyncIterator[StreamAsset]:
        await shielded(self._drain(index))
        kept, self._kept = self._kept, []
        for asset in kept:
            yield asset

    async def _drain(self, index: int | None) -> None:
        assets = self._detector.collect_asset_docs(index)
        if hasattr(assets, "__aiter__"):
            async for asset in assets:
                self._kept.append(asset)
        else:
            self._kept.extend(assets)
