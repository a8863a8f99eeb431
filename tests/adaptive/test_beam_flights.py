"""Whole maps under loss of beam: what comes out is what would have come out without."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from benchmarks.adaptive import main
from benchmarks.adaptive._beam import (
    Beam,
    FlownMap,
    compared,
    fly_map,
    losses,
)
from flyscan.flight import (
    Trigger,
)

LINES = 12
NONE = Beam(np.empty((0, 2)))
EXACT = 1e-9


@pytest.fixture(scope="module")
def undisturbed() -> dict[Trigger, FlownMap]:
    return {trigger: fly_map(NONE, trigger, lines=LINES) for trigger in Trigger}


def check(figures: Mapping[str, Any]) -> None:
    assert figures["beam_bad_rows_kept"] == 0
    assert figures["beam_same_points"]
    assert figures["beam_setpoints_differ"] < EXACT
    assert figures["beam_values_differ"] < EXACT
    assert figures["beam_lines_restarted"] == 0
    assert figures["refly_ratio_max"] <= 1.2


@pytest.mark.parametrize("ring", [False, True], ids=["I0", "ring current"])
@pytest.mark.parametrize("trigger", list(Trigger))
@pytest.mark.parametrize("seed", range(3))
def test_a_map_with_losses_is_the_map_without(
    undisturbed: dict[Trigger, FlownMap], trigger: Trigger, ring: bool, seed: int
) -> None:
    beam = losses(np.random.default_rng((5, seed)), 25)
    flown = fly_map(beam, trigger, lines=LINES, ring=ring)
    figures = compared(flown, undisturbed[trigger], beam)
    check(figures)
    assert figures["beam_holds"] >= 2


def test_the_benchmark_gives_its_figures() -> None:
    figures = json.loads(json.dumps(main(["--quick", "--part", "beam"])))
    check(figures)
    assert figures["beam_losses"] > 5


@pytest.mark.parametrize("trigger", list(Trigger))
@pytest.mark.parametrize(
    "dark",
    [
        pytest.param([(0.0, 0.3)], id="once"),
        pytest.param([(0.0, 0.007), (0.012, 0.02)], id="twice within a block"),
        pytest.param([(0.03 * i, 0.01 + 0.03 * i) for i in range(60)], id="flapping"),
        pytest.param([(-0.3, 0.1)], id="since before the line"),
        pytest.param([(0.0989, 0.5)], id="with the last row"),
    ],
)
def test_one_loss(
    undisturbed: dict[Trigger, FlownMap], trigger: Trigger, dark: list[tuple[float, float]]
) -> None:
    middle = undisturbed[trigger].time[300]
    beam = Beam(middle + np.array(dark))
    flown = fly_map(beam, trigger, lines=LINES)
    check(compared(flown, undisturbed[trigger], beam))
    assert len(flown.losses) >= 1


@pytest.mark.parametrize("trigger", list(Trigger))
def test_a_loss_anywhere_in_going_back(
    undisturbed: dict[Trigger, FlownMap], trigger: Trigger
) -> None:
    still = undisturbed[trigger]
    back = still.time[still.point >= still.path_points]
    first = back[: int(np.argmax(np.diff(back) > 0.01)) + 1]
    for begin in (first[0] - 0.03, first[0] - 1e-4, first[len(first) // 2], first[-1]):
        beam = Beam(np.array([(begin, begin + 0.2)]))
        flown = fly_map(beam, trigger, lines=LINES)
        figures = compared(flown, still, beam)
        check(figures)
        assert np.any(~flown.kept), "something was flown again"
