"""A shutter that keeps the beam off the sample while no rows are taken."""

from __future__ import annotations

from abc import ABC, abstractmethod

__all__ = ["Shutter"]


class Shutter(ABC):
    """Open while a sweep is flown, shut while the stage turns around, holds or rests.

    A flight opens it when the triggers of a sweep are ready and waits until it is open; it shuts
    it when the sweep is over or held, and on every exit. Found open it is left shut.
    """

    name: str

    @abstractmethod
    async def connect(self) -> None:
        """Connect. Idempotent. Changes nothing.

        Raises:
            ConnectionLostError: nobody answers.
        """

    @abstractmethod
    async def close(self) -> None:
        """Disconnect; the shutter stays as it is. Idempotent."""

    @abstractmethod
    async def open(self) -> None:
        """Let the beam through; return when it is open.

        Raises:
            WatchdogError: it did not open in time.
        """

    @abstractmethod
    async def shut(self) -> None:
        """Keep the beam off; return when it is shut. Safe at any time, any number of times."""
