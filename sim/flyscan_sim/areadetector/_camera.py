"""The camera itself: which triggers it takes, and when their frames come out. No sockets."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from flyscan_sim.world import FaultScript

__all__ = ["Camera", "CameraSpec", "Frame"]

Edges = Callable[[float, float], Iterable[float]]
"""Rising edges of the trigger cable at world times in ``(start, end]``, s."""


@dataclass(frozen=True)
class CameraSpec:
    """What a camera is.

    Attributes:
        model: as the driver reports it; ophyd-async looks the dead time up by it.
        shape: rows and columns of a frame.
        dead_time: seconds after an exposure in which triggers are not seen.
        readout: seconds from the end of an exposure to the delivered frame.
        channel: detector channel of the world whose pulses the frames show.
    """

    model: str = "Mako G-234"
    shape: tuple[int, int] = (24, 32)
    dead_time: float = 726e-6
    readout: float = 4e-3
    channel: str = "Fe"


@dataclass(frozen=True, slots=True)
class Frame:
    """One exposure: when it began, how long it was, when it is delivered, all in s."""

    start: float
    exposure: float
    ready: float


@dataclass(slots=True)
class _Run:
    """One acquisition: frames still to come, whether a cable triggers it, time looked up to."""

    exposure: float
    period: float
    left: float
    external: bool
    seen: float


class Camera:
    """Takes exposures on triggers while armed.

    A trigger that comes during an exposure or the dead time after it is ignored, as by a real
    camera. Faults count the triggers seen while armed, from 0 since power-on: a
    ``dropped_frame`` is exposed and never delivered, a ``late_frame`` is delivered after
    `delay` and those behind it wait, an ``extra_frame`` is delivered twice.

    Args:
        spec: what it is.
        faults: what goes wrong.
        edges: its trigger cable.
    """

    def __init__(self, spec: CameraSpec, faults: FaultScript, edges: Edges) -> None:
        self.spec = spec
        self.triggers = 0
        self._faults = faults
        self._edges = edges
        self._run: _Run | None = None
        self._free_at = 0.0
        self._delivered_at = 0.0
        self._coming: deque[Frame] = deque()

    @property
    def acquiring(self) -> bool:
        """From arming until the last frame is delivered or it is disarmed."""
        return self._run is not None

    def arm(
        self, now: float, *, exposure: float, period: float, frames: int | None, external: bool
    ) -> None:
        """Start an acquisition.

        Args:
            now: world time, s.
            exposure: s.
            period: between internally triggered exposures, s; longer if dead time needs it.
            frames: how many to deliver; None for as many as come.
            external: triggers come over the cable.
        """
        period = max(period, exposure + self.spec.dead_time)
        left = math.inf if frames is None else frames
        self._run = _Run(exposure, period, left, external, now)
        self._free_at = self._delivered_at = now

    def disarm(self) -> None:
        """Stop; what has not been delivered is lost."""
        self._run = None
        self._coming.clear()

    def advance(self, now: float) -> list[Frame]:
        """Frames delivered since the last call; an acquisition that has them all ends."""
        run = self._run
        if run is None:
            return []
        for start in self._starts(run, now):
            self._expose(run, start)
        run.seen = now
        done: list[Frame] = []
        while self._coming and self._coming[0].ready <= now and run.left > 0:
            done.append(self._coming.popleft())
            run.left -= 1
        if run.left <= 0:
            self.disarm()
        return done

    def _starts(self, run: _Run, now: float) -> Iterable[float]:
        """Exposures begun since the last look."""
        if run.external:
            return (edge for edge in self._edges(run.seen, now) if edge >= self._free_at)
        return self._own_starts(run, now)

    def _own_starts(self, run: _Run, now: float) -> Iterable[float]:
        start = self._free_at
        while start <= now:
            yield start
            start += run.period

    def _expose(self, run: _Run, start: float) -> None:
        end = start + run.exposure
        self._free_at = end + self.spec.dead_time if run.external else start + run.period
        number, self.triggers = self.triggers, self.triggers + 1
        late = self._faults.take("late_frame", number)
        delay = late.number("delay") if late is not None else 0.0
        ready = max(end + self.spec.readout + delay, self._delivered_at)
        self._delivered_at = ready
        frame = Frame(start, run.exposure, ready)
        if self._faults.take("dropped_frame", number) is None:
            self._coming.append(frame)
        if self._faults.take("extra_frame", number) is not None:
            self._coming.append(frame)
