"""Motor driver of the simulated record: moves an axis and reads back its state."""

from __future__ import annotations

from flyscan.flight import Clock
from flyscan_sim.world import FaultScript, StageAxis

from ._values import MotorFields, nint

__all__ = ["Driver"]

_SETTLE_LAGS = 8  # time constants after which a closed loop reports "done"
_SLOWEST = 1e-9  # stands for zero where an axis wants a positive rate


class Driver:
    """What the motor controller does for the record: dial positions, an encoder, switches.

    Args:
        axis: what moves; dial units are its own.
        clock: the world's time.
        faults: a ``stall`` of the axis shows as a slip.
        fields: where read-backs go.
    """

    def __init__(
        self, axis: StageAxis, clock: Clock, faults: FaultScript, fields: MotorFields
    ) -> None:
        self.axis = axis
        self._clock = clock
        self._faults = faults
        self._fields = fields
        self._zero = 0.0  # axis position of dial zero

    @property
    def stands_at(self) -> float:
        """When the controller reports the motion done, s."""
        return self.axis.end_time() + _SETTLE_LAGS * self.axis.spec.lag

    def go(self, dial: float, speed: str, ramp: str) -> None:
        """Move to a dial position with the speed and ramp time of the fields named.

        With retries enabled moves are relative to the read-back, so that an error of the
        stage shrinks with each.
        """
        f, now = self._fields, self._clock.now()
        velocity = max(f[speed], f["VBAS"])
        rise = (velocity - f["VBAS"]) or velocity
        target = dial + self._zero
        if f["RTRY"]:
            target = float(self.axis.commanded(now)) + dial - f["DRBV"]
        self._drive(target, velocity, rise / f[ramp])

    def jog(self, forward: bool) -> None:
        """Run towards the end of the travel at JVEL, or change speed on the way there."""
        end = self.axis.high if forward else self.axis.low
        self._drive(end, self._fields["JVEL"], self._fields["JAR"])

    def home(self) -> bool:
        """Search the home mark, at axis position 0; whether that is forward."""
        f = self._fields
        self._drive(0.0, f["HVEL"], f["HVEL"] / f["ACCL"])
        return f["DRBV"] + self._zero < 0

    def halt(self) -> None:
        """Decelerate to a stop."""
        self.axis.halt()

    def load(self, dial: float) -> None:
        """Call the present position `dial`."""
        self._zero = float(self.axis.position(self._clock.now())) - dial

    def read(self, active: bool) -> None:
        """Read back position, switches and status; `active` if the record has set it moving."""
        f, axis, now = self._fields, self.axis, self._clock.now()
        position = float(axis.position(now))
        f.post("REP", nint((position - self._zero) / f["ERES"]))
        f.post("RMP", nint((float(axis.commanded(now)) - self._zero) / f["MRES"]))
        f.post("RRBV", f["REP"])
        f.post("DRBV", f["RRBV"] * f["ERES"])
        f.post("RBV", f.user(f["DRBV"]))
        f.difference()
        self._read_switches(position)
        speed = float(axis.velocity(now))
        if speed:
            f.post("TDIR", int(speed > 0))
        f.post("MOVN", int(active and now < self.stands_at))
        f.post("MSTA", self._status())

    def _read_switches(self, position: float) -> None:
        f, axis = self._fields, self.axis
        f.post("RHLS", int(position >= axis.high - f["MRES"]))
        f.post("RLLS", int(position <= axis.low + f["MRES"]))
        f.post("HLS", f["RHLS"] if f.direction > 0 else f["RLLS"])
        f.post("LLS", f["RLLS"] if f.direction > 0 else f["RHLS"])
        f.post("ATHM", int(abs(position) < f["MRES"]))

    def _status(self) -> int:
        """MSTA, bits as in the motor record's documentation."""
        f = self._fields
        slips = self._faults.active("stall", self._clock.now(), self.axis.name) is not None
        bits = {
            0: f["TDIR"],
            1: not f["MOVN"],
            2: f["RHLS"],
            3: f["ATHM"],
            6: slips,
            8: True,  # encoder present
            10: f["MOVN"],
            13: f["RLLS"],
            14: True,  # homed
        }
        return sum(1 << place for place, bit in bits.items() if bit)

    def _drive(self, target: float, velocity: float, acceleration: float) -> None:
        axis = self.axis
        axis.move(
            min(max(target, axis.low), axis.high),
            velocity=min(max(velocity, _SLOWEST), axis.max_velocity),
            acceleration=min(max(acceleration, _SLOWEST), axis.max_acceleration),
        )
