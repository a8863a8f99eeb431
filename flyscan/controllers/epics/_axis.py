"""One motor record over Channel Access: its monitored state, its speed, one move at a time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import fields

from ...errors import ConfigurationError, LimitError, MotionError
from ...flight import Clock, within
from ...flight._changed import Changed
from ...flight._watchdog import overdue
from ._channels import ChannelAccess, Update
from ._motor_record import AxisSettings, MotorRecord, Speed, faults

__all__ = ["MotorAxis"]

_FIELDS = tuple(field.name.upper() for field in fields(MotorRecord) if field.name != "egu")
_WRITTEN = ("VAL", "STOP", "VELO", "ACCL")
_ROUNDING = 1e-6


class MotorAxis:
    """A motor record as an axis of a motion.

    Args:
        device: name of the motion and the axis, for error messages.
        settings: how to drive it.
        channels: Channel Access.
        changed: told about every change of the monitored state.
    """

    def __init__(
        self,
        device: str,
        settings: AxisSettings,
        channels: ChannelAccess,
        changed: Changed,
        clock: Clock,
        timeout: float,
    ) -> None:
        self.device = device
        self.settings = settings
        self.moving = False
        self.lost_at: float | None = clock.now()
        self.status = 0
        self.ramp = 0.0
        self.readback = math.nan
        self.readback_ns = 0
        self._starts = 0
        self._events = 0
        self._channels = channels
        self._changed = changed
        self._clock = clock
        self._timeout = timeout

    # --- connection ------------------------------------------------------------------------

    @property
    def pvs(self) -> tuple[str, ...]:
        """Everything that is read, written or monitored."""
        return tuple(map(self.pv, (*_FIELDS, "EGU", "RTYP", "STOP")))

    def pv(self, field: str) -> str:
        """Full name of a field."""
        return f"{self.settings.pv}.{field}"

    async def begin(self) -> None:
        """Check what was connected and start its monitors.

        Raises:
            ConfigurationError: it is not a motor record, or may not be written by us.
        """
        kind = await self._channels.read_text(self.pv("RTYP"))
        if kind != "motor":
            raise ConfigurationError(
                f"expected a motor record, {self.settings.pv} is of type {kind!r}",
                device=self.device,
                remedy="name a motor record as 'pv', without a field",
            )
        allowed = [await self._channels.writable(self.pv(field)) for field in _WRITTEN]
        if not all(allowed):
            raise ConfigurationError(
                f"{self.settings.pv} may not be written from here",
                device=self.device,
                remedy="ask for write access (Channel Access security) for this host and user",
            )
        self._channels.watch(self.pv("DMOV"), self._on_done)
        self._channels.watch(self.pv("MSTA"), self._on_status)
        self._channels.watch(self.pv("RBV"), self._on_readback)
        await self.until(
            lambda: self.connected and not math.isnan(self.readback),
            self._timeout,
            "the first monitor events",
        )

    def _on_done(self, update: Update) -> None:
        if update.connected:
            self.lost_at = None
            self._events += 1
            self._set_moving(update.value == 0)
        elif self.lost_at is None:
            self.lost_at = self._clock.now()
        self._changed.notify()

    def _set_moving(self, moving: bool) -> None:
        self._starts += moving and not self.moving
        self.moving = moving

    def _on_status(self, update: Update) -> None:
        if update.connected:
            self.status = int(update.value)
            self._changed.notify()

    def _on_readback(self, update: Update) -> None:
        if update.connected:
            self.readback, self.readback_ns = update.value, update.time_ns
            self._changed.notify()

    @property
    def connected(self) -> bool:
        """The monitors are alive."""
        return self.lost_at is None

    # --- state -----------------------------------------------------------------------------

    async def record(self) -> MotorRecord:
        """All fields that matter, read now."""
        numbers, unit = await asyncio.gather(
            self._channels.read([self.pv(field) for field in _FIELDS]),
            self._channels.read_text(self.pv("EGU")),
        )
        values = dict(zip(map(str.lower, _FIELDS), numbers, strict=True))
        return MotorRecord(**values, egu=unit)

    async def position(self) -> float:
        """RBV, read now, in EGU."""
        return (await self._channels.read([self.pv("RBV")]))[0]

    async def until(
        self, condition: Callable[[], bool], seconds: float, expected: str, remedy: str = ""
    ) -> None:
        """Wait for a condition on monitored values.

        Raises:
            WatchdogError: it did not come true in `seconds`.
        """
        late = overdue(
            self.device,
            expected,
            seconds,
            remedy or f"look at {self.settings.pv} on its motor screen and at its IOC",
        )
        await within(self._clock, seconds, self._changed.wait_for(condition), late)

    # --- moves -----------------------------------------------------------------------------

    async def set_speed(self, speed: Speed) -> None:
        """Write VELO and ACCL for the next move and read back what the record made of them.

        The record keeps VELO within VBAS..VMAX without saying so, and recomputes ACCL from a
        new VELO where ACCU says so: hence the order.

        Raises:
            LimitError: the record took another value.
        """
        self.ramp = speed.accl
        for field, wanted in (("VELO", speed.velo), ("ACCL", speed.accl)):
            await self._channels.write(self.pv(field), wanted)
            (taken,) = await self._channels.read([self.pv(field)])
            if not math.isclose(taken, wanted, rel_tol=_ROUNDING):
                raise LimitError(
                    f"asked for {field} = {wanted:g}, the record took {taken:g}",
                    device=self.device,
                    remedy=f"stay within {self.settings.pv}.VBAS and VMAX: use another period "
                    "per point or step",
                )

    async def leave_speed(self, speed: Speed) -> None:
        """Put VELO and ACCL back without waiting: a moving record confirms at its next rest."""
        await self._channels.post(self.pv("VELO"), speed.velo)
        await self._channels.post(self.pv("ACCL"), speed.accl)

    async def go(self, target: float) -> None:
        """Write VAL; return when the record has accepted the move.

        Raises:
            LimitError: the record refuses the target.
            WatchdogError: the record does not react.
        """
        before = self._starts
        await self._channels.post(self.pv("VAL"), target)
        await self.until(
            lambda: self._starts > before,
            self._timeout,
            f"DMOV = 0 after writing VAL = {target:g}",
            f"check that {self.settings.pv}.DISP and DISA do not disable the record",
        )
        violated, taken = await self._channels.read([self.pv("LVIO"), self.pv("VAL")])
        if violated:
            low, high = await self._channels.read([self.pv("LLM"), self.pv("HLM")])
            raise LimitError(
                f"the record refuses to go to {target:g}, soft limits are {low:g} to {high:g}, "
                f"VAL stays {taken:g}",
                device=self.device,
                remedy="move or shrink the path, or widen LLM and HLM",
            )

    async def halt(self) -> None:
        """Write STOP; the record decelerates and sets VAL to RBV.

        DMOV is read afterwards, since the event that tells of a move just begun may still be
        on its way; an event that overtakes the answer is the newer news.
        """
        await self._channels.post(self.pv("STOP"), 1)
        events = self._events
        (done,) = await self._channels.read([self.pv("DMOV")])
        if self._events == events:
            self._set_moving(done == 0)

    async def misses(self, target: float, tolerance: float) -> float | None:
        """By how much it stands away from `target`, read now; None if it has arrived.

        Raises:
            MotionError: MSTA reports a stall, a limit switch or a driver problem.
        """
        position, status = await self._channels.read([self.pv("RBV"), self.pv("MSTA")])
        self.raise_for(int(status), target)
        return position - target if abs(position - target) > tolerance else None

    def raise_for(self, status: int, target: float) -> None:
        """Raise MotionError for the faults in `status`."""
        if found := faults(status):
            raise MotionError(
                f"{' and '.join(found)} on the way to {target:g}, at {self.readback:g}",
                device=self.device,
                remedy=f"free the stage, clear the fault ({self.settings.pv}.MSTA = {status:#x})",
            )
