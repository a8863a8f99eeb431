"""Channels of the Channel Access server whose writes are carried out by somebody else.

caproto stores what clients write; here a record decides what becomes of it, so a write is
handed over and only what the record posts is stored and shown to clients.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from typing import Any

import caproto as ca
from caproto.asyncio.server import VirtualCircuit

from ._fields import MENUS, FieldSpec, Kind, Value

__all__ = ["WANTS_COMPLETION", "Circuit", "PutHandler", "make_channel"]

_log = logging.getLogger(__name__)

_PATIENCE = 100  # turns of the loop
_ENCODING = "latin-1"
_TEXT_LENGTH = 512

PutHandler = Callable[[Any], Awaitable[None]]
"""Carries out a write; returns when it is complete."""

WANTS_COMPLETION: ContextVar[bool] = ContextVar("WANTS_COMPLETION", default=False)
"""Whether the write being handled has a client waiting for its completion."""


class Circuit(VirtualCircuit):
    """A client's connection; tells handlers a write with completion from one without.

    Monitors are sent as soon as they are posted (caproto would collect them for 10 ms), and
    before the completion of the write that caused them: clients look at them then.
    """

    async def get_from_sub_queue(self, timeout: float | None = None) -> Any:
        if timeout is None:
            return await self.subscription_queue.get()
        return None if self.subscription_queue.empty() else self.subscription_queue.get_nowait()

    async def send(self, *commands: Any) -> None:
        if any(isinstance(command, ca.WriteNotifyResponse) for command in commands):
            await self._monitors_sent()
        await super().send(*commands)

    async def _process_command(self, command: Any) -> Any:
        WANTS_COMPLETION.set(isinstance(command, ca.WriteNotifyRequest))
        return await super()._process_command(command)

    async def _monitors_sent(self) -> None:
        for _ in range(_PATIENCE):  # a client that does not read must not stop its writes
            if self.context.subscription_queue.empty() and self.subscription_queue.empty():
                return
            await asyncio.sleep(0)


class _Handed(ca.ChannelData):
    """Mix-in: writes of clients go to `handler`; without one the channel is read-only."""

    handler: PutHandler | None = None

    def check_access(self, hostname: str, username: str) -> ca.AccessRights:
        if self.handler is None:
            return ca.AccessRights.READ
        return ca.AccessRights.READ | ca.AccessRights.WRITE

    async def verify_value(self, data: Any) -> Any:
        if self.handler is not None:
            await self.handler(data)
        raise ca.SkipWrite

    async def auth_write(self, *args: Any, **options: Any) -> Any:
        before = self.alarm.status, self.alarm.severity
        try:
            return await super().auth_write(*args, **options)
        except Exception as error:
            # caproto raises a WRITE alarm for a refused write; a record keeps its own state
            await self.alarm.write(status=before[0], severity=before[1])
            if not WANTS_COMPLETION.get():
                raise
            # an error message would leave the client waiting for its completion
            _log.debug("write refused: %s", error)
            return ca.CAStatus.ECA_PUTFAIL


class _Double(_Handed, ca.ChannelDouble):
    pass


class _Long(_Handed, ca.ChannelInteger):
    pass


class _Short(_Handed, ca.ChannelShort):
    pass


class _String(_Handed, ca.ChannelString):
    pass


class _Text(_Handed, ca.ChannelByte):
    """A character waveform holding a string, as records for paths are.

    caproto's own refuses empty strings, hence the bytes.
    """

    async def verify_value(self, data: Any) -> Any:
        return await super().verify_value(bytes(data).rstrip(b"\0").decode(_ENCODING))

    async def write(self, value: Any, **options: Any) -> Any:
        text = value.encode(_ENCODING) if isinstance(value, str) else value
        return await super().write(text, **options)


class _Menu(_Handed, ca.ChannelEnum):
    pass


_CLASSES: dict[Kind, type[_Handed]] = {
    Kind.DOUBLE: _Double,
    Kind.LONG: _Long,
    Kind.SHORT: _Short,
    Kind.STRING: _String,
}


def make_channel(
    spec: FieldSpec,
    value: Value,
    record_type: str,
    alarm: ca.ChannelAlarm,
    handler: PutHandler | None = None,
    labels: Sequence[str] = (),
) -> ca.ChannelData:
    """A channel for one field.

    Args:
        spec: the field.
        value: its first value.
        record_type: what clients asking for the record type are told.
        alarm: the record's alarm, shared by all its fields.
        handler: carries out writes; None makes the field read-only.
        labels: states of a menu field, by default those of its menu.
    """
    common = {"alarm": alarm, "reported_record_type": record_type}
    if spec.kind is Kind.MENU:
        states = tuple(labels or MENUS[spec.menu])
        channel: _Handed = _Menu(value=states[int(value)], enum_strings=states, **common)
    elif spec.kind is Kind.TEXT:
        text = str(value).encode(_ENCODING)
        channel = _Text(value=text, max_length=_TEXT_LENGTH, **common)
    else:
        channel = _CLASSES[spec.kind](value=value, **common)
    channel.handler = handler
    return channel
