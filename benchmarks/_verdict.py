"""What became of one rehearsed run: counted, so that many runs can be added up."""

from __future__ import annotations

import h5py
import numpy as np

from flyscan.flight import State

from ._pilot import Strike
from ._records import Verdict, judge_places, judge_records, own_run
from ._rehearsal import Rehearsal, Rest
from ._scenes import Scene, Undisturbed
from ._stage import DEFERRED, RESUMED

__all__ = ["judge", "places"]

ENCODER_COUNT = 1e-3
"""um; the encoders of the simulated nanoprobe count 1 nm."""

SLACK = 1e-9


def judge(stage: Rehearsal, scene: Scene, normal: Undisturbed, points: int) -> Verdict:
    """Judge the last run of `stage`, which has settled.

    Args:
        scene: what was flown and how it was interrupted.
        normal: the same without interruption.
        points: points of one flight.
    """
    verdict = Verdict()
    verdict.oddities += stage.pilot.complaints
    kind = scene.kind
    documents = own_run(stage.documents)
    captured = stage.pilot.captured
    whole = judge_records(verdict, documents, stage.file, kind, captured, points)
    if whole or kind in RESUMED:
        _judge_places(verdict, stage, normal, points)
    _judge_hardware(verdict, stage, scene, ended=kind not in RESUMED and not whole)
    if kind == "sigterm" and not stage.terminated:
        verdict.oddities.append("the signal never took its effect")
    return verdict


def _judge_hardware(verdict: Verdict, stage: Rehearsal, scene: Scene, *, ended: bool) -> None:
    verdict.stopped = not (
        stage.box.motion.moving
        or stage.box.capture.settings["armed"] != "0"
        or any(_moves_on(stage, rest) for rest in stage.rests)
        or any(
            _late(stage, blow.kind, strike)
            for blow, strike in zip(scene.blows, stage.pilot.strikes, strict=True)
        )
        or (ended and not scene.while_paused and _flew_on(stage, stage.pilot.strikes[-1]))
    )
    verdict.restored = stage.settings() == stage.found and not stage.nano.guard.armed


def _latest(stage: Rehearsal, strike: Strike) -> float:
    """When everything must be at rest: one block period plus the deceleration later."""
    braking = max(
        abs(track.at(strike.when)[1]) / stage.limits[axis].acceleration
        for axis, track in stage.box.motion.trajectories.items()
    )
    return strike.when + stage.block_period + braking + SLACK


def _moves_on(stage: Rehearsal, rest: Rest) -> bool:
    """Whether it moved at a pause for another reason than that it was just being stopped."""
    before = [strike for strike in stage.pilot.strikes if strike.when <= rest.noted]
    return rest.moving and not (before and rest.since <= _latest(stage, before[-1]))


def _late(stage: Rehearsal, kind: str, strike: Strike) -> bool:
    """Whether the hardware was late to rest for a pause.

    While the way to the start is made there is no checkpoint, so a deferred pause comes later.
    """
    if kind not in RESUMED or (kind in DEFERRED and strike.state != State.FLYING):
        return False
    after = [rest for rest in stage.rests if rest.noted >= strike.when]
    return bool(after) and after[0].since > _latest(stage, strike)


def _flew_on(stage: Rehearsal, strike: Strike) -> bool:
    """Whether anything moved too long after what ended the run."""
    latest = _latest(stage, strike)
    return any(track.end > latest for track in stage.box.motion.trajectories.values())


def _judge_places(verdict: Verdict, stage: Rehearsal, normal: Undisturbed, points: int) -> None:
    if not stage.file:
        verdict.count("points, and no file", normal.points, 0)
        return
    keys, where = places(stage, points)
    judge_places(verdict, keys, where, normal.where, ENCODER_COUNT)


def places(stage: Rehearsal, points: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Numbers of the kept points, and where the stage truly was at their triggers."""
    with h5py.File(stage.file, "r") as file:
        data = file["/entry/data"]
        kept = data["keep"][()].astype(bool)
        keys = (data["flight"][()].astype(int) * points + data["point"][()])[kept]
        times = data["time"][()][kept]
        times += (int(data["time"].attrs["epoch_ns"]) - stage.clock.epoch_ns) / 1e9
    tracks = stage.box.motion.trajectories
    return keys, {a: np.array([t.at(when)[0] for when in times]) for a, t in tracks.items()}
