"""What became of one rehearsed run: counted, so that many runs can be added up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np

from flyscan.flight import State
from flyscan.storage import check_file

from ._rehearsal import Rehearsal

__all__ = ["ENDED", "RESUMED", "Undisturbed", "Verdict", "judge", "places"]

ENCODER_COUNT = 1e-3
"""um; the encoders of the simulated nanoprobe count 1 nm."""

RESUMED = ("pause", "deferred_pause", "suspend", "ctrl_c", "ctrl_c_twice")
DEFERRED = ("deferred_pause", "ctrl_c")
ENDED = {"abort": "abort", "halt": "abort", "stop": "success", "error": "fail", "sigterm": "fail"}
"""What ends a run, and the exit status it must have."""

AT_REST = {"armed": "0", "step": "0"}
SLACK = 1e-9


@dataclass(frozen=True)
class Undisturbed:
    """The same plan without interruption.

    Args:
        seconds: how long it takes on the clock.
        where: axis to where every point's trigger came, shape ``(points,)``, um.
    """

    seconds: float
    where: Mapping[str, np.ndarray]

    @property
    def points(self) -> int:
        """Points of the map."""
        return len(next(iter(self.where.values())))


@dataclass
class Verdict:
    """One run.

    Args:
        lost: points or frames missing in file or documents, or taken elsewhere than undisturbed.
        duplicated: points kept twice, frames in the file or in documents twice.
        stopped: at rest and disarmed in time.
        restored: settings are as found, and the guard is off.
        oddities: anything else that should not be.
    """

    lost: int = 0
    duplicated: int = 0
    stopped: bool = True
    restored: bool = True
    oddities: list[str] = field(default_factory=list[str])

    @property
    def good(self) -> bool:
        """Nothing to complain about."""
        return self == Verdict()


def judge(stage: Rehearsal, kind: str, captured: int, normal: Undisturbed) -> Verdict:
    """Judge the last run of `stage`, which has settled.

    Args:
        kind: how it was interrupted.
        captured: rows the box made for it, as the box itself says.
    """
    verdict = Verdict()
    verdict.oddities += stage.pilot.complaints
    _judge_hardware(stage, kind, verdict)
    found = [stop["exit_status"] for stop in stage.of("stop")]
    if found != [ENDED.get(kind, "success")] and stage.of("start"):
        verdict.oddities.append(f"exit status {found}")
    frames = _judge_file(stage, captured, verdict) if stage.file else 0
    if kind in RESUMED:
        _judge_map(stage, normal, verdict)
    _judge_documents(stage, frames, verdict, prefix=kind == "halt")
    return verdict


def _judge_hardware(stage: Rehearsal, kind: str, verdict: Verdict) -> None:
    box = stage.box
    verdict.stopped = not (
        box.motion.moving
        or box.capture.settings["armed"] != "0"
        or any(rest.moving for rest in stage.rests)
        or _late(stage, kind)
    )
    verdict.restored = (
        box.capture.settings == AT_REST
        and box.motion.settings == {a: limit.velocity for a, limit in stage.limits.items()}
        and not stage.nano.guard.armed
    )


def _late(stage: Rehearsal, kind: str) -> bool:
    """Whether it moved longer than a block period and the deceleration after the interruption.

    While the way to the start is made there is no checkpoint, so a deferred pause comes later.
    """
    strike = stage.pilot.strikes[0]
    if kind in DEFERRED and strike.state != State.FLYING:
        return False
    tracks = stage.box.motion.trajectories
    braking = max(
        abs(track.at(strike.when)[1]) / stage.limits[axis].acceleration
        for axis, track in tracks.items()
    )
    latest = strike.when + stage.block_period + braking + SLACK
    if kind in RESUMED:
        return bool(stage.rests) and stage.rests[0].since > latest
    return any(track.end > latest for track in tracks.values())


def _judge_file(stage: Rehearsal, captured: int, verdict: Verdict) -> int:
    """Every frame the box captured is stored once; returns how many are stored."""
    with h5py.File(stage.file, "r") as file:
        points = file["/entry/data/point"][()]
    frames = len(points)
    verdict.lost += max(0, captured - frames)
    verdict.duplicated += max(0, frames - captured)
    if points.tolist() != list(range(frames)):  # one flight, nothing flown again
        verdict.duplicated += frames - len(np.unique(points))
        verdict.oddities.append("points are not in order")
    report = check_file(stage.file)
    if not report.intact:
        verdict.oddities.append(str(report))
    return frames


def _judge_map(stage: Rehearsal, normal: Undisturbed, verdict: Verdict) -> None:
    """Every point is kept once, and was taken where the undisturbed run took it."""
    points, where = places(stage)
    once = np.unique(points)
    verdict.lost += normal.points - len(once)
    verdict.duplicated += len(points) - len(once)
    off = [np.abs(found - normal.where[axis][points]) for axis, found in where.items()]
    verdict.lost += int(np.sum(np.max(off, axis=0) > ENCODER_COUNT))


def places(stage: Rehearsal) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Points of the kept frames, and where the stage truly was at their triggers."""
    with h5py.File(stage.file, "r") as file:
        data = file["/entry/data"]
        kept = data["keep"][()].astype(bool)
        points, times = data["point"][()][kept], data["time"][()][kept]
        times += (int(data["time"].attrs["epoch_ns"]) - stage.clock.epoch_ns) / 1e9
    tracks = stage.box.motion.trajectories
    return points, {a: np.array([t.at(when)[0] for when in times]) for a, t in tracks.items()}


def _judge_documents(stage: Rehearsal, frames: int, verdict: Verdict, *, prefix: bool) -> None:
    """Documents describe every stored frame once; after a halt the first of them."""
    ranges: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for resource in stage.of("stream_resource"):
        ranges[resource["uid"]] = []
    for datum in stage.of("stream_datum"):
        ranges[datum["stream_resource"]].append(datum)
    if frames and not ranges and not prefix:
        verdict.lost += frames
    for data in ranges.values():
        described = 0
        for datum in data:
            start, stop = datum["indices"]["start"], datum["indices"]["stop"]
            verdict.lost += max(0, start - described)
            verdict.duplicated += max(0, described - start)
            if datum["seq_nums"] != {"start": start + 1, "stop": stop + 1}:
                verdict.oddities.append(f"frames {start} to {stop} have {datum['seq_nums']}")
            described = stop
        verdict.lost += 0 if prefix else max(0, frames - described)
        verdict.duplicated += max(0, described - frames)
