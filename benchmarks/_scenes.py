"""What is flown, and what happens to it: drawn at random, the same again from the same seed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
from bluesky import plan_stubs as bps
from bluesky import preprocessors as bpp
from bluesky.utils import Msg, MsgGenerator
from scanspec.specs import Fly, Linspace

from flyscan.devices import Flyer
from flyscan.plans import fly_grid, fly_paths

from ._stage import RESUMED

__all__ = [
    "PLANS",
    "Blow",
    "Grid",
    "Scene",
    "Undisturbed",
    "draw",
    "landmarks_of",
    "nested",
]

NOT_TIMED = ("sleep", "null", "checkpoint")
"""Messages that come all the time: moments of the clock fall into them anyway."""

LANDMARKS = 0.2
"""Share of the moments that are messages of the plan: many take no time of a manual clock."""
BEFORE = 0.25
"""Share of the runs in which something else has happened already."""
WHILE_PAUSED = 0.1
"""Share of what is ended by the user that is paused when it is."""
RECORDED = 0.25
SLOW = 0.1
SLOWNESS = 0.004


@dataclass(frozen=True)
class Grid:
    """Lines of a map and points of a line, seconds per point."""

    lines: int
    points: int
    period: float

    @property
    def fast(self) -> tuple[float, float]:
        """First and last midpoint of a line, um."""
        return 1.0, 1.0 + 0.1 * self.points

    @property
    def frames(self) -> int:
        """Frames of a map."""
        return self.lines * self.points


def _map(nano: Flyer, grid: Grid, trigger: str) -> MsgGenerator[Any]:
    slow, fast = ("y", 1, 2, grid.lines), ("x", *grid.fast, grid.points)
    return fly_grid(nano, *slow, *fast, period=grid.period, trigger=trigger)


def _flights(nano: Flyer, grid: Grid, trigger: str) -> MsgGenerator[Any]:
    """Half the lines twice, one flight after the other."""
    lines = max(1, grid.lines // 2)
    spec = Fly(Linspace("y", 1, 2, lines) * ~Linspace("x", *grid.fast, grid.points))
    return fly_paths(nano, [spec, spec], period=grid.period, trigger=trigger)


def nested(plan: MsgGenerator[Any]) -> MsgGenerator[Any]:
    """A run around the plan's own run; messages of the two are told apart by their keys."""

    def around() -> MsgGenerator[Any]:
        yield from bps.open_run({"plan_name": "around"})
        yield from bpp.set_run_key_wrapper(plan, "inner")
        yield from bps.close_run()

    return bpp.set_run_key_wrapper(around(), "outer")


def _nested(nano: Flyer, grid: Grid, trigger: str) -> MsgGenerator[Any]:
    return nested(_map(nano, grid, trigger))


PLANS: Mapping[str, Callable[[Flyer, Grid, str], MsgGenerator[Any]]] = {
    "map": _map,
    "flights": _flights,
    "nested": _nested,
}
TRIGGERS = ("position", "position", "position", "time")


@dataclass(frozen=True)
class Undisturbed:
    """A plan without interruption.

    Args:
        seconds: how long it takes.
        where: axis to where every point's trigger came, shape ``(flights * points,)``, um.
        landmarks: command to how many messages of it there were.
    """

    seconds: float
    where: Mapping[str, np.ndarray]
    landmarks: Mapping[str, int]

    @property
    def points(self) -> int:
        """Points of all flights."""
        return len(next(iter(self.where.values())))


def landmarks_of(messages: list[Msg]) -> dict[str, int]:
    """Messages at which one can interfere."""
    return dict(Counter(msg.command for msg in messages if msg.command not in NOT_TIMED))


@dataclass(frozen=True)
class Blow:
    """One interruption: `after` so many seconds, or at the `nth` message called `command`."""

    kind: str
    after: float = 0.0
    command: str = ""
    nth: int = 0

    def __str__(self) -> str:
        where = f"message {self.command} {self.nth}" if self.command else f"{self.after!r} s"
        return f"{self.kind} at {where}"


@dataclass(frozen=True)
class Scene:
    """One interrupted run.

    Args:
        plan: one of :data:`PLANS`.
        trigger: ``"position"`` or ``"time"``.
        recorded: the RunEngine records interruptions.
        slowness: of a subscriber, seconds per document.
        blows: what happens, in order.
        while_paused: how a run that is paused is ended instead of resumed, if it is.
    """

    plan: str
    trigger: str
    recorded: bool
    slowness: float
    blows: tuple[Blow, ...]
    while_paused: str = ""

    @property
    def kind(self) -> str:
        """What decides how the run must end."""
        return self.while_paused or self.blows[-1].kind

    def __str__(self) -> str:
        extras = [
            *(["interruptions recorded"] if self.recorded else []),
            *(["slow subscriber"] if self.slowness else []),
            *map(str, self.blows),
            *([f"{self.while_paused} while paused"] if self.while_paused else []),
        ]
        return f"{self.plan} triggered by {self.trigger}: {', '.join(extras)}"


def draw(kind: str, random: Random, normals: Callable[[str, str], Undisturbed]) -> Scene:
    """A run in which `kind` happens."""
    plan, trigger = random.choice(tuple(PLANS)), random.choice(TRIGGERS)
    normal = normals(plan, trigger)
    recorded = random.random() < RECORDED
    slowness = SLOWNESS if random.random() < SLOW else 0.0
    if kind in ("abort", "halt", "stop") and random.random() < WHILE_PAUSED:
        pause = _anywhere("pause", random, normal)
        return Scene(plan, trigger, recorded, slowness, (pause,), while_paused=kind)
    blow = _anywhere(kind, random, normal)
    blows = (blow,)
    if not blow.command and random.random() < BEFORE:
        delay = math.exp(random.uniform(math.log(1e-3), math.log(normal.seconds)))
        first = Blow(random.choice(RESUMED), blow.after)
        blows = (first, Blow(kind, blow.after + delay))
    return Scene(plan, trigger, recorded, slowness, blows)


def _anywhere(kind: str, random: Random, normal: Undisturbed) -> Blow:
    if random.random() < LANDMARKS:
        command = random.choice(sorted(normal.landmarks))
        return Blow(kind, command=command, nth=random.randrange(normal.landmarks[command]))
    return Blow(kind, random.uniform(0.0, normal.seconds))
