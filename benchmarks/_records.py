"""File and documents of an interrupted run, held against what was captured and planned."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np

from flyscan.storage import CheckReport, check_file

from ._stage import ENDED, Documents

__all__ = ["KILLED", "Verdict", "judge_places", "judge_records", "own_run"]

KILLED = "sigterm_bare"
"""The kind of interruption that leaves documents without an end."""


@dataclass
class Verdict:
    """One run.

    Args:
        lost: points or frames missing in file or documents, or taken elsewhere than undisturbed.
        duplicated: points kept twice, frames in the file or in documents twice.
        stopped: at rest and disarmed in time.
        restored: settings are as found, and the guard is off.
        oddities: anything else that should not be.
        notes: what was lost or duplicated, or flew on.
    """

    lost: int = 0
    duplicated: int = 0
    stopped: bool = True
    restored: bool = True
    oddities: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])

    @property
    def good(self) -> bool:
        """Nothing to complain about."""
        return self == Verdict()

    def flew_on(self, how: str) -> None:
        """Something did not stop in time."""
        self.stopped = False
        self.notes.append(how)

    def count(self, what: str, expected: int, found: int) -> None:
        """Fewer than expected are lost, more are duplicated."""
        self.lost += max(0, expected - found)
        self.duplicated += max(0, found - expected)
        if found != expected:
            self.notes.append(f"{what}: {expected} expected, {found} found")


def own_run(documents: Documents) -> Documents:
    """Documents of the flyer's run only: there may be another around it."""
    uids = {d["uid"] for name, d in documents if name == "start" and d["plan_name"] != "around"}
    found: Documents = []
    for name, document in documents:
        owner = {
            "start": document.get("uid"),
            "stream_datum": document.get("stream_resource"),
            "event": document.get("descriptor"),
            "event_page": document.get("descriptor"),
        }.get(name, document.get("run_start"))
        if owner in uids:
            if name in ("descriptor", "stream_resource"):
                uids.add(document["uid"])
            found.append((name, document))
    return found


def judge_records(
    verdict: Verdict, documents: Documents, file: str, kind: str, captured: int, points: int
) -> bool:
    """Judge what was recorded; returns whether the run came to its regular end.

    Args:
        verdict: where to note it.
        documents: of the flyer's run.
        file: its file, empty if it came to none.
        kind: how it was interrupted.
        captured: rows the box made for it, as the box itself says.
        points: points of a whole flight.
    """
    _judge_seq_nums(verdict, documents)
    whole = _judge_status(verdict, documents, kind)
    if not file:
        verdict.count("rows captured, and no file", captured, 0)
        return False
    frames = _judge_file(verdict, file, captured, points)
    described = _judge_data(verdict, documents, frames, prefix=kind in ("halt", KILLED))
    _judge_check(verdict, file, documents, frames, described)
    return whole


def _judge_status(verdict: Verdict, documents: Documents, kind: str) -> bool:
    """Runs start and stop once, with the right status; whether the plan came to its end."""
    starts = [d for name, d in documents if name == "start"]
    stops = [d["exit_status"] for name, d in documents if name == "stop"]
    expected = [] if kind == KILLED else [ENDED.get(kind, "success")]
    # What is to end a run may come when nothing is left to be done.
    if starts and stops not in (expected, ["success"]):
        verdict.oddities.append(f"exit status {stops}, expected {expected}")
    return stops == ["success"] and kind != "stop"


def _judge_file(verdict: Verdict, file: str, captured: int, points: int) -> int:
    """Every frame the box captured is stored once; returns how many are stored."""
    with h5py.File(file, "r") as h5:
        data = h5["/entry/data"]
        keys = data["flight"][()].astype(int) * points + data["point"][()]
        kept = data["keep"][()].astype(bool)
    frames = len(keys)
    verdict.count("captured rows in the file", captured, frames)
    verdict.count("frames that stand for their point", frames, int(np.sum(kept)))
    verdict.count("frames and different points", len(np.unique(keys)), frames)
    if keys.tolist() != sorted(keys.tolist()):  # nothing is flown again
        verdict.oddities.append("points are not in order")
    return frames


def _judge_data(verdict: Verdict, documents: Documents, frames: int, *, prefix: bool) -> int:
    """Documents describe every stored frame once, after a halt the first of them.

    Returns:
        Frames that all columns describe.
    """
    ranges: dict[str, list[dict[str, Any]]] = {}
    for name, document in documents:
        if name == "stream_resource":
            ranges[document["uid"]] = []
        elif name == "stream_datum":
            ranges[document["stream_resource"]].append(document)
    if not ranges:
        if not prefix:
            verdict.count("described frames", frames, 0)
        return 0
    ends: list[int] = []
    for data in ranges.values():
        described = 0
        for datum in data:
            start, stop = datum["indices"]["start"], datum["indices"]["stop"]
            verdict.count("first frame not described yet", start, described)
            if datum["seq_nums"] != {"start": start + 1, "stop": stop + 1}:
                verdict.oddities.append(f"frames {start} to {stop} have {datum['seq_nums']}")
            described = stop
        if not prefix or described > frames:
            verdict.count("described frames", frames, described)
        ends.append(described)
    return min(ends)


def _judge_seq_nums(verdict: Verdict, documents: Documents) -> None:
    """Events of every stream count from 1 without gap.

    But for the RunEngine's own record of interruptions: when it repeats messages after a resume
    it sets back the numbers of that stream too, which has nothing to repeat.
    """
    counts: dict[str, int] = defaultdict(int)
    its_own = {d["uid"] for _, d in documents if d.get("name") == "interruptions"}
    for name, document in documents:
        if name in ("event", "event_page") and document["descriptor"] not in its_own:
            numbers: Any = document["seq_num"]
            for seq_num in numbers if name == "event_page" else [numbers]:
                expected = counts[document["descriptor"]] + 1
                verdict.count(f"seq_num of stream {document['descriptor']}", seq_num, expected)
                counts[document["descriptor"]] = seq_num


def _judge_check(
    verdict: Verdict, file: str, documents: Documents, frames: int, described: int
) -> None:
    """``flyscan check`` sees nothing wrong, and says what is missing."""
    has_data = any(name == "stream_resource" for name, _ in documents)
    report = check_file(file, documents if has_data else None)
    if not (report.intact and report.clean):
        verdict.oddities.append(str(report))
    missing = sum(flight.points for flight in report.flights) - frames
    if _missing(report) != missing or report.ok != (missing == 0):
        verdict.oddities.append(f"{missing} points are missing, but: {report}")
    if report.documents is not None and report.documents.undescribed != frames - described:
        verdict.oddities.append(f"{frames - described} frames are not described, but: {report}")


def _missing(report: CheckReport) -> int:
    return sum(flight.points - flight.kept for flight in report.flights)


def judge_places(
    verdict: Verdict,
    keys: np.ndarray,
    where: Mapping[str, np.ndarray],
    normal: Mapping[str, np.ndarray],
    tolerance: float,
) -> None:
    """Every point is kept once, and was taken where the undisturbed run took it.

    Args:
        keys: numbers of the kept points, counted through all flights.
        where, normal: axis to positions, of the kept points and of all points, um.
        tolerance: um.
    """
    once = np.unique(keys)
    total = len(next(iter(normal.values())))
    verdict.count("points with a kept frame", total, len(once))
    verdict.count("kept frames", len(once), len(keys))
    off = np.max([np.abs(found - normal[axis][keys]) for axis, found in where.items()], axis=0)
    if np.any(off > tolerance):
        verdict.lost += int(np.sum(off > tolerance))
        verdict.notes.append(f"taken up to {np.max(off):g} um from where they should have been")
