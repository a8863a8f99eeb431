"""Data keys of a flyer's streams, from what its host says of the channels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from event_model import DataKey

__all__ = ["ledger_keys", "preview_keys"]

LEDGER = {
    "flight": ("", "integer"),
    "segment": ("", "integer"),
    "planned": ("", "integer"),
    "captured": ("", "integer"),
    "stored": ("", "integer"),
    "kept": ("", "integer"),
    "missing": ("", "integer"),
    "lost": ("", "integer"),
    "holds": ("", "integer"),
    "sweeps": ("", "integer"),
    "line": ("s", "number"),
    "turnaround": ("s", "number"),
    "reconfiguration": ("s", "number"),
    "waiting": ("s", "number"),
}


def preview_keys(rig: str, channels: Iterable[Mapping[str, Any]]) -> dict[str, DataKey]:
    """Columns of the preview stream: the scalar channels' means, and the last frame and point."""
    keys: dict[str, DataKey] = {}
    for channel in channels:
        if not channel["shape"]:
            keys[channel["name"]] = _scalar(
                channel["source"], "number", "<f8", channel["unit"], channel["precision"]
            )
    for column in ("frame", "point"):
        keys[column] = _scalar(f"flyscan://{rig}/{column}", "integer", "<i8", "", 0)
    return keys


def ledger_keys(rig: str) -> dict[str, DataKey]:
    """Columns of the ledger stream: the account of one segment and where its time went."""
    return {
        column: _scalar(
            f"flyscan://{rig}/{column}",
            dtype,
            "<i8" if dtype == "integer" else "<f8",
            unit,
            0 if dtype == "integer" else 3,
        )
        for column, (unit, dtype) in LEDGER.items()
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
    return cast(DataKey, key)
