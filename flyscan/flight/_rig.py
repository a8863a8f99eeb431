"""A rig: one Motion, one Capture and the monitors that fly together, with the run's file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, cast

from ..errors import BusyError, ConfigurationError, FlightAbortedError
from ._align import Alignment
from ._block import Channel
from ._clock import Clock
from ._contract import Capture, Motion
from ._counted import CountedCapture
from ._dead_time import DeadTimes
from ._flight import Flight
from ._frames import RunFile, Sink
from ._journal import Journal
from ._limits import AxisLimits, Estimate
from ._monitor import Monitor
from ._path import Path
from ._pilot import Steered
from ._recorder import FlightOptions, Listener
from ._shutter import Shutter
from ._state import State

__all__ = ["Rig"]


class Rig:
    """Runs flights one after the other, all of a run into one file.

    Args:
        name: name used in errors.
        sink_factory: makes the sink of a run.
        listener: gets every flight's events.
        alignments: axes whose encoders are aligned before the first flight of a run.
        journal: where flights note what to put back if the process is killed.
        dead_times: channel to the seconds its detector is blind after a count.
        shutter: keeps the beam off while no rows are taken.
    """

    def __init__(
        self,
        name: str,
        motion: Motion,
        capture: Capture,
        monitors: tuple[Monitor, ...],
        sink_factory: Callable[[], Sink],
        clock: Clock,
        listener: Listener,
        options: FlightOptions | None = None,
        alignments: Mapping[str, Alignment] | None = None,
        journal: Journal | None = None,
        dead_times: Mapping[str, float] | None = None,
        shutter: Shutter | None = None,
    ) -> None:
        self.shutter = shutter
        self.name = name
        self.motion = motion
        self.capture = capture
        self.monitors = monitors
        self._sink_factory = sink_factory
        self._clock = clock
        self._listener = listener
        self._options = options
        self._alignments = alignments
        self._journal = journal
        self._dead_times = DeadTimes(name, dead_times or {})
        self._epoch_ns = 0
        self._sink: Sink | None = None
        self._limits: Mapping[str, AxisLimits] = {}
        self._flights = 0
        self._frames = 0
        self._holds: set[str] = set()
        self._stops = 0
        self._counted: CountedCapture | None = None
        self._file = asyncio.Lock()
        self.flight: Flight | None = None

    async def connect(self) -> None:
        """Connect every box; all are tried before the first error is raised."""
        boxes = self._boxes()
        results = await asyncio.gather(*(b.connect() for b in boxes), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        self._limits = await self.motion.limits()

    async def close(self) -> None:
        """End everything and disconnect."""
        try:
            await self.close_run()
        finally:
            for box in self._boxes():
                await box.close()

    @property
    def limits(self) -> Mapping[str, AxisLimits]:
        """Limits of every axis, read when connecting and before each flight."""
        return self._limits

    @property
    def busy(self) -> bool:
        """True while a flight is prepared or under way."""
        return self.flight is not None and not self.flight.state.final

    async def open_run(
        self,
        directory: str,
        filename: str,
        start: Mapping[str, object],
        detectors: Sequence[str] = (),
        *,
        tuned: bool = False,
    ) -> str:
        """Create the file of a run; returns its path.

        Args:
            directory, filename, start: see :class:`~flyscan.flight.RunFile`.
            detectors: names of those that hang on the capture's triggers and store their frames
                themselves: an event ``count`` asks for their frames, :meth:`counted` answers.
            tuned: flights of the run may be steered.

        Raises:
            BusyError: a run is open.
            StorageError: the file cannot be created.
        """
        async with self._file:
            path = await self._open_file(directory, filename, start, tuned=tuned)
            if detectors:
                self._counted = CountedCapture(self.capture, detectors, self._clock, self._listener)
            return path

    async def _open_file(
        self, directory: str, filename: str, start: Mapping[str, object], *, tuned: bool
    ) -> str:
        if self._sink is not None:
            raise BusyError(
                "a run is open already",
                device=self.name,
                remedy="unstage the flyer, or stop the other flight first",
            )
        sink = self._sink_factory()
        channels = self._channels()
        axes = {axis: limit.unit for axis, limit in self._limits.items()}
        monitors = {m.name: m.channel.unit for m in self.monitors}
        now_ns = self._clock.epoch_ns + round(self._clock.now() * 1e9)
        file = RunFile(directory, filename, channels, axes, start, now_ns, monitors, tuned=tuned)
        path = await sink.open(file)
        self._sink, self._epoch_ns = sink, now_ns
        self._flights = self._frames = 0
        return path

    def validate(self, path: Path) -> Estimate:
        """Check a path without touching hardware.

        Raises:
            FlyscanError: the one reason not to fly it.
        """
        path = self._suited(path)
        estimate = path.validate(self._limits, min_period=self.capture.capabilities.min_period)
        remarks = self.capture.validate(path)
        return Estimate(
            estimate.rows,
            estimate.segments,
            estimate.flying_s,
            estimate.turnaround_s,
            (*estimate.remarks, *remarks),
        )

    async def prepare(self, path: Path, steered: Callable[[int], Steered] | None = None) -> int:
        """Make a flight ready to kick off; returns its number in the run.

        Args:
            path: what to fly.
            steered: gives what steers the flight, from the Unix nanoseconds that times in the
                run's file count from; None to fly as planned.

        Raises:
            FlyscanError: any reason not to fly, before hardware moves.
        """
        stops = self._stops
        self._limits = await self.motion.limits()
        if stops != self._stops:
            raise FlightAbortedError("stopped while preparing", device=self.name)
        if self._sink is None:
            raise ConfigurationError(
                "no run is open", device=self.name, remedy="stage the flyer before preparing it"
            )
        if self.busy:
            raise BusyError(
                "another flight is under way",
                device=self.name,
                remedy="wait for its end or stop it with `flyscan stop`",
            )
        self.validate(path)
        number = self._flights
        flight = self.flight = Flight(
            self.motion,
            self.capture if self._counted is None else cast(Capture, self._counted),
            self._sink,
            self._clock,
            self._suited(path),
            self._listener,
            monitors=self.monitors,
            number=number,
            first_frame=self._frames,
            options=self._options,
            alignments=self._alignments if number == 0 else None,
            holds=frozenset(self._holds),
            journal=self._journal,
            steered=None if steered is None else steered(self._epoch_ns),
            dead_times=self._dead_times,
            shutter=self.shutter,
        )
        await flight.prepare()
        self._flights += 1
        return number

    async def hold(self, reason: str) -> None:
        """Add a reason to hold, for this flight and the next; return at rest."""
        self._holds.add(reason)
        if self.flight is not None:
            await self.flight.hold(reason)

    def release(self, reason: str) -> None:
        """Take a reason to hold away."""
        self._holds.discard(reason)
        if self.flight is not None and not self.flight.state.final:
            self.flight.release(reason)

    def counted(self, number: int) -> None:
        """Question `number` for the detectors' frames is answered: all are there."""
        if self._counted is not None:
            self._counted.counted(number)

    def kickoff(self) -> None:
        """Start the prepared flight."""
        flight = self._current()
        flight.kickoff()

    async def finish(self) -> None:
        """Wait for the flight's end and count its frames."""
        flight = self._current()
        try:
            await flight.wait()
        finally:
            self._frames = flight.stop_frame

    async def stop(self) -> None:
        """Stop the flight, if there is one."""
        self._stops += 1
        if self.flight is not None:
            await self.flight.stop()
            self._frames = self.flight.stop_frame

    async def close_run(self) -> None:
        """Stop what flies and close the file. Idempotent."""
        await self.stop()
        async with self._file:
            sink, self._sink = self._sink, None
            self._counted = None
            self.flight = None
            self._holds.clear()
            if sink is not None:
                await sink.close()

    def _boxes(self) -> tuple[Motion | Capture | Monitor | Shutter, ...]:
        """Everything to connect to."""
        shutters = () if self.shutter is None else (self.shutter,)
        return (self.motion, self.capture, *self.monitors, *shutters)

    def _channels(self) -> tuple[Channel, ...]:
        """Every column of the rows."""
        captured = self.capture.channels()
        derived = self._dead_times.channels(captured)
        return (*captured, *derived, *(m.channel for m in self.monitors))

    def _current(self) -> Flight:
        if self.flight is None or self.flight.state is State.IDLE:
            raise ConfigurationError(
                "no flight is prepared", device=self.name, remedy="prepare one first"
            )
        return self.flight

    def _suited(self, path: Path) -> Path:
        """The path in the form the motion can fly."""
        return path if self.motion.capabilities.curves else path.without_curves()

    def describe(self) -> dict[str, Any]:
        """JSON-able description: channels, axes, capabilities."""
        channels = self._channels()
        return {
            "channels": [channel.to_dict() for channel in channels],
            "axes": {axis: asdict(limit) for axis, limit in self._limits.items()},
            "block_period": self.capture.capabilities.block_period,
            "min_period": self.capture.capabilities.min_period,
        }
