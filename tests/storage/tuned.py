"""Made-up runs that decisions have steered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from flyscan.flight import Frames, LedgerRow, Path, RowFacts
from flyscan.storage import Hdf5Sink
from tests.storage.runs import frames, ledger_row, run_file, snake

FACTS = ("start", "stop", "dwell", "i0", "pass", "used")
PATH = snake(3, 10)
BACK = range(30, 36)
"""Points of the way back appended to the path."""


def fact(name: str, frame: np.ndarray) -> np.ndarray:
    """Facts of rows for the given frame numbers."""
    factor = {"start": 0.25, "stop": 0.5, "dwell": 1e-3, "i0": 1e-2}
    return frame % 3 if name == "pass" else frame * factor[name]


def tuned_frames(
    first: int, points: Sequence[int] | np.ndarray, path: Path = PATH, *, segment: int | None = None
) -> Frames:
    """Frames of the given points with facts; of an appended segment if one is given."""
    number = np.arange(first, first + len(points))
    names = ("start", "stop", "dwell", "i0")
    facts = RowFacts(*(fact(name, number) for name in names), passes=fact("pass", number))
    if segment is None:
        return replace(frames(first, points, path), facts=facts)
    plain = frames(first, [0] * len(points), path)
    point = np.asarray(points, np.int64)
    return replace(plain, facts=facts, point=point, segment=np.full(len(point), segment))


def record(event: str, **more: Any) -> dict[str, Any]:
    """A record of flight 0."""
    return {"event": event, "flight": 0, **more}


def decided(number: int) -> dict[str, Any]:
    """A record of a decision."""
    return record("decided", decision={"number": number})


def appended(**changes: Any) -> dict[str, Any]:
    """The way back over line 1."""
    values = {"index": 3, "first_point": 30, "points": 6, "line": 1, "pass": 1}
    return record("segment", **(values | changes))


def row(segment: int, planned: int, kept: int, waived: int = 0) -> LedgerRow:
    """A row of the ledger."""
    return LedgerRow(0, segment, planned, kept, kept, kept, waived=waived)


async def steered(
    directory: object,
    *,
    records: Sequence[dict[str, Any]] = (),
    way_back: dict[str, Any] | None = None,
    waived: dict[str, Any] | None = None,
    ledger: dict[int, LedgerRow] | None = None,
    flag: Sequence[int] = (3, 4),
) -> str:
    """A flight that went back over part of its second line and gave up the end of the third.

    Frames 0-9 are line 0, 10-19 line 1, 20-25 the way back, 26-31 line 2 without its last four
    points; frames 3 and 4 are flagged.
    """
    sink = Hdf5Sink()
    name = await sink.open(run_file(directory, tuned=True))
    await sink.begin_flight(0, PATH.to_dict())
    await sink.add_tuning(record("started", policy={}, rail={}, time=0.0))
    await sink.append(tuned_frames(0, range(20)))
    for first in (0, 10):
        await sink.add_tuning(record("told", first=first, stop=first + 10, time=1.0))
    await sink.add_tuning(decided(0))
    await sink.add_tuning(record("applied", number=0, effective_point=7, latency=0.1))
    await sink.flag(np.array(flag, np.int64))
    await sink.add_tuning(record("flagged", frames=[3, 4]))
    await sink.add_tuning(way_back or appended())
    await sink.append(tuned_frames(20, BACK, segment=3))
    await sink.append(tuned_frames(26, range(20, 26)))
    await sink.add_tuning(waived or record("waived", first=26, stop=30))
    for one in records:
        await sink.add_tuning(one)
    rows = {s: ledger_row(PATH, s) for s in (0, 1)} | {2: row(2, 10, 6, 4), 3: row(3, 6, 6)}
    for one in (rows | (ledger or {})).values():
        await sink.add_ledger(one)
    await sink.close()
    return name
