"""A whole controller without its socket: requests in, bytes out, time from the world's clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from flyscan.errors import ConfigurationError

from ._axis import GcsAxis
from ._codec import Request, encode_answer
from ._errors import Code, Refusal
from ._generator import WaveGenerators
from ._motion import Motion
from ._profile import Profile
from ._recorder import Recorder
from ._system import System
from ._triggers import TriggerLines
from ._wavetables import WaveTables

if TYPE_CHECKING:
    from flyscan_sim.world import World

__all__ = ["Controller", "Handler"]

Handler: TypeAlias = Callable[[Sequence[str]], list[str] | None]
"""Executes one command: arguments in, answer lines out (None for none)."""

_MAX_ARGUMENTS = 32


class Controller:
    """State and commands of one box; asks the world's clock for the time, never waits.

    Args:
        world: what is moved and measured.
        profile: the controller model.
        axes: identifier on the wire to name of the world's axis; those left out have no stage.
        homed: whether reference moves were made and servos switched on before.

    Raises:
        ConfigurationError: an identifier the model does not have, an axis the world lacks.
    """

    def __init__(
        self, world: World, profile: Profile, axes: Mapping[str, str], *, homed: bool = False
    ) -> None:
        _check_wiring(world, profile, axes)
        self.profile = profile
        self._now = world.clock.now
        self.axes = {
            name: GcsAxis(name, world.axes[axes[name]], profile, homed=homed, now=world.clock.now())
            for name in profile.axis_ids
            if name in axes
        }
        self._error = Code.NO_ERROR
        self._waves: WaveGenerators | None = None
        self._recorder: Recorder | None = None
        self._triggers: TriggerLines | None = None
        handlers = self._assemble()
        _check_commands(profile, handlers)
        self._handlers = {name: handlers[name] for name in profile.commands}

    def handle(self, request: Request) -> bytes:
        """Execute a request and return the bytes of its answer, none for a refused query."""
        self.update()
        try:
            lines = self._execute(request)
        except Refusal as refusal:
            self._error = refusal.code
            return b""
        return b"" if lines is None else encode_answer(lines)

    def update(self) -> None:
        """Let pass what happened until now: ends of motions, lost servos, wave output to lay."""
        now = self._now()
        if self._waves is not None:
            self._waves.update(now)
        for axis in self.axes.values():
            error = axis.update(now)
            if error:
                self._error = error

    def rising_edges(self, line: int, start: float, end: float) -> NDArray[np.float64]:
        """World times in ``(start, end]`` at which output line `line` goes high, shape (n,).

        Raises:
            ConfigurationError: no such line.
        """
        if self._triggers is None or not 1 <= line <= self.profile.trigger_lines:
            raise ConfigurationError(
                f"no trigger output {line}, there are {self.profile.trigger_lines}",
                device=self.profile.name,
                remedy="wire an output line the model has",
            )
        return self._triggers.rising_edges(line, start, end)

    def _execute(self, request: Request) -> list[str] | None:
        if not request.mnemonic:
            raise Refusal(Code.COMMAND_TOO_LONG)
        handler = self._handlers.get(request.mnemonic)
        if handler is None:
            raise Refusal(Code.UNKNOWN_COMMAND)
        if len(request.args) > _MAX_ARGUMENTS:
            raise Refusal(Code.PARAM_COUNT)
        lines = handler(request.args)
        if self._recorder is not None:
            self._recorder.executed(request)
        return lines

    def _take_error(self, args: Sequence[str]) -> list[str]:
        error, self._error = self._error, Code.NO_ERROR
        return [str(int(error))]

    def _assemble(self) -> dict[str, Handler]:
        profile, axes, now = self.profile, self.axes, self._now
        handlers: dict[str, Handler] = {"ERR?": self._take_error}
        if profile.recorder is not None:
            self._recorder = Recorder(profile.recorder, profile, axes, now)
            handlers |= self._recorder.commands()
        if profile.wave is not None:
            tables = WaveTables(profile.wave, profile.name, profile.servo_cycle)
            slots = profile.axis_ids[: profile.wave.generators]
            self._waves = WaveGenerators(axes, slots, tables, profile.servo_cycle, now)
            self._triggers = TriggerLines(profile, axes, self._waves, now)
            if self._recorder is not None:
                self._waves.on_start(self._recorder.wave_started)
            handlers |= tables.commands() | self._waves.commands() | self._triggers.commands()
        handlers |= Motion(axes, profile.axis_ids, self._waves, now).commands()
        return handlers | System(profile, axes, self._recorder).commands()


def _check_commands(profile: Profile, handlers: Mapping[str, Handler]) -> None:
    missing = [name for name in profile.commands if name not in handlers]
    if missing:
        raise ConfigurationError(
            f"the profile lists commands that are not simulated: {', '.join(missing)}",
            device=profile.name,
            remedy="list only commands its axes, wave generator and recorder provide",
        )


def _check_wiring(world: World, profile: Profile, axes: Mapping[str, str]) -> None:
    for name, stage in axes.items():
        if name not in profile.axis_ids:
            raise ConfigurationError(
                f"no axis {name!r}, there are {', '.join(profile.axis_ids)}",
                device=profile.name,
                remedy="use identifiers the model has",
            )
        if stage not in world.axes:
            raise ConfigurationError(
                f"axis {name} should move {stage!r}, the world has {', '.join(world.axes)}",
                device=profile.name,
                remedy="name an axis of the world",
            )
