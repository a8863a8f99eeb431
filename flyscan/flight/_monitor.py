"""Slow channels that are watched during a flight and joined to the rows by time."""

from __future__ import annotations

from abc import ABC, abstractmethod

from ._block import Channel, FloatArray, IntArray

__all__ = ["Monitor"]


class Monitor(ABC):
    """A time-stamped scalar such as ring current, shutter state or an ion chamber's reading."""

    name: str

    @property
    @abstractmethod
    def channel(self) -> Channel:
        """The column joined to every row; float64, NaN before the first sample."""

    @abstractmethod
    async def connect(self) -> None:
        """Connect and subscribe. Idempotent.

        Raises:
            ConnectionLostError: nobody serves it.
        """

    @abstractmethod
    async def close(self) -> None:
        """Unsubscribe. Idempotent."""

    @abstractmethod
    def join(self, time_ns: IntArray) -> FloatArray:
        """The last sample at or before each time; NaN before the first and while disconnected."""

    @abstractmethod
    def drain(self) -> tuple[IntArray, FloatArray]:
        """Samples received since the last call: Unix nanoseconds and values, shapes ``(m,)``."""
