"""What boxes can do, as data."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import LimitError

__all__ = ["AxisLimits", "CaptureCapabilities", "Estimate", "MotionCapabilities"]

#: Limits are met to within the rounding of floats.
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class AxisLimits:
    """Limits of one axis in its user units.

    Args:
        low: lower end of travel.
        high: upper end of travel.
        velocity: highest speed, units per second, positive.
        acceleration: highest acceleration, units per second squared, positive.
        unit: name of the unit.
        settle: seconds of constant speed needed before the first trigger (lag, ringing).
        precision: digits worth showing after the decimal point.
    """

    low: float
    high: float
    velocity: float
    acceleration: float
    unit: str = ""
    settle: float = 0.0
    precision: int = 3

    def check_travel(self, device: str, target: float) -> None:
        """Raise LimitError, naming `device`, if `target` is outside the travel."""
        slack = ROUNDING * max(1.0, abs(self.low), abs(self.high))
        if not self.low - slack <= target <= self.high + slack:
            raise LimitError(
                f"target {target:g} {self.unit} is outside the travel "
                f"{self.low:g} to {self.high:g}",
                device=device,
                remedy="choose a target inside it",
            )

    def check_sense(self, device: str) -> None:
        """Raise LimitError, naming `device`, unless something can move within these limits."""
        positive = self.velocity > 0 and self.acceleration > 0
        if not (positive and self.settle >= 0 and self.low <= self.high):
            raise LimitError(
                f"limits make no sense: travel {self.low:g} to {self.high:g}, velocity "
                f"{self.velocity:g}, acceleration {self.acceleration:g}, settle {self.settle:g}",
                device=device,
                remedy="correct them in the controller or in its configuration",
            )

    def check_velocity(self, device: str, velocity: float) -> None:
        """Raise LimitError, naming `device`, if the speed is not above 0 and within the limit."""
        if not 0 < velocity <= self.velocity * (1 + ROUNDING):
            raise LimitError(
                f"velocity {velocity:g} {self.unit}/s, expected above 0 up to {self.velocity:g}",
                device=device,
                remedy="change the velocity, or the axis' limit if the stage can do more",
            )


@dataclass(frozen=True, slots=True)
class MotionCapabilities:
    """What a motion controller can do beyond a straight sweep at constant velocity.

    Args:
        velocity_in_flight: a retune acts on the sweep under way.
        curves: segments with `bounds` (any curve, several axes) can be flown as one sweep.
        profiles: a straight sweep may vary its speed (:attr:`Segment.schedule`, or `bounds` at
            uneven distances).
        profile_pieces: how many pieces of constant acceleration it may have; None for as many
            as wanted.
        horizon: seconds from a velocity command to its effect.
        together: several axes may move in one sweep in step with each other.
    """

    velocity_in_flight: bool = False
    curves: bool = False
    profiles: bool = False
    profile_pieces: int | None = None
    horizon: float = 0.0
    together: bool = False


@dataclass(frozen=True, slots=True)
class CaptureCapabilities:
    """What a capture box can do.

    Args:
        min_period: shortest time between triggers in seconds.
        block_period: longest time a row stays in the box before it is delivered, in seconds.
        position: can trigger by position.
        time: can trigger by time.
        live_share: share of a line's period for which every row of it is live, decided when the
            line begins: in flight, triggers must not come closer together than that.
        step_in_flight: the trigger step or period can change during a sweep.
        horizon: seconds from such a command to its effect, beside the points below.
        horizon_points: points from the next one on that are triggered as before nevertheless.
        holds_armed: stays armed through a hold, so that the next crossing is not lost.
        hardware: triggered in hardware; False means polled and joined by time stamps.
        rows_buffered: how many rows the box keeps for a reader that is late.
    """

    min_period: float
    block_period: float
    position: bool = True
    time: bool = True
    live_share: float = 0.0
    step_in_flight: bool = False
    horizon: float = 0.0
    horizon_points: int = 0
    holds_armed: bool = False
    hardware: bool = True
    rows_buffered: int = 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a flight will cost, from `validate`.

    Args:
        rows: frames planned.
        segments: sweeps planned.
        flying_s: seconds in which triggers come.
        turnaround_s: seconds between sweeps, from velocity and acceleration limits.
        remarks: what the user should know, such as rounding of the trigger step.
    """

    rows: int
    segments: int
    flying_s: float
    turnaround_s: float
    remarks: tuple[str, ...] = ()

    @property
    def duration_s(self) -> float:
        """Seconds from kickoff to the last frame."""
        return self.flying_s + self.turnaround_s
