"""Rows as JSON, for policies in a process of their own: columns in base64, to the last bit."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ._rows import Rows

__all__ = ["rows_from_dict", "rows_to_dict"]

_COLUMNS = ("point", "start", "stop", "time", "live", "i0", "passes", "good")
_GROUPS = ("counts", "signals")


def rows_to_dict(rows: Rows) -> dict[str, Any]:
    """JSON-able form: every column as its type and its little-endian bytes in base64."""
    columns = {name: getattr(rows, name) for name in _COLUMNS}
    groups: dict[str, Mapping[str, Any]] = {name: getattr(rows, name) for name in _GROUPS}
    return {
        "first": rows.first,
        **{name: _packed(column) for name, column in columns.items() if column is not None},
        **{name: {n: _packed(c) for n, c in group.items()} for name, group in groups.items()},
    }


def rows_from_dict(data: Mapping[str, Any]) -> Rows:
    """Read back :func:`rows_to_dict`."""
    columns = {name: _unpacked(data[name]) for name in _COLUMNS if name in data}
    groups = {name: {n: _unpacked(c) for n, c in data[name].items()} for name in _GROUPS}
    values: dict[str, Any] = {"first": data["first"], **columns, **groups}
    return Rows(**values)


def _packed(column: npt.NDArray[Any]) -> list[str]:
    plain = np.ascontiguousarray(column, column.dtype.newbyteorder("<"))
    return [plain.dtype.str, base64.b64encode(plain.tobytes()).decode("ascii")]


def _unpacked(packed: list[str]) -> npt.NDArray[Any]:
    kind, data = packed
    return np.frombuffer(base64.b64decode(data), np.dtype(kind)).copy()
