"""A flight of a run's file as an even map with errors, whatever its speed was where."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ConfigurationError
from ..flight import FloatArray, IntArray, Path, Segment
from ..storage import (
    AmendedPath,
    channel_columns,
    frame_columns,
    nexus_name,
    open_run,
    read_paths,
    read_tuning,
    records_by_flight,
)
from ._regrid import Regridded, regrid_line
from ._rows_of import CORRECTED

__all__ = ["RegriddedMap", "regrid"]

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class RegriddedMap:
    """A signal on even pixels, a row per line of the path.

    Args:
        axis: the axis along the lines.
        edges: edges of the pixels, ascending, in units of the axis, shape ``(pixels + 1,)``.
        others: where the other axes were, axis to shape ``(lines,)``.
        value: counts per second, at nominal flux where the flight measured it; NaN where
            nothing was measured; shape ``(lines, pixels)``, as the next three.
        error: standard error of each value.
        exposure: seconds at nominal flux spent in each pixel by the frames used.
        dose: seconds at nominal flux spent in each pixel by all frames.
        left_out: frames per line that make no sense though marked as used, shape ``(lines,)``.
    """

    axis: str
    edges: FloatArray
    others: Mapping[str, FloatArray]
    value: FloatArray
    error: FloatArray
    exposure: FloatArray
    dose: FloatArray
    left_out: IntArray


def regrid(
    path: str | os.PathLike[str], channel: str, pixels: int | npt.ArrayLike, *, flight: int = 0
) -> RegriddedMap:
    """Counts of a flight along straight lines, on even pixels of the axis along them.

    Every line of the path becomes a row. Ways back over part of a line and its continuations
    are put on the line they belong to: a slower pass replaces faster frames where it was. Where
    there are counts corrected for dead time (``CHANNEL_corrected``) those are taken, and the
    incident flux is divided out where the flight has measured it.

    Where frames began and ended is in files of flights that decisions may steer. Of others it is
    taken from ``AXIS_min`` and ``AXIS_max``, or from position and exposure.

    Args:
        path: a run's file; it may still be being written.
        channel: which counts.
        pixels: number of pixels over the extent of the path, or their ascending edges.
        flight: number of the flight in the run.

    Raises:
        StorageError: no such file, or not one of flyscan.
        ConfigurationError: there is no such channel or flight, its lines are not along one axis,
            or nothing says where its frames were.
    """
    with open_run(path) as file:
        # The record after the frames: what is appended to a path is flushed before its frames.
        frames = _Frames.read(file, os.fspath(path), channel, flight)
        amended, lines, axis = _lines(file, os.fspath(path), flight)
        start, stop = _ends(file, axis, frames, lines)
    edges = _edges(pixels, amended.path, axis)
    order, borders = _by_line(amended.lines()[frames.segment], len(lines))
    found = [
        _on_pixels(edges, frames, start, stop, order[begin:end]) for begin, end in pairwise(borders)
    ]
    return RegriddedMap(
        axis,
        edges,
        _others(lines, axis),
        *(np.stack([getattr(one, name) for one, _ in found]) for name in _PLANES),
        left_out=np.array([left_out for _, left_out in found], np.int64),
    )


_PLANES = ("value", "error", "exposure", "dose")


@dataclass(frozen=True, slots=True, eq=False)
class _Frames:
    """The frames of one flight; every array has shape ``(n,)``."""

    number: IntArray
    segment: IntArray
    live: FloatArray
    counts: FloatArray
    alive: FloatArray
    i0: FloatArray | None
    used: BoolArray
    passes: IntArray

    @classmethod
    def read(cls, file: Any, name: str, channel: str, flight: int) -> _Frames:
        columns, channels = frame_columns(file), channel_columns(file)
        if channel not in channels or channels[channel].ndim != 1:
            scalars = ", ".join(n for n, column in channels.items() if column.ndim == 1)
            raise ConfigurationError(
                f"no channel {channel!r} with a number per frame",
                device=name,
                remedy=f"use one of {scalars}",
            )
        frames = min(map(len, columns.values()))
        number = np.flatnonzero(columns["flight"][:frames] == flight)

        def take(column: Any) -> npt.NDArray[Any]:
            return column[:frames][number]

        counts = take(channels[channel]).astype(np.float64)
        corrected = channels.get(channel + CORRECTED)
        alive = np.ones(len(number))
        if corrected is not None:
            with np.errstate(invalid="ignore", divide="ignore"):
                alive = np.where(counts > 0, counts / take(corrected), 1.0)
        i0 = take(columns["i0"]) if "i0" in columns else None
        passes = take(columns["pass"]) if "pass" in columns else np.zeros(len(number))
        return cls(
            number,
            take(columns["segment"]).astype(np.int64),
            take(columns["exposure"]),
            counts,
            alive,
            i0 if i0 is not None and np.isfinite(i0).any() else None,
            take(columns["used" if "used" in columns else "keep"]) == 1,
            passes.astype(np.int64),
        )

    def sensible(self, start: FloatArray, stop: FloatArray) -> BoolArray:
        """Frames whose numbers can be used."""
        flux = self.live * self.alive * (1.0 if self.i0 is None else self.i0)
        columns = np.stack((start, stop, flux, self.counts))
        good = np.isfinite(columns).all(axis=0) & (flux > 0) & (self.counts >= 0)
        return good & (start != stop)


def _lines(file: Any, name: str, flight: int) -> tuple[AmendedPath, list[Segment], str]:
    """The path of a flight, its segments, and the axis all of them go along."""
    paths = read_paths(file)
    if flight not in paths:
        raise ConfigurationError(
            f"there is no flight {flight}",
            device=name,
            remedy=f"its flights are {', '.join(map(str, paths)) or 'none yet'}",
        )
    records = records_by_flight(read_tuning(file)).get(flight, [])
    amended = AmendedPath.of(Path.from_dict(paths[flight]), records)
    lines = list(amended.path.segments())
    axes = {line.fast or "no axis" for line in lines}
    if len(axes) > 1 or "no axis" in axes:
        raise ConfigurationError(
            f"the lines of flight {flight} go along {', '.join(sorted(axes))}",
            device=name,
            remedy="only lines along one axis make an even map; use kept_frames for others",
        )
    return amended, lines, axes.pop()


def _ends(
    file: Any, axis: str, frames: _Frames, lines: list[Segment]
) -> tuple[FloatArray, FloatArray]:
    """Position of the axis at the beginning and the end of every frame, in either order."""
    columns, channels = frame_columns(file), channel_columns(file)

    def take(column: Any) -> FloatArray:
        return column[: frames.number[-1] + 1][frames.number].astype(np.float64)

    if not len(frames.number):
        return np.empty(0), np.empty(0)
    if "start" in columns:
        start, stop = take(columns["start"]), take(columns["stop"])
        if np.isfinite(start).any():
            return start, stop
    if {f"{axis}_min", f"{axis}_max"} <= channels.keys():
        return take(channels[f"{axis}_min"]), take(channels[f"{axis}_max"])
    position = _position(columns, channels, axis)
    if position is None or any(line.curved for line in lines):
        raise ConfigurationError(
            f"nothing says where along {axis} the frames began and ended",
            device=file.filename,
            remedy=f"capture {axis}_min and {axis}_max, or fly straight lines and capture {axis}",
        )
    speed = np.array([line.step / line.period for line in lines])
    half = speed[frames.segment] * frames.live / 2
    return take(position) - half, take(position) + half


def _position(columns: Mapping[str, Any], channels: Mapping[str, Any], axis: str) -> Any:
    """The column of an axis' position over the frame: as captured, or as planned."""
    reported = (c for n, c in channels.items() if c.attrs.get("axis", n) == axis)
    return next(reported, columns.get(f"{nexus_name(axis)}_setpoint"))


def _edges(pixels: int | npt.ArrayLike, path: Path, axis: str) -> FloatArray:
    if isinstance(pixels, int):
        low, high = path.extents()[axis]
        return np.linspace(low, high, pixels + 1)
    return np.asarray(pixels, dtype=np.float64)


def _by_line(line: IntArray, lines: int) -> tuple[IntArray, list[int]]:
    """Frames in the order of lines, and where those of each line begin; one more at the end."""
    order = np.argsort(line, kind="stable")
    borders = np.searchsorted(line[order], np.arange(lines + 1))
    return order, borders.tolist()


def _on_pixels(
    edges: FloatArray, frames: _Frames, start: FloatArray, stop: FloatArray, rows: IntArray
) -> tuple[Regridded, int]:
    """One line, and how many of its frames make no sense."""
    used = frames.used[rows]
    sensible = frames.sensible(start, stop)[rows]
    found = regrid_line(
        edges,
        start[rows],
        stop[rows],
        frames.live[rows],
        frames.counts[rows],
        i0=None if frames.i0 is None else frames.i0[rows],
        used=used & sensible,
        passes=frames.passes[rows],
        alive=frames.alive[rows],
    )
    return found, int((used & ~sensible).sum())


def _others(lines: list[Segment], axis: str) -> dict[str, FloatArray]:
    """Where the other axes were on each line."""
    axes = [a for a in lines[0].start if a != axis]
    return {a: np.array([(line.start[a] + line.stop[a]) / 2 for line in lines]) for a in axes}
