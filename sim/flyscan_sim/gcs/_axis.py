"""One axis of a controller: servo, reference, limits and motion of a stage of the world.

The controller counts positions from its own origin. A box with incremental sensors calls the
place where it was switched on 0 and learns the true origin by a reference move; one with
absolute sensors always knows it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ._errors import Code, Refusal
from ._profile import Profile

if TYPE_CHECKING:
    from flyscan_sim.world import StageAxis

__all__ = ["GcsAxis"]

Floats = NDArray[np.float64]

_SUPERVISION_S = 1e-3  # how often the position error is looked at


class GcsAxis:
    """Positions in the stage's unit, counted from the controller's origin; times in s.

    Args:
        name: identifier on the wire.
        stage: the stage moved.
        profile: the controller model.
        homed: whether a reference move was made and the servo switched on before.
        now: time of power-on.
    """

    def __init__(
        self, name: str, stage: StageAxis, profile: Profile, *, homed: bool, now: float
    ) -> None:
        self.name = name
        self.stage = stage
        self.referenced = homed or not profile.incremental
        self.servo = homed
        self.reference_mode = True
        self.velocity = stage.max_velocity
        self.acceleration = stage.max_acceleration
        self.deceleration = stage.max_acceleration
        self._profile = profile
        self._referencing_until: float | None = None
        self._supervised = now
        resting = float(stage.commanded(now))
        self._origin = 0.0 if self.referenced else resting
        self.target = resting - self._origin

    @property
    def low(self) -> float:
        """Lowest commandable position."""
        return self.stage.low

    @property
    def high(self) -> float:
        """Highest commandable position."""
        return self.stage.high

    @property
    def referencing(self) -> bool:
        """Whether a reference move is under way (as of the last :meth:`update`)."""
        return self._referencing_until is not None

    def commanded(self, times: Floats | float) -> Floats:
        """Set-point trajectory at `times`."""
        return np.asarray(self.stage.commanded(times), dtype=np.float64) - self._origin

    def commanded_velocity(self, times: Floats | float) -> Floats:
        """Set-point velocity at `times`, unit/s."""
        return np.asarray(self.stage.velocity(times), dtype=np.float64)

    def positions(self, times: Floats | float) -> Floats:
        """Measured positions at `times`, in whole encoder counts."""
        counts = np.round(np.asarray(self.stage.position(times)) / self.stage.resolution)
        return counts * self.stage.resolution - self._origin

    def position(self, now: float) -> float:
        """Measured position."""
        return float(self.positions(now))

    def moving(self, now: float) -> bool:
        """Whether the set-point is on its way."""
        return bool(self.stage.moving(now))

    def on_target(self, now: float) -> bool:
        """Whether the position is in the window around the target since the settling time.

        That is all the manuals ask for: a slow approach is on target before its motion ends.
        """
        if not self.servo:
            return False
        window = self._profile.window * self.stage.resolution
        recent = self.positions(np.array([now - self._profile.settle, now]))
        return bool(np.all(np.abs(recent - self.target) <= window))

    def check_target(self, target: float, *, relative: bool = False) -> None:
        """Refuse a target as the box does: 5 without servo or reference, 7 beyond the limits."""
        known = self.referenced or (relative and not self.reference_mode)
        if not self.servo or not known or self.referencing:
            raise Refusal(Code.NO_REFERENCE_OR_SERVO_OFF)
        slack = self.stage.resolution / 2
        if not self.low - slack <= target <= self.high + slack:
            raise Refusal(Code.POSITION_LIMIT)

    def move(self, target: float, now: float) -> None:
        """Go to `target` (checked before) with the present velocity and acceleration."""
        self.target = min(max(target, self.low), self.high)
        self._drive(self.target + self._origin, now)

    def halt(self, now: float, *, smoothly: bool) -> None:
        """Stop: smoothly with the set deceleration, otherwise as fast as the stage can."""
        self._referencing_until = None
        hardest = self.stage.max_acceleration
        self.stage.halt(deceleration=self.deceleration if smoothly else hardest, at=now)
        self.target = float(self.commanded(max(now, self.stage.end_time())))

    def follow(self, times: Floats, path: Floats, now: float) -> None:
        """Output a waveform: positions `path` at seconds `times` after `now`, within the travel."""
        self.stage.follow(times, path + self._origin, at=now)
        self.target = float(path[-1])

    def switch_servo(self, on: bool, now: float) -> None:
        """Servo on holds the present place; off ends every motion."""
        if on == self.servo:
            return
        if self.moving(now):
            self.halt(now, smoothly=False)
        self.target = float(self.commanded(max(now, self.stage.end_time())))
        self.servo = on

    def check_velocity(self, velocity: float) -> None:
        """Refuse a velocity the stage cannot do."""
        if not 0 < velocity <= self.stage.max_velocity * (1 + 1e-9):
            raise Refusal(Code.VELOCITY_LIMIT)

    def set_velocity(self, velocity: float, now: float) -> None:
        """Set the velocity; a motion under way follows if the model can do that."""
        self.velocity = min(velocity, self.stage.max_velocity)
        if self._profile.velocity_in_flight and self.moving(now):
            self.stage.set_velocity(self.velocity, at=now)

    def check_acceleration(self, acceleration: float) -> None:
        """Refuse an acceleration or deceleration the stage cannot do."""
        if not 0 < acceleration <= self.stage.max_acceleration * (1 + 1e-9):
            raise Refusal(Code.OUT_OF_RANGE)

    def set_acceleration(self, acceleration: float, now: float) -> None:
        """Set the acceleration; a motion under way follows if the model can do that."""
        self.acceleration = acceleration
        self._replan(now)

    def set_deceleration(self, deceleration: float, now: float) -> None:
        """Set the deceleration of moves and halts, as :meth:`set_acceleration`."""
        self.deceleration = deceleration
        self._replan(now)

    def check_reference(self) -> None:
        """Refuse a reference move without reference mode or, on some models, without servo."""
        if not self.reference_mode:
            raise Refusal(Code.REFERENCE_SWITCHED_OFF)
        if self._profile.reference_needs_servo and not self.servo:
            raise Refusal(Code.NO_REFERENCE_OR_SERVO_OFF)

    def start_reference(self, now: float) -> None:
        """Begin the move to the reference switch; the axis is unreferenced until it ends."""
        self.referenced = False
        switch = self.low + self._profile.reference_at * (self.high - self.low)
        self._referencing_until = self._drive(switch, now)

    def set_position(self, position: float, now: float) -> None:
        """Call the present place `position` (only without reference mode)."""
        if self.reference_mode:
            raise Refusal(Code.REFERENCE_SWITCHED_ON)
        self._origin = float(self.stage.commanded(now)) - position
        self.target = position
        self.referenced = True

    def initialise(self, now: float) -> None:
        """``INI``: stop; a box with incremental sensors forgets its reference and its servo."""
        if self.moving(now):
            self.halt(now, smoothly=False)
        if self._profile.incremental:
            self.servo = False
            self.referenced = False

    def update(self, now: float) -> Code:
        """Let pass what happened until `now`: end of a reference move, loss of the servo.

        Returns:
            the asynchronous error that arose, or `Code.NO_ERROR`.
        """
        if self._referencing_until is not None and now >= self._referencing_until:
            self._referencing_until = None
            self._origin = 0.0
            self.referenced = True
            self.target = float(self.commanded(now))
        if self._lost_control(now):
            self.switch_servo(False, now)
            return Code.MOTION_ERROR
        return Code.NO_ERROR

    def _lost_control(self, now: float) -> bool:
        limit = self._profile.error_limit
        if limit is None or not self.servo or now < self._supervised + _SUPERVISION_S:
            return False
        self._supervised = now
        error = abs(self.position(now) - float(self.commanded(now)))
        return error > limit * self.stage.resolution

    def _drive(self, place: float, now: float) -> float:
        # Without a reference the box may aim beyond the travel: the limit switch ends that.
        within = min(max(place, self.stage.low), self.stage.high)
        return self.stage.move(
            within,
            velocity=self.velocity,
            acceleration=self.acceleration,
            deceleration=self.deceleration,
            at=now,
        )

    def _replan(self, now: float) -> None:
        if self._profile.velocity_in_flight and self.moving(now) and not self.referencing:
            self._drive(self.target + self._origin, now)
