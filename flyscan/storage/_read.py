"""Reading back what the writer stores, for check and repair and for users' own tools."""

from __future__ import annotations

import json
from typing import Any

from ..flight import LedgerRow
from ._layout import DATA
from ._nexus import LEDGER_DTYPE, PHASES

__all__ = ["frame_columns", "read_ledger", "read_paths"]

_CREATOR = "flyscan"


def frame_columns(file: Any) -> dict[str, Any]:
    """Every per-frame dataset by name; empty for a file flyscan did not write."""
    if file.attrs.get("creator") != _CREATOR or DATA not in file:
        return {}
    return dict(file[DATA].items())


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


def read_ledger(file: Any) -> list[LedgerRow]:
    """Every row of the ledger, in the order they were stored."""
    group = file["/entry/ledger"]
    missing = group["missing"][()]
    counts = [n for n in LEDGER_DTYPE.names or () if n not in PHASES and n != "missing_stop"]
    rows: list[LedgerRow] = []
    start = 0
    for record in group["rows"][()]:
        stop = int(record["missing_stop"])
        rows.append(
            LedgerRow(
                **{name: int(record[name]) for name in counts},
                missing=tuple(int(point) for point in missing[start:stop]),
                phases={phase: float(record[phase]) for phase in PHASES},
            )
        )
        start = stop
    return rows
