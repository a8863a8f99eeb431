"""The skeleton of a run's file, NeXus-valid from the first moment.

SWMR forbids new objects and attributes, so everything a flight may need exists before the
first frame: tables that grow, strings of fixed length that are overwritten.
"""

from __future__ import annotations

import importlib.metadata
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from ..flight import LedgerRow, RunFile
from ._appendable import Appendable
from ._h5 import h5py
from ._layout import Layout, nexus_name

__all__ = ["LEDGER_DTYPE", "PHASES", "TUNING", "Skeleton", "build", "iso_time"]

TUNING = "/entry/tuning"
"""Record of a tuned run: lines of JSON, and where each of them ends."""

PHASES = ("turnaround", "reconfiguration", "line", "waiting")

_COUNTS = (
    "flight",
    "segment",
    "planned",
    "captured",
    "stored",
    "kept",
    "waived",
    "holds",
    "sweeps",
)

LEDGER_DTYPE = np.dtype(
    [(name, "<i8") for name in _COUNTS]
    + [("missing_stop", "<i8"), ("lost_stop", "<i8")]
    + [(phase, "<f8") for phase in PHASES]
)
"""A row of the ledger; `missing_stop` ends its points in the list of missing ones, `lost_stop` in
that of the lost ones."""

_TABLE_CHUNK = 1024
_TEXT_CHUNK = 16384


@dataclass(slots=True)
class Skeleton:
    """The parts of a file that are written while it grows."""

    columns: dict[str, Appendable]
    ledger: Appendable
    missing: Appendable
    lost: Appendable
    path_flight: Appendable
    path_stop: Appendable
    path_json: Appendable
    tuning_stop: Appendable
    tuning_json: Appendable
    monitors: dict[str, tuple[Appendable, Appendable]]
    end_time: Any

    def tables(self) -> tuple[Appendable, ...]:
        """Everything that grows beside the columns, in the order to make it visible."""
        logs = [table for pair in self.monitors.values() for table in pair]
        # A row is visible only when what it refers to is.
        return (
            self.path_json,
            self.path_stop,
            self.path_flight,
            self.tuning_json,
            self.tuning_stop,
            *logs,
            self.missing,
            self.lost,
            self.ledger,
        )


def iso_time(time_ns: int) -> str:
    """Unix nanoseconds as ISO 8601 with all nine digits, UTC; 35 characters."""
    seconds, rest = divmod(time_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}+00:00"


def build(file: Any, run: RunFile, layout: Layout) -> Skeleton:
    """Create every group, dataset and attribute of the file of `run`.

    Args:
        file: new h5py file.
        run: what the file holds.
        layout: the columns of `run`.
    """
    start = iso_time(run.epoch_ns)
    file.attrs.update(
        NX_class="NXroot", default="entry", file_name=str(file.filename), file_time=start
    )
    file.attrs["creator"] = "flyscan"
    entry = _group(file, "entry", "NXentry")
    entry.attrs["default"] = "data"
    end_time = _describe_entry(entry, run, start)
    paths = _group(entry, "paths", "NXcollection")
    tuning = _group(entry, "tuning", "NXcollection")
    ledger = _group(entry, "ledger", "NXcollection")
    return Skeleton(
        columns=_data(_group(entry, "data", "NXdata"), layout, run.epoch_ns),
        ledger=Appendable.create(ledger, "rows", LEDGER_DTYPE, (_TABLE_CHUNK,)),
        missing=Appendable.create(ledger, "missing", "<i8", (_TABLE_CHUNK,)),
        lost=Appendable.create(ledger, "lost", "<i8", (_TABLE_CHUNK,)),
        path_flight=Appendable.create(paths, "flight", "<i4", (_TABLE_CHUNK,)),
        path_stop=Appendable.create(paths, "stop", "<i8", (_TABLE_CHUNK,)),
        path_json=Appendable.create(paths, "json", "|u1", (_TEXT_CHUNK,)),
        tuning_stop=Appendable.create(tuning, "stop", "<i8", (_TABLE_CHUNK,)),
        tuning_json=Appendable.create(tuning, "json", "|u1", (_TEXT_CHUNK,)),
        monitors=_monitors(_group(entry, "monitors", "NXcollection"), run),
        end_time=end_time,
    )


def ledger_record(row: LedgerRow, missing_stop: int, lost_stop: int) -> np.ndarray[Any, Any]:
    """One row of the ledger as a record array of length 1."""
    values = [getattr(row, name) for name in _COUNTS]
    phases = [float(row.phases.get(phase, 0.0)) for phase in PHASES]
    return np.array([(*values, missing_stop, lost_stop, *phases)], dtype=LEDGER_DTYPE)


def _group(parent: Any, name: str, kind: str) -> Any:
    group = parent.create_group(name)
    group.attrs["NX_class"] = kind
    return group


def _describe_entry(entry: Any, run: RunFile, start: str) -> Any:
    title = run.start.get("title") or run.start.get("plan_name") or run.filename
    entry["title"] = str(title)
    entry["start_time"] = start
    # Overwritten at every flush: the file of a killed writer has a right end time, too.
    entry["end_time"] = np.bytes_(start)
    entry["program_name"] = "flyscan"
    entry["program_name"].attrs["version"] = importlib.metadata.version("flyscan")
    if "uid" in run.start:
        entry["entry_identifier"] = str(run.start["uid"])
    note = _group(entry, "start", "NXnote")
    note["type"] = "application/json"
    note["description"] = "metadata of the run: plan, arguments, identifiers"
    note["data"] = json.dumps(dict(run.start))
    return entry["end_time"]


def _data(group: Any, layout: Layout, epoch_ns: int) -> dict[str, Appendable]:
    columns: dict[str, Appendable] = {}
    for column in layout.columns:
        table = Appendable.create(
            group, column.name, column.dtype, column.chunk_shape, column.default
        )
        table.attrs["long_name"] = (
            f"{column.title} ({column.unit})" if column.unit else column.title
        )
        if column.unit:
            table.attrs["units"] = column.unit
        if column.channel is not None:
            table.attrs["source"] = column.channel.source
            table.attrs["channel"] = column.channel.name
            if column.channel.axis is not None:
                table.attrs["axis"] = column.channel.axis
        columns[column.name] = table
    _mark_times(columns["time"], epoch_ns)
    coordinates = list(layout.coordinates.values())
    # NXdata wants one default axis per dimension of the signal. A map is a cloud of points
    # along one dimension: its coordinates are told by their indices, the default is time.
    group.attrs["axes"] = _strings([coordinates[0] if len(coordinates) == 1 else "time"])
    for name in ("time", *coordinates):
        group.attrs[f"{name}_indices"] = np.array([0])
    signal, *others = layout.signals
    group.attrs["signal"] = signal
    if others:
        group.attrs["auxiliary_signals"] = _strings(others)
    return columns


def _monitors(group: Any, run: RunFile) -> dict[str, tuple[Appendable, Appendable]]:
    logs: dict[str, tuple[Appendable, Appendable]] = {}
    for name, unit in run.monitors.items():
        log = _group(group, nexus_name(name), "NXlog")
        time = Appendable.create(log, "time", "<f8", (_TABLE_CHUNK,))
        _mark_times(time, run.epoch_ns)
        time.attrs["units"] = "s"
        value = Appendable.create(log, "value", "<f8", (_TABLE_CHUNK,))
        if unit:
            value.attrs["units"] = unit
        logs[name] = (time, value)
    return logs


def _mark_times(times: Appendable, epoch_ns: int) -> None:
    times.attrs["start"] = iso_time(epoch_ns)
    times.attrs["epoch_ns"] = np.int64(epoch_ns)


def _strings(texts: list[str]) -> Any:
    return np.array(texts, dtype=h5py.string_dtype())
