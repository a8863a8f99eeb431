"""Check of a run's file: against itself, its paths, its ledger and the documents."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import FlyscanError, StorageError
from ..flight import LedgerRow, Path
from ._amended import AmendedPath, records_by_flight
from ._check_records import check_records
from ._documents import Documents, check_documents, read_documents
from ._errors import storage_error
from ._h5 import h5py
from ._problem import Kind, Problem
from ._read import frame_columns, read_ledger, read_paths, read_tuning
from ._report import CheckReport, FlightReport
from ._superblock import Superblock
from ._tally import FlightTally, tally_flights

__all__ = ["check_file"]


def check_file(path: str | os.PathLike[str], documents: Documents | None = None) -> CheckReport:
    """Check a run's file, also while it is written and after its writer was killed.

    Verified: equal lengths of all columns; every planned point of every flight kept once,
    under its own segment, unless a decision gave it up; times in order; a closing ledger row
    for every segment that agrees with the frames; a record of decisions that does; with
    `documents`, indices and seq_nums without gap or overlap, and nothing described that the
    file does not have.

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
    # After the columns: what is appended to a path is flushed before its frames.
    records, broken = _records(file)
    amended, contradictions = _amended(paths, records)
    tallies, strays = tally_flights(columns, frames, amended)
    problems += [*unreadable, *broken, *contradictions, *strays]
    for number, flight in records.items():
        problems += check_records(number, flight, frames, clean=clean)
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


def _records(file: Any) -> tuple[dict[int, list[dict[str, Any]]], list[Problem]]:
    """What happened in each flight of a tuned run."""
    try:
        return records_by_flight(read_tuning(file)), []
    except (FlyscanError, KeyError, TypeError, ValueError) as exc:
        text = f"the record of decisions cannot be read: {exc}"
        return {}, [Problem(Kind.DAMAGED, text)]


def _amended(
    paths: Mapping[int, Path], records: Mapping[int, list[dict[str, Any]]]
) -> tuple[dict[int, AmendedPath], list[Problem]]:
    """What decisions made of each path; as it was planned where that does not make sense."""
    amended: dict[int, AmendedPath] = {}
    problems: list[Problem] = []
    for number, path in paths.items():
        try:
            amended[number] = AmendedPath.of(path, records.get(number, []))
        except StorageError as exc:
            amended[number] = AmendedPath(path)
            problems.append(Problem(Kind.DAMAGED, f"flight {number}: {exc.problem}"))
    return amended, problems


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
    waived = tally.waived_in(row.segment)
    if row.waived != waived:
        yield Problem(
            Kind.DAMAGED,
            f"{name}: the ledger has {row.waived} points given up, the record {waived}",
        )
    first, stop = tally.path.span(row.segment)
    strays = [point for point in row.lost if not first <= point < stop]
    if strays:
        yield Problem(
            Kind.DAMAGED,
            f"{name}: the ledger has lost point {strays[0]}, which is not in the segment",
        )
    if not row.closes:
        kind = Kind.INCOMPLETE if row.captured == row.stored else Kind.DAMAGED
        yield Problem(
            kind,
            f"{name}: the ledger does not close: {row.planned} points planned, {row.captured} "
            f"frames captured, {row.stored} stored, {row.kept} kept, "
            f"{row.waived} given up, {len(row.missing)} missing",
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
        waived=tally.waived,
        lost=sum(len(row.lost) for (flight, _), row in ledger.items() if flight == tally.number),
    )
