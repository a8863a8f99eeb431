"""A shutter behind an EPICS record."""

from __future__ import annotations

from ...errors import WatchdogError
from ...flight import Clock, RealClock, Shutter
from ._channels import ChannelAccess

__all__ = ["EpicsShutter"]

LOOK_S = 0.005


class EpicsShutter(Shutter):
    """Writes one of two values to a record; waits for its state where there is a read-back.

    Args:
        name: name in errors.
        pv: record to write.
        open_value, shut_value: what to write.
        readback: record that shows where the shutter is; None to wait for `travel` instead.
        open_state, shut_state: what it shows then; the values written, unless given.
        travel: seconds the shutter takes to move, and with a read-back the longest it may take.
        clock: time.
        timeout: seconds in which the IOC must answer.
    """

    def __init__(
        self,
        name: str,
        pv: str,
        *,
        open_value: float = 1.0,
        shut_value: float = 0.0,
        readback: str | None = None,
        open_state: float | None = None,
        shut_state: float | None = None,
        travel: float = 0.0,
        clock: Clock | None = None,
        timeout: float = 5.0,
    ) -> None:
        self.name = name
        self._pv = pv
        self._values = {True: open_value, False: shut_value}
        self._readback = readback
        self._states = {
            True: open_value if open_state is None else open_state,
            False: shut_value if shut_state is None else shut_state,
        }
        self._travel = travel
        self._clock = clock or RealClock()
        self._channels = ChannelAccess(name, timeout)
        self._connected = False

    async def connect(self) -> None:
        if not self._connected:
            await self._channels.connect([pv for pv in (self._pv, self._readback) if pv])
            self._connected = True

    async def close(self) -> None:
        self._connected = False
        await self._channels.close()

    async def open(self) -> None:
        await self._move(is_open=True)

    async def shut(self) -> None:
        if self._connected:
            await self._move(is_open=False)

    async def _move(self, *, is_open: bool) -> None:
        await self._channels.write(self._pv, self._values[is_open])
        if self._readback is None:
            await self._clock.sleep(self._travel)
            return
        state, late = self._states[is_open], self._clock.now() + self._travel
        while (found := (await self._channels.read([self._readback]))[0]) != state:
            if self._clock.now() > late:
                raise WatchdogError(
                    f"{self._readback} is {found:g}, expected {state:g} within {self._travel:g} s",
                    device=self.name,
                    remedy="check that the shutter is enabled and has air",
                )
            await self._clock.sleep(LOOK_S)
