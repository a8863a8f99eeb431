"""A policy that proposes another speed for every block; the speed tells for which."""

from __future__ import annotations

from dataclasses import dataclass, field

from flyscan.adaptive import LineContext, Plan, Policy, Proposal, Retune, Rows, Situation

__all__ = ["Restless", "rows_told"]

CODES = 10_000
STEP = 1e-6
"""Relative difference between the speeds for one row and the next."""


def rows_told(velocity: float, planned: float) -> int:
    """How many rows, modulo `CODES`, had come when a velocity was proposed."""
    return round((velocity / planned - 1.0) / STEP)


@dataclass(eq=False)
class Restless(Policy):
    """Flies up to a hundredth faster than planned, always at another speed."""

    _speed: float = field(default=0.0, init=False, repr=False)
    _told: int = field(default=0, init=False, repr=False)
    _answered: int = field(default=0, init=False, repr=False)

    def begin(self, line: LineContext) -> Plan:
        self._speed, self._answered = line.velocity, self._told
        return Plan(None, "another speed for every block")

    def tell(self, rows: Rows) -> None:
        self._told = rows.end

    def ask(self, now: Situation) -> Proposal | None:
        if now.at_end or now.held or self._told == self._answered:
            return None
        self._answered = self._told
        return Retune("a block came", velocity=self._speed * (1 + STEP * (self._told % CODES)))
