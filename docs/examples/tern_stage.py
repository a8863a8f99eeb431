"""A flyscan Motion for Tern stage controllers."""

from __future__ import annotations

from collections.abc import Mapping

from flyscan import errors, flight
from flyscan.controllers import LineLink
from flyscan.flight import AxisLimits, JoinOutcome, Path, RestoreStep, Sweep

POLL_S, MARGIN_S = 0.01, 2.0
TOLERANCE = 0.01  # um


class TernMotion(flight.Motion):
    """The axis of a Tern controller, called `axis` in paths; lengths in um."""

    def __init__(
        self, name: str, host: str, port: int, axis: str, clock: flight.Clock | None = None
    ) -> None:
        self.name, self._axis = name, axis
        self._link = LineLink(name, host, port, refusal="ERR")
        self._clock = clock or flight.RealClock()
        self._limits = AxisLimits(0.0, 0.0, 0.0, 0.0)  # no way to go before connect()
        self._connected = self._held = False
        self._found: str | None = None  # the velocity to restore
        self._target = self._speed = self._duration = self._due = 0.0

    def _error(self, kind: type[errors.FlyscanError], problem: str, remedy: str) -> Exception:
        return kind(problem, device=self.name, remedy=remedy)

    @property
    def axes(self) -> tuple[str, ...]:
        return (self._axis,)

    @property
    def capabilities(self) -> flight.MotionCapabilities:
        return flight.MotionCapabilities(velocity_in_flight=True, horizon=0.02)

    async def connect(self) -> None:
        found = await self._link.ask("ID?")
        if found != "TERN 1":
            await self.close()
            problem = f"expected 'TERN 1', found {found!r}"
            raise self._error(errors.ConfigurationError, problem, "check host and port")
        await self.limits()
        self._connected = True

    async def close(self) -> None:
        self._connected = False
        await self._link.close()

    async def limits(self) -> Mapping[str, AxisLimits]:
        self._limits = AxisLimits(*await self._link.numbers("LIMITS?", 4), unit="um")
        return {self._axis: self._limits}

    async def position(self) -> Mapping[str, float]:
        return {self._axis: (await self._link.numbers("POS?"))[0]}

    async def check(self, path: Path) -> None:
        await flight.check_path(self, path)
        if await self._link.ask("POWER?") != "1":
            raise self._error(errors.NotReadyError, "the motor is off", "switch it on: POWER 1")

    async def save(self, path: Path) -> None:
        if self._found is None:
            self._found = await self._link.ask("VEL?")

    def restore_steps(self) -> tuple[RestoreStep, ...]:
        return () if self._found is None else (RestoreStep("VEL", self._found),)

    async def restore(self, steps: tuple[RestoreStep, ...] | None = None) -> None:
        for step in self.restore_steps() if steps is None else steps:
            await self._link.ask(f"{step.key} {step.value}")
        self._found = None

    async def prepare(self, sweep: Sweep) -> None:
        flight.check_sweep(self, sweep)
        await self._go(sweep.origin[self._axis], self._limits.velocity)

    async def move_to(self, axis: str, position: float, velocity: float | None = None) -> None:
        if axis != self._axis:
            raise self._error(errors.ConfigurationError, f"no axis {axis}", f"use {self._axis}")
        found = await self._link.ask("VEL?")
        try:
            await self._go(position, float(found) if velocity is None else velocity)
        finally:
            await self._link.ask(f"VEL {found}")

    async def _go(self, target: float, speed: float) -> None:
        self._limits.check_travel(self.name, target)
        self._limits.check_velocity(self.name, speed)
        (here,) = await self._link.numbers("POS?")
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
        await self._link.ask(f"VEL {speed!r}")
        self._due = self._clock.now() + seconds + MARGIN_S
        await self._link.ask(f"GO {target:.6f}")

    async def join(self) -> JoinOutcome:
        await self._rest()
        (here,) = await self._link.numbers("POS?")
        if abs(here - self._target) <= TOLERANCE:
            return JoinOutcome.DONE
        if self._held:
            return JoinOutcome.HELD
        problem = f"{self._axis} rests at {here:g} um instead of {self._target:g} um"
        raise self._error(errors.MotionError, problem, "see what blocks it, or who stopped it")

    async def _rest(self) -> None:
        while await self._link.ask("BUSY?") == "1":
            if self._clock.now() > self._due:
                problem = f"still on its way to {self._target:g} um, {MARGIN_S:g} s overdue"
                raise self._error(errors.WatchdogError, problem, "check the stage for a stall")
            await self._clock.sleep(POLL_S)

    async def hold(self) -> None:
        if await self._link.ask("BUSY?") == "1":
            self._held = True
            await self.stop()

    async def retune(self, factor: float) -> None:
        self._limits.check_velocity(self.name, factor * self._speed)
        self._due = self._clock.now() + self._duration / factor + MARGIN_S
        await self._link.ask(f"VEL {factor * self._speed!r}")

    async def stop(self) -> None:
        if self._connected:
            await self._link.ask("HALT")
            braking = self._limits.velocity / self._limits.acceleration
            self._due = self._clock.now() + braking + MARGIN_S
            await self._rest()
