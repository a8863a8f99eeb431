"""Sweeps on PI GCS 2.0 controllers."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ...errors import (
    BusyError,
    ConfigurationError,
    FlyscanError,
    NotReadyError,
)
from ...flight import (
    AxisLimits,
    Clock,
    JoinOutcome,
    Motion,
    MotionCapabilities,
    Path,
    RestoreStep,
    Sweep,
    check_path,
)
from ._axis import GcsAxis
from ._codec import parse_texts
from ._controller import MARGIN_S, GcsController, poll_interval
from ._errors import gcs_error, is_fault
from ._generator import WaveGenerator
from ._profile import profile as profile_named
from ._progress import Progress
from ._setup import reference, servo_on

__all__ = ["GcsMotion"]

_LOOK_S = 0.05
_RESTORABLE = frozenset({"VEL", "ACC", "DEC", "WGC", "WOS", "WSL", "WTR"})


@dataclass(slots=True)
class _Flown:
    """The sweep under way: its own moving axes and where they will come to rest."""

    targets: dict[str, float]
    duration: float
    progress: Progress
    speeds: dict[str, float]
    wave: bool
    next_look: float
    held: bool = False


class GcsMotion(Motion):
    """Axes of one PI controller over TCP.

    Straight sweeps are one ``MOV`` at the cruise velocity, curves one run of the wave
    generator, so the box ends both by itself. Settings of a flight are put back by
    :meth:`restore`; servo and reference state are never changed by a flight. Wave tables with
    the numbers of the axes are overwritten by curves.

    Args:
        name: name of the controller in errors and documents.
        host: its address.
        port: its TCP port.
        axes: user axis to its parameters, see :class:`GcsAxis`.
        profile: ``"E-727"``, ``"C-863"`` or ``"C-885"``.
        clock: what waits are measured with; real time if not given.
        timeout: seconds without a byte after which an answer is missed.
        reconnect: seconds for which a lost connection is tried again.
        velocity_in_flight: whether the box takes ``VEL`` during a move; None as the profile
            says. Set it for an E-727 only after a test with its firmware.
    """

    def __init__(
        self,
        name: str,
        host: str,
        port: int = 50000,
        *,
        axes: Mapping[str, Mapping[str, Any]],
        profile: str = "E-727",
        clock: Clock | None = None,
        timeout: float = 1.0,
        reconnect: float = 5.0,
        velocity_in_flight: bool | None = None,
    ) -> None:
        self.name = name
        if not axes:
            raise ConfigurationError(
                "no axes", device=name, remedy="configure at least one axis with its 'id'"
            )
        self._controller = GcsController(
            name,
            host,
            port,
            axes={user: GcsAxis.from_config(f"{name} {user}", a) for user, a in axes.items()},
            profile=profile_named(profile),
            clock=clock,
            timeout=timeout,
            reconnect=reconnect,
        )
        self._clock = self._controller.clock
        self._generator = WaveGenerator(self._controller)
        in_flight = self._controller.profile.velocity_in_flight
        self._in_flight = in_flight if velocity_in_flight is None else velocity_in_flight
        self._connected = False
        self._saved: dict[str, str] = {}
        self._flown: _Flown | None = None

    @property
    def axes(self) -> tuple[str, ...]:
        return tuple(self._controller.axes)

    @property
    def capabilities(self) -> MotionCapabilities:
        return MotionCapabilities(
            velocity_in_flight=self._in_flight,
            curves=self._generator.available,
            profiles=self._generator.available,
            horizon=self._controller.profile.horizon if self._in_flight else 0.0,
            together=len(self.axes) > 1,
        )

    async def connect(self) -> None:
        await self._controller.connect()
        self._connected = True

    async def close(self) -> None:
        self._connected = False
        await self._controller.close()

    async def limits(self) -> Mapping[str, AxisLimits]:
        return await self._controller.read_limits()

    async def position(self) -> Mapping[str, float]:
        return await self._controller.positions()

    async def check(self, path: Path) -> None:
        await check_path(self, path)
        await self._check_state([axis for axis in self.axes if axis in path.axes])

    async def _check_state(self, own: list[str]) -> None:
        controller = self._controller
        code = await controller.pending_error()
        if is_fault(code):
            reason = gcs_error(code, device=self.name, command="motion")
            raise NotReadyError(reason.problem, device=self.name, remedy=reason.remedy)
        for axis, on in (await controller.flags("SVO?", own)).items():
            if not on:
                raise self._not_ready(axis, "servo is off", "run GcsMotion.servo_on()")
        if controller.lists("FRF?"):
            for axis, done in (await controller.flags("FRF?", own)).items():
                if not done:
                    raise self._not_ready(axis, "not referenced", "run GcsMotion.reference()")
        moving = await controller.moving(own)
        if moving or await controller.waving():
            raise BusyError(
                "moves already, or its wave generator runs",
                device=f"{self.name} {', '.join(sorted(moving))}".rstrip(),
                remedy="wait for the other client of this controller, or stop it",
            )

    def _not_ready(self, axis: str, problem: str, remedy: str) -> NotReadyError:
        return NotReadyError(problem, device=f"{self.name} {axis}", remedy=remedy)

    async def prepare(self, sweep: Sweep) -> None:
        own = {axis: sweep.origin[axis] for axis in self.axes if axis in sweep.origin}
        self._flown = None
        if not own:
            return
        limits = self._controller.limits
        if sweep.segment.curved and not own.keys().isdisjoint(sweep.segment.moving):
            await self._generator.load(sweep)
        await self._accelerate({axis: limits[axis].acceleration for axis in own})
        await self._controller.go(own, {axis: limits[axis].velocity for axis in own})

    async def start(self, sweep: Sweep) -> None:
        moving = [axis for axis in self.axes if axis in sweep.segment.moving]
        if not moving:
            return
        wave = sweep.segment.curved
        speeds = {axis: abs(sweep.velocity[axis]) for axis in moving}
        if not wave:
            await self._accelerate({axis: sweep.acceleration[axis] for axis in speeds})
        now = self._clock.now()
        flown = self._flown = _Flown(
            targets={axis: sweep.target[axis] for axis in moving},
            duration=sweep.duration,
            progress=Progress(sweep, now),
            speeds=speeds,
            wave=wave,
            next_look=now + _LOOK_S,
        )
        if wave:
            await self._generator.start()
        else:
            await self._controller.move(flown.targets, speeds)
        flown.progress.begun(self._clock.now())

    async def _accelerate(self, wanted: Mapping[str, float]) -> None:
        for command in ("ACC", "DEC"):
            if self._controller.lists(command):
                await self._controller.set_speeds(command, wanted)

    async def join(self) -> JoinOutcome:
        flown = self._flown
        if flown is None:
            return JoinOutcome.DONE
        while await self._under_way(flown):
            now = self._clock.now()
            remaining = flown.progress.remaining(now)
            if not flown.held:
                await self._watch(flown, now, remaining)
            await self._clock.sleep(poll_interval(remaining))
        outcome = await self._ended(flown)
        self._flown = None
        return outcome

    async def _under_way(self, flown: _Flown) -> bool:
        if flown.wave and await self._controller.waving():
            return True
        return bool(await self._controller.moving(flown.targets))

    async def _watch(self, flown: _Flown, now: float, remaining: float) -> None:
        if remaining < -MARGIN_S - flown.duration / 2:
            raise self._controller.overdue(flown.targets, flown.duration)
        if now < flown.next_look:
            return
        flown.next_look = now + _LOOK_S
        asked = self._clock.now()
        positions = await self._controller.positions(flown.targets)
        answered = self._clock.now()  # on a busy machine that takes its time, the stage moves on
        for axis, position in positions.items():
            low, high = flown.progress.span(axis, asked, answered)
            slack = self._controller.tolerance(axis)
            if not low - slack <= position <= high + slack and not flown.held:
                expected = low if position < low else high
                raise await self._controller.failure({axis: position}, {axis: expected})

    async def _ended(self, flown: _Flown) -> JoinOutcome:
        since = self._clock.now()
        while off := await self._controller.off_target(flown.targets):
            if flown.held:
                return JoinOutcome.HELD
            waited = self._clock.now() - since
            if waited > MARGIN_S / 4:
                raise await self._controller.failure(off, flown.targets)
            await self._clock.sleep(poll_interval(waited))
        return JoinOutcome.DONE

    async def hold(self) -> None:
        flown = self._flown
        if flown is None or not await self._under_way(flown):
            return
        flown.held = True
        if flown.wave:
            await self._generator.stop()
            await self._controller.rest(flown.targets, 0.0)
        else:
            await self._controller.brake(flown.targets)
        await self._clock.sleep(max(self._controller.limits[a].settle for a in flown.targets))

    async def retune(self, factor: float) -> None:
        if not self._in_flight:
            raise ConfigurationError(
                "the controller cannot change its velocity during a move",
                device=self.name,
                remedy="retune the trigger step instead, or retune from the next segment on",
            )
        flown = self._flown
        if flown is None or flown.held:
            return
        if flown.wave:
            raise ConfigurationError(
                "a curve under way cannot be retuned",
                device=self.name,
                remedy="retune from the next segment on",
            )
        speeds = {axis: speed * factor for axis, speed in flown.speeds.items()}
        for axis, speed in speeds.items():
            self._controller.check_velocity(axis, speed)
        sent = self._clock.now()
        await self._controller.set_speeds("VEL", speeds)
        flown.progress.retune(factor, sent, self._clock.now())

    async def stop(self) -> None:
        if not self._connected:
            return
        with suppress(FlyscanError):  # STP, which follows, stops it too
            await self._generator.stop()
        await self._controller.stop()
        self._flown = None

    def restore_steps(self) -> tuple[RestoreStep, ...]:
        return tuple(RestoreStep(key, value) for key, value in self._saved.items())

    async def restore(self, steps: tuple[RestoreStep, ...] | None = None) -> None:
        """Put settings back; a step that fails does not keep the others from being tried."""
        first: FlyscanError | None = None
        wanted = self.restore_steps() if steps is None else steps
        if wanted:
            await self.connect()
        for step in wanted:
            try:
                await self._write_back(step)
            except FlyscanError as error:
                first = first or error
            else:
                self._saved.pop(step.key, None)
        if first is not None:
            raise first

    async def _write_back(self, step: RestoreStep) -> None:
        command, *identifiers = step.key.split()
        if command not in _RESTORABLE:
            raise ConfigurationError(
                f"cannot restore {step.key!r}",
                device=self.name,
                remedy="the restore journal belongs to another device or version",
            )
        await self._controller.link.command(command, *identifiers, *step.value.split())

    async def save(self, path: Path) -> None:
        """Note speeds, and the wave generator's settings where there is one."""
        ids = [axis.id for axis in self._controller.axes.values()]
        if f"VEL {ids[0]}" not in self._saved:
            for command in ("VEL", "ACC", "DEC"):
                if self._controller.lists(command, f"{command}?"):
                    texts = await self._controller.link.query(
                        lambda answer: parse_texts(answer, ids), f"{command}?", *ids
                    )
                    self._saved |= {f"{command} {id_}": text for id_, text in texts.items()}
        if self._generator.available:
            found = await self._generator.settings()
            self._saved = found | self._saved

    async def move_to(self, axis: str, position: float, velocity: float | None = None) -> None:
        """Move one axis and wait until it rests there; cancelled, it brakes.

        Args:
            axis: user axis.
            position: in user units.
            velocity: in user units per second; None keeps what is set.

        Raises:
            BusyError: a sweep is under way.
            LimitError: `position` or `velocity` beyond the limits; nothing moves.
            MotionError: it came to rest elsewhere.
            WatchdogError: it did not come to rest in time.
        """
        controller = self._controller
        self._own(axis)
        if self._flown is not None:
            raise BusyError(
                "a sweep is under way",
                device=f"{self.name} {axis}",
                remedy="wait until the flight is over, or stop it",
            )
        found = (await controller.velocities())[axis]
        try:
            await controller.go({axis: position}, {axis: found if velocity is None else velocity})
        finally:
            if velocity is not None:
                await controller.set_speeds("VEL", {axis: found})

    async def velocity(self, axis: str) -> float:
        """The velocity set for an axis, user units per second."""
        self._own(axis)
        return (await self._controller.velocities())[axis]

    async def halt(self, axis: str) -> None:
        """Let one axis decelerate to rest; the others go on."""
        self._own(axis)
        await self._controller.brake([axis])

    async def servo_on(self, *axes: str) -> None:
        """Switch servos on, of all axes unless some are named; see :func:`._setup.servo_on`."""
        await servo_on(self._controller, axes or self.axes)

    async def reference(self, *axes: str) -> None:
        """Make reference moves; see :func:`._setup.reference`."""
        await reference(self._controller, axes or self.axes)

    def _own(self, axis: str) -> None:
        if axis not in self.axes:
            raise ConfigurationError(
                f"no axis called {axis!r}",
                device=self.name,
                remedy=f"use one of {', '.join(self.axes)}",
            )
