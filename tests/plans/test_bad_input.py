"""What is wrong with a plan's arguments or surroundings is said before anything moves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bluesky import plan_stubs as bps
from bluesky import preprocessors as bpp
from bluesky.utils import MsgGenerator
from ophyd_async.core import StaticPathProvider, UUIDFilenameProvider
from scanspec.specs import Fly, Linspace

from flyscan.devices import Flyer
from flyscan.errors import (
    BadPathError,
    BusyError,
    ConfigurationError,
    FlyscanError,
    LimitError,
    StorageError,
)
from flyscan.plans import fly, fly_grid, fly_paths
from tests.plans.rehearsal import Rehearsal

NAN, INFINITE = float("nan"), float("inf")


def line(start: float, stop: float, axis: str = "x", points: int = 5) -> Fly[str]:
    return Fly(Linspace(axis, start, stop, points))


def refused(stage: Rehearsal, make: Callable[[Flyer], MsgGenerator[Any]]) -> FlyscanError:
    """What a plan is refused with; it must not have moved or armed anything, nor harm the next."""
    with pytest.raises(FlyscanError) as caught:
        stage.run(make(stage.nano))
    assert stage.clock.now() == 0, "something moved"
    assert stage.box.capture.end_reason is None, "the box was armed"
    if stage.of("start"):
        assert stage.exit_status == "fail"
        assert caught.value.problem in stage.of("stop")[0]["reason"]
    stage.check_safe()
    stage.run(fly(stage.nano, line(1, 2), period=0.01))
    stage.check_complete(5)
    return caught.value


LINE_REMEDY = "Remedy: give two finite numbers and a positive, whole number of points"
PERIOD_REMEDY = "Remedy: give a positive, finite number of seconds per point"
GROUPS_REMEDY = "Remedy: e.g. 'y', 0, 1, 11, 'x', 0, 2, 201"

Make = Callable[[Flyer], MsgGenerator[Any]]

UNUSABLE: dict[str, tuple[Make, str]] = {
    "not a number": (
        lambda n: fly(n, line(NAN, 1), period=0.01),
        "x: frame 0 of its dimension is at nan, expected finite positions. "
        "Remedy: correct the numbers in the Spec",
    ),
    "zero length": (
        lambda n: fly(n, line(1, 1), period=0.01),
        "x: the line of 5 points from 1 to 1 has zero length. "
        "Remedy: give it a length; to stand still use Static, to repeat multiply by a number",
    ),
    "no period": (
        lambda n: fly(n, line(0, 1)),
        "nothing says how long a point takes. "
        "Remedy: write Fly(0.001 @ spec) for 1 ms per point, or pass period=0.001",
    ),
    "period 0": (
        lambda n: fly(n, line(0, 1), period=0.0),
        f"a point cannot take 0 s. {PERIOD_REMEDY}",
    ),
    "period < 0": (
        lambda n: fly(n, line(0, 1), period=-0.1),
        f"a point cannot take -0.1 s. {PERIOD_REMEDY}",
    ),
    "period nan": (
        lambda n: fly(n, line(0, 1), period=NAN),
        f"a point cannot take nan s. {PERIOD_REMEDY}",
    ),
    "trigger": (
        lambda n: fly(n, line(0, 1), period=0.01, trigger="laser"),
        "unknown trigger 'laser'. Remedy: use 'position' or 'time'",
    ),
    "no axes": (
        lambda n: fly_grid(n, period=0.01),
        f"expected axis, start, stop, num for each axis, got 0 arguments. {GROUPS_REMEDY}",
    ),
    "three of four": (
        lambda n: fly_grid(n, "x", 0, 1, period=0.01),
        f"expected axis, start, stop, num for each axis, got 3 arguments. {GROUPS_REMEDY}",
    ),
    "no points": (
        lambda n: fly_grid(n, "x", 0, 1, 0, period=0.01),
        f"x: cannot make a line from 0 to 1 in 0 points. {LINE_REMEDY}",
    ),
    "half a point": (
        lambda n: fly_grid(n, "x", 0, 1, 4.5, period=0.01),
        f"x: cannot make a line from 0 to 1 in 4.5 points. {LINE_REMEDY}",
    ),
    "infinite": (
        lambda n: fly_grid(n, "x", 0, INFINITE, 5, period=0.01),
        f"x: cannot make a line from 0 to inf in 5 points. {LINE_REMEDY}",
    ),
    "a word": (
        lambda n: fly_grid(n, "x", "left", 1, 5, period=0.01),
        f"x: cannot make a line from 'left' to 1 in 5 points. {LINE_REMEDY}",
    ),
    "an axis twice": (
        lambda n: fly_grid(n, "x", 0, 1, 3, "x", 0, 1, 3, period=0.01),
        "x: the axis appears twice in the Spec. Remedy: use each axis in one dimension only",
    ),
    "no paths": (
        lambda n: fly_paths(n, [], period=0.01),
        "no paths given. Remedy: give at least one Spec",
    ),
}

IMPOSSIBLE: dict[str, tuple[Make, type[FlyscanError], str]] = {
    "unknown axis": (
        lambda n: fly(n, line(0, 1, "z"), period=0.01),
        BadPathError,
        "z: the path moves an axis nobody controls; known axes are x, y. "
        "Remedy: correct the name in the Spec or add the axis to a motion controller",
    ),
    "too fast": (
        lambda n: fly(n, line(0, 100), period=0.01),
        LimitError,
        "x: segment 0 needs 2500 um/s, the axis allows 100. "
        "Remedy: use a longer period per point or a smaller step",
    ),
    "outside travel": (
        lambda n: fly(n, line(990, 1001), period=1.0),
        LimitError,
        "x: segment 0 with run-up and run-down spans 988.621 to 1002.38 um, "
        "travel is -1000 to 1000. "
        "Remedy: move or shrink the path, or fly slower for a shorter run-up",
    ),
    "triggers too close": (
        lambda n: fly(n, line(0, 1e-6), period=1e-6),
        LimitError,
        "trigger: segment 0 has 1e-06 s per point, the trigger needs at least 1e-05 s. "
        "Remedy: use a longer period per point",
    ),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_unusable_paths_open_no_run(case: str, stage: Rehearsal) -> None:
    make, text = UNUSABLE[case]
    error = refused(stage, make)
    assert (type(error), str(error)) == (BadPathError, text)


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_impossible_paths_move_nothing(case: str, stage: Rehearsal) -> None:
    make, kind, text = IMPOSSIBLE[case]
    error = refused(stage, make)
    assert type(error) is kind
    assert str(error) == text


def test_no_scanspec(stage: Rehearsal) -> None:
    error = refused(stage, lambda n: fly(n, {"type": "Nonsense"}, period=0.01))
    assert isinstance(error, BadPathError)
    assert str(error).startswith("scanspec cannot make a path from this Spec: ")


@pytest.mark.parametrize(
    ("folder", "text"),
    [("/nowhere/at/all", "is not an existing directory"), ("/proc", "cannot be created")],
)
def test_no_place_for_the_file(folder: str, text: str, stage: Rehearsal) -> None:
    elsewhere = StaticPathProvider(UUIDFilenameProvider(), Path(folder))
    there = stage.nano._path_provider
    stage.nano._path_provider = elsewhere

    def make(nano: Flyer) -> MsgGenerator[str]:
        plan = fly(nano, line(0, 1), period=0.01)
        return bpp.finalize_wrapper(plan, lambda: _put_back(nano))

    def _put_back(nano: Flyer) -> MsgGenerator[None]:
        nano._path_provider = there
        yield from bps.null()

    error = refused(stage, make)
    assert isinstance(error, StorageError)
    assert folder in error.device
    assert text in str(error)
    assert error.remedy


def test_not_connected(stage: Rehearsal) -> None:
    other = Flyer(stage.host, "nano", stage.nano._path_provider, name="other")
    error = refused(stage, lambda _: fly(other, line(0, 1), period=0.01))
    assert (type(error), str(error)) == (
        ConfigurationError,
        "other: is not connected. Remedy: connect it, e.g. with init_devices()",
    )


def test_unknown_rig(stage: Rehearsal) -> None:
    stray = Flyer(stage.host, "macro", stage.nano._path_provider)
    with pytest.raises(ConfigurationError) as caught:
        stage.on_RE(stray.connect())
    assert str(caught.value) == "flight host: no flyer called 'macro'. Remedy: use one of nano"


def test_somebody_else_has_opened_a_run(stage: Rehearsal, tmp_path: Path) -> None:
    call = stage.host.call
    stage.on_RE(call("open_run", flyer="nano", directory=str(tmp_path), filename="f", start={}))
    with pytest.raises(BusyError) as caught:
        stage.run(fly(stage.nano, line(0, 1), period=0.01))
    assert str(caught.value) == (
        "nano: a run is open already. Remedy: unstage the flyer, or stop the other flight first"
    )
    assert stage.clock.now() == 0
    stage.on_RE(call("close_run", flyer="nano"))
    stage.run(fly(stage.nano, line(0, 1), period=0.01))
    stage.check_complete(5)
