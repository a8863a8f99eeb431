"""What a check finds wrong."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Kind", "Problem"]


class Kind(StrEnum):
    """How bad a problem is."""

    INCOMPLETE = "incomplete"
    """Points were not flown, or the writer was killed: what is there is right."""
    DAMAGED = "damaged"
    """The file contradicts itself: frames lost, doubled or out of order."""
    DOCUMENTS = "documents"
    """The documents contradict the file or themselves."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, in a sentence that names flight, segment and numbers."""

    kind: Kind
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"
