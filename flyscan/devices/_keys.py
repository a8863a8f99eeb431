"""Data keys of a flyer's streams, from what its host says of the channels."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, cast

from event_model import DataKey

__all__ = [
    "configuration_keys",
    "ledger_keys",
    "ledger_row",
    "preview_keys",
    "tuning_keys",
    "tuning_row",
]

NUMPY = {"integer": "<i8", "number": "<f8", "string": ""}

LEDGER = {
    "flight": ("", "integer"),
    "segment": ("", "integer"),
    "planned": ("", "integer"),
    "captured": ("", "integer"),
    "stored": ("", "integer"),
    "kept": ("", "integer"),
    "missing": ("", "integer"),
    "waived": ("", "integer"),
    "lost": ("", "integer"),
    "holds": ("", "integer"),
    "sweeps": ("", "integer"),
    "line": ("s", "number"),
    "turnaround": ("s", "number"),
    "reconfiguration": ("s", "number"),
    "waiting": ("s", "number"),
}


TUNING = {
    "number": ("", "integer"),
    "flight": ("", "integer"),
    "segment": ("", "integer"),
    "block": ("", "integer"),
    "cause": ("", "string"),
    "velocity": ("", "number"),
    "step": ("", "number"),
    "proposed": ("", "string"),
    "applied": ("", "string"),
    "reason": ("", "string"),
    "effective_point": ("", "number"),
    "latency": ("s", "number"),
    "decided_at": ("s", "number"),
}


def preview_keys(
    rig: str, channels: Iterable[Mapping[str, Any]], *, tuned: bool = False
) -> dict[str, DataKey]:
    """Columns of the preview stream: the scalar channels' means, and the last frame and point.

    Steered runs have the mean speed of the fast axis, too, in its units per second.
    """
    keys: dict[str, DataKey] = {}
    for channel in channels:
        if not channel["shape"]:
            keys[channel["name"]] = _scalar(
                channel["source"], "number", "<f8", channel["unit"], channel["precision"]
            )
    for column in ("frame", "point"):
        keys[column] = _scalar(f"flyscan://{rig}/{column}", "integer", "<i8", "", 0)
    if tuned:
        keys["speed"] = _scalar(f"flyscan://{rig}/speed", "number", "<f8", "", 3)
    return keys


def ledger_keys(rig: str) -> dict[str, DataKey]:
    """Columns of the ledger stream: the account of one segment and where its time went."""
    return _columns(rig, LEDGER)


def configuration_keys(rig: str) -> dict[str, DataKey]:
    """What a flyer's descriptor says of its capture, in seconds."""
    return _columns(rig, dict.fromkeys(("min_period", "block_period"), ("s", "number")))


def ledger_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """The account of a segment as a row of the ledger stream."""
    counts = {key: len(row[key]) for key in ("missing", "lost")}
    return {**row, "waiting": 0.0, **row["phases"], **counts}


def tuning_keys(rig: str) -> dict[str, DataKey]:
    """Columns of the tuning stream: one decision each, plans and proposals as JSON texts."""
    return _columns(rig, TUNING)


def tuning_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A decision as a row of the tuning stream."""
    texts = {name: json.dumps(row[name]) for name in ("proposed", "applied")}
    old = {name: row["old"].get(name) for name in ("velocity", "step")}
    return {**row, **texts, **old, "decided_at": row["time"]}


def _columns(rig: str, table: Mapping[str, tuple[str, str]]) -> dict[str, DataKey]:
    return {
        column: _scalar(
            f"flyscan://{rig}/{column}",
            dtype,
            NUMPY[dtype],
            unit,
            3 if dtype == "number" else 0,
        )
        for column, (unit, dtype) in table.items()
    }


def _scalar(source: str, dtype: str, numpy: str, unit: str, precision: int) -> DataKey:
    key: dict[str, Any] = {
        "source": source,
        "dtype": dtype,
        "dtype_numpy": numpy,
        "shape": [],
        "units": unit,
        "precision": precision,
    }
    if not numpy:  # texts of any length have no numpy type
        del key["dtype_numpy"], key["precision"]
    return cast(DataKey, key)
