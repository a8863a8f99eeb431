"""``*CHANGES``: what is new since a connection last looked, group by group."""

from __future__ import annotations

from collections.abc import Iterator

from ._device import Device
from ._fields import Field, Group
from ._text import CommandError

__all__ = ["ChangeReport", "parse_groups"]


def parse_groups(text: str) -> frozenset[Group]:
    """The groups named by what follows ``*CHANGES``: all, or one after a dot.

    Raises:
        CommandError: no such group.
    """
    if not text:
        return frozenset(Group)
    name = text[1:]
    if not text.startswith(".") or name not in Group.__members__:
        raise CommandError("Unknown changes selection")
    return frozenset({Group[name]})


class ChangeReport:
    """One connection's view of the changes."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._seen = dict.fromkeys(Group, 0)

    def restart(self, groups: frozenset[Group]) -> None:
        """``*CHANGES=S``: report everything again."""
        for group in groups:
            self._seen[group] = 0

    def skip(self, groups: frozenset[Group]) -> None:
        """``*CHANGES=E``: report only what changes from now on."""
        for _ in self.lines(groups):
            pass

    def lines(self, groups: frozenset[Group]) -> Iterator[str]:
        """Changes since the last look, in the server's order."""
        since = {group: self._seen[group] for group in groups}
        stamp = self._device.changes.next()
        self._seen.update(dict.fromkeys(groups, stamp))
        for instances in self._device.in_change_order():
            yield from _values(instances, since, stamp)
            if Group.ATTR in since:
                yield from _attributes(instances, since[Group.ATTR], stamp)
        if Group.METADATA in since:
            yield from self._metadata(since[Group.METADATA])

    def _metadata(self, since: int) -> Iterator[str]:
        for key, value in self._device.metadata.items():
            if value.kind == "constant" or value.index <= since:
                continue
            if value.kind == "multiline":
                yield f"*METADATA.{key}<"
            else:
                yield f"*METADATA.{key}={''.join(value.lines)}"


def _values(instances: list[Field], since: dict[Group, int], stamp: int) -> Iterator[str]:
    group = instances[0].group
    if group is None or group not in since:
        return
    for field in instances:
        if field.changed(since[group], stamp):
            yield f"{field.label}<" if group is Group.TABLE else f"{field.label}={_text(field)}"


def _text(field: Field) -> str:
    try:
        return str(field.query())
    except CommandError as error:
        return f"(error) {error}"


def _attributes(instances: list[Field], since: int, stamp: int) -> Iterator[str]:
    for name in instances[0].attributes:
        for field in instances:
            attribute = field.attributes[name]
            if attribute.changed(since, stamp):
                yield f"{field.label}.{name}={attribute.query()}"
