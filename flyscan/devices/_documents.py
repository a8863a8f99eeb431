"""Stream documents of a run's file: one resource per column, and datums as rows are flushed."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from bluesky.protocols import StreamAsset
from event_model import DataKey, StreamDatum, StreamResource

from .. import storage
from ..flight import Channel, RunFile

__all__ = ["StreamDocuments", "file_layout"]


def file_layout(about: Mapping[str, Any], *, tuned: bool) -> RunFile:
    """The layout of a run's file follows from what the host said when connecting."""
    channels = tuple(Channel.from_dict(c) for c in about["channels"])
    axes = {axis: limits["unit"] for axis, limits in about["axes"].items()}
    return RunFile("/", "run", channels, axes, {}, 0, tuned=tuned)


class StreamDocuments:
    """Composes the documents of one file; the same however often they are asked for.

    Args:
        name: prefix of the data keys.
        uri: where the file is.
        columns: what is in it.
    """

    def __init__(self, name: str, uri: str, columns: Sequence[storage.StreamResource]) -> None:
        self._name = name
        self._uri = uri
        self._columns = tuple(columns)
        self._uids = tuple(str(uuid.uuid4()) for _ in columns)
        self.described = 0

    def data_keys(self) -> dict[str, DataKey]:
        """Data keys of the full-rate stream."""
        return {
            f"{self._name}-{c.data_key}": cast(DataKey, c.data_key_dict()) for c in self._columns
        }

    def up_to(self, frames: int) -> Iterator[StreamAsset]:
        """Documents that bring what is described to `frames` frames, if that is more."""
        if frames <= self.described:
            return
        if self.described == 0:
            for i in range(len(self._columns)):
                yield "stream_resource", self._resource(i)
        first, self.described = self.described, frames
        for uid in self._uids:
            yield "stream_datum", self._datum(uid, first, frames)

    def _resource(self, i: int) -> StreamResource:
        column = self._columns[i]
        return StreamResource(
            uid=self._uids[i],
            data_key=f"{self._name}-{column.data_key}",
            mimetype=column.mimetype,
            uri=self._uri,
            parameters=column.parameters,
        )

    def _datum(self, uid: str, first: int, stop: int) -> StreamDatum:
        return StreamDatum(
            uid=f"{uid}/{first}",
            stream_resource=uid,
            descriptor="",  # filled in by the RunEngine
            indices={"start": first, "stop": stop},
            seq_nums={"start": 0, "stop": 0},  # filled in by the RunEngine
        )
