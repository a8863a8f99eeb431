"""The GCS array format in which recorded data and wave tables are read (PI manual SM146E)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["array_lines"]


def array_lines(
    title: str, sample_time: float, columns: Sequence[tuple[str, NDArray[np.float64]]]
) -> list[str]:
    """Header and rows of a GCS array.

    Args:
        title: remark in the first line.
        sample_time: seconds between rows.
        columns: name and values, all of shape (n,).
    """
    rows = np.column_stack([values for _, values in columns])
    header = [
        f"# REM {title}",
        "# VERSION = 1",
        "# TYPE = 1",
        "# SEPARATOR = 32",
        f"# DIM = {len(columns)}",
        f"# SAMPLE_TIME = {sample_time:.6f}",
        f"# NDATA = {len(rows)}",
        *(f"# NAME{index} = {name}" for index, (name, _) in enumerate(columns)),
        "# END_HEADER",
    ]
    form = " ".join(["%.7f"] * len(columns))
    return header + [form % tuple(row) for row in rows.tolist()]
