"""What a conformance suite must know of a box and its surroundings, and how it watches them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from scanspec.specs import Linspace, Static  # pyright: ignore[reportMissingTypeStubs]

from ..errors import ConfigurationError
from ..flight import Capture, Clock, Motion, Path, Points, Trigger

__all__ = ["Bench", "CaptureBench", "MotionBench", "Sighting", "opened"]

Box = TypeVar("Box", Motion, Capture)
T = TypeVar("T")
B = TypeVar("B", bound="Bench[Any]")

Settings = Mapping[str, str]


class Sighting(NamedTuple):
    """Where axes were seen, at some time between `earliest` and `latest` of the clock."""

    earliest: float
    positions: dict[str, float]
    latest: float


@dataclass(kw_only=True, eq=False)
class Bench(Generic[Box]):
    """A box and its surroundings, for one test.

    Args:
        make: makes a new, unconnected instance for the box; all of them drive the same box.
        clock: what the box and its binding measure time with. It must pass by itself: give a
            :class:`~flyscan.flight.ManualClock` a task that advances it.
        settings: reads every setting of the box that a flight may change, in another way than
            through the binding. They should differ from what a flight needs.
        spans: axis to two positions in user units. The first axis sweeps from one to the other,
            with enough travel outside for its run-ups; others step from one to the other.
        points: points of a line, at least 10.
        period: seconds per point.
        tolerance: by how much a resting axis may be off, in user units of the first axis; less
            than half a step.
        truth: where the axes really are now, if that can be known at once; else their
            read-back is asked for.
        patience: seconds of real time that no call may take.
    """

    make: Callable[[], Box]
    clock: Clock
    settings: Callable[[], Awaitable[Settings]]
    spans: Mapping[str, tuple[float, float]]
    points: int = 20
    period: float = 0.05
    tolerance: float
    truth: Callable[[], Mapping[str, float]] | None = None
    patience: float = 30.0
    _made: list[Box] = field(default_factory=list[Box], init=False)

    def __post_init__(self) -> None:
        if self.points < 10 or not 0 < self.tolerance < abs(self.step) / 2:
            raise ConfigurationError(
                f"{self.points} points with a step of {self.step:g} and a tolerance of "
                f"{self.tolerance:g} prove nothing",
                device="bench",
                remedy="give at least 10 points and a tolerance below half a step",
            )

    @property
    def fast(self) -> str:
        """The axis that sweeps."""
        return next(iter(self.spans))

    @property
    def slow(self) -> str | None:
        """The axis that steps, if there is one."""
        return next((axis for axis in self.spans if axis != self.fast), None)

    @property
    def step(self) -> float:
        """Signed distance between the points of the line."""
        start, stop = self.spans[self.fast]
        return (stop - start) / self.points

    # --- the box ---------------------------------------------------------------------------

    def fresh(self) -> Box:
        """Another instance for the same box, unconnected; closed after the test."""
        box = self.make()
        self._made.append(box)
        return box

    async def clean(self) -> None:
        """Leave the box at rest, as it was found, and everything closed."""
        async with AsyncExitStack() as stack:
            for box in self._made:
                stack.push_async_callback(self._leave, box)

    async def _leave(self, box: Motion | Capture) -> None:
        await self.timely(box.stop())
        await self.timely(box.restore())
        await self.timely(box.close())

    async def timely(self, call: Coroutine[Any, Any, T]) -> T:
        """Await a call of the box for at most `patience` seconds.

        Raises:
            AssertionError: it did not end in time.
        """
        name = call.__qualname__
        watch = asyncio.timeout(self.patience)
        try:
            async with watch:
                return await call
        except TimeoutError:
            if not watch.expired():
                raise
            raise AssertionError(f"{name} did not end within {self.patience:g} s") from None

    # --- paths -----------------------------------------------------------------------------

    def line(self, trigger: Trigger = Trigger.POSITION) -> Path:
        """One line along the fast axis."""
        return self._path(self._fast_line(), trigger)

    def raster(self, trigger: Trigger = Trigger.POSITION) -> Path:
        """A snake of two lines, on two places of the slow axis if there is one."""
        rows = 2 if self.slow is None else Linspace(self.slow, *self.spans[self.slow], 2)
        return self._path(rows * ~self._fast_line(), trigger)

    def diagonal(self, other: str) -> Path:
        """A straight line along the fast axis and another one."""
        also = Linspace.bounded(other, *self.spans[other], self.points)
        return self._path(self._fast_line().zip(also))

    def curve(self, other: str | None = None) -> Path:
        """One sweep of uneven steps, a parabola if there is another axis."""
        u = (np.arange(self.points) + 0.5) / self.points
        places = {self.fast: 0.6 * u + 0.4 * u**2}
        if other is not None:
            places[other] = 4 * u * (1 - u)
        points = {a: (lo + (hi - lo) * places[a]).tolist() for a, (lo, hi) in self._ends(places)}
        return self._path(Points(points))

    def dwell(self) -> Path:
        """Frames at one place of the fast axis."""
        return self._path(Static(self.fast, self.spans[self.fast][0], self.points))

    def _ends(self, axes: Mapping[str, Any]) -> list[tuple[str, tuple[float, float]]]:
        return [(axis, self.spans[axis]) for axis in axes]

    def _fast_line(self) -> Linspace[str]:
        return Linspace.bounded(self.fast, *self.spans[self.fast], self.points)

    def _path(self, spec: Any, trigger: Trigger = Trigger.POSITION) -> Path:
        return Path.from_spec(spec, trigger=trigger, period=self.period)

    # --- watching --------------------------------------------------------------------------

    async def see(self, motion: Motion) -> Sighting:
        """Where the axes are."""
        earliest = self.clock.now()
        if self.truth is not None:
            return Sighting(earliest, dict(self.truth()), earliest)
        positions = dict(await self.timely(motion.position()))
        return Sighting(earliest, positions, self.clock.now())

    async def check_rest(self, motion: Motion, after: str) -> dict[str, float]:
        """Where the axes rest.

        Raises:
            AssertionError: one moves.
        """
        before = (await self.see(motion)).positions
        await self.clock.sleep(2 * self.period)
        positions = (await self.see(motion)).positions
        for axis in self.spans:
            moved = positions[axis] - before[axis]
            if not abs(moved) <= self.tolerance:
                raise AssertionError(f"{axis} still moves after {after}: {moved:g}")
        return positions

    def check_at(
        self, positions: Mapping[str, float], target: Mapping[str, float], where: str
    ) -> None:
        """Raise AssertionError unless all axes of `target` are there."""
        for axis, wanted in target.items():
            if not abs(positions[axis] - wanted) <= self.tolerance:
                raise AssertionError(
                    f"{axis} is at {positions[axis]:g}, expected {where} at {wanted:g}"
                )


@dataclass(kw_only=True, eq=False)
class MotionBench(Bench[Motion]):
    """A motion and its surroundings, for one test of :class:`MotionSuite`; see :class:`Bench`.

    Args:
        travel: axis to its lower and upper end of travel in user units, as the box has them.
        rough: how far from a curve its axes may be while they fly it, in user units.
    """

    travel: Mapping[str, tuple[float, float]]
    rough: float


@dataclass(kw_only=True, eq=False)
class CaptureBench(Bench[Capture]):
    """A capture and its surroundings, for one test of :class:`CaptureSuite`; see :class:`Bench`.

    Args:
        motion: moves the stage whose encoders the box reads; not yet connected.
        lose: makes the trigger of that number, counted from 0 since the next arming, make no
            row; None skips the tests of what happens then.
    """

    motion: Motion
    lose: Callable[[int], None] | None = None

    async def clean(self) -> None:
        await self.timely(self.motion.stop())
        await super().clean()
        await self._leave(self.motion)


@asynccontextmanager
async def opened(making: AbstractAsyncContextManager[B]) -> AsyncGenerator[B]:
    """The bench of one test; whatever the test did, its box is left alone afterwards.

    Raises:
        AssertionError: tasks of the binding live on after it was closed.
    """
    before = asyncio.all_tasks()
    async with making as bench:
        try:
            yield bench
        finally:
            await bench.clean()
    for _ in range(10):  # transports take some turns of the loop to close
        await asyncio.sleep(0)
    left = [t.get_name() for t in asyncio.all_tasks() - before - {asyncio.current_task()}]
    if left:
        raise AssertionError(f"tasks live on after close(): {', '.join(left)}")
