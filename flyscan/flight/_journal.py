"""The restore journal, as a flight sees it."""

from __future__ import annotations

from typing import Protocol

from ._contract import RestoreStep

__all__ = ["Journal"]


class Journal(Protocol):
    """Notes what has to be put back, outside of this process, before it is changed."""

    def note(self, controller: str, steps: tuple[RestoreStep, ...]) -> None:
        """Note what :meth:`restore` of a controller would write now; on disk on return."""
        ...

    def clear(self, controller: str) -> None:
        """Everything is back."""
        ...
