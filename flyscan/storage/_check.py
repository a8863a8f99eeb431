"""Check of a run's file: against itself, its paths, its ledger and the documents."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import FlyscanError, StorageError
from ..flight import LedgerRow, Path
from ._documents import Documents, DocumentsReport, check_documents, read_documents
from ._errors import storage_error
from ._h5 import h5py
from ._problem import Kind, Problem
from ._read import frame_columns, read_ledger, read_paths
from ._superblock import Superblock
from ._tally import FlightTally, tally_flights

__all__ = ["CheckReport", "FlightReport", "check_file"]


@dataclass(frozen=True, slots=True)
class FlightReport:
    """One flight in a file.

    Args:
        flight: its number in the run.
        points: points planned.
        segments: segments planned.
        frames: frames stored, re-flown ones included.
        kept: points with exactly one kept frame.
        closed: segments whose ledger row closes.
    """

    flight: int
    points: int
    segments: int
    frames: int
    kept: int
    closed: int


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
            yield (
                f"flight {flight.flight}: {flight.kept} of {flight.points} points kept once, "
                f"{flight.frames} frames, {flight.closed} of {flight.segments} segments closed"
            )
        if self.documents is not None:
            yield (
                f"documents: {len(self.documents.described)} columns described, "
                f"{self.documents.undescribed} frames not described, "
                f"run {self.documents.exit_status or 'without stop document'}"
            )
        yield from map(str, self.problems)
        yield "ok" if self.ok else f"not ok: {len(self.problems)} problems"


def check_file(path: str | os.PathLike[str], documents: Documents | None = None) -> CheckReport:
    """Check a run's file, also while it is written and after its writer was killed.

    Verified: equal lengths of all columns; every planned point of every flight kept once,
    under its own segment; times in order; a closing ledger row for every segment that agrees
    with the frames; with `documents`, indices and seq_nums without gap or overlap, and nothing
    described that the file does not have.

    Args:
        path: the file.
        documents: ``(name, document)`` pairs or a JSON-lines file of them.

    Raises:
        StorageError: no such file, not HDF5, or not written by flyscan.
    """
    name = os.fspath(path)
    try:
        clean = _is_clean(name)
        with h5py.File(name, "r", swmr=True) as file:
            return _check(name, file, clean, documents)
    except (OSError, RuntimeError, KeyError) as exc:
        raise storage_error(name, "cannot be checked", exc) from exc


def _check(name: str, file: Any, clean: bool, documents: Documents | None) -> CheckReport:
    columns = frame_columns(file)
    if not columns:
        raise StorageError(
            "was not written by flyscan", device=name, remedy="give the data file of a flyscan run"
        )
    frames, problems = _common_length(columns, clean)
    paths, unreadable = _paths(file)
    tallies, strays = tally_flights(columns, frames, paths)
    problems += [*unreadable, *strays]
    ledger = {(row.flight, row.segment): row for row in read_ledger(file)}
    for tally in tallies.values():
        problems += [*tally.problems(), *_check_ledger(tally, ledger)]
    report = None
    if documents is not None:
        report, wrong = check_documents(name, frames, read_documents(documents))
        problems += wrong
    flights = tuple(_summary(tally, ledger) for tally in tallies.values())
    return CheckReport(name, frames, clean, flights, report, tuple(problems))


def _is_clean(name: str) -> bool:
    with open(name, "rb") as file:
        head = file.read(512)
    try:
        return Superblock.decode(head).flags == 0
    except ValueError as exc:
        raise StorageError(
            f"is not a file of flyscan: {exc}", device=name, remedy="check the file name"
        ) from exc


def _common_length(columns: Mapping[str, Any], clean: bool) -> tuple[int, list[Problem]]:
    """Complete frames; in a closed file every column must have as many."""
    lengths = {name: len(column) for name, column in columns.items()}
    frames = min(lengths.values())
    longer = sorted(name for name, length in lengths.items() if length > frames)
    if not longer or not clean:
        return frames, []
    text = f"columns differ in length: {', '.join(longer)} go on after frame {frames}"
    return frames, [Problem(Kind.DAMAGED, text)]


def _paths(file: Any) -> tuple[dict[int, Path], list[Problem]]:
    paths: dict[int, Path] = {}
    problems: list[Problem] = []
    for number, data in read_paths(file).items():
        try:
            paths[number] = Path.from_dict(data)
        except (FlyscanError, KeyError, TypeError, ValueError) as exc:
            text = f"flight {number}: its path cannot be read: {exc}"
            problems.append(Problem(Kind.DAMAGED, text))
    return paths, problems


def _check_ledger(
    tally: FlightTally, ledger: Mapping[tuple[int, int], LedgerRow]
) -> Iterator[Problem]:
    unaccounted: list[int] = []
    for segment in range(tally.path.segment_count):
        stored = int(tally.stored_of_segment[segment])
        row = ledger.get((tally.number, segment))
        if row is not None:
            yield from _check_row(tally, row, stored)
        elif stored:
            unaccounted.append(segment)
    if unaccounted:
        yield Problem(
            Kind.INCOMPLETE,
            f"flight {tally.number}: segments with frames but no ledger row: {len(unaccounted)}, "
            f"from segment {unaccounted[0]} on",
        )


def _check_row(tally: FlightTally, row: LedgerRow, stored: int) -> Iterator[Problem]:
    name = f"flight {row.flight} segment {row.segment}"
    kept = int(tally.kept_of_segment[row.segment])
    if row.stored != stored or row.kept != kept:
        yield Problem(
            Kind.DAMAGED,
            f"{name}: the ledger has {row.stored} frames stored and {row.kept} points kept, "
            f"the file has {stored} and {kept}",
        )
    if not row.closes:
        kind = Kind.INCOMPLETE if row.captured == row.stored else Kind.DAMAGED
        yield Problem(
            kind,
            f"{name}: the ledger does not close: {row.planned} points planned, {row.captured} "
            f"frames captured, {row.stored} stored, {row.kept} kept, {len(row.missing)} missing",
        )


def _summary(tally: FlightTally, ledger: Mapping[tuple[int, int], LedgerRow]) -> FlightReport:
    closed = sum(row.closes for (flight, _), row in ledger.items() if flight == tally.number)
    return FlightReport(
        flight=tally.number,
        points=tally.path.points,
        segments=tally.path.segment_count,
        frames=tally.frames,
        kept=int((tally.kept_of_point == 1).sum()),
        closed=closed,
    )
