"""The station: what a host does, whatever carries its messages.

Requests are ``{"method": name, "params": {...}}``; answers and events are JSON-able too, so that
the same station serves a process of its own and the calling process.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, TypeVar, cast

from ...errors import (
    BusyError,
    ConfigurationError,
    FlightAbortedError,
    FlyscanError,
    HostError,
)
from .._align import Alignment
from .._clock import Clock, RealClock
from .._contract import Capture, Motion
from .._path import Path
from .._pilot import Steered
from .._recorder import FlightOptions
from .._rig import Rig
from ._config import FlyerConfig, HostConfig, load_class
from ._restore import HostJournal
from ._wire import bound_arguments

__all__ = ["Station"]

LOG = logging.getLogger("flyscan.host")

EventSink = Callable[[str, dict[str, Any]], None]
Method = Callable[..., Awaitable[Any]]
T = TypeVar("T")

ENDING = frozenset({"status", "release", "stop", "stop_all", "close_run", "axis_stop"})
"""Requests that make sense while a host ends."""


class Station:
    """All controllers and rigs of one host.

    Args:
        config: what may be loaded.
        emit: gets ``(flyer, event)`` for every event of a flight.
        clock: time for everything; real time by default.
        journal: keeps on disk what has to be put back if this process is killed.
    """

    def __init__(
        self,
        config: HostConfig,
        emit: EventSink,
        clock: Clock | None = None,
        journal: HostJournal | None = None,
    ) -> None:
        self._config = config
        self._emit = emit
        self._injected = clock
        self._journal = journal
        self._clock = clock or RealClock()
        self._controllers: dict[str, Any] = {}
        self._rigs: dict[str, Rig] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._watchers: set[asyncio.Task[None]] = set()
        self._moving: list[Motion] = []
        self._why: dict[str, str] = {}
        self._leaving = ""
        self._methods: dict[str, Method] = {
            "describe": self._describe,
            "open_run": self._open_run,
            "close_run": self._close_run,
            "validate": self._validate,
            "prepare": self._prepare,
            "kickoff": self._kickoff,
            "counted": self._answer_count,
            "hold": self._hold,
            "release": self._release,
            "stop": self._stop,
            "stop_all": self.stop_all,
            "status": self._status,
            "axis_limits": self._axis_limits,
            "axis_read": self._axis_read,
            "axis_move": self._axis_move,
            "axis_stop": self._axis_stop,
        }

    async def handle(self, method: str, params: Mapping[str, Any]) -> Any:
        """Answer one request.

        Raises:
            FlyscanError: the request failed; anything else it raises is wrapped in one.
        """
        handler = self._methods.get(method)
        if handler is None:
            raise HostError(f"unknown request {method!r}", device="flight host")
        bound = bound_arguments(method, handler, params)
        if self._leaving and method not in ENDING:
            raise HostError(
                f"ends at the moment: {self._leaving}", device="flight host", remedy="start it anew"
            )
        try:
            return await handler(*bound.args, **bound.kwargs)
        except FlyscanError:
            raise
        except Exception as exc:
            LOG.exception("request %s failed", method)
            raise HostError(
                f"unexpected {type(exc).__name__} while handling {method!r}: {exc}",
                device="flight host",
                remedy="this is a defect of flyscan or of a controller binding; report it",
            ) from exc

    async def stop_all(self, why: str = "") -> None:
        """Stop every flight and every move; all are told before the first error is raised.

        Args:
            why: added to the errors that the stopped flights end with.
        """
        self._why = {name: why for name, rig in self._rigs.items() if why and rig.busy}
        flights = [rig.stop() for rig in self._rigs.values()]
        moves = [box.stop() for box in self._moving if self._flying_with(box) is None]
        _raise_first(await asyncio.gather(*flights, *moves, return_exceptions=True))

    async def hold_all(self, reason: str) -> None:
        """Hold every flight; one that fails over it tells its own client."""
        await asyncio.gather(
            *(rig.hold(reason) for rig in self._rigs.values()), return_exceptions=True
        )

    def release_all(self, reason: str) -> None:
        """Take a reason to hold away from every flight."""
        for rig in self._rigs.values():
            rig.release(reason)

    async def close(self, why: str = "") -> None:
        """Stop everything, close files and connections; every rig is tried.

        Args:
            why: what the flights and requests that it ends are told.
        """
        self._leaving = why or "it was closed"
        stopped = await asyncio.gather(self.stop_all(why), return_exceptions=True)
        closed = await asyncio.gather(
            *(rig.close() for rig in self._rigs.values()), return_exceptions=True
        )
        if self._watchers:
            await asyncio.wait(self._watchers)
        _raise_first([*stopped, *closed])

    # --- requests --------------------------------------------------------------------------

    async def _describe(self, flyer: str) -> dict[str, Any]:
        return (await self._rig(flyer)).describe()

    async def _open_run(
        self,
        flyer: str,
        directory: str,
        filename: str,
        start: Mapping[str, Any],
        detectors: Sequence[str] = (),
        tuned: bool = False,
    ) -> dict[str, Any]:
        rig = await self._rig(flyer)
        return {"file": await rig.open_run(directory, filename, start, detectors, tuned=tuned)}

    async def _close_run(self, flyer: str) -> None:
        if flyer in self._rigs:
            await self._rigs[flyer].close_run()

    async def _validate(self, flyer: str, path: Mapping[str, Any]) -> dict[str, Any]:
        rig = await self._rig(flyer)
        estimate = rig.validate(Path.from_dict(path))
        return asdict(estimate) | {"remarks": list(estimate.remarks)}

    async def _prepare(
        self, flyer: str, path: Mapping[str, Any], steering: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        rig = await self._rig(flyer)
        other = self._flying_with(rig.motion, rig.capture)
        if other is not None and other != flyer:
            raise BusyError(
                f"{other} flies its controllers at the moment",
                device=flyer,
                remedy="wait for the end of that flight or stop it",
            )
        estimate = await self._validate(flyer, path)
        self._why.pop(flyer, None)
        try:
            number = await rig.prepare(Path.from_dict(path), await self._steered(steering))
        except FlightAbortedError as exc:
            raise self._explained(flyer, exc) from exc
        return {"flight": number, "estimate": estimate}

    async def _steered(self, steering: Mapping[str, Any] | None) -> Callable[[int], Steered] | None:
        """What makes the pilot of a flight; None for a flight without one.

        Raises:
            ConfigurationError: its configuration cannot be read, or names what may not be loaded.
        """
        if steering is None:
            return None
        # What decides needs scipy, and a first import takes longer than the loop may stand still.
        pilot = await asyncio.to_thread(load_class, self._config.pilot)
        return cast(
            "Callable[[int], Steered]",
            pilot.configured(steering, self._clock, self._config.policies),
        )

    async def _kickoff(self, flyer: str) -> None:
        rig = await self._rig(flyer)
        rig.kickoff()
        watcher = asyncio.create_task(self._watch(rig), name=f"flyscan-watch-{flyer}")
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)

    async def _answer_count(self, flyer: str, number: int) -> None:
        (await self._rig(flyer)).counted(number)

    async def _watch(self, rig: Rig) -> None:
        try:
            await rig.finish()
        except FlyscanError as exc:
            error = self._explained(rig.name, exc)
            self._emit(rig.name, {"event": "ended", "error": error.to_dict()})
        else:
            self._emit(rig.name, {"event": "ended", "error": None})

    def _explained(self, flyer: str, error: FlyscanError) -> FlyscanError:
        """A stop that came from outside says so."""
        why = self._why.pop(flyer, "")
        if not why or not isinstance(error, FlightAbortedError):
            return error
        return FlightAbortedError(
            f"{error.problem}: {why}", device=error.device, remedy=error.remedy
        )

    async def _hold(self, flyer: str, reason: str) -> None:
        await (await self._rig(flyer)).hold(reason)

    async def _release(self, flyer: str, reason: str) -> None:
        (await self._rig(flyer)).release(reason)

    async def _stop(self, flyer: str) -> None:
        if flyer in self._rigs:
            await self._rigs[flyer].stop()

    async def _status(self) -> dict[str, Any]:
        return {
            name: {"state": rig.flight.state.value, "holds": sorted(rig.flight.holds)}
            for name, rig in self._rigs.items()
            if rig.flight is not None
        }

    async def _axis_limits(self, owner: str, axis: str) -> dict[str, Any]:
        return asdict(_of(await (await self._positioner(owner)).limits(), owner, axis))

    async def _axis_read(self, owner: str, axis: str) -> float:
        return _of(await (await self._positioner(owner)).position(), owner, axis)

    async def _axis_move(
        self, owner: str, axis: str, position: float, velocity: float | None = None
    ) -> None:
        box = await self._positioner(owner)
        if (flyer := self._flying_with(box)) is not None:
            raise BusyError(
                f"{flyer} flies it at the moment",
                device=f"{owner}.{axis}",
                remedy="wait for the end of the flight or stop it",
            )
        self._moving.append(box)
        try:
            await box.move_to(axis, position, velocity)
        finally:
            self._moving.remove(box)

    async def _axis_stop(self, owner: str, axis: str) -> None:
        box = await self._positioner(owner)
        _of(await box.limits(), owner, axis)
        # Before a pause the RunEngine stops everything ever moved, the axes of a flight among
        # them; the flight comes to rest by itself then and has to stay on its path.
        if self._flying_with(box) is None:
            await box.stop()

    def _flying_with(self, *boxes: Motion | Capture) -> str | None:
        """The flyer that has one of the boxes in a flight."""
        for rig in self._rigs.values():
            if rig.busy and any(box is rig.motion or box is rig.capture for box in boxes):
                return rig.name
        return None

    # --- building --------------------------------------------------------------------------

    async def _positioner(self, owner: str) -> Motion:
        """The motion of a flyer or a controller, connected.

        Raises:
            ConfigurationError: `owner` is neither; requests reach nothing else of a controller.
        """
        if owner in self._config.flyers:
            return (await self._rig(owner)).motion
        box = self._controller(owner)
        if not isinstance(box, Motion):
            raise ConfigurationError(
                "is nothing that moves", device=owner, remedy="name a flyer, or a motion of one"
            )
        await box.connect()
        return box

    async def _rig(self, flyer: str) -> Rig:
        """The rig of a flyer, built and connected when first asked for."""
        config = self._config.flyers.get(flyer)
        if config is None:
            raise ConfigurationError(
                f"no flyer called {flyer!r}",
                device="flight host",
                remedy=f"use one of {', '.join(self._config.flyers) or 'none configured'}",
            )
        async with self._locks.setdefault(flyer, asyncio.Lock()):
            if flyer not in self._rigs:
                rig = self._build(flyer, config)
                await rig.connect()
                if self._journal is not None:
                    await self._journal.settle(rig.motion.name, rig.motion)
                    await self._journal.settle(rig.capture.name, rig.capture)
                self._rigs[flyer] = rig
        return self._rigs[flyer]

    def _build(self, flyer: str, config: FlyerConfig) -> Rig:
        sink = load_class(self._config.sink)
        return Rig(
            flyer,
            self._controller(config.motion),
            self._controller(config.capture),
            tuple(self._controller(m) for m in config.monitors),
            partial(sink, **self._config.sink_params),
            self._clock,
            partial(self._emit, flyer),
            FlightOptions(**config.options),
            {axis: Alignment(**a) for axis, a in config.align.items()},
            self._journal,
            config.dead_times,
            None if config.shutter is None else self._controller(config.shutter),
        )

    def _controller(self, reference: str) -> Any:
        name, _, part = reference.partition(".")
        if name not in self._controllers:
            config = self._config.controllers.get(name)
            if config is None:
                raise ConfigurationError(
                    f"no controller called {name!r}",
                    device="flight host",
                    remedy=f"use one of {', '.join(self._config.controllers)}",
                )
            extra = {} if self._injected is None else {"clock": self._injected}
            self._controllers[name] = config.build(name, extra)
        box = self._controllers[name]
        if not part:
            return box
        if part.startswith("_") or not hasattr(box, part):
            raise ConfigurationError(
                f"has no part called {part!r}", device=name, remedy="correct the reference"
            )
        return getattr(box, part)


def _of(values: Mapping[str, T], owner: str, axis: str) -> T:
    """The value of one axis.

    Raises:
        ConfigurationError: there is no such axis.
    """
    if axis not in values:
        raise ConfigurationError(
            f"no axis called {axis!r}", device=owner, remedy=f"use one of {', '.join(values)}"
        )
    return values[axis]


def _raise_first(results: list[Any]) -> None:
    """Raise the first error among what several coroutines came to."""
    for result in results:
        if isinstance(result, BaseException):
            raise result
