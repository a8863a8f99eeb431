"""Where a policy runs: on the flight host's loop, or in a process of its own."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar

from ._policy import LineContext, Plan, Situation
from ._rows import Rows
from ._steering import Decision, Steering

__all__ = ["LocalSeat", "Seat"]

T = TypeVar("T")


class Seat(ABC):
    """A :class:`Steering` whose calls may take time."""

    @property
    @abstractmethod
    def fault(self) -> str | None:
        """Why the policy was switched off; None while it works."""

    @property
    @abstractmethod
    def answered(self) -> bool:
        """Whether the last call was answered: what was not is no part of the record."""

    @abstractmethod
    def switch_off(self, fault: str, time: float) -> None:
        """Ask the policy no more."""

    @abstractmethod
    async def open(self) -> None:
        """Make it ready."""

    @abstractmethod
    async def begin(self, line: LineContext, time: float) -> Plan:
        """As :meth:`Steering.begin`."""

    @abstractmethod
    async def tell(self, rows: Rows, time: float) -> None:
        """As :meth:`Steering.tell`."""

    @abstractmethod
    async def ask(self, now: Situation) -> Decision | None:
        """As :meth:`Steering.ask`."""

    @abstractmethod
    async def end(self, time: float) -> dict[str, Any]:
        """As :meth:`Steering.end`."""

    @abstractmethod
    def fresh(self) -> list[Decision]:
        """Decisions since the last call."""

    @abstractmethod
    async def close(self) -> None:
        """Give everything back."""


class LocalSeat(Seat):
    """Calls the policy directly; for policies that answer within a fraction of a block.

    A call that took longer than `patience` has already kept the host from its other work, so
    the policy is switched off after it.

    Args:
        steering: the policy and its rail.
        patience: seconds of real time a call may take.
    """

    def __init__(self, steering: Steering, patience: float) -> None:
        self._steering = steering
        self._patience = patience
        self._shown = 0

    @property
    def fault(self) -> str | None:
        return self._steering.fault

    @property
    def answered(self) -> bool:
        return True

    def switch_off(self, fault: str, time: float) -> None:
        self._steering.switch_off(fault, time, cause="late")

    async def open(self) -> None:
        """Nothing to do."""

    async def begin(self, line: LineContext, time: float) -> Plan:
        return self._timed(lambda: self._steering.begin(line, time), time)

    async def tell(self, rows: Rows, time: float) -> None:
        self._timed(lambda: self._steering.tell(rows, time), time)

    async def ask(self, now: Situation) -> Decision | None:
        decision = self._timed(lambda: self._steering.ask(now), now.time)
        return None if self._steering.fault is not None else decision

    async def end(self, time: float) -> dict[str, Any]:
        return self._timed(self._steering.end, time)

    def fresh(self) -> list[Decision]:
        found = self._steering.decisions[self._shown :]
        self._shown += len(found)
        return found

    async def close(self) -> None:
        """Nothing to give back."""

    def _timed(self, call: Callable[[], T], now: float) -> T:
        began = time.perf_counter()
        answer = call()
        took = time.perf_counter() - began
        if took > self._patience and self._steering.fault is None:
            self.switch_off(f"a call took {took:.3g} s, {self._patience:g} s are allowed", now)
        return answer
