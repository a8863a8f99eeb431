"""The ledger: what became of every planned point, segment by segment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["LedgerRow"]


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """The account of one segment.

    Args:
        flight: number of the flight in the run.
        segment: segment index in the flight's path.
        planned: points planned.
        captured: frames the capture box delivered for it, re-flown ones included.
        stored: frames written to the file.
        kept: points that have exactly one kept frame.
        missing: path indices without a frame.
        waived: points that a decision gave up: they are not flown.
        lost: path indices that got no row when they were due, once for every time; each was
            then flown again.
        holds: how many times it was held.
        sweeps: how many sweeps it took, 1 when undisturbed.
        phases: seconds spent, by phase: ``turnaround``, ``reconfiguration``, ``line``, ``waiting``.
    """

    flight: int
    segment: int
    planned: int
    captured: int
    stored: int
    kept: int
    missing: tuple[int, ...] = ()
    waived: int = 0
    lost: tuple[int, ...] = ()
    holds: int = 0
    sweeps: int = 1
    phases: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def closes(self) -> bool:
        """captured = stored, and every planned point is kept once or was given up."""
        complete = self.kept + self.waived == self.planned and not self.missing
        return self.captured == self.stored and complete

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        lists = {"missing": list(self.missing), "lost": list(self.lost)}
        return asdict(self) | lists | {"phases": dict(self.phases)}
