"""What the frames of a flight counted, and where: read from its run's file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ConfigurationError
from ..flight import FloatArray, IntArray, Segment
from ..storage import channel_columns, frame_columns, nexus_name
from ._rows_of import CORRECTED

__all__ = ["CountedFrames", "Places"]

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class CountedFrames:
    """What the frames of one flight counted; every array has shape ``(n,)``.

    Args:
        number: frame number.
        segment: segment of the flight's path, as amended.
        live: seconds the detectors counted.
        counts: as captured.
        alive: share of the live time in which the detector was not dead.
        i0: incident flux relative to nominal; None if the flight did not measure it.
        used: False for frames that nobody may use.
        passes: pass over the line.
    """

    number: IntArray
    segment: IntArray
    live: FloatArray
    counts: FloatArray
    alive: FloatArray
    i0: FloatArray | None
    used: BoolArray
    passes: IntArray

    @classmethod
    def read(cls, file: Any, name: str, channel: str, flight: int) -> CountedFrames:
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

    @property
    def sensible(self) -> BoolArray:
        """Frames whose counts can be used."""
        flux = self.live * self.alive * (1.0 if self.i0 is None else self.i0)
        return np.isfinite(flux) & np.isfinite(self.counts) & (flux > 0) & (self.counts >= 0)


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Where frames were taken; every array has shape ``(n,)``.

    Args:
        start, stop: position at the beginning and the end of the live time, as flown.
        dwell: seconds to the next trigger; NaN where nobody knows.
    """

    start: FloatArray
    stop: FloatArray
    dwell: FloatArray

    @classmethod
    def read(cls, file: Any, axis: str, frames: CountedFrames, lines: Sequence[Segment]) -> Places:
        """From what the flight found out; else from the captured extent or mean position.

        Raises:
            ConfigurationError: nothing says where the frames were.
        """
        columns, channels = frame_columns(file), channel_columns(file)
        stop = int(frames.number.max(initial=-1)) + 1

        def take(column: Any) -> FloatArray:
            return column[:stop][frames.number].astype(np.float64)

        if "start" in columns:
            found = cls(*(take(columns[name]) for name in ("start", "stop", "dwell")))
            if np.isfinite(found.start).any():
                return found
        if not len(frames.number):
            return cls(np.empty(0), np.empty(0), np.empty(0))
        step = np.array([line.step for line in lines])[frames.segment]
        period = np.array([np.nan if line.curved else line.period for line in lines])
        dwell = period[frames.segment]
        if {f"{axis}_min", f"{axis}_max"} <= channels.keys():
            low, high = take(channels[f"{axis}_min"]), take(channels[f"{axis}_max"])
            return cls(np.where(step > 0, low, high), np.where(step > 0, high, low), dwell)
        reported = (c for n, c in channels.items() if c.attrs.get("axis", n) == axis)
        position, planned = next(reported, None), columns.get(f"{nexus_name(axis)}_setpoint")
        if (position is None and planned is None) or np.isnan(period).any():
            raise ConfigurationError(
                f"nothing says where along {axis} the frames began and ended",
                device=file.filename,
                remedy=f"capture {axis}_min and {axis}_max, or fly straight lines and capture "
                f"{axis}",
            )
        way = step / dwell * frames.live
        # The mean position is amid the live time, the set-point amid the whole step.
        start = take(position) - way / 2 if position is not None else take(planned) - step / 2
        return cls(start, start + way, dwell)

    @property
    def sensible(self) -> BoolArray:
        """Frames of which it is known where they were, and which have a length."""
        there = np.isfinite(self.start) & np.isfinite(self.stop)
        return there & (self.start != self.stop)
