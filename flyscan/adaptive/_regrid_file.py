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
from ..storage import AmendedPath, open_run, read_paths, read_tuning, records_by_flight
from ._counted_frames import CountedFrames, Places
from ._regrid import Regridded, regrid_line

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
    taken from ``AXIS_min`` and ``AXIS_max``, or from position and exposure. A frame stands for
    the way up to the next one, also if the detectors counted for a part of it only.

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
        frames = CountedFrames.read(file, os.fspath(path), channel, flight)
        amended, lines, axis = _lines(file, os.fspath(path), flight)
        places = Places.read(file, axis, frames, lines)
    edges = _edges(pixels, amended.path, axis)
    sensible = frames.sensible & places.sensible
    order, borders = _by_line(amended.lines()[frames.segment], len(lines))
    found = [
        _on_pixels(edges, frames, places, sensible, order[begin:end])
        for begin, end in pairwise(borders)
    ]
    return RegriddedMap(
        axis,
        edges,
        _others(lines, axis),
        *(np.stack([getattr(one, name) for one, _ in found]) for name in _PLANES),
        left_out=np.array([left_out for _, left_out in found], np.int64),
    )


_PLANES = ("value", "error", "exposure", "dose")


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
    edges: FloatArray, frames: CountedFrames, places: Places, sensible: BoolArray, rows: IntArray
) -> tuple[Regridded, int]:
    """One line, and how many of its frames make no sense."""
    used = frames.used[rows]
    good = sensible[rows]
    found = regrid_line(
        edges,
        places.start[rows],
        places.stop[rows],
        frames.live[rows],
        frames.counts[rows],
        i0=None if frames.i0 is None else frames.i0[rows],
        used=used & good,
        passes=frames.passes[rows],
        alive=frames.alive[rows],
        dwell=places.dwell[rows],
    )
    return found, int((used & ~good).sum())


def _others(lines: list[Segment], axis: str) -> dict[str, FloatArray]:
    """Where the other axes were on each line."""
    axes = [a for a in lines[0].start if a != axis]
    return {a: np.array([(line.start[a] + line.stop[a]) / 2 for line in lines]) for a in axes}
