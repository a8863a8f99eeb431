"""Several motion controllers as one: fine x on a piezo controller, y on a motor record."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from ..errors import ConfigurationError, FlyscanError
from ..flight import (
    AxisLimits,
    Clock,
    JoinOutcome,
    Motion,
    MotionCapabilities,
    Path,
    RestoreStep,
    Segment,
    Sweep,
)
from ..flight.host import ControllerConfig
from ._share import share_of_path, share_of_sweep

__all__ = ["CombinedMotion"]

T = TypeVar("T")


class CombinedMotion(Motion):
    """Joins motions of different axes.

    Nothing keeps the controllers in step with each other, so a sweep moves axes of one of them;
    all of them move at the same time between sweeps. If one fails, all are stopped.

    Args:
        name: name in errors.
        motions: name to motion, or to ``{"class": "package.module:Class", "params": {...}}``.
        clock: given to the motions built here; real time if not given.

    Raises:
        ConfigurationError: an axis belongs to two motions, or there is no motion.
    """

    def __init__(
        self,
        name: str,
        motions: Mapping[str, Motion | Mapping[str, Any]],
        *,
        clock: Clock | None = None,
    ) -> None:
        self.name = name
        extra = {} if clock is None else {"clock": clock}
        self._motions = {
            key: motion if isinstance(motion, Motion) else _built(key, motion, extra)
            for key, motion in motions.items()
        }
        self._owners = self._find_owners()
        self._sweeping: Motion | None = None
        self._flown: Motion | None = None

    def _find_owners(self) -> dict[str, Motion]:
        owners: dict[str, Motion] = {}
        for motion in self._motions.values():
            for axis in motion.axes:
                if axis in owners:
                    raise ConfigurationError(
                        f"axis {axis!r} belongs to {owners[axis].name} and to {motion.name}",
                        device=self.name,
                        remedy="give every axis a name of its own",
                    )
                owners[axis] = motion
        if not owners:
            raise ConfigurationError(
                "no axes", device=self.name, remedy="combine at least one motion"
            )
        return owners

    @property
    def axes(self) -> tuple[str, ...]:
        return tuple(self._owners)

    @property
    def capabilities(self) -> MotionCapabilities:
        """What every part can do; once a path is checked, in flight what its sweeping part can."""
        parts = [motion.capabilities for motion in self._motions.values()]
        sweeping = parts if self._sweeping is None else [self._sweeping.capabilities]
        alone = len(parts) == 1
        return MotionCapabilities(
            velocity_in_flight=all(part.velocity_in_flight for part in sweeping),
            curves=alone and parts[0].curves,
            profiles=all(part.profiles for part in sweeping),
            profile_pieces=min(
                (part.profile_pieces for part in sweeping if part.profile_pieces is not None),
                default=None,
            ),
            horizon=max(part.horizon for part in sweeping),
            together=alone and parts[0].together,
        )

    async def connect(self) -> None:
        await self._every(lambda motion: motion.connect())

    async def close(self) -> None:
        await self._every(lambda motion: motion.close())

    async def limits(self) -> Mapping[str, AxisLimits]:
        return _joined(await self._every(lambda motion: motion.limits()))

    async def position(self) -> Mapping[str, float]:
        return _joined(await self._every(lambda motion: motion.position()))

    async def check(self, path: Path) -> None:
        for axis in path.axes:
            self._owner(axis)
        self._refuse_curve(path.segment(0))
        self._sweeping = self._sweeper(path)

        async def check(motion: Motion) -> None:
            own = share_of_path(path, motion.axes)
            if own.axes:
                await motion.check(own)

        await self._every(check)

    async def save(self, path: Path) -> None:
        async def save(motion: Motion) -> None:
            own = share_of_path(path, motion.axes)
            if own.axes:
                await motion.save(own)

        await self._every(save)

    async def move_to(self, axis: str, position: float, velocity: float | None = None) -> None:
        await self._owner(axis).move_to(axis, position, velocity)

    async def prepare(self, sweep: Sweep) -> None:
        self._flown = None
        mover = self._mover(sweep.segment)
        if mover is None or not mover.capabilities.profiles:
            self._refuse_curve(sweep.segment)

        async def prepare(motion: Motion) -> None:
            own = share_of_sweep(sweep, motion.axes)
            if own.origin:
                await motion.prepare(own)

        try:
            async with asyncio.TaskGroup() as group:
                for motion in self._motions.values():
                    group.create_task(prepare(motion))
        except BaseExceptionGroup as failures:
            raise await self._stopped(_first(failures.exceptions)) from None

    async def start(self, sweep: Sweep) -> None:
        mover = self._mover(sweep.segment)
        if mover is None:
            return
        self._flown = mover
        await self._or_stop(mover.start(share_of_sweep(sweep, mover.axes)))

    async def join(self) -> JoinOutcome:
        if self._flown is None:
            return JoinOutcome.DONE
        return await self._or_stop(self._flown.join())

    async def hold(self) -> None:
        await self._every(lambda motion: motion.hold())

    async def retune(self, factor: float) -> None:
        if self._flown is not None:
            await self._flown.retune(factor)

    async def stop(self) -> None:
        await self._every(lambda motion: motion.stop())

    def restore_steps(self) -> tuple[RestoreStep, ...]:
        """Steps of all parts, each key behind the name of its part and a slash."""
        return tuple(
            RestoreStep(f"{key}/{step.key}", step.value)
            for key, motion in self._motions.items()
            for step in motion.restore_steps()
        )

    async def restore(self, steps: tuple[RestoreStep, ...] | None = None) -> None:
        if steps is None:
            await self._every(lambda motion: motion.restore())
            return
        shares: dict[Motion, list[RestoreStep]] = {m: [] for m in self._motions.values()}
        for step in steps:
            key, _, rest = step.key.partition("/")
            if key not in self._motions:
                raise ConfigurationError(
                    f"cannot restore {step.key!r}",
                    device=self.name,
                    remedy="the restore journal belongs to another configuration",
                )
            shares[self._motions[key]].append(RestoreStep(rest, step.value))
        await self._every(lambda motion: motion.restore(tuple(shares[motion])))

    def _owner(self, axis: str) -> Motion:
        if axis not in self._owners:
            raise ConfigurationError(
                f"no axis called {axis!r}",
                device=self.name,
                remedy=f"use one of {', '.join(self._owners)}",
            )
        return self._owners[axis]

    def _sweeper(self, path: Path) -> Motion | None:
        """The part that moves in the sweeps of a path; None if they are not all of one part."""
        # Only axes of the innermost dimension move in a sweep.
        owners = {self._owner(axis) for axis in path.dimensions[-1]}
        if len(owners) > 1:
            owners = {m for s in path.segments() if (m := self._mover(s)) is not None}
        return owners.pop() if len(owners) == 1 else None

    def _refuse_curve(self, segment: Segment) -> None:
        if segment.bounds is not None and not self.capabilities.curves:
            raise ConfigurationError(
                f"segment {segment.index} is a curve, which only a single motion can fly",
                device=self.name,
                remedy="cut it into straight pieces (Path.without_curves()), or fly with the "
                "motion that has its axes",
            )

    def _mover(self, segment: Segment) -> Motion | None:
        """The part that moves in a segment.

        Raises:
            ConfigurationError: axes of several parts move.
        """
        movers = list(dict.fromkeys(self._owner(axis) for axis in segment.moving))
        if len(movers) > 1:
            raise ConfigurationError(
                f"segment {segment.index} moves {', '.join(segment.moving)} together, which "
                f"belong to {', '.join(m.name for m in movers)}: nothing keeps these in step",
                device=self.name,
                remedy="sweep axes of one controller and step the others between the sweeps",
            )
        return next(iter(movers), None)

    async def _every(self, call: Callable[[Motion], Awaitable[T]]) -> list[T]:
        """Call all parts at once; all have answered or failed when the first error is raised."""
        results = await asyncio.gather(
            *(call(motion) for motion in self._motions.values()), return_exceptions=True
        )
        if failures := [result for result in results if isinstance(result, BaseException)]:
            raise _first(failures)
        return [result for result in results if not isinstance(result, BaseException)]

    async def _or_stop(self, action: Coroutine[Any, Any, T]) -> T:
        try:
            return await action
        except FlyscanError as error:
            raise await self._stopped(error) from error.__cause__

    async def _stopped(self, error: BaseException) -> BaseException:
        """Stop every part because of `error`, which is returned."""
        try:
            await self.stop()
        except FlyscanError as second:
            error.add_note(f"stopping failed too: {second}")
        return error


def _built(key: str, config: Mapping[str, Any], extra: Mapping[str, Any]) -> Motion:
    if "class" not in config:
        raise ConfigurationError(
            "its class is missing", device=key, remedy='give {"class": ..., "params": {...}}'
        )
    return ControllerConfig(config["class"], config.get("params", {})).build(key, extra)


def _joined(parts: Sequence[Mapping[str, T]]) -> dict[str, T]:
    return {axis: value for part in parts for axis, value in part.items()}


def _first(failures: Sequence[BaseException]) -> BaseException:
    """The first failure, with the others as notes."""
    first, *others = failures
    for other in others:
        first.add_note(f"also: {other}")
    return first
