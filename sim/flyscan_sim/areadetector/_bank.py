"""Process variables made from a table: settings with their read-backs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import caproto as ca

from flyscan.flight import Clock
from flyscan_sim.epics._channels import PutHandler, make_channel
from flyscan_sim.epics._fields import FieldSpec, Kind, Value

from ._tables import Pv

__all__ = ["Bank"]

Writer = Callable[[Any], Awaitable[None]]


class Bank:
    """The variables under one prefix and their present values.

    A write stores the value and shows it in the read-back; names in `actions` do what the
    action does instead.

    Args:
        prefix: of all names.
        table: what there is.
        actions: what writes to some of them do, given the value (a menu's label).
    """

    def __init__(
        self, prefix: str, table: Iterable[Pv], clock: Clock, actions: dict[str, Writer]
    ) -> None:
        self._clock = clock
        self._actions = actions
        self._alarm = ca.ChannelAlarm()
        self._rows = {row.name: row for row in table}
        self._values: dict[str, Value] = {row.name: row.initial for row in self._rows.values()}
        self._channels: dict[str, list[ca.ChannelData]] = {}
        self.database: dict[str, ca.ChannelData] = {}
        for row in self._rows.values():
            self._channels[row.name] = []
            for name, writable in row.names:
                handler = self._handler(row) if writable else None
                spec = FieldSpec(row.kind, row.initial)
                channel = make_channel(spec, row.initial, "", self._alarm, handler, row.labels)
                self._channels[row.name].append(channel)
                self.database[prefix + name] = channel

    def number(self, name: str) -> float:
        """A numeric value."""
        return float(self._values[name])

    def text(self, name: str) -> str:
        """A text, or the label of a menu."""
        row, value = self._rows[name], self._values[name]
        return row.labels[int(value)] if row.labels else str(value)

    async def post(self, **values: Any) -> None:
        """Show new values; menus by label or index."""
        stamp = self._clock.epoch_ns * 1e-9 + self._clock.now()
        for name, value in values.items():
            row = self._rows[name]
            if row.kind is Kind.MENU:
                value = row.labels.index(value) if isinstance(value, str) else int(value)
                self._values[name], value = value, row.labels[value]
            else:
                self._values[name] = value
            for channel in self._channels[name]:
                await channel.write(value, verify_value=False, timestamp=stamp)

    def _handler(self, row: Pv) -> PutHandler:
        async def put(value: Any) -> None:
            if row.kind is Kind.MENU and not isinstance(value, str):
                value = row.labels[int(value)]
            action = self._actions.get(row.name)
            if action is None:
                await self.post(**{row.name: value})
            else:
                await action(value)

        return put
