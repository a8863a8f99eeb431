"""A flyscan Motion for Tern stage controllers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from flyscan import errors, flight
from flyscan.errors import FlyscanError
from flyscan.flight import AxisLimits, JoinOutcome, Path, RestoreStep, Sweep

TIMEOUT_S, POLL_S, MARGIN_S = 1.0, 0.01, 2.0
TOLERANCE = 0.01  # um


class TernMotion(flight.Motion):
    """The axis of a Tern controller, called `axis` in paths; lengths in um."""

    def __init__(
        self, name: str, host: str, port: int, axis: str, clock: flight.Clock | None = None
    ) -> None:
        self.name, self._host, self._port, self._axis = name, host, port, axis
        self._clock = clock or flight.RealClock()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._line = asyncio.Lock()
        self._limits = AxisLimits(0.0, 0.0, 0.0, 0.0)  # no way to go before connect()
        self._connected = self._held = False
        self._found: str | None = None  # the velocity to restore
        self._target = self._speed = self._duration = self._due = 0.0

    async def _ask(self, question: str) -> list[str]:
        return await flight.shielded(self._exchange(question))

    async def _exchange(self, question: str) -> list[str]:
        async with self._line:
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    if self._streams is None or self._streams[0].at_eof():
                        await self._hang_up()
                        self._streams = await asyncio.open_connection(self._host, self._port)
                    self._streams[1].write(f"{question}\n".encode())
                    answer = (await self._streams[0].readuntil()).decode(errors="replace").strip()
            except (OSError, EOFError, asyncio.LimitOverrunError) as error:
                await self._hang_up()
                problem = f"{self._host}:{self._port} did not answer {question!r}: {error!r}"
                raise self._error(errors.ConnectionLostError, problem, "check cable") from error
        if answer.startswith("ERR"):
            problem = f"answered {answer!r} to {question!r}"
            raise self._error(errors.ControllerError, problem, "see its manual")
        return answer.split()

    async def _hang_up(self) -> None:
        streams, self._streams = self._streams, None
        if streams is not None:
            streams[1].close()
            with suppress(OSError):  # it is given up, whatever state it was in
                await streams[1].wait_closed()

    async def _numbers(self, question: str, count: int = 1) -> list[float]:
        words = await self._ask(question)
        try:
            return [float(words[i]) for i in range(count)]
        except (IndexError, ValueError) as error:
            problem = f"answered {' '.join(words)!r} to {question!r}, expected {count} number(s)"
            raise self._error(errors.ControllerError, problem, "check its firmware") from error

    def _error(self, kind: type[FlyscanError], problem: str, remedy: str) -> FlyscanError:
        return kind(problem, device=self.name, remedy=remedy)

    @property
    def axes(self) -> tuple[str, ...]:
        return (self._axis,)

    @property
    def capabilities(self) -> flight.MotionCapabilities:
        return flight.MotionCapabilities(velocity_in_flight=True, horizon=0.02)

    async def connect(self) -> None:
        found = await self._ask("ID?")
        if found != ["TERN", "1"]:
            await self.close()
            problem = f"expected 'TERN 1', found {' '.join(found)!r}"
            raise self._error(errors.ConfigurationError, problem, "check host and port")
        await self.limits()
        self._connected = True

    async def close(self) -> None:
        self._connected = False
        async with self._line:
            await self._hang_up()

    async def limits(self) -> Mapping[str, AxisLimits]:
        self._limits = AxisLimits(*await self._numbers("LIMITS?", 4), unit="um")
        return {self._axis: self._limits}

    async def position(self) -> Mapping[str, float]:
        return {self._axis: (await self._numbers("POS?"))[0]}

    async def check(self, path: Path) -> None:
        if self._axis not in path.axes:
            problem = f"the path moves {', '.join(path.axes)}, it has {self._axis}"
            raise self._error(errors.ConfigurationError, problem, "correct the path")
        if await self._numbers("POWER?") != [1]:
            raise self._error(errors.NotReadyError, "the motor is off", "switch it on: POWER 1")
        await self.limits()
        for end in path.extents()[self._axis]:
            self._allow(end, self._limits.velocity)
        for segment in path.segments():
            if segment.bounds is not None and self._axis in segment.moving:
                problem, remedy = f"segment {segment.index} is a curve", "use path.without_curves()"
                raise self._error(errors.ConfigurationError, problem, remedy)
            await asyncio.sleep(0)  # a path may have very many

    def _allow(self, position: float, speed: float) -> None:
        box = self._limits
        inside = box.low - 1e-9 <= position <= box.high + 1e-9
        if not (inside and 0 < speed <= box.velocity * (1 + 1e-9)):
            problem = f"cannot go to {position:g} um at {speed:g} um/s"
            remedy = f"stay in {box.low:g} to {box.high:g} um, and up to {box.velocity:g} um/s"
            raise self._error(errors.LimitError, problem, remedy)

    async def save(self, path: Path) -> None:
        if self._found is None:
            (self._found,) = await self._ask("VEL?")

    def restore_steps(self) -> tuple[RestoreStep, ...]:
        return () if self._found is None else (RestoreStep("VEL", self._found),)

    async def restore(self, steps: tuple[RestoreStep, ...] | None = None) -> None:
        for step in self.restore_steps() if steps is None else steps:
            await self._ask(f"{step.key} {step.value}")
        self._found = None

    async def prepare(self, sweep: Sweep) -> None:
        await self._go(sweep.origin[self._axis], self._limits.velocity)

    async def move_to(self, axis: str, position: float, velocity: float | None = None) -> None:
        if axis != self._axis:
            raise self._error(errors.ConfigurationError, f"no axis {axis}", f"use {self._axis}")
        (found,) = await self._ask("VEL?")
        try:
            await self._go(position, float(found) if velocity is None else velocity)
        finally:
            await self._ask(f"VEL {found}")

    async def _go(self, target: float, speed: float) -> None:
        self._allow(target, speed)
        (here,) = await self._numbers("POS?")
        seconds = flight.rest_to_rest(target - here, speed, self._limits.acceleration)
        try:
            await self._begin(target, speed, seconds)
            if await self.join() is JoinOutcome.HELD:
                raise self._error(errors.MotionError, "held on its way", "move again")
        except BaseException:
            await self.stop()
            raise

    async def start(self, sweep: Sweep) -> None:
        self._speed, self._duration = abs(sweep.velocity[self._axis]), sweep.duration
        await self._begin(sweep.target[self._axis], self._speed, sweep.duration)

    async def _begin(self, target: float, speed: float, seconds: float) -> None:
        self._target, self._held = target, False
        await self._ask(f"VEL {speed!r}")
        self._due = self._clock.now() + seconds + MARGIN_S
        await self._ask(f"GO {target:.6f}")

    async def join(self) -> JoinOutcome:
        await self._rest()
        (here,) = await self._numbers("POS?")
        if abs(here - self._target) <= TOLERANCE:
            return JoinOutcome.DONE
        if self._held:
            return JoinOutcome.HELD
        problem = f"{self._axis} rests at {here:g} um instead of {self._target:g} um"
        raise self._error(errors.MotionError, problem, "see what blocks it, or who stopped it")

    async def _rest(self) -> None:
        while await self._numbers("BUSY?") == [1]:
            if self._clock.now() > self._due:
                problem = f"still on its way to {self._target:g} um, {MARGIN_S:g} s overdue"
                raise self._error(errors.WatchdogError, problem, "check the stage for a stall")
            await self._clock.sleep(POLL_S)

    async def hold(self) -> None:
        if await self._numbers("BUSY?") == [1]:
            self._held = True
            await self.stop()

    async def retune(self, factor: float) -> None:
        self._allow(self._target, factor * self._speed)
        self._due = self._clock.now() + self._duration / factor + MARGIN_S
        await self._ask(f"VEL {factor * self._speed!r}")

    async def stop(self) -> None:
        if self._connected:
            await self._ask("HALT")
            braking = self._limits.velocity / self._limits.acceleration
            self._due = self._clock.now() + braking + MARGIN_S
            await self._rest()
