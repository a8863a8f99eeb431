"""What the fault script does to the box: lost triggers, cut lines, foreign clients."""

from __future__ import annotations

from flyscan.errors import ConfigurationError
from flyscan_sim.world import Fault, FaultScript

from ._buffer import BlockBuffer, Reader
from ._device import Client, Device
from ._engine import TICKS_PER_S
from ._experiment import Experiment
from ._names import find
from ._text import CommandError

__all__ = ["GARBAGE", "Troubles"]

GARBAGE = "\x00\x15~ garbage ~\x00"
TIMED = (
    "overrun",
    "close_data",
    "close_control",
    "late_arm",
    "slow_replies",
    "garbage",
    "foreign_reader",
    "foreign_write",
    "restart_panda",
)


class Troubles:
    """The fault script as one box suffers it.

    Times are those of the world's clock. `lost_trigger` and `doubled_trigger` count the triggers
    of PCAP since power-on. `overrun` makes the readers of the data port lose their place,
    `foreign_reader` is a client of the data port that takes no data.
    """

    def __init__(self, script: FaultScript) -> None:
        self._script = script
        self._intruder: tuple[Reader, Client] | None = None

    def spoilt_triggers(self, kind: str, seen: int) -> tuple[int, ...]:
        """Numbers of the triggers still to be spoilt; one meant for any occasion is the next."""
        return tuple(
            seen if fault.at == -1 else int(fault.at) for fault in self._script.pending(kind)
        )

    def note_spoilt(self, kind: str, numbers: tuple[int, ...]) -> None:
        """These triggers have been lost or doubled."""
        for number in numbers:
            self._script.take(kind, number)

    def active(self, kind: str, now: float) -> Fault | None:
        return self._script.active(kind, now, box="panda")

    def restart_due(self, now: float) -> bool:
        """Whether the box is to be switched off and on."""
        return self._script.due("restart_panda", now) is not None

    def next_change(self, now: float) -> float | None:
        """When the next fault begins or ends."""
        times = [
            time
            for kind in TIMED
            for fault in self._script.of(kind)
            for time in (fault.at, fault.end)
            if now < time < float("inf")
        ]
        return min(times, default=None)

    def apply(
        self, now: float, device: Device, experiment: Experiment, buffer: BlockBuffer
    ) -> None:
        """Let what is due at `now` happen."""
        experiment.clock_error_ns = round(self._script.clock_error("panda", now) * 1e9)
        late = self.active("late_arm", now)
        experiment.late_arm_ticks = round(late.number("delay") * TICKS_PER_S) if late else 0
        if self._script.due("overrun", now) is not None:
            buffer.overrun()
        while (write := self._script.due("foreign_write", now)) is not None:
            _write(device, write.text("field"), write.text("value"))
        self._intrude(now, device, buffer)

    def _intrude(self, now: float, device: Device, buffer: BlockBuffer) -> None:
        wanted = self.active("foreign_reader", now) is not None
        if wanted and self._intruder is None:
            reader = buffer.connect(lambda: None)
            client = Client("2000-01-01T00:00:00.000Z", "data", "10.0.0.99:40000")
            self._intruder = reader, client
            device.clients.append(client)
        elif not wanted and self._intruder is not None:
            reader, client = self._intruder
            buffer.disconnect(reader)
            device.clients.remove(client)
            self._intruder = None


def _write(device: Device, name: str, value: str) -> None:
    """A write by somebody else, with its effect on the change groups of everybody.

    Raises:
        ConfigurationError: the box has no such field or refuses the value.
    """
    try:
        target = find(device, name, numbered=True, star=False)
        if target.field is None:
            raise CommandError("Missing field name")
        if target.attribute is not None:
            target.attribute.assign(value, device.changes)
        else:
            target.field.assign(value)
    except CommandError as error:
        raise ConfigurationError(
            f"foreign_write: expected a write the box takes, {name}={value} gives: {error}",
            device="fault script",
            remedy="name a field of the box and a value it accepts",
        ) from error
