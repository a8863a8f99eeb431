"""Motion commands: targets, servo, reference, velocity, stops, states."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ._axis import GcsAxis
from ._codec import groups, integer, number, plain, switch
from ._errors import Code, Refusal

if TYPE_CHECKING:
    from ._controller import Handler
    from ._generator import WaveGenerators

__all__ = ["Motion"]

Lines = list[str]

# Bits of the status register of motor controllers (MS249E, command #4).
_ON_TARGET, _REFERENCING, _IN_MOTION, _SERVO_ON = 0x8000, 0x4000, 0x2000, 0x1000
_POSITIVE_LIMIT, _ABOVE_REFERENCE, _NEGATIVE_LIMIT = 0x0004, 0x0002, 0x0001


class Motion:
    """Motion commands of all axes of a controller.

    Args:
        axes: connected axes by identifier, in the order of the controller's own list.
        slots: all identifiers, connected or not; the mask of ``#5`` counts these.
        waves: wave generators, which own an axis while they run.
        now: the world's time in s.
    """

    def __init__(
        self,
        axes: dict[str, GcsAxis],
        slots: Sequence[str],
        waves: WaveGenerators | None,
        now: Callable[[], float],
    ) -> None:
        self.axes = axes
        self._slots = tuple(slots)
        self._waves = waves
        self._now = now

    def commands(self) -> dict[str, Handler]:
        """Handlers by mnemonic."""
        return {
            "MOV": self._mov,
            "MOV?": self._ask(lambda axis: f"{axis.target:.7f}"),
            "MVR": self._mvr,
            "STE": self._mvr,  # a step; recording it is up to the data recorder
            "POS": self._set_position,
            "POS?": self._ask(lambda axis: f"{axis.position(self._now()):.7f}"),
            "VEL": self._velocity,
            "VEL?": self._ask(lambda axis: f"{axis.velocity:.7f}"),
            "ACC": self._acceleration,
            "ACC?": self._ask(lambda axis: f"{axis.acceleration:.7f}"),
            "DEC": self._deceleration,
            "DEC?": self._ask(lambda axis: f"{axis.deceleration:.7f}"),
            "TMN?": self._ask(lambda axis: plain(axis.low)),
            "TMX?": self._ask(lambda axis: plain(axis.high)),
            "SVO": self._servo,
            "SVO?": self._ask(lambda axis: str(int(axis.servo))),
            "ONT?": self._ask(lambda axis: str(int(self._on_target(axis)))),
            "RON": self._reference_mode,
            "RON?": self._ask(lambda axis: str(int(axis.reference_mode))),
            "FRF": self._reference,
            "FRF?": self._ask(lambda axis: str(int(axis.referenced))),
            "INI": self._initialise,
            "HLT": self._halt,
            "STP": self._stop,
            "#24": self._stop,
            "#4": self._registers,
            "SRG?": self._register,
            "#5": self._moving_mask,
            "#7": self._ready,
        }

    def _axis(self, name: str) -> GcsAxis:
        try:
            return self.axes[name]
        except KeyError:
            raise Refusal(Code.INVALID_AXIS) from None

    def _some(self, args: Sequence[str]) -> list[GcsAxis]:
        return [self._axis(name) for name in args] if args else list(self.axes.values())

    def _pairs(self, args: Sequence[str]) -> list[tuple[GcsAxis, str]]:
        pairs = [(self._axis(name), value) for name, value in groups(args, 2)]
        if len({axis.name for axis, _ in pairs}) < len(pairs):
            raise Refusal(Code.AXIS_TWICE)
        return pairs

    def _ask(self, text: Callable[[GcsAxis], str]) -> Handler:
        def answer(args: Sequence[str]) -> Lines:
            return [f"{axis.name}={text(axis)}" for axis in self._some(args)]

        return answer

    def _mov(self, args: Sequence[str]) -> None:
        self._go([(axis, number(text)) for axis, text in self._pairs(args)], relative=False)

    def _mvr(self, args: Sequence[str]) -> None:
        moves = [(axis, axis.target + number(text)) for axis, text in self._pairs(args)]
        self._go(moves, relative=True)

    def _go(self, moves: Sequence[tuple[GcsAxis, float]], *, relative: bool) -> None:
        # All or nothing: "when a part of a command line cannot be executed, the line is not
        # executed at all" (MS249E, GCS syntax).
        for axis, target in moves:
            if self._waves is not None and self._waves.drives(axis.name):
                raise Refusal(Code.WAVE_GENERATOR_ACTIVE)
            axis.check_target(target, relative=relative)
        for axis, target in moves:
            axis.move(target, self._now())

    def _set_position(self, args: Sequence[str]) -> None:
        for axis, text in self._pairs(args):
            axis.set_position(number(text), self._now())

    def _velocity(self, args: Sequence[str]) -> None:
        wanted = [(axis, number(text)) for axis, text in self._pairs(args)]
        for axis, velocity in wanted:
            axis.check_velocity(velocity)
        for axis, velocity in wanted:
            axis.set_velocity(velocity, self._now())

    def _acceleration(self, args: Sequence[str]) -> None:
        for axis, acceleration in self._accelerations(args):
            axis.set_acceleration(acceleration, self._now())

    def _deceleration(self, args: Sequence[str]) -> None:
        for axis, deceleration in self._accelerations(args):
            axis.set_deceleration(deceleration, self._now())

    def _accelerations(self, args: Sequence[str]) -> list[tuple[GcsAxis, float]]:
        wanted = [(axis, number(text)) for axis, text in self._pairs(args)]
        for axis, value in wanted:
            axis.check_acceleration(value)
        return wanted

    def _servo(self, args: Sequence[str]) -> None:
        states = [(axis, switch(text)) for axis, text in self._pairs(args)]
        for axis, on in states:
            if not on and self._waves is not None:
                self._waves.stop([axis.name])
            axis.switch_servo(on, self._now())

    def _reference_mode(self, args: Sequence[str]) -> None:
        for axis, on in [(axis, switch(text)) for axis, text in self._pairs(args)]:
            axis.reference_mode = on

    def _reference(self, args: Sequence[str]) -> None:
        axes = self._some(args)
        for axis in axes:
            axis.check_reference()
        for axis in axes:
            axis.start_reference(self._now())

    def _initialise(self, args: Sequence[str]) -> None:
        axes = self._some(args)
        if self._waves is not None:
            self._waves.stop([axis.name for axis in axes])
        for axis in axes:
            axis.initialise(self._now())

    def _halt(self, args: Sequence[str]) -> None:
        self._end(self._some(args), smoothly=True)

    def _stop(self, args: Sequence[str]) -> None:
        # STP takes no axes on these models and #24 cannot have any: everything stops.
        self._end(list(self.axes.values()), smoothly=False)

    def _end(self, axes: Sequence[GcsAxis], *, smoothly: bool) -> None:
        if self._waves is not None:
            self._waves.stop([axis.name for axis in axes])
        for axis in axes:
            if axis.moving(self._now()):
                axis.halt(self._now(), smoothly=smoothly)
        raise Refusal(Code.STOPPED)

    def _on_target(self, axis: GcsAxis) -> bool:
        busy = self._waves is not None and self._waves.drives(axis.name)
        return not busy and axis.on_target(self._now())

    def _moving_mask(self, args: Sequence[str]) -> Lines:
        bits = 0
        for bit, name in enumerate(self._slots):
            if name in self.axes and self.axes[name].moving(self._now()):
                bits |= 1 << bit
        return [f"{bits:X}"]

    def _ready(self, args: Sequence[str]) -> Lines:
        busy = any(axis.referencing for axis in self.axes.values())
        return ["\xb0" if busy else "\xb1"]

    def _registers(self, args: Sequence[str]) -> Lines:
        return [self._status(axis) for axis in self.axes.values()]

    def _register(self, args: Sequence[str]) -> Lines:
        wanted = groups(args, 2) if args else [(name, "1") for name in self.axes]
        answers: Lines = []
        for name, register in wanted:
            axis = self._axis(name)
            integer(register, 1, 1)
            answers.append(f"{name} 1={self._status(axis)}")
        return answers

    def _status(self, axis: GcsAxis) -> str:
        now = self._now()
        place = float(axis.stage.position(now))
        middle = (axis.stage.low + axis.stage.high) / 2
        flags = {
            _ON_TARGET: axis.on_target(now),
            _REFERENCING: axis.referencing,
            _IN_MOTION: axis.moving(now),
            _SERVO_ON: axis.servo,
            _POSITIVE_LIMIT: place >= axis.stage.high,
            _ABOVE_REFERENCE: place > middle,
            _NEGATIVE_LIMIT: place <= axis.stage.low,
        }
        return f"0x{sum(bit for bit, is_set in flags.items() if is_set):04X}"
