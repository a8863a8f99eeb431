"""Maps on an in-memory box and a manual clock, interrupted."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Protocol
from unittest import mock

from bluesky.utils import TransitionError

from flyscan.plans import _stubs

from ._records import Verdict
from ._rehearsal import Rehearsal
from ._scenes import PLANS, Grid, Scene, Undisturbed, draw, landmarks_of
from ._stage import ENDED, PATIENCE, RESUMED, Stage
from ._verdict import judge, places

__all__ = ["KINDS", "Job", "quiet", "rehearsals", "run_scene"]

KINDS = (*RESUMED, *ENDED)
OPTIONS = {"flush_period": 0.25, "preview_period": 0.1}
RUNS_PER_SESSION = 50
"""Trajectories grow with every run and RunEngines are never quite gone: a compromise."""


class Job(Protocol):
    """One run: its kind and what fixes its moments."""

    @property
    def kind(self) -> str: ...
    @property
    def number(self) -> int: ...
    @property
    def seed(self) -> int: ...


@contextlib.contextmanager
def rehearsals(grid: Grid) -> Iterator[Callable[[Job], tuple[str, Verdict]]]:
    """What does one run after the other: says what happened in it, and how it went."""
    with tempfile.TemporaryDirectory() as folder, quiet(), _quick():
        sessions = Sessions(Path(folder), grid)
        try:
            yield sessions.run
        finally:
            sessions.close()


class Sessions:
    """As many sessions as it takes: they wear off."""

    def __init__(self, folder: Path, grid: Grid) -> None:
        self._folder = folder
        self._grid = grid
        self._stage = Rehearsal(folder, options=OPTIONS, block_period=0.1)
        self._runs = 0
        self._normals: dict[tuple[str, str], Undisturbed] = {}

    def _normal(self, plan: str, trigger: str) -> Undisturbed:
        if (plan, trigger) not in self._normals:
            stage, began = self._stage, self._stage.clock.now()
            stage.forget()
            stage.slowness = 0.0
            stage.run(PLANS[plan](stage.nano, self._grid, trigger))
            seconds = stage.clock.now() - began
            _, where = places(stage, self._points(plan))
            os.unlink(stage.file)
            self._normals[plan, trigger] = Undisturbed(seconds, where, landmarks_of(stage.messages))
        return self._normals[plan, trigger]

    def _points(self, plan: str) -> int:
        """Points of one flight."""
        return self._grid.frames // 2 if plan == "flights" else self._grid.frames

    def run(self, job: Job) -> tuple[str, Verdict]:
        """One run; moments that do not come any more are drawn again."""
        random = Random(f"{job.seed} {job.kind} {job.number}")
        while True:
            if self._runs >= RUNS_PER_SESSION:
                self._stage.close()
                self._stage = Rehearsal(self._folder, options=OPTIONS, block_period=0.1)
                self._runs = 0
            scene = draw(job.kind, random, self._normal)
            verdict = self._play(scene)
            if verdict is not None:
                return str(scene), verdict

    def _play(self, scene: Scene) -> Verdict | None:
        stage, normal = self._stage, self._normal(scene.plan, scene.trigger)
        stage.forget()
        began = stage.clock.now()
        for blow in scene.blows:
            if blow.command:
                stage.at_message(blow.command, blow.kind, blow.nth)
            else:
                stage.at(began + blow.after, blow.kind)
        self._runs += 1
        error = run_scene(stage, scene, self._grid)
        stage.host.run(stage.pilot.done()).result(PATIENCE)
        verdict = None
        # The RunEngine fails when it is told to suspend at the very end of a plan.
        too_late = isinstance(error, TransitionError)
        if len(stage.pilot.strikes) == len(scene.blows) and not too_late:
            stage.settle()
            verdict = judge(stage, scene, normal, self._points(scene.plan))
            if error is not None and scene.kind not in ("error", "sigterm_host"):
                verdict.oddities.append(repr(error))
        elif stage.pilot.complaints:
            verdict = Verdict(oddities=["it was over too soon", *stage.pilot.complaints])
        if scene.kind == "sigterm_host" or too_late or (verdict and not verdict.good):
            self._runs = RUNS_PER_SESSION
        if stage.file:
            os.unlink(stage.file)
        return verdict

    def close(self) -> None:
        """End the last one."""
        self._stage.close()


def run_scene(stage: Stage, scene: Scene, grid: Grid) -> Exception | None:
    """Run a scene's plan; the error it ends with."""
    stage.RE.record_interruptions = scene.recorded
    stage.slowness = scene.slowness
    end = getattr(stage, scene.while_paused) if scene.while_paused else lambda: None
    try:
        stage.run(PLANS[scene.plan](stage.nano, grid, scene.trigger), end)
    except Exception as error:
        return error
    return None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """What the RunEngine prints and logs of runs that end early is of no interest here."""
    log = logging.getLogger("bluesky")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        log.setLevel(level)


@contextlib.contextmanager
def _quick() -> Iterator[None]:
    """Plans look ten times as often: simulated flights last milliseconds."""
    with mock.patch.multiple(_stubs, TICK=0.001, COLLECT_PERIOD=0.002):
        yield
