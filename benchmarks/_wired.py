"""The same over real sockets: the simulated nanoprobe and the host in processes of their own."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from random import Random
from typing import NamedTuple
from unittest import mock

import h5py
import numpy as np
from bluesky.utils import TransitionError

from flyscan.demo import SimulatedNanoprobe
from flyscan.flight.host import ProcessHost

from ._maps import Job, quiet, run_scene
from ._records import KILLED, Verdict, judge_places, judge_records, own_run
from ._scenes import PLANS, Blow, Grid, Scene, Undisturbed, draw, landmarks_of
from ._solo import fly_alone
from ._stage import DEFERRED, ENDED, RESUMED, Rest, Stage, TooLateError
from ._view import View

__all__ = ["WIRED_KINDS", "Wired", "wired"]

WIRED_KINDS = (*RESUMED, *ENDED, KILLED)

ENCODER_COUNT = 1e-3
"""um"""
TREMBLE = 0.02
"""um, of the simulated stage at rest; a fifth of a step."""
BLOCK_PERIOD = 0.1
"""Seconds: how often the PandA hands over rows."""
BRAKING_S = 0.02
"""From any speed of these maps to rest, as the stage decelerates."""
MACHINE_S = 3.0
"""What three processes may take for their turns on a busy machine; some 50 ms on an idle one."""
REST_S = BLOCK_PERIOD + BRAKING_S + MACHINE_S
CHECKPOINT_S = 0.8
"""A deferred pause waits for the next checkpoint, and there for 0.5 s."""
BACK_S = 5.0
"""Until settings are as found after a halt, which waits for nothing."""


class Strike(NamedTuple):
    """An interruption that took place: when, by the monotonic clock, and in what state."""

    when: float
    kind: str
    state: str


class Wired(Stage):
    """A session on the simulated nanoprobe, with a host of its own."""

    host: ProcessHost

    def __init__(self, probe: SimulatedNanoprobe, view: View, folder: Path) -> None:
        self.view = view
        self.state = "idle"
        self.strikes: list[Strike] = []
        self.rested: list[float | None] = []
        self._timers: list[threading.Timer] = []
        super().__init__(ProcessHost(probe.host_config), folder)
        self.host.subscribe("nano", self._event)

    def _event(self, event: dict[str, str]) -> None:
        self.state = event.get("state", self.state)

    def look(self, kind: str) -> Rest:
        now = time.monotonic()
        return Rest(kind, now, now, self.view.moving)

    def strike(self, kind: str) -> None:
        """Interfere, and see how soon the hardware rests if that is to be for good."""
        strike = Strike(time.monotonic(), kind, self.state)
        try:
            getattr(self, kind)()
        except (TransitionError, TooLateError):  # the plan has come to its end meanwhile
            return
        self.strikes.append(strike)
        if kind in ENDED:
            self.rested.append(self.view.rests(2 * REST_S, disarmed=True))

    def _aside(self, kind: str) -> None:
        self._later(0.0, kind).start()

    def _later(self, seconds: float, kind: str) -> threading.Timer:
        timer = threading.Timer(seconds, self.strike, (kind,))
        timer.daemon = True
        self._timers.append(timer)
        return timer

    def sigterm_host(self) -> None:
        with self._while_running():
            pid = self.host.pid
            if pid is None:
                raise TooLateError
            os.kill(pid, signal.SIGTERM)

    def play(self, scene: Scene, grid: Grid) -> Exception | None:
        """Run a scene; the error it ends with."""
        self.forget()
        self.strikes.clear()
        self.rested.clear()
        self._timers.clear()
        self.view.forget_captured()
        for blow in scene.blows:
            if blow.command:
                self.at_message(blow.command, blow.kind, blow.nth)
            else:
                self._later(blow.after, blow.kind).start()
        try:
            return run_scene(self, scene, grid)
        finally:
            for timer in self._timers:
                timer.cancel()
                timer.join()


class Sessions:
    """As many sessions as it takes: one whose host was ended is of no use any more."""

    def __init__(self, folder: Path, grid: Grid, probe: SimulatedNanoprobe) -> None:
        self._folder = folder
        self._grid = grid
        self._probe = probe
        self._view = View(probe.ready)
        self._stage: Wired | None = None
        self._normals: dict[tuple[str, str], Undisturbed] = {}

    @property
    def stage(self) -> Wired:
        """A session that is of use."""
        if self._stage is None:
            self._stage = Wired(self._probe, self._view, self._folder)
        return self._stage

    def _points(self, plan: str) -> int:
        """Points of one flight."""
        return self._grid.frames // 2 if plan == "flights" else self._grid.frames

    def _normal(self, plan: str, trigger: str) -> Undisturbed:
        if (plan, trigger) not in self._normals:
            stage, began = self.stage, time.monotonic()
            stage.run(PLANS[plan](stage.nano, self._grid, trigger))
            seconds = time.monotonic() - began
            _, where = self._places(stage.file, plan)
            os.unlink(stage.file)
            self._normals[plan, trigger] = Undisturbed(seconds, where, landmarks_of(stage.messages))
        return self._normals[plan, trigger]

    def _places(self, file: str, plan: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Numbers of the kept points, and where the encoder that triggers was at their triggers.

        A gate opens at the trigger: where the line goes up that is the lowest position in it.
        """
        with h5py.File(file, "r") as h5:
            data = h5["/entry/data"]
            kept = data["keep"][()].astype(bool)
            points = data["point"][()][kept]
            keys = data["flight"][()].astype(int)[kept] * self._points(plan) + points
            up = (points // self._grid.points) % 2 == 0
            return keys, {"x": np.where(up, data["x_min"][()][kept], data["x_max"][()][kept])}

    def run(self, job: Job) -> tuple[str, Verdict]:
        """One run; moments that do not come any more are drawn again."""
        random = Random(f"wired {job.seed} {job.kind} {job.number}")
        if job.kind == KILLED:
            return self._bare(random)
        while True:
            scene = draw(job.kind, random, self._normal)
            verdict = self._play(scene)
            if verdict is not None:
                return str(scene), verdict

    def _play(self, scene: Scene) -> Verdict | None:
        stage = self.stage
        error = stage.play(scene, self._grid)
        struck = len(stage.strikes) == len(scene.blows) and not isinstance(error, TransitionError)
        try:
            return self._judge(stage, scene, error) if struck else None
        finally:
            if scene.kind == "sigterm_host" or isinstance(error, TransitionError):
                self._end()
            if stage.file:
                os.unlink(stage.file)

    def _judge(self, stage: Wired, scene: Scene, error: Exception | None) -> Verdict:
        kind, verdict = scene.kind, Verdict()
        if kind == "sigterm_host":
            self._end()  # which waits for the host's process
        else:
            stage.settle()
        if error is not None and kind not in ("error", "sigterm_host"):
            verdict.oddities.append(repr(error))
        points = self._points(scene.plan)
        captured = self._captured(stage.file, points, len(stage.strikes))
        documents = own_run(stage.documents)
        whole = judge_records(verdict, documents, stage.file, kind, captured, points)
        if whole or kind in RESUMED:
            self._judge_places(verdict, stage, scene)
        _judge_rest(verdict, stage, scene)
        self._judge_settings(verdict)
        if kind == "sigterm" and not stage.terminated:
            verdict.oddities.append("the signal never took its effect")
        return verdict

    def _captured(self, file: str, points: int, cuts: int) -> int:
        """Rows with a whole gate that the box made in the run.

        It counts rows since it was last armed, also those whose gate was cut when triggers were
        stopped in the midst of it: they stand for no point, and are not stored.

        Args:
            points: of one flight.
            cuts: how often triggers were stopped, at most.
        """
        captured = self._view.captured
        if not file:
            return max(0, captured - cuts)
        with h5py.File(file, "r") as h5:
            flights = h5["/entry/data/flight"][()]
        if len(flights):
            before = int(flights[-1]) * points
            complete = len(flights) == before + points  # and the next flight armed, or not
            captured += before + (points if complete and captured < points else 0)
        return len(flights) if captured - cuts <= len(flights) <= captured else captured

    def _judge_places(self, verdict: Verdict, stage: Wired, scene: Scene) -> None:
        normal = self._normals[scene.plan, scene.trigger]
        if not stage.file:
            verdict.count("points, and no file", normal.points, 0)
            return
        keys, where = self._places(stage.file, scene.plan)
        if scene.trigger == "position":
            where = _without_tremble(where, keys, normal.where, len(stage.strikes))
            judge_places(verdict, keys, where, normal.where, 1.01 * ENCODER_COUNT)
        else:  # a train of triggers begins where the stage happens to be
            judge_places(verdict, keys, where, normal.where, np.inf)

    def _judge_settings(self, verdict: Verdict) -> None:
        at_rest = self._view.rests(REST_S, disarmed=True)
        if at_rest is None:
            verdict.flew_on("it moves or is armed after the end of the run")
        deadline = time.monotonic() + BACK_S
        while changed := self._view.changed():
            if time.monotonic() > deadline:
                verdict.restored = False
                verdict.oddities.append(f"settings changed: {changed}")
                return
            time.sleep(0.05)

    def _bare(self, random: Random) -> tuple[str, Verdict]:
        """The RunEngine's process has no handler, so the signal ends it there and then."""
        normal = self._normal("map", "position")
        self._view.forget_captured()
        blow = Blow(KILLED, random.uniform(0.0, normal.seconds))
        flown = fly_alone(self._probe.host_config, self._folder, self._grid, blow.after)
        verdict = Verdict()
        rested = self._view.rests(2 * REST_S, disarmed=True)
        if rested is None or rested > REST_S:
            verdict.flew_on(f"at rest after {rested} s, at most {REST_S:g} s allowed")
        flown.await_host()
        points = self._points("map")
        captured = self._captured(flown.file, points, 1)
        judge_records(verdict, own_run(flown.documents), flown.file, KILLED, captured, points)
        self._judge_settings(verdict)
        if flown.file:
            os.unlink(flown.file)
        return f"map: {blow}", verdict

    def _end(self) -> None:
        stage, self._stage = self._stage, None
        if stage is not None:
            stage.close()

    def close(self) -> None:
        """End the last session."""
        self._end()
        self._view.close()


def _without_tremble(
    where: dict[str, np.ndarray],
    keys: np.ndarray,
    normal: Mapping[str, np.ndarray],
    holds: int,
) -> dict[str, np.ndarray]:
    """Positions, but where the stage came to rest within a gate those without interruption.

    There the lowest position, or highest, is not that of the trigger: a stage at rest trembles.
    Each hold comes within one gate at most.
    """
    found: dict[str, np.ndarray] = {}
    for axis, positions in where.items():
        off = np.abs(positions - normal[axis][keys])
        under_way = np.argsort(off)[len(off) - holds :]
        under_way = under_way[off[under_way] < TREMBLE]
        found[axis] = positions.copy()
        found[axis][under_way] = normal[axis][keys][under_way]
    return found


def _judge_rest(verdict: Verdict, stage: Wired, scene: Scene) -> None:
    """Paused or ended, everything rests in time."""
    for rest in stage.rests:
        if rest.moving:
            verdict.flew_on(f"it moves after a {rest.kind}")
    if scene.kind in ENDED:
        for took in stage.rested:
            if took is None or took > REST_S:
                verdict.flew_on(f"at rest after {took} s, at most {REST_S:g} s allowed")
    for strike in stage.strikes:
        if strike.kind in DEFERRED and strike.state != "flying":
            continue
        limit = REST_S + (CHECKPOINT_S if strike.kind in DEFERRED else 0.0)
        after = [rest.noted for rest in stage.rests if rest.noted >= strike.when]
        if strike.kind in RESUMED and after and after[0] - strike.when > limit:
            took = after[0] - strike.when
            verdict.flew_on(f"at rest {took:.2f} s after a {strike.kind}, {limit:g} s allowed")


@contextlib.contextmanager
def wired(grid: Grid) -> Iterator[Callable[[Job], tuple[str, Verdict]]]:
    """What does one run after the other: says what happened in it, and how it went."""
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.dict(os.environ, {"XDG_STATE_HOME": f"{folder}/state"}),
        quiet(),
        SimulatedNanoprobe(here=False) as probe,
    ):
        sessions = Sessions(Path(folder), grid, probe)
        try:
            yield sessions.run
        finally:
            sessions.close()
