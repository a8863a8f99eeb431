"""What documents say about a run's file: pure data, made into documents by the devices."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..flight import RunFile
from ._layout import Column, Layout

__all__ = ["MIMETYPE", "StreamResource", "file_uri", "stream_resources"]

MIMETYPE = "application/x-hdf5"


@dataclass(frozen=True, slots=True)
class StreamResource:
    """One column of the file as a ``stream_resource`` document and its data key describe it.

    Tiled reads this form: a row per frame along the first dimension, hence the leading 1 of
    `shape`, joined by concatenation.

    Args:
        data_key: name of the column in documents.
        dataset: absolute path of the dataset in the file.
        chunk_shape: shape of the dataset's chunks.
        shape: shape of one frame's datum, ``(1, *element shape)``.
        dtype: JSON schema type of the datum: ``number``, ``integer`` or ``array``.
        dtype_numpy: numpy dtype string of one element.
        units: physical unit, ``""`` for a pure number.
        precision: digits worth showing after the decimal point.
        source: where the values come from.
    """

    data_key: str
    dataset: str
    chunk_shape: tuple[int, ...]
    shape: tuple[int, ...]
    dtype: str
    dtype_numpy: str
    units: str
    precision: int
    source: str

    @property
    def mimetype(self) -> str:
        """Mimetype of the file."""
        return MIMETYPE

    @property
    def parameters(self) -> dict[str, Any]:
        """What a reader needs to find the data, as in a ``stream_resource`` document."""
        return {"dataset": self.dataset, "chunk_shape": list(self.chunk_shape), "swmr": True}

    def data_key_dict(self) -> dict[str, Any]:
        """The entry under ``data_keys`` of an event descriptor."""
        return {
            "source": self.source,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "dtype_numpy": self.dtype_numpy,
            "external": "STREAM:",
            "units": self.units,
            "precision": self.precision,
        }

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self) | {"chunk_shape": list(self.chunk_shape), "shape": list(self.shape)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> StreamResource:
        """Read back :meth:`to_dict`."""
        shapes = {"chunk_shape": tuple(data["chunk_shape"]), "shape": tuple(data["shape"])}
        rest: dict[str, Any] = {key: data[key] for key in data if key not in shapes}
        return cls(**shapes, **rest)


def stream_resources(
    run: RunFile, keys: Collection[str] | None = None
) -> tuple[StreamResource, ...]:
    """Describe the columns of the file of `run`, all of them or those called `keys`.

    Names are those of the channels; set-points are called ``AXIS_setpoint``; of the columns
    every file has, ``frame_time`` (seconds since the file's epoch; no data key may be called
    ``time``), ``exposure``, ``point``, ``segment``, ``flight``; of those a tuned run has,
    ``start``, ``stop``, ``dwell``, ``i0``, ``pass`` and ``used``. ``keep`` is not among them: it
    changes after it was described. So does ``used``, for few frames: read it when the run is over.
    """
    described = (_describe(column) for column in Layout(run).columns if column.name != "keep")
    return tuple(r for r in described if keys is None or r.data_key in keys)


def file_uri(path: str) -> str:
    """The ``uri`` of a ``stream_resource`` document for an absolute file path."""
    return Path(path).as_uri().replace("file://", "file://localhost", 1)


def _describe(column: Column) -> StreamResource:
    channel = column.channel
    kind = "integer" if np.dtype(column.dtype).kind in "iub" else "number"
    name = "frame_time" if column.name == "time" else column.name
    return StreamResource(
        data_key=channel.name if channel else name,
        dataset=column.dataset,
        chunk_shape=column.chunk_shape,
        shape=(1, *column.shape),
        dtype="array" if column.shape else kind,
        dtype_numpy=column.dtype,
        units=column.unit,
        precision=channel.precision if channel else 9,
        source=channel.source if channel else f"flyscan://{column.name}",
    )
