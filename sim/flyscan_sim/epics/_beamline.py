"""The records of the default beamline, under the names clients use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flyscan_sim.world import World

from ._motor import MotorRecord
from ._records import AnalogInput, MotorChannels, RecordChannels, ShutterChannels
from ._values import MotorSettings

__all__ = ["Beamline"]

_MOTOR = MotorSettings(velocity=2.0, acceleration_time=0.1, max_velocity=5.0)


@dataclass(frozen=True)
class _Names:
    """Names of the records, without prefix."""

    ring: str = "RING:CURRENT"
    shutter: str = "SHUTTER"
    shutter_status: str = "SHUTTER:STATUS"
    ion_chamber: str = "I0"


class _IocClock:
    """The world's time with the wall clock of the IOC, which the fault script may step."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.now = world.clock.now
        self.sleep = world.clock.sleep
        self.sleep_until = world.clock.sleep_until

    @property
    def epoch_ns(self) -> int:
        error = self._world.faults.clock_error("ioc", self.now())
        return self._world.clock.epoch_ns + round(error * 1e9)


class Beamline:
    """Motor records, ring current (mA), shutter and ion chamber (counts/s) of a world.

    Args:
        world: what they act on.
        motors: record name without prefix to axis of the world.
        prefix: of all names.
        period: seconds between the readings of ring and ion chamber.
        settings: of all motors.
    """

    def __init__(
        self,
        world: World,
        motors: Mapping[str, str],
        *,
        prefix: str = "SIM:",
        period: float = 0.1,
        settings: MotorSettings = _MOTOR,
    ) -> None:
        self._world = world
        self.prefix = prefix
        self.names = _Names()
        self.motors = {
            f"{prefix}{name}": MotorRecord(
                f"{prefix}{name}", world.axes[axis], world.clock, world.faults, settings
            )
            for name, axis in motors.items()
        }
        self.records = self._records(period)

    def endpoints(self) -> dict[str, object]:
        """Names for clients, with their prefix."""
        names = self.names
        return {
            "prefix": self.prefix,
            "motors": list(self.motors),
            "ring": self.prefix + names.ring,
            "shutter": self.prefix + names.shutter,
            "shutter_status": self.prefix + names.shutter_status,
            "ion_chamber": self.prefix + names.ion_chamber,
        }

    def _records(self, period: float) -> list[RecordChannels]:
        world, names = self._world, self.names
        clock = _IocClock(world)

        def rate() -> float:
            now = clock.now()
            before = max(0.0, now - period)
            counts = world.counted("I0", [before, now])
            return float(counts[1] - counts[0]) / (now - before) if now > before else 0.0

        return [
            *(MotorChannels(record, clock) for record in self.motors.values()),
            AnalogInput(
                self.prefix + names.ring,
                clock,
                lambda: float(world.beam_current(clock.now())),
                period=period,
                units="mA",
                precision=3,
                description="Storage ring current",
            ),
            AnalogInput(
                self.prefix + names.ion_chamber,
                clock,
                rate,
                period=period,
                units="counts/s",
                precision=0,
                description="Incident intensity",
            ),
            ShutterChannels(self.prefix + names.shutter, clock, world.shutter),
        ]
