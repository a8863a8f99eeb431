"""Made-up runs whose every value follows from its frame number, so that any reader can judge."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scanspec.specs import Fly, Linspace

from flyscan.flight import Block, Channel, Frames, LedgerRow, Path, RunFile
from flyscan.storage import Hdf5Sink

EPOCH_NS = 1_700_000_000_123_456_789
CHANNELS = (
    Channel("x_min", unit="um", source="panda://INENC1.VAL.Min"),
    Channel("x", unit="um", source="panda://INENC1.VAL.Mean", axis="x"),
    Channel("Fe", "<i4", source="panda://COUNTER1.OUT.Diff"),
    Channel("mca", "<u2", (4,), source="sim://mca"),
    Channel("ring", unit="mA", source="ca://RING"),
)
AXES = {"y": "um", "x": "um"}
FIXED = ("time", "exposure", "point", "segment", "flight", "keep")


def snake(lines: int = 3, points: int = 10) -> Path:
    """A small snake map over y and x."""
    spec = Linspace("y", 0.0, 1.0, lines) * ~Linspace("x", 0.0, 1.0, points)
    return Path.from_spec(Fly(spec), period=0.001)


def run_file(directory: object, filename: str = "run", **changes: object) -> RunFile:
    """What a sink is told for these channels."""
    start = {"plan_name": "fly", "uid": "0123-4567", "num": 3}
    values = {
        "directory": str(directory),
        "filename": filename,
        "channels": CHANNELS,
        "axes": AXES,
        "start": start,
        "epoch_ns": EPOCH_NS,
        "monitors": {"ring": "mA"},
    }
    return RunFile(**{**values, **changes})  # type: ignore[arg-type]


def expected(name: str, frame: np.ndarray) -> np.ndarray:
    """Values of a column for the given frame numbers."""
    if name == "time":
        return frame * 1_000_000 / 1e9
    if name == "exposure":
        return np.full(len(frame), 5e-4) + frame * 1e-9
    if name == "mca":
        return (frame[:, None] * 4 + np.arange(4)).astype("<u2")
    factor = {"x_min": 0.5, "x": 1.0, "Fe": 3.0, "ring": 0.1, "y_setpoint": 2.0}[name]
    return frame * factor


def frames(
    first: int, points: Sequence[int] | np.ndarray, path: Path, *, flight: int = 0
) -> Frames:
    """Frames `first`... of the given path points."""
    point = np.asarray(points, np.int64)
    number = np.arange(first, first + len(point))
    block = Block(
        0,
        EPOCH_NS + number * 1_000_000,
        expected("exposure", number),
        {c.name: expected(c.name, number).astype(c.dtype) for c in CHANNELS},
    )
    segment = np.array([path.segment_of(int(p)) for p in point], np.int64)
    return Frames(first, flight, point, segment, block, {"y": expected("y_setpoint", number)})


def ledger_row(path: Path, segment: int, *, flight: int = 0, refly: int = 0) -> LedgerRow:
    """The closing row of a segment, flown with `refly` frames more than points."""
    planned = path.segment(segment).points
    return LedgerRow(
        flight=flight,
        segment=segment,
        planned=planned,
        captured=planned + refly,
        stored=planned + refly,
        kept=planned,
        holds=bool(refly),
        sweeps=1 + bool(refly),
        phases={"line": 0.01, "turnaround": 0.002},
    )


async def fly(
    directory: object, path: Path, *, filename: str = "run", flights: int = 1, points: int = -1
) -> str:
    """Write a complete file, or one whose last flight ends after `points` points."""
    sink = Hdf5Sink()
    name = await sink.open(run_file(directory, filename))
    first = 0
    for flight in range(flights):
        await sink.begin_flight(flight, path.to_dict())
        count = points if points >= 0 and flight == flights - 1 else path.points
        await sink.append(frames(first, range(count), path, flight=flight))
        first += count
        for segment in path.segments():
            if segment.end_point <= count:
                await sink.add_ledger(ledger_row(path, segment.index, flight=flight))
    await sink.close()
    return name
