"""What steers a flight: the contract of pilots, and the helm they are given.

A pilot sees every block and may change what is still to be flown. `flyscan.adaptive` has the one
there is; the flight knows only what stands here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ._frames import Frames
from ._limits import AxisLimits, CaptureCapabilities, MotionCapabilities
from ._path import Path
from ._segment import Segment

__all__ = ["Helm", "Pilot", "Scene", "Steered"]


@dataclass(frozen=True, slots=True)
class Scene:
    """What a pilot has to know before a flight.

    Args:
        path: what is to be flown.
        limits: limits of every axis.
        motion: what the motion can do.
        capture: what the capture can do.
        channels: names of the columns of its rows.
        positions: axis to the channel that reports it.
        flight: number of the flight in its run.
        margin: seconds on top of measured latencies for what cannot be measured.
    """

    path: Path
    limits: Mapping[str, AxisLimits]
    motion: MotionCapabilities
    capture: CaptureCapabilities
    channels: tuple[str, ...]
    positions: Mapping[str, str]
    flight: int


class Helm(Protocol):
    """What a pilot may look at and do; every call comes from the flight host's loop."""

    @property
    def scene(self) -> Scene:
        """What was known before the flight."""
        ...

    def now(self) -> float:
        """Seconds on the clock that times in the run's file count from."""
        ...

    def row_seconds(self, frames: Frames) -> Any:
        """When the live time of each frame ended, on the clock of :meth:`now`."""
        ...

    @property
    def line(self) -> Segment | None:
        """The segment under way; None while nothing sweeps."""
        ...

    @property
    def pace(self) -> float:
        """Speed of the sweep under way over the planned one."""
        ...

    @property
    def stride(self) -> float:
        """Trigger step or period of the sweep under way over the planned one."""
        ...

    @property
    def held(self) -> bool:
        """True while anything holds the flight."""
        ...

    async def clearance(self) -> None:
        """Wait, at rest, until nothing holds the flight."""
        ...

    @property
    def next_point(self) -> int:
        """Point of the next row to come."""
        ...

    def monitors(self) -> dict[str, float]:
        """Latest value of every slow channel."""
        ...

    def line_of(self, segment: int) -> int:
        """The line of the path a segment belongs to."""
        ...

    def pass_of(self, segment: int) -> int:
        """Which pass over its line a segment is; 0 for the line itself."""
        ...

    def fits(self, segment: Segment) -> str:
        """Why a segment cannot be flown; empty if it can."""
        ...

    async def retune(self, pace: float | None, stride: float | None) -> int | None:
        """Change speed and/or step of the sweep under way, as factors of what was planned.

        Returns:
            The first point that is surely flown so; None if nothing sweeps any more.
        """
        ...

    def detour(self, segment: Segment, line: int, number: int) -> Segment:
        """Append a segment to the route and fly it next, as pass `number` over `line`.

        A sweep under way is held for it and goes on afterwards.
        """
        ...

    async def hold(self, refly_from: int | None) -> bool:
        """Come to rest; when released, fly everything since a point's row again.

        The row may be the next one to come. Rows of lines before the one under way stay.

        Returns:
            True if rows that came will be flown again.
        """
        ...

    @property
    def reflying(self) -> bool:
        """True until the flight turns to what :meth:`hold` wanted flown again.

        Rows that come until then stand for nothing.
        """
        ...

    def release(self) -> None:
        """Take the pilot's reason to hold away."""
        ...

    def flag(self, first: int, stop: int) -> None:
        """Let nobody use frames `first` to `stop` (exclusive), as far as they came."""
        ...

    def finish(self, line: int | None) -> None:
        """Fly no more of a line, or nothing more at all."""
        ...

    def note(self, record: Mapping[str, Any]) -> None:
        """Keep a JSON-able record in the run's file."""
        ...

    def report(self, row: Mapping[str, Any]) -> None:
        """Tell the client of a decision."""
        ...


class Pilot(Protocol):
    """Steers one flight."""

    async def open(self) -> None:
        """Check that the flight can be steered, before hardware moves.

        Raises:
            ConfigurationError: a channel is missing, or the path is not made of straight lines.
        """
        ...

    async def begin(self, line: Segment) -> Segment:
        """How a segment of the path is to be flown: as it is, or with a speed of its own.

        The answer has the same first point, and at most as many points.
        """
        ...

    def take(self, frames: Frames) -> None:
        """Take in frames; quick, decisions come later."""
        ...

    async def steer(self) -> None:
        """Decide for as long as the flight lasts; runs beside it until it is cancelled."""
        ...

    async def end(self) -> None:
        """All rows of the line are in: ask for more of it, or let it be over."""
        ...

    async def close(self) -> None:
        """The flight is over."""
        ...


@dataclass(frozen=True, slots=True)
class Steered:
    """How a flight is steered.

    Args:
        pilot: makes the pilot when the flight is prepared.
        i0: channel of the incident flux, if there is one.
        nominal: its usual rate; None to take the median of the first block.
        epoch_ns: Unix nanoseconds that times in the run's file count from.
    """

    pilot: Callable[[Helm], Pilot]
    i0: str | None = None
    nominal: float | None = None
    epoch_ns: int = 0
