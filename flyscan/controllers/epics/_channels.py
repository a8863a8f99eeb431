"""Channel Access as the bindings need it: a thin layer over aioca with errors that name things."""

from __future__ import annotations

import asyncio
import importlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, cast

from ...errors import ConfigurationError, ConnectionLostError

__all__ = ["ChannelAccess", "Update"]

SEVERITY_INVALID = 3
_CIRCUITS_CLOSE_S = 0.05


class _Subscription(Protocol):
    def close(self) -> None: ...


def _aioca() -> Any:
    """The library, imported late; it ships no type information."""
    return importlib.import_module("aioca")


@dataclass(frozen=True, slots=True)
class Update:
    """One event of a monitor.

    Args:
        connected: False for a lost connection; the other fields then mean nothing.
        value: the new value.
        time_ns: the IOC's time stamp, Unix nanoseconds.
        valid: False if the record is in INVALID alarm.
    """

    connected: bool
    value: float = 0.0
    time_ns: int = 0
    valid: bool = True


class ChannelAccess:
    """The process variables of one device.

    aioca is imported when the first channel is made, so that
    :func:`~flyscan.controllers.epics.use_channel_access` can be called after importing this
    package. aioca keeps channels for the life of the process; they are dropped when the last
    device of the process closes, so that no channel outlives the event loop it reports to.

    Args:
        device: name for error messages.
        timeout: seconds after which an IOC counts as lost.
    """

    _open: ClassVar[int] = 0

    def __init__(self, device: str, timeout: float) -> None:
        self._device = device
        self._timeout = timeout
        self._subscriptions: list[_Subscription] = []
        self._connected = False

    async def connect(self, pvs: Sequence[str]) -> None:
        """Make channels to all of `pvs`.

        Raises:
            ConnectionLostError: naming those nobody serves.
        """
        # Loading libca takes a second on a busy machine, too long for the others on this loop.
        aioca = await asyncio.to_thread(_aioca)
        if not self._connected:
            self._connected = True
            ChannelAccess._open += 1
        answers = await aioca.connect(list(pvs), timeout=self._timeout, throw=False)
        if missing := [a.name for a in answers if not a.ok]:
            raise self._lost(missing)

    async def close(self) -> None:
        """End monitors; drop all channels with the last device. Idempotent."""
        if not self._connected:
            return
        self._connected = False
        ChannelAccess._open -= 1
        aioca = _aioca()
        for subscription in self._subscriptions:
            subscription.close()
        self._subscriptions.clear()
        await asyncio.sleep(0)  # closing cancels tasks, which end in the next turn of the loop
        others = any(info.subscriber_count for info in aioca.get_channel_infos())
        if ChannelAccess._open == 0 and not others:
            aioca.purge_channel_caches()
            # libca closes circuits from its own threads. A channel made meanwhile may land on a
            # circuit about to close, and is then searched for again only after up to 10 s.
            await asyncio.sleep(_CIRCUITS_CLOSE_S)

    async def read(self, pvs: Sequence[str]) -> list[float]:
        """Present values as numbers; a menu gives its index.

        Raises:
            ConnectionLostError: an IOC does not answer.
            ConfigurationError: a value is not a number.
        """
        aioca = _aioca()
        values = await aioca.caget(list(pvs), timeout=self._timeout, throw=False)
        self._raise_for(pvs, values)
        return [self._number(pv, value) for pv, value in zip(pvs, values, strict=True)]

    async def read_text(self, pv: str) -> str:
        """Present value of a string field."""
        aioca = _aioca()
        value = await aioca.caget(pv, datatype=str, timeout=self._timeout, throw=False)
        self._raise_for([pv], [value])
        return str(value)

    async def describe(self, pv: str) -> tuple[str, int]:
        """Unit and precision of a number; ``""`` and 3 for records that have none.

        Raises:
            ConfigurationError: it is an array or a text.
        """
        aioca = _aioca()
        value = await aioca.caget(pv, format=aioca.FORMAT_CTRL, timeout=self._timeout, throw=False)
        self._raise_for([pv], [value])
        if value.element_count != 1 or value.datatype == aioca.DBR_STRING:
            raise ConfigurationError(
                f"expected one number from {pv}, got {value!r}",
                device=self._device,
                remedy="name a record whose value is one number",
            )
        return str(getattr(value, "units", "")), int(getattr(value, "precision", 3))

    async def writable(self, pv: str) -> bool:
        """Whether the IOC's access security lets us write."""
        aioca = _aioca()
        info = await aioca.cainfo(pv, timeout=self._timeout, throw=False)
        return bool(getattr(info, "write", False))

    async def write(self, pv: str, value: float) -> None:
        """Write and wait until the record has processed it.

        Raises:
            ConnectionLostError: the IOC did not confirm in time.
        """
        aioca = _aioca()
        self._raise_for(
            [pv], [await aioca.caput(pv, value, wait=True, timeout=self._timeout, throw=False)]
        )

    async def post(self, pv: str, value: float) -> None:
        """Send a value without waiting for the record."""
        aioca = _aioca()
        self._raise_for([pv], [await aioca.caput(pv, value, timeout=self._timeout, throw=False)])

    def watch(self, pv: str, callback: Callable[[Update], None]) -> None:
        """Call back with the present value, then with every change and lost connection."""
        aioca = _aioca()

        def receive(value: Any) -> None:
            callback(_update(value))

        self._subscriptions.append(
            aioca.camonitor(
                pv,
                receive,
                format=aioca.FORMAT_TIME,
                all_updates=True,
                notify_disconnect=True,
            )
        )

    def _number(self, pv: str, value: object) -> float:
        try:
            return float(cast("float", value))
        except (TypeError, ValueError) as exc:
            raise ConfigurationError(
                f"expected a number from {pv}, got {value!r}",
                device=self._device,
                remedy="name a record whose value is one number",
            ) from exc

    def _raise_for(self, pvs: Sequence[str], answers: Sequence[Any]) -> None:
        failed = [pv for pv, answer in zip(pvs, answers, strict=True) if not answer.ok]
        if failed:
            raise self._lost(failed)

    def _lost(self, pvs: Sequence[str]) -> ConnectionLostError:
        names = ", ".join(pvs[:3]) + (f" and {len(pvs) - 3} more" if len(pvs) > 3 else "")
        where = os.environ.get("EPICS_CA_ADDR_LIST") or "not set"
        return ConnectionLostError(
            f"no answer from {names} within {self._timeout:g} s",
            device=self._device,
            remedy="check the name, that the IOC runs, and that EPICS_CA_ADDR_LIST "
            f"({where}) reaches it",
        )


def _update(value: Any) -> Update:
    if not value.ok:
        return Update(connected=False)
    seconds, nanoseconds = value.raw_stamp
    return Update(
        connected=True,
        value=float(value),
        time_ns=int(seconds) * 1_000_000_000 + int(nanoseconds),
        valid=value.severity < SEVERITY_INVALID,
    )
