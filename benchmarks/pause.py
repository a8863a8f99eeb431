"""How soon a pause ends the frames, and a resume brings new ones.

Lines of 60 um at 200 um/s and 1e4 um/s^2 on the simulated nanoprobe over its real protocols, host
and RunEngine in processes of their own; paused and resumed again and again within lines.

- ``pause_ratio``: from the call of ``RE.request_pause()`` to the last frame, against the time the
  stage needs to decelerate.
- ``resume_ratio``: from the call of ``RE.resume()`` to the first new frame, against the way from
  where the stage rests back to the run-up, and the run-up with the configured settling.

Times of frames are those of the PandA, which dates them to about a millisecond. Medians.
"""

from __future__ import annotations

import argparse
import asyncio
import threading
import time
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np
from bluesky.utils import RunEngineInterrupted
from scanspec.specs import Fly, Linspace

from flyscan.flight import Path, Trigger, plan_sweep, rest_to_rest
from flyscan.plans import fly

from ._session import Session, session

__all__ = ["main"]

PERIOD = 1e-3
SPEED = 200.0
ACCELERATION = 1e4
POINTS = 300
EVERY = (0.4, 0.8)
"""Seconds from a resume to the next pause: at random, so that it comes anywhere in a line."""


@dataclass
class Pause:
    """One of them; Unix seconds, and where the stage was at rest."""

    asked: float
    rest: dict[str, float] = field(default_factory=dict[str, float])
    resumed: float = 0.0


def _spec(pauses: int) -> Fly[str]:
    seconds = (pauses + 1) * EVERY[1]
    lines = max(2, round(seconds / (POINTS * PERIOD)))
    fast = Linspace("x", 20.0, 20.0 + SPEED * PERIOD * (POINTS - 1), POINTS)
    return Fly(Linspace("y", 30.0, 40.0, lines) * ~fast)


def _soften(config: dict[str, Any]) -> None:
    """A gentler stage: it takes 20 ms to stop."""
    for axis in config["controllers"]["stage"]["params"]["axes"].values():
        axis["acceleration"] = ACCELERATION


def _fly(flown: Session, spec: Fly[str], wanted: int) -> list[Pause]:
    """Fly, with `wanted` pauses at most."""
    random, pauses = Random(0), list[Pause]()

    def ask() -> None:
        pauses.append(Pause(time.time()))
        flown.RE.request_pause()

    def run(start: Any) -> None:
        timer = threading.Timer(random.uniform(*EVERY), ask)
        if len(pauses) < wanted:
            timer.start()
        try:
            start()
        finally:
            timer.cancel()

    start: Any = lambda: flown.RE(fly(flown.nano, spec, period=PERIOD))  # noqa: E731
    while True:
        try:
            run(start)
            return [pause for pause in pauses if pause.resumed]
        except RunEngineInterrupted:
            pauses[-1].rest = _where(flown)
            pauses[-1].resumed = time.time()
            start = flown.RE.resume


def _where(flown: Session) -> dict[str, float]:
    """Where the stage is."""

    async def read() -> dict[str, float]:
        return {axis: (await flown.nano.axis(axis).locate())["readback"] for axis in ("x", "y")}

    return asyncio.run_coroutine_threadsafe(read(), flown.RE.loop).result()


def _ratios(flown: Session, path: Path, pauses: list[Pause]) -> list[tuple[float, float]]:
    """Of every pause that came within a line."""
    columns = flown.columns("time", "point")
    found = list[tuple[float, float]]()
    for pause in pauses:
        new = int(np.searchsorted(columns["time"], pause.resumed))
        if not 0 < new < len(columns["time"]) or columns["time"][new - 1] < pause.asked:
            continue
        stopping = columns["time"][new - 1] - pause.asked
        starting = columns["time"][new] - pause.resumed
        needed = _needed(flown, path, int(columns["point"][new]), pause.rest)
        found.append((stopping / (SPEED / ACCELERATION), starting / needed))
    return found


def _needed(flown: Session, path: Path, point: int, rest: dict[str, float]) -> float:
    """Seconds that physics asks for from `rest` to the trigger of `point`."""
    limits = flown.limits
    sweep = plan_sweep(path.segment(path.segment_of(point)), point, limits)
    way = max(
        rest_to_rest(sweep.origin[a] - rest[a], limits[a].velocity, limits[a].acceleration)
        for a in sweep.origin
    )
    return way + sweep.lead


def main(argv: list[str]) -> dict[str, Any]:
    parser = argparse.ArgumentParser(
        prog="benchmarks pause",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--pauses", type=int, default=40)
    options = parser.parse_args(argv)
    spec = _spec(options.pauses)
    with session(adapt=_soften) as flown:
        pauses = _fly(flown, spec, options.pauses)
        path = Path.from_spec(spec, trigger=Trigger.POSITION, period=PERIOD)
        ratios = _ratios(flown, path, pauses)
    if not ratios:
        raise RuntimeError(f"none of {len(pauses)} pauses came within a line; ask for more")
    stopping, starting = np.median(np.array(ratios), axis=0)
    return {
        "pauses": len(pauses),
        "within_lines": len(ratios),
        "pause_ratio": float(stopping),
        "resume_ratio": float(starting),
    }
