"""Streams of event pages that a flyer fills and the plan collects."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bluesky.protocols import EventPageCollectable, Hints
from event_model import DataKey
from event_model.documents.event_page import PartialEventPage
from ophyd_async.core import Device

__all__ = ["PageStream"]

LOG = logging.getLogger("flyscan.devices")
MOST_ROWS = 10_000


class PageStream(Device, EventPageCollectable):
    """Rows waiting to be collected as one event page; collecting never suspends.

    Data keys in documents are ``NAME-COLUMN``, `NAME` being that of this device. Streams of one
    run must not share data keys: Tiled's writer takes a key that is external in one of them for
    external in all.
    """

    def __init__(self, name: str = "") -> None:
        self._keys: dict[str, DataKey] = {}
        self._hinted: list[str] = []
        self._rows: list[tuple[float, dict[str, Any]]] = []
        super().__init__(name)

    def define(self, keys: Mapping[str, DataKey], hinted: Sequence[str] = ()) -> None:
        """Set the columns, in order, and which of them live plots should draw."""
        self._keys = dict(keys)
        self._hinted = list(hinted)

    def add(self, time: float, row: Mapping[str, Any]) -> None:
        """Add a row of columns; `time` in Unix seconds becomes its time stamp.

        If nobody collects, every second row is given up rather than memory filled, and the log
        says so; full-rate data are in the file and do not pass through here.
        """
        self._rows.append((time, dict(row)))
        if len(self._rows) > MOST_ROWS:
            LOG.warning("%s: not collected, thinning %d rows", self.name, len(self._rows))
            del self._rows[1::2]

    def clear(self) -> None:
        """Forget rows not collected."""
        self._rows.clear()

    @property
    def hints(self) -> Hints:
        return {"fields": [self.data_key(column) for column in self._hinted]}

    def data_key(self, column: str) -> str:
        """What a column is called in documents."""
        return f"{self.name}-{column}"

    async def describe_collect(self) -> dict[str, DataKey]:
        return {self.data_key(column): key for column, key in self._keys.items()}

    def collect_pages(self) -> Iterator[PartialEventPage]:
        rows, self._rows = self._rows, []
        if rows:
            times = [time for time, _ in rows]
            data: dict[str, list[Any]] = {
                self.data_key(column): [_number(row.get(column)) for _, row in rows]
                for column in self._keys
            }
            yield {
                "time": times,
                "timestamps": {key: list(times) for key in data},
                "data": data,
            }


def _number(value: Any) -> Any:
    return math.nan if value is None else value
