"""What every host offers its clients, wherever it runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

__all__ = ["EventCallback", "Host"]

EventCallback = Callable[[dict[str, Any]], None]


class Host(ABC):
    """A place where flights run.

    The methods are called from one event loop, usually the RunEngine's; answers and events are
    JSON-able. Cancelling a call does not cancel what it asked for.
    """

    def __init__(self) -> None:
        self._callbacks: dict[str, list[EventCallback]] = {}

    @abstractmethod
    async def start(self) -> None:
        """Start, or do nothing if started.

        Raises:
            HostError: it did not come up.
        """

    @abstractmethod
    async def call(self, method: str, **params: Any) -> Any:
        """Make a request and return its answer.

        Raises:
            FlyscanError: what the host answered, or HostError when it is gone.
        """

    @abstractmethod
    async def close(self) -> None:
        """Stop what flies, restore, end. Idempotent."""

    def subscribe(self, flyer: str, callback: EventCallback) -> None:
        """Have `callback` called, on the calling loop, with every event of a flyer. Idempotent."""
        callbacks = self._callbacks.setdefault(flyer, [])
        if callback not in callbacks:
            callbacks.append(callback)

    def unsubscribe(self, flyer: str, callback: EventCallback) -> None:
        """End a subscription."""
        self._callbacks.get(flyer, []).remove(callback)

    def _deliver(self, flyer: str, event: dict[str, Any]) -> None:
        for callback in tuple(self._callbacks.get(flyer, ())):
            callback(event)

    def _deliver_all(self, event: dict[str, Any]) -> None:
        for flyer in tuple(self._callbacks):
            self._deliver(flyer, event)
