"""The columns of a run's file: names, types, chunks. Pure, shared by writer and description."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import StorageError
from ..flight import Channel, Frames, RowFacts, RunFile, values_of

__all__ = ["DATA", "Column", "Layout", "nexus_name"]

DATA = "/entry/data"

CHUNK_ROWS = 16384
"""Rows per chunk of a narrow column: bigger gains no speed, smaller costs index look-ups."""

CHUNK_BYTES = 1 << 20
"""Most bytes per chunk, for columns that hold an array per frame."""

Array = npt.NDArray[np.generic]
Take = Callable[[Frames], npt.ArrayLike]


@dataclass(frozen=True, slots=True)
class Column:
    """One dataset with a row per frame.

    Args:
        name: name of the dataset in ``/entry/data``.
        dtype: numpy dtype string of one element.
        shape: shape of one row's element, ``()`` for a number.
        unit: physical unit, ``""`` for a pure number.
        title: what plots write at the axis.
        take: picks the column's rows out of frames.
        channel: the channel stored in it, if it is one.
        default: value of rows that are not stored.
        is_default: whether all rows of some frames have the default; None if that never pays.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    unit: str
    title: str
    take: Take
    channel: Channel | None = None
    default: float | None = None
    is_default: Callable[[Frames], bool] | None = None

    @property
    def row_bytes(self) -> int:
        """Bytes per row."""
        return np.dtype(self.dtype).itemsize * int(np.prod(self.shape, dtype=np.int64))

    @property
    def chunk_shape(self) -> tuple[int, ...]:
        """Shape of a chunk, rows first."""
        rows = max(1, min(CHUNK_ROWS, CHUNK_BYTES // max(1, self.row_bytes)))
        return (rows, *self.shape)

    @property
    def dataset(self) -> str:
        """Absolute path of the dataset in the file."""
        return f"{DATA}/{self.name}"

    def gather(self, batch: Sequence[Frames]) -> Array | None:
        """The rows of consecutive frames as one contiguous array of the column's type.

        Returns:
            None if all of them have the column's default, so that they need not be stored.

        Raises:
            TypeError: the values do not fit the type without loss of kind.
        """
        if self.is_default is not None and all(map(self.is_default, batch)):
            return None
        parts = [np.asarray(self.take(frames)) for frames in batch]
        dtype = np.dtype(self.dtype)
        if len(parts) == 1:
            return np.ascontiguousarray(parts[0].astype(dtype, casting="same_kind", copy=False))
        return np.concatenate(parts, dtype=dtype, casting="same_kind")


class Layout:
    """Every column of a run's file, in the order they are written.

    ``keep`` comes last: its length never exceeds that of the others, so it is the number of
    complete frames for a reader that follows the file, and after a crash.

    Raises:
        StorageError: two columns would have the same name.
    """

    def __init__(self, run: RunFile) -> None:
        reported = {c.axis for c in run.channels}
        self.channels = tuple(_channel(c) for c in run.channels)
        self.setpoints = {
            axis: _setpoint(axis, unit) for axis, unit in run.axes.items() if axis not in reported
        }
        self.tuned = run.tuned
        self.columns = (
            *_fixed(run.epoch_ns),
            *self.channels,
            *self.setpoints.values(),
            *(_facts(self.channels) if run.tuned else ()),
            _KEEP,
        )
        self.row_bytes = sum(c.row_bytes for c in self.columns)
        self._shapes = {c.name: c.shape for c in run.channels}
        self._require_unique_names()

    @property
    def coordinates(self) -> dict[str, str]:
        """Path axis to the name of the column that says where it was."""
        found = {axis: column.name for axis, column in self.setpoints.items()}
        for column in self.channels:
            if column.channel is not None and column.channel.axis is not None:
                found[column.channel.axis] = column.name
        return found

    @property
    def signals(self) -> tuple[str, ...]:
        """Columns worth plotting, best first: numbers that are not about an axis' position."""
        axes = tuple(self.coordinates)
        scalars = [c for c in self.channels if c.shape == ()]
        plain = [c.name for c in scalars if not _is_about(c, axes)]
        return tuple(plain) or tuple(c.name for c in scalars) or ("exposure",)

    def require_fit(self, frames: Frames) -> None:
        """Check that frames have the columns the file was made for.

        Set-points may be missing: a flight need not move every axis of the run.

        Raises:
            StorageError: a channel is missing, unknown or of another shape.
        """
        columns = frames.block.columns
        if columns.keys() != self._shapes.keys():
            raise _misfit("channels", self._shapes.keys(), columns.keys())
        if not frames.setpoints.keys() <= self.setpoints.keys():
            raise _misfit("set-points of", self.setpoints.keys(), frames.setpoints.keys())
        self._require_facts_fit(frames)
        for name, shape in self._shapes.items():
            if columns[name].shape[1:] != shape:
                raise _misfit(f"rows of {name!r}", [str(shape)], [str(columns[name].shape[1:])])

    def _require_facts_fit(self, frames: Frames) -> None:
        facts = frames.facts
        if facts is None:
            return
        if not self.tuned:
            raise _misfit("facts of rows", (), ("start, stop, dwell, i0 and pass",))
        for name, values in values_of(facts).items():
            if values.shape != (len(frames),):
                raise _misfit(f"{name!r} of shape", [f"({len(frames)},)"], [str(values.shape)])

    def _require_unique_names(self) -> None:
        names = [c.name for c in self.columns]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise StorageError(
                f"several columns would be called {', '.join(twice)}",
                device="data file",
                remedy="rename the channels; time, exposure, point, segment, flight, keep, the "
                "set-points' names and, in runs that decisions steer, start, stop, dwell, i0, pass "
                "and used are taken",
            )


def nexus_name(name: str) -> str:
    """`name` with everything that NeXus forbids in names replaced by an underscore."""
    return re.sub(r"[^A-Za-z0-9_]", "_", name)


def _channel(channel: Channel) -> Column:
    def take(frames: Frames) -> npt.ArrayLike:
        return frames.block.columns[channel.name]

    name = nexus_name(channel.name)
    return Column(name, channel.dtype, channel.shape, channel.unit, channel.name, take, channel)


def _setpoint(axis: str, unit: str) -> Column:
    def take(frames: Frames) -> npt.ArrayLike:
        values = frames.setpoints.get(axis)
        return np.broadcast_to(np.nan, len(frames)) if values is None else values

    return Column(
        f"{nexus_name(axis)}_setpoint",
        "<f8",
        (),
        unit,
        f"{axis} set-point",
        take,
        default=np.nan,
        is_default=lambda frames: axis not in frames.setpoints,
    )


def _fixed(epoch_ns: int) -> tuple[Column, ...]:
    def time(frames: Frames) -> npt.ArrayLike:
        return (frames.block.time_ns - epoch_ns) / 1e9

    return (
        Column("time", "<f8", (), "s", "time of the trigger", time),
        Column("exposure", "<f8", (), "s", "live time", lambda f: f.block.exposure),
        Column("point", "<i8", (), "", "path index", lambda f: f.point),
        Column("segment", "<i4", (), "", "segment index", lambda f: f.segment),
        Column(
            "flight",
            "<i4",
            (),
            "",
            "flight number",
            lambda f: np.broadcast_to(np.int32(f.flight), len(f)),
            default=0,
            is_default=lambda f: f.flight == 0,
        ),
    )


def _facts(channels: Sequence[Column]) -> tuple[Column, ...]:
    """Columns of tuned runs: what turns rows of uneven speed into even maps."""
    units = {c.unit for c in channels if c.channel is not None and c.channel.axis is not None}
    unit = units.pop() if len(units) == 1 else ""
    return (
        _fact("start", "<f8", unit, "position at the beginning", np.nan, lambda f: f.start),
        _fact("stop", "<f8", unit, "position at the end", np.nan, lambda f: f.stop),
        _fact("dwell", "<f8", "s", "time to the next trigger", np.nan, lambda f: f.dwell),
        _fact("i0", "<f8", "", "flux relative to nominal", np.nan, lambda f: f.i0),
        _fact("pass", "<i4", "", "pass over the line, 0 the first", 0, lambda f: f.passes),
        _mark("used", "1 unless flagged or superseded"),
    )


def _fact(
    name: str,
    dtype: str,
    unit: str,
    title: str,
    default: float,
    pick: Callable[[RowFacts], npt.ArrayLike],
) -> Column:
    def take(frames: Frames) -> npt.ArrayLike:
        facts = frames.facts
        return np.broadcast_to(default, len(frames)) if facts is None else pick(facts)

    return Column(
        name,
        dtype,
        (),
        unit,
        title,
        take,
        default=default,
        is_default=lambda frames: frames.facts is None,
    )


def _mark(name: str, title: str) -> Column:
    """A column of ones that are cleared later."""
    return Column(
        name,
        "|u1",
        (),
        "",
        title,
        lambda frames: np.broadcast_to(np.uint8(1), len(frames)),
        default=1,
        is_default=lambda _: True,
    )


_KEEP = _mark("keep", "1 where this frame stands for its point")


def _is_about(column: Column, axes: tuple[str, ...]) -> bool:
    """Whether a column is an axis' position or, by its name, the spread of it (``x_min``)."""
    channel = column.channel
    if channel is None or channel.axis is not None:
        return True
    return any(channel.name.startswith(f"{axis}_") for axis in axes)


def _misfit(what: str, expected: object, came: object) -> StorageError:
    def words(names: object) -> str:
        return ", ".join(sorted(map(str, names))) or "none"  # type: ignore[call-overload]

    return StorageError(
        f"frames do not fit the file: expected {what} {words(expected)}; came {words(came)}",
        device="data file",
        remedy="open the file with the channels the capture box delivers",
    )
