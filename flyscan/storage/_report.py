"""What the check of a file reports."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ._documents import DocumentsReport
from ._problem import Kind, Problem

__all__ = ["CheckReport", "FlightReport"]


@dataclass(frozen=True, slots=True)
class FlightReport:
    """One flight in a file.

    Args:
        flight: its number in the run.
        points: points planned, those of appended segments included.
        segments: segments planned, and those appended by decisions.
        frames: frames stored, re-flown ones included.
        kept: points with exactly one kept frame.
        closed: segments whose ledger row closes.
        waived: points that a decision gave up.
        lost: how often a point had to be flown again because its trigger made no row.
    """

    flight: int
    points: int
    segments: int
    frames: int
    kept: int
    closed: int
    waived: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a check found.

    Args:
        path: the file.
        frames: complete frames in it.
        clean: False if its writer has it open or was killed.
        flights: one entry per flight.
        documents: what documents say, if any were given.
        problems: everything that is wrong.
    """

    path: str
    frames: int
    clean: bool
    flights: tuple[FlightReport, ...]
    documents: DocumentsReport | None
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Nothing is wrong: every planned point is there once, in file and documents."""
        return not self.problems

    @property
    def intact(self) -> bool:
        """Everything that is there is right, though something may be missing."""
        return all(problem.kind is Kind.INCOMPLETE for problem in self.problems)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self) | {"ok": self.ok, "intact": self.intact}

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        state = "closed" if self.clean else "not closed: being written, or its writer was killed"
        yield f"{self.path}: {self.frames} frames, {state}"
        for flight in self.flights:
            waived = f"{flight.waived} given up, " if flight.waived else ""
            lost = f"{flight.lost} points flown again, " if flight.lost else ""
            yield (
                f"flight {flight.flight}: {flight.kept} of {flight.points} points kept once, "
                f"{waived}{flight.frames} frames, {lost}"
                f"{flight.closed} of {flight.segments} segments closed"
            )
        if self.documents is not None:
            yield (
                f"documents: {len(self.documents.described)} columns described, "
                f"{self.documents.undescribed} frames not described, "
                f"run {self.documents.exit_status or 'without stop document'}"
            )
        yield from map(str, self.problems)
        yield "ok" if self.ok else f"not ok: {len(self.problems)} problems"
