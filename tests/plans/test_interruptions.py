"""Whatever interrupts a flight at whatever moment: every frame once, nothing flies on.

By default some frames and messages for every kind of interruption; with ``FLYSCAN_EVERY_FRAME=1``
in the environment all of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from bluesky.utils import MsgGenerator
from scanspec.specs import Fly, Linspace

from flyscan.plans import fly_grid, fly_paths
from tests.plans.rehearsal import Rehearsal, rehearsal

LINES, POINTS, PERIOD = 3, 5, 0.01
FRAMES = LINES * POINTS
JUST_AFTER = 1e-6
EVERY = bool(os.environ.get("FLYSCAN_EVERY_FRAME"))

RESUMED = ("pause", "deferred_pause", "suspend")
ENDED = {"abort": "abort", "stop": "success", "halt": "abort", "error": "fail", "sigterm": "abort"}

FRAME_CASES = [
    (kind, frame, trigger)
    for kind in (*RESUMED, *ENDED)
    for trigger, some in (("position", (0, 2, 4, 5, 9, 14)), ("time", (0, 4, 7)))
    for frame in (range(FRAMES) if EVERY else some)
    if EVERY or kind != "deferred_pause" or frame != 7  # each waits 0.5 s by design
]


class Undisturbed(NamedTuple):
    """A flight nobody interferes with; seconds of the clock, positions in um."""

    kickoff: float
    times: np.ndarray
    where: np.ndarray


def snake(stage: Rehearsal, trigger: str) -> MsgGenerator[str]:
    return fly_grid(stage.nano, "y", 1, 2, LINES, "x", 1, 3, POINTS, period=PERIOD, trigger=trigger)


def twice(stage: Rehearsal, trigger: str) -> MsgGenerator[str]:
    spec = Fly(Linspace("y", 1, 2, LINES) * ~Linspace("x", 1, 3, POINTS))
    return fly_paths(stage.nano, [spec, spec], period=PERIOD, trigger=trigger)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[Any, str], Undisturbed]:
    found = {}
    for plan, trigger in ((snake, "position"), (snake, "time"), (twice, "position")):
        with rehearsal(tmp_path_factory.mktemp("undisturbed")) as stage:
            stage.run(plan(stage, trigger))
            stage.check_complete(FRAMES, flights=1 if plan is snake else 2)
            pieces = {(d["indices"]["start"]) for d in stage.of("stream_datum")}
            assert len(pieces) >= 3, "documents are to come while it flies"
            found[plan, trigger] = Undisturbed(
                stage.pilot.kickoff_at, stage.clock_times(), stage.triggered_at()
            )
    return found


def run_and_judge(
    stage: Rehearsal,
    kind: str,
    plan: Callable[[], MsgGenerator[str]],
    normal: Undisturbed,
    *,
    flights: int = 1,
    paused: Callable[[], Any] = lambda: None,
) -> None:
    """Run an interrupted plan, judge it, and see whether the next one flies."""
    if kind == "error":
        with pytest.raises(RuntimeError, match="the user's plan has a flaw"):
            stage.run(plan())
    else:
        stage.run(plan(), paused)
    if kind in RESUMED:
        stage.check_complete(FRAMES, flights)
        np.testing.assert_allclose(stage.triggered_at(), normal.where, atol=1e-6, rtol=0)
        return
    stage.check_partial(prefix=kind == "halt")
    assert stage.exit_status == ENDED[kind]
    stage.run(snake(stage, "position"))
    stage.check_complete(FRAMES)


@pytest.mark.parametrize(("kind", "frame", "trigger"), FRAME_CASES)
def test_interrupted_at_a_frame(
    kind: str,
    frame: int,
    trigger: str,
    stage: Rehearsal,
    undisturbed: dict[tuple[Any, str], Undisturbed],
) -> None:
    normal = undisturbed[snake, trigger]
    stage.at(normal.times[frame] + JUST_AFTER, kind)
    run_and_judge(stage, kind, partial(snake, stage, trigger), normal)


BETWEEN = {
    "approach": lambda n: n.kickoff / 2,
    "run-up": lambda n: (n.kickoff + n.times[0]) / 2,
    "turnaround": lambda n: (n.times[4] + 2 * PERIOD + n.times[5]) / 2,
    "run-down": lambda n: n.times[-1] + 1.5 * PERIOD,
}


@pytest.mark.parametrize("where", BETWEEN)
@pytest.mark.parametrize("kind", ["pause", "suspend", *ENDED])
def test_interrupted_between_frames(
    kind: str,
    where: str,
    stage: Rehearsal,
    undisturbed: dict[tuple[Any, str], Undisturbed],
) -> None:
    normal = undisturbed[snake, "position"]
    stage.at(BETWEEN[where](normal), kind)
    run_and_judge(stage, kind, partial(snake, stage, "position"), normal)


@pytest.mark.parametrize(
    ("kind", "after"),
    [(kind, "frame") for kind in RESUMED] + [("pause", "approach"), ("suspend", "approach")],
)
def test_interrupted_in_the_second_of_two_flights(
    kind: str,
    after: str,
    stage: Rehearsal,
    undisturbed: dict[tuple[Any, str], Undisturbed],
) -> None:
    normal = undisturbed[twice, "position"]
    when = normal.times[FRAMES + 2] if after == "frame" else normal.kickoff - 0.02
    stage.at(when + JUST_AFTER, kind)
    run_and_judge(stage, kind, partial(twice, stage, "position"), normal, flights=2)


def test_paused_twice_within_a_line(
    stage: Rehearsal, undisturbed: dict[tuple[Any, str], Undisturbed]
) -> None:
    """The second pause comes while the stage backs up for the first resume."""
    normal = undisturbed[snake, "position"]
    when = normal.times[7] + JUST_AFTER
    for delay in (0, 0.12, 0.14, 0.15):
        stage.at(when + delay, "pause")
    pauses: list[float] = []
    run_and_judge(
        stage,
        "pause",
        partial(snake, stage, "position"),
        normal,
        paused=lambda: pauses.append(stage.clock.now()),
    )
    assert len(pauses) >= 2


def test_suspended_then_paused(
    stage: Rehearsal, undisturbed: dict[tuple[Any, str], Undisturbed]
) -> None:
    normal = undisturbed[snake, "position"]
    stage.at(normal.times[3] + JUST_AFTER, "suspend")
    stage.at(normal.times[3] + 0.2, "pause")
    run_and_judge(stage, "suspend", partial(snake, stage, "position"), normal)
    assert stage.suspensions == [True]


@pytest.mark.parametrize("kind", ["abort", "stop", "halt"])
@pytest.mark.parametrize("frame", [3, 9])
def test_ended_while_paused(
    kind: str,
    frame: int,
    stage: Rehearsal,
    undisturbed: dict[tuple[Any, str], Undisturbed],
) -> None:
    normal = undisturbed[snake, "position"]
    stage.at(normal.times[frame] + JUST_AFTER, "pause")
    run_and_judge(
        stage, kind, partial(snake, stage, "position"), normal, paused=getattr(stage.RE, kind)
    )


def test_nothing_moves_while_paused(
    stage: Rehearsal, undisturbed: dict[tuple[Any, str], Undisturbed]
) -> None:
    normal = undisturbed[snake, "position"]
    stage.at(normal.times[6] + JUST_AFTER, "pause")

    def a_long_break() -> None:
        taken = stage.pilot.flushed
        assert taken == stage.host.run(stage.box.capture.reached()).result()
        stage.host.run(stage.clock.advance(5.0)).result()
        assert stage.pilot.flushed == taken
        stage.check_rest()

    run_and_judge(stage, "pause", partial(snake, stage, "position"), normal, paused=a_long_break)


@pytest.mark.parametrize("kind", ["ctrl_c", "ctrl_c_twice"])
def test_ctrl_c_pauses(
    kind: str, stage: Rehearsal, undisturbed: dict[tuple[Any, str], Undisturbed]
) -> None:
    normal = undisturbed[snake, "position"]
    stage.at(normal.times[8] + JUST_AFTER, kind)
    paused: list[float] = []
    run_and_judge(
        stage,
        "pause",
        partial(snake, stage, "position"),
        normal,
        paused=lambda: paused.append(stage.clock.now()),
    )
    assert len(paused) == 1


LANDMARKS = [
    ("stage", 0),
    ("open_run", 0),
    ("prepare", 0),
    ("declare_stream", 0),
    ("declare_stream", 2),
    ("set", 0),
    ("kickoff", 0),
    ("complete", 0),
    ("wait", 0),
    ("collect", 0),
    ("collect", 1),
    ("collect", 3),
    ("collect", 5),
    ("checkpoint", 4),
    ("set", 1),
    ("close_run", 0),
    ("unstage", 0),
]
ENDING = ("set", "close_run", "unstage")  # too late to end it any other way


@pytest.mark.parametrize(("command", "nth"), LANDMARKS)
@pytest.mark.parametrize("kind", ["pause", "suspend"])
def test_held_at_a_message(
    kind: str,
    command: str,
    nth: int,
    stage: Rehearsal,
    undisturbed: dict[tuple[Any, str], Undisturbed],
) -> None:
    stage.at_message(command, kind, nth)
    run_and_judge(stage, kind, partial(snake, stage, "position"), undisturbed[snake, "position"])


@pytest.mark.parametrize(
    ("command", "nth"),
    [(c, n) for c, n in LANDMARKS if (c, n) != ("set", 1) and c not in ENDING[1:]],
)
@pytest.mark.parametrize("kind", [*ENDED] if EVERY else ["abort", "halt"])
def test_ended_at_a_message(kind: str, command: str, nth: int, tmp_path: Path) -> None:
    with rehearsal(tmp_path) as stage:
        stage.at_message(command, kind, nth)
        with suppress(RuntimeError):  # of the kind "error": the flaw itself
            stage.run(snake(stage, "position"))
        if stage.of("start"):
            stage.check_partial(prefix=kind == "halt")
            assert stage.exit_status == ENDED[kind]
        else:
            stage.check_safe()
        stage.run(snake(stage, "position"))
        stage.check_complete(FRAMES)
