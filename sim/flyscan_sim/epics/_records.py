"""Records as channels: a motor, an analogue input, a shutter."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import caproto as ca

from flyscan.flight import Clock
from flyscan_sim.world import Shutter

from ._channels import WANTS_COMPLETION, make_channel
from ._fields import FIELDS, MENUS, FieldSpec, Kind, Value
from ._motor import MotorRecord

__all__ = ["AnalogInput", "MotorChannels", "RecordChannels", "ShutterChannels"]

_IDLE_PERIOD_S = 1.0
_POSITIONS = {"VAL": ("LLM", "HLM"), "RBV": ("LLM", "HLM"), "DVAL": ("DLLM", "DHLM")}


class RecordChannels:
    """The channels of one record and their common alarm and time stamps."""

    def __init__(self, name: str, record_type: str, clock: Clock) -> None:
        self.name = name
        self.record_type = record_type
        self.clock = clock
        self.alarm = ca.ChannelAlarm()
        self.channels: dict[str, ca.ChannelData] = {}

    @property
    def database(self) -> dict[str, ca.ChannelData]:
        """Channels by full name; the record's own name is its VAL."""
        named = {f"{self.name}.{field}": channel for field, channel in self.channels.items()}
        return {self.name: self.channels["VAL"], **named}

    async def run(self) -> None:
        """Live until cancelled."""
        raise NotImplementedError

    async def post(self, field: str, value: Any) -> None:
        """Show a new value to clients, stamped with the world's time."""
        stamp = self.clock.epoch_ns * 1e-9 + self.clock.now()
        await self.channels[field].write(value, verify_value=False, timestamp=stamp)

    def add_texts(self, **texts: str) -> None:
        """Add constant string fields, the alarm fields and the record type among them."""
        spec = FieldSpec(Kind.STRING, "")
        for field, text in {**texts, "NAME": self.name, "RTYP": self.record_type}.items():
            self.channels[field] = make_channel(spec, text, self.record_type, self.alarm)
        for field in ("STAT", "SEVR"):
            self.channels[field] = make_channel(FIELDS[field], 0, self.record_type, self.alarm)


class MotorChannels(RecordChannels):
    """A motor record on the network.

    A write with completion ends when the record is done moving; as in an EPICS database
    further writes with completion to the same record wait for it, plain ones do not.
    """

    def __init__(self, record: MotorRecord, clock: Clock) -> None:
        super().__init__(record.name, "motor", clock)
        self._record = record
        self._completion = asyncio.Lock()
        self._posting = asyncio.Lock()
        self._at_rest = asyncio.Event()
        self._wake = asyncio.Event()
        self._at_rest.set()
        for field, spec in FIELDS.items():
            handler = self._handler(field) if spec.writable else None
            value = record.fields[field]
            self.channels[field] = make_channel(spec, value, "motor", self.alarm, handler)

    async def run(self) -> None:
        await self._describe()
        while True:
            self._wake.clear()
            due = self._record.next_update()
            if due is None:
                due = self.clock.now() + _IDLE_PERIOD_S
            await _first(self.clock.sleep_until(due), self._wake.wait())
            if self.clock.now() >= due:
                self._record.update()
                await self._publish()

    def _handler(self, field: str) -> Callable[[Any], Any]:
        async def put(value: Any) -> None:
            if WANTS_COMPLETION.get():
                async with self._completion:
                    await self._put(field, value)
                    if FIELDS[field].processes:
                        await self._at_rest.wait()
            else:
                await self._put(field, value)

        return put

    async def _put(self, field: str, value: Value) -> None:
        self._record.put(field, value)
        await self._publish()
        self._wake.set()

    async def _publish(self) -> None:
        """Show clients what the record has posted, in its order."""
        async with self._posting:
            posts = self._record.posts
            while posts:
                field, value = posts.pop(0)
                spec = FIELDS[field]
                await self.post(field, MENUS[spec.menu][int(value)] if spec.menu else value)
                if field == "SEVR":
                    status = self._record.fields["STAT"]
                    await self.alarm.write(status=status, severity=value)
                elif field in ("EGU", "PREC", "HLM", "LLM", "DHLM", "DLLM"):
                    await self._describe()
            if self._record.done:
                self._at_rest.set()
            else:
                self._at_rest.clear()

    async def _describe(self) -> None:
        """Units, precision and limits that clients are told with the values."""
        fields = self._record.fields
        for name, spec in FIELDS.items():
            if spec.kind is not Kind.DOUBLE:
                continue
            limits: dict[str, float] = {}
            if name in _POSITIONS:
                low, high = (fields[limit] for limit in _POSITIONS[name])
                limits = {"lower_ctrl_limit": low, "upper_ctrl_limit": high}
                limits |= {"lower_disp_limit": low, "upper_disp_limit": high}
            await self.channels[name].write_metadata(
                publish=False, units=fields["EGU"], precision=fields["PREC"], **limits
            )


class AnalogInput(RecordChannels):
    """An ``ai`` record that reads `read` every `period` seconds."""

    def __init__(
        self,
        name: str,
        clock: Clock,
        read: Callable[[], float],
        *,
        period: float,
        units: str,
        precision: int,
        description: str,
    ) -> None:
        super().__init__(name, "ai", clock)
        self._read = read
        self._period = period
        value = make_channel(FieldSpec(Kind.DOUBLE, 0.0), read(), "ai", self.alarm)
        self.channels["VAL"] = value
        self._units, self._precision = units, precision
        self.channels["PREC"] = make_channel(FIELDS["PREC"], precision, "ai", self.alarm)
        self.add_texts(DESC=description, EGU=units)

    async def run(self) -> None:
        await self.channels["VAL"].write_metadata(
            publish=False, units=self._units, precision=self._precision
        )
        due = self.clock.now()
        while True:
            await self.post("VAL", self._read())
            due = max(due + self._period, self.clock.now())
            await self.clock.sleep_until(due)


class ShutterChannels(RecordChannels):
    """A ``bo`` record that opens and closes a shutter; complete when the blade has arrived."""

    LABELS = ("Close", "Open")

    def __init__(self, name: str, clock: Clock, shutter: Shutter) -> None:
        super().__init__(name, "bo", clock)
        self._shutter = shutter
        spec = FieldSpec(Kind.MENU, 0, writable=True)
        opened = int(shutter.is_open(clock.now()))
        self.channels["VAL"] = make_channel(
            spec, opened, "bo", self.alarm, self._command, self.LABELS
        )
        self.status = _ShutterStatus(f"{name}:STATUS", clock, shutter)
        self.add_texts(DESC="Photon shutter", ZNAM=self.LABELS[0], ONAM=self.LABELS[1])

    async def run(self) -> None:
        await self.status.run()

    async def _command(self, value: int | str) -> None:
        opened = self.LABELS.index(value) if isinstance(value, str) else int(value)
        await self.post("VAL", self.LABELS[opened])
        arrival = self._shutter.open() if opened else self._shutter.close()
        self.status.changed.set()
        if WANTS_COMPLETION.get():
            await self.clock.sleep_until(arrival)

    @property
    def database(self) -> dict[str, ca.ChannelData]:
        return {**super().database, **self.status.database}


class _ShutterStatus(RecordChannels):
    """An ``mbbi`` record that says where the blade is."""

    LABELS = ("Closed", "Moving", "Open")

    def __init__(self, name: str, clock: Clock, shutter: Shutter) -> None:
        super().__init__(name, "mbbi", clock)
        self._shutter = shutter
        self.changed = asyncio.Event()
        self.channels["VAL"] = make_channel(
            FieldSpec(Kind.MENU, 0), self._state(), "mbbi", self.alarm, labels=self.LABELS
        )
        texts: Mapping[str, str] = {"DESC": "Photon shutter status"}
        self.add_texts(**texts)

    async def run(self) -> None:
        while True:
            await self.changed.wait()
            self.changed.clear()
            while self._shutter.moving(self.clock.now()):
                await self.post("VAL", self.LABELS[1])
                await self.clock.sleep(self._shutter.travel)
            await self.post("VAL", self.LABELS[self._state()])

    def _state(self) -> int:
        now = self.clock.now()
        if self._shutter.moving(now):
            return 1
        # the blade arrives at the very end of its travel
        return 2 if self._shutter.is_open(now + 1e-9) else 0


async def _first(*waits: Any) -> None:
    """Return when the first of `waits` is over; the others are cancelled."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
