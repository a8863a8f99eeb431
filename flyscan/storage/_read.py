"""Reading back what the writer stores, for check and repair and for users' own tools."""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from ..errors import StorageError
from ..flight import LedgerRow
from ._errors import storage_error
from ._h5 import h5py
from ._layout import DATA
from ._nexus import PHASES, TUNING

__all__ = [
    "channel_columns",
    "frame_columns",
    "open_run",
    "read_ledger",
    "read_paths",
    "read_tuning",
]

_CREATOR = "flyscan"


@contextmanager
def open_run(path: str | os.PathLike[str]) -> Generator[Any]:
    """Open a run's file for reading, also while it is written and after its writer was killed.

    Raises:
        StorageError: no such file, not HDF5, or not written by flyscan.
    """
    name = os.fspath(path)
    try:
        file = h5py.File(name, "r", swmr=True)
    except (OSError, RuntimeError) as exc:
        raise storage_error(name, "cannot be read", exc) from exc
    with file:
        if not frame_columns(file):
            raise StorageError(
                "was not written by flyscan",
                device=name,
                remedy="give the data file of a flyscan run",
            )
        yield file


def frame_columns(file: Any) -> dict[str, Any]:
    """Every per-frame dataset by name; empty for a file flyscan did not write."""
    if file.attrs.get("creator") != _CREATOR or DATA not in file:
        return {}
    return dict(file[DATA].items())


def channel_columns(file: Any) -> dict[str, Any]:
    """Dataset of every channel, by the channel's name, which may not do in a file."""
    return {
        str(column.attrs.get("channel", name)): column
        for name, column in frame_columns(file).items()
        if "source" in column.attrs
    }


def read_paths(file: Any) -> dict[int, dict[str, Any]]:
    """The path (`Path.to_dict`) of every flight, by its number; the last one noted counts."""
    group = file["/entry/paths"]
    stops = group["stop"][()]
    text = group["json"][()].tobytes()
    starts = [0, *stops[:-1]]
    return {
        int(flight): json.loads(text[start:stop])
        for flight, start, stop in zip(group["flight"][()], starts, stops, strict=False)
    }


def read_tuning(file: Any) -> list[dict[str, Any]]:
    """What happened in a tuned run, record by record; empty for other runs.

    Of a file that is being written, all that has been flushed.
    """
    if TUNING not in file:
        return []
    group = file[TUNING]
    stops = group["stop"][()].tolist()
    text = group["json"][: stops[-1] if stops else 0].tobytes()
    return [json.loads(text[start:stop]) for start, stop in pairwise([0, *stops])]


def read_ledger(file: Any) -> list[LedgerRow]:
    """Every row of the ledger, in the order they were stored."""
    group = file["/entry/ledger"]
    stored = group["rows"].dtype.names  # files of earlier versions have fewer
    lists = {name: group[name][()] for name in ("missing", "lost") if name in group}
    counts = set(stored) - {*PHASES, *(f"{name}_stop" for name in lists)}
    starts = dict.fromkeys(lists, 0)
    rows: list[LedgerRow] = []
    for record in group["rows"][()]:
        values: dict[str, Any] = {name: int(record[name]) for name in counts}
        for name, points in lists.items():
            stop = int(record[f"{name}_stop"])
            values[name] = tuple(points[starts[name] : stop].tolist())
            starts[name] = stop
        values["phases"] = {phase: float(record[phase]) for phase in PHASES}
        rows.append(LedgerRow(**values))
    return rows
