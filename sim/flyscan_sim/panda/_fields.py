"""Fields of block instances: what they answer, what they accept, when they last changed.

Behaviour after the "Fields" and "Commands" chapters of the PandABlocks-server documentation.
Fields hold the configuration; what only the FPGA knows is asked of a :class:`Hardware`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ._layout import FieldSpec
from ._text import CommandError

__all__ = ["Answer", "Attribute", "ChangeCounter", "Field", "Group", "Hardware"]

Answer = str | list[str]
"""One value, or the lines of a multi-value reply."""


class Hardware(Protocol):
    """What the server asks of and tells the FPGA."""

    def register(self, block: str, field: str) -> int:
        """Present value of a read register."""
        ...

    def bit(self, index: int) -> bool:
        """Present level of a bus bit."""
        ...

    def toggled(self, index: int) -> bool:
        """Whether a bus bit has changed since it was last asked."""
        ...

    def position(self, index: int) -> int:
        """Present value of a position bus entry, counts."""
        ...

    def queued_words(self, block: str) -> int:
        """Table words pushed to a block that it has not fetched yet."""
        ...

    def written(self, block: str, field: str) -> None:
        """A register of the block has been written; its field holds the new value."""
        ...


class Group(enum.Enum):
    """Change groups of ``*CHANGES``."""

    CONFIG = "CONFIG"
    BITS = "BITS"
    POSN = "POSN"
    READ = "READ"
    ATTR = "ATTR"
    TABLE = "TABLE"
    METADATA = "METADATA"


class ChangeCounter:
    """Numbers changes, so that each connection can ask what is newer than its last look."""

    def __init__(self) -> None:
        self._last = 1

    def next(self) -> int:
        self._last += 1
        return self._last


@dataclass(slots=True)
class Attribute:
    """One attribute of a field, e.g. PULSE1.WIDTH.UNITS.

    Attributes:
        reported: changes appear in ``*CHANGES.ATTR?``.
        polled: changed when its value differs from the one last seen.
    """

    name: str
    description: str
    read: Callable[[], Answer] | None = None
    write: Callable[[str], None] | None = None
    labels: tuple[str, ...] = ()
    reported: bool = False
    polled: bool = False
    index: int = 1
    last: Answer = ""

    def query(self) -> Answer:
        if self.read is None:
            raise CommandError("Attribute not readable")
        return self.read()

    def assign(self, text: str, changes: ChangeCounter) -> None:
        if self.write is None:
            raise CommandError("Attribute not writeable")
        self.write(text)
        self.index = changes.next()

    def changed(self, since: int, stamp: int) -> bool:
        """Whether it changed after `since`; a change found only now is dated `stamp`."""
        if self.polled:
            value = self.query()
            if value != self.last:
                self.index, self.last = stamp, value
        return (self.reported or self.polled) and self.index > since


class Field:
    """Base of all fields: readable only through its attributes."""

    group: Group | None = None

    def __init__(
        self, block: str, spec: FieldSpec, hardware: Hardware, changes: ChangeCounter
    ) -> None:
        self.block = block
        self.spec = spec
        self.hardware = hardware
        self.changes = changes
        self.index = 1
        self.attributes: dict[str, Attribute] = {}

    @property
    def label(self) -> str:
        return f"{self.block}.{self.spec.name}"

    @property
    def labels(self) -> tuple[str, ...]:
        """Enumeration labels of the value, empty if it has none."""
        return self.spec.labels

    def query(self) -> Answer:
        raise CommandError("Field not readable")

    def assign(self, text: str) -> None:
        raise CommandError("Field not writeable")

    def changed(self, since: int, stamp: int) -> bool:
        """Whether it changed after `since`; a change found only now is dated `stamp`."""
        return self.index > since

    def touch(self) -> None:
        """Note that the configuration of this field changed."""
        self.index = self.changes.next()

    def add(self, *attributes: Attribute) -> None:
        self.attributes.update({attribute.name: attribute for attribute in attributes})

    def add_info(self) -> None:
        self.add(Attribute("INFO", "Class information for field", lambda: self.spec.info))
