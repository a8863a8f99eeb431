"""Slow channels from EPICS records, joined to the rows of a flight by time."""

from __future__ import annotations

import logging
import math

from ...errors import ConfigurationError
from ...flight import Channel, Clock, FloatArray, IntArray, Monitor, RealClock, within
from ...flight._changed import Changed
from ...flight._watchdog import overdue
from ._channels import ChannelAccess, Update
from ._clock_offset import ClockOffset
from ._samples import Samples

__all__ = ["EpicsMonitor"]

_log = logging.getLogger(__name__)
#: An event stamped so far in our future, or before the one it follows, shows that the IOC's clock
#: was set: clocks that agree differ by 50 ms at most.
_STEP_NS = 100_000_000


class EpicsMonitor(Monitor):
    """A number served by EPICS, such as ring current, a shutter's state or an ion chamber.

    Samples carry the IOC's time stamps. When its clock differs from ours by more than 50 ms,
    the difference is taken off; it is estimated from the events that arrive between
    :meth:`connect` and the first :meth:`join` or :meth:`drain`, and constant from then on. A
    record that does not change in that time, such as a shutter, says nothing about its clock:
    give its `offset`, or keep the IOC's clock by NTP. When that clock is set later on, forward
    or back beyond the event before, stamps are taken to mean what they did before.

    A sample counts until the next one; NaN stands for times before the first, while the IOC is
    away and while the record is in INVALID alarm. Channel Access notices a cut cable only after
    ``EPICS_CA_CONN_TMO`` (30 s), a stopped IOC at once.

    Args:
        name: name of the column.
        pv: name of the record, or of a field of it.
        unit: physical unit; that of the record (EGU) if empty.
        offset: seconds the IOC's clock is ahead of ours; None estimates it.
        capacity: samples kept between two stores; more end in an error.
        clock: local time.
        timeout: seconds in which the IOC must answer.
    """

    def __init__(
        self,
        name: str,
        pv: str,
        unit: str = "",
        *,
        offset: float | None = None,
        capacity: int = 100_000,
        clock: Clock | None = None,
        timeout: float = 5.0,
    ) -> None:
        if capacity < 2:
            raise ConfigurationError(
                f"capacity must be at least 2 samples, got {capacity}",
                device=name,
                remedy="leave it at its default",
            )
        self.name = name
        self._pv = pv
        self._clock = clock or RealClock()
        self._timeout = timeout
        self._changed = Changed()
        self._channels = ChannelAccess(name, timeout)
        self._channel = Channel(name, unit=unit, source=f"ca://{pv}")
        self._samples = Samples(name, capacity)
        self._offset_ns = None if offset is None else round(offset * 1e9)
        self._estimate = ClockOffset()
        self._connected = False
        self._heard = False
        self._lost = False
        self._step_ns = 0
        self._last_ns = 0

    @property
    def channel(self) -> Channel:
        return self._channel

    @property
    def clock_offset(self) -> float:
        """Seconds by which the IOC's clock is taken to be ahead of ours."""
        return self._offset() / 1e9

    async def connect(self) -> None:
        if self._connected:
            return
        try:
            await self._channels.connect([self._pv])
            unit, precision = await self._channels.describe(self._pv)
            self._channel = Channel(
                self.name,
                unit=self._channel.unit or unit,
                source=self._channel.source,
                precision=precision,
            )
            self._channels.watch(self._pv, self._receive)
            late = overdue(self.name, f"the first value of {self._pv}", self._timeout, "")
            first = self._changed.wait_for(lambda: self._heard)
            await within(self._clock, self._timeout, first, late)
        except BaseException:
            await self._channels.close()
            raise
        self._connected = True

    async def close(self) -> None:
        self._connected = False
        await self._channels.close()

    def join(self, time_ns: IntArray) -> FloatArray:
        return self._samples.join(time_ns + self._settled_offset())

    def drain(self) -> tuple[IntArray, FloatArray]:
        times, values = self._samples.drain()
        return times - self._settled_offset(), values

    def _receive(self, update: Update) -> None:
        now_ns = self._clock.epoch_ns + round(self._clock.now() * 1e9)
        if not update.connected:
            self._lost = True
            self._samples.add(now_ns + self._offset(), math.nan)
            return
        # The first event of a subscription has a stamp of any age. After an absence its value
        # counts from its arrival: what happened in between is not known.
        first = self._lost or not self._heard
        self._estimate.observe(update.time_ns, now_ns, aged=first)
        stamp = self._stamp(update.time_ns, now_ns + self._offset(), first)
        if self._lost:
            stamp = max(stamp, now_ns + self._offset())
        self._lost, self._heard = False, True
        self._samples.add(stamp, update.value if update.valid else math.nan)
        self._changed.notify()

    def _stamp(self, time_ns: int, arrival_ns: int, first: bool) -> int:
        """A time stamp by the IOC's clock as if it had not been set meanwhile."""
        stamp = time_ns - self._step_ns
        ahead = stamp - arrival_ns > _STEP_NS and self._offset_ns is not None
        if ahead or (not first and self._last_ns - stamp > _STEP_NS):
            step = stamp - arrival_ns
            _log.warning("%s: the clock of its IOC was set by %+.3f s", self.name, step * 1e-9)
            self._step_ns += step
            stamp = arrival_ns
        self._last_ns = stamp
        return stamp

    def _offset(self) -> int:
        return self._estimate.ns if self._offset_ns is None else self._offset_ns

    def _settled_offset(self) -> int:
        """The offset, from now on constant, so that the times of a flight fit together."""
        self._offset_ns = self._offset()
        return self._offset_ns
