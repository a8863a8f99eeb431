"""Adaptive plans on an unmodified RunEngine: decisions as documents, whatever interrupts them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pytest
from bluesky.utils import MsgGenerator
from scanspec.specs import Fly, Linspace, Spiral

from flyscan.adaptive import BeamGuard, Composite, CurvatureSpeed, PriorSpeed
from flyscan.cli import main
from flyscan.errors import ConfigurationError, FlyscanError
from flyscan.plans import adaptive_fly, adaptive_fly_grid
from flyscan.storage import check_file, read_ledger, read_tuning
from tests.plans.rehearsal import Rehearsal, rehearsal

LINES, POINTS, PERIOD = 4, 60, 0.005


def sample(positions: Any, _seconds: Any) -> np.ndarray:
    """A narrow peak on a flat ground, in counts."""
    x = np.asarray(positions["x"])
    return 50.0 + 4000.0 / (1 + ((x - 6.2) / 0.25) ** 2)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Rehearsal]:
    with rehearsal(tmp_path) as stage:
        stage.box.capture.signals["signal"] = sample
        yield stage


def grid(stage: Rehearsal, **tuning: Any) -> MsgGenerator[str]:
    settings = {"channel": "signal", "width": 0.3, "trigger": "time"} | tuning
    return adaptive_fly_grid(
        stage.nano, "y", 1, 2, LINES, "x", 0.1, 11.9, POINTS, period=PERIOD, **settings
    )


def records(stage: Rehearsal, event: str) -> list[dict[str, Any]]:
    with h5py.File(stage.file, "r") as file:
        return [record for record in read_tuning(file) if record["event"] == event]


def held(stage: Rehearsal) -> list[int]:
    """How often every line was held."""
    with h5py.File(stage.file, "r") as file:
        return [row.holds for row in read_ledger(file)]


def check_accounts(stage: Rehearsal) -> None:
    """Every point kept once or given up, in file and documents, and nothing left behind."""
    report = check_file(stage.file, stage.documents)
    assert report.problems == ()
    assert stage.described_frames() == report.frames
    stage.check_pages()
    stage.check_safe()
    assert stage.exit_status == "success"


def rows_of_line(stage: Rehearsal, line: int) -> np.ndarray:
    return (stage.column("segment") == line) & (stage.column("pass") == 0)


def test_lines_after_the_first_spend_their_time_on_the_peak(stage: Rehearsal) -> None:
    stage.run(grid(stage))
    check_accounts(stage)
    middle = (stage.column("start") + stage.column("stop")) / 2
    on_peak = np.abs(middle - 6.2) < 1
    per_line = [int((on_peak & rows_of_line(stage, n)).sum()) for n in range(LINES)]
    assert per_line[0] == pytest.approx(10, abs=1)
    assert min(per_line[1:]) > 2 * per_line[0]
    assert sum(rows_of_line(stage, n).sum() for n in range(LINES)) == LINES * POINTS


def test_every_decision_is_a_row_of_the_tuning_stream(stage: Rehearsal) -> None:
    stage.run(grid(stage))
    (descriptor,) = [d for d in stage.of("descriptor") if d["name"] == "tuning"]
    pages = [p for p in stage.of("event_page") if p["descriptor"] == descriptor["uid"]]
    causes = [c for page in pages for c in page["data"]["nano-tuning-cause"]]
    decided = records(stage, "decided")
    assert causes == [record["decision"]["cause"] for record in decided]
    assert causes.count("plan") == LINES
    plans = [
        json.loads(text)
        for page in pages
        for text, cause in zip(
            page["data"]["nano-tuning-applied"], page["data"]["nano-tuning-cause"], strict=True
        )
        if cause == "plan"
    ]
    assert plans[0]["profile"] is None
    assert plans[1]["profile"] is not None
    (start,) = stage.of("start")
    assert start["plan_name"] == "adaptive_fly_grid"
    assert start["plan_args"]["steering"]["policy"]["class"] == "flyscan.adaptive:PriorSpeed"


def test_the_preview_shows_signal_and_speed(stage: Rehearsal) -> None:
    stage.run(grid(stage))
    (descriptor,) = [d for d in stage.of("descriptor") if d["name"] == "preview"]
    assert "nano-preview-speed" in descriptor["data_keys"]
    assert "nano-preview-speed" in descriptor["hints"]["nano-preview"]["fields"]
    pages = [p for p in stage.of("event_page") if p["descriptor"] == descriptor["uid"]]
    speeds = np.concatenate([p["data"]["nano-preview-speed"] for p in pages])
    assert speeds.max() > 1.5 * speeds.min() > 0


def test_replay_makes_the_same_decisions_again(
    stage: Rehearsal, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.run(grid(stage))
    assert main(["replay", stage.file]) == 0
    assert "identical" in capsys.readouterr().out


class Undisturbed(NamedTuple):
    """A flight nobody interferes with: seconds of the clock at kickoff and at every trigger."""

    kickoff: float
    times: np.ndarray
    points: set[int]

    def at(self, share: float) -> float:
        """A moment of it."""
        return self.kickoff + (self.times[-1] - self.kickoff) * share


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Undisturbed]:
    found = {}
    for trigger in ("time", "position"):
        with rehearsal(tmp_path_factory.mktemp("undisturbed")) as stage:
            stage.box.capture.signals["signal"] = sample
            stage.run(grid(stage, trigger=trigger))
            check_accounts(stage)
            points = set(stage.column("point").tolist())
            found[trigger] = Undisturbed(stage.pilot.kickoff_at, stage.clock_times(), points)
    return found


@pytest.mark.parametrize("kind", ["pause", "deferred_pause", "suspend", "ctrl_c_twice"])
@pytest.mark.parametrize("trigger", ["time", "position"])
@pytest.mark.parametrize("share", [0.1, 0.37, 0.62, 0.9])
def test_interrupted_lines_keep_their_plan(
    stage: Rehearsal,
    undisturbed: dict[str, Undisturbed],
    kind: str,
    trigger: str,
    share: float,
) -> None:
    normal = undisturbed[trigger]
    stage.at(normal.at(share), kind)
    stage.run(grid(stage, trigger=trigger))
    check_accounts(stage)
    assert sum(held(stage)) > 0, "it came too late"
    line = range(LINES * POINTS)
    assert normal.points & set(line) <= set(stage.column("point").tolist())
    spans = np.sort(stage.column("start")[rows_of_line(stage, 2)])
    assert np.diff(spans).max() < 1.5, "no part of a line is left out"


@pytest.mark.parametrize("kind", ["abort", "halt", "stop", "error", "sigterm"])
@pytest.mark.parametrize("share", [0.2, 0.55, 0.8])
def test_an_ended_flight_stops_restores_and_leaves_its_record(
    stage: Rehearsal, undisturbed: dict[str, Undisturbed], kind: str, share: float
) -> None:
    stage.at(undisturbed["time"].at(share), kind)
    if kind == "error":
        with pytest.raises(RuntimeError, match="the user's plan has a flaw"):
            stage.run(grid(stage))
    else:
        stage.run(grid(stage))
    stage.check_safe()
    report = check_file(stage.file)
    assert report.intact, report
    assert report.frames < len(undisturbed["time"].times)
    assert main(["replay", stage.file]) == 0
    stage.run(grid(stage))
    check_accounts(stage)


def test_position_triggers_stay_where_they_are(stage: Rehearsal) -> None:
    stage.run(grid(stage, trigger="position"))
    check_accounts(stage)
    own = stage.column("pass") == 0
    points = stage.column("point")[own]
    assert sorted(points.tolist()) == list(range(LINES * POINTS))
    step = (11.9 - 0.1) / (POINTS - 1)
    first = stage.column("start")[rows_of_line(stage, 0)]
    assert np.diff(first) == pytest.approx(step, rel=1e-3)


def test_guards_and_limits_come_before_the_policy(stage: Rehearsal) -> None:
    stage.box.capture.signals["I0"] = lambda positions, _: np.full(len(positions["x"]), 1000.0)
    stage.run(grid(stage, i0="I0", beam={}, time_limit=100.0, total_dose=50.0))
    check_accounts(stage)
    (started,) = records(stage, "started")
    parts = [part["class"] for part in started["policy"]["params"]["policies"]]
    names = ["BeamGuard", "Budget", "PriorSpeed"]
    assert parts == [f"flyscan.adaptive:{name}" for name in names]
    assert (stage.column("i0") == 1.0).all()


def test_a_flight_ends_when_its_time_is_spent(stage: Rehearsal) -> None:
    stage.run(grid(stage, time_limit=0.7))
    check_accounts(stage)
    assert len(stage.column("point")) < LINES * POINTS
    decisions = [record["decision"] for record in records(stage, "decided")]
    assert decisions[-1]["proposed"]["kind"] == "finish"
    assert decisions[-1]["reason"] == "the time is spent"


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "nothing to look for": ({"channel": None}, "needs to know what to look for"),
    "missing channel": ({"channel": "Fe"}, "no channel Fe; it has x, y, signal"),
    "negative width": ({"width": -1.0}, "narrowest feature width is -1.0"),
    "two policies": (
        {"policy": PriorSpeed("signal", 0.3)},
        "got a policy and also channel, width, target_error or others",
    ),
    "guard without eyes": ({"beam": {}}, "a beam guard needs something to watch"),
    "unknown flux": ({"i0": "i9"}, "no channel i9"),
    "negative extra": ({"extra": -0.1}, "extra = -0.1"),
    "lowering raise": ({"max_raise": 0.5}, "raise by 0.5"),
    "no time": ({"time_limit": 0.0}, "time_limit = 0.0"),
    "foreign class": (
        {"channel": None, "width": None, "policy": {"class": "os:system"}},
        "is no policy",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_before_anything_moves(stage: Rehearsal, case: str) -> None:
    settings, complaint = REFUSED[case]
    if case == "two policies":
        settings = {**settings, "width": None}
    before = {a: t.at(stage.clock.now()) for a, t in stage.box.motion.trajectories.items()}
    with pytest.raises(FlyscanError, match=complaint):
        stage.run(grid(stage, **settings))
    after = {a: t.at(stage.clock.now()) for a, t in stage.box.motion.trajectories.items()}
    assert after == before
    stage.check_safe()
    stage.run(grid(stage))
    check_accounts(stage)


def test_only_listed_classes_are_loaded_by_the_host(stage: Rehearsal) -> None:
    foreign = {"class": "tests.adaptive.test_pilot:Scripted", "params": {}}
    nested = {"class": "flyscan.adaptive:Composite", "params": {"policies": [foreign]}}
    for policy in (foreign, nested):
        with pytest.raises(ConfigurationError, match=r"may not load 'tests\.adaptive"):
            stage.run(grid(stage, channel=None, width=None, policy=policy))


@pytest.mark.parametrize(
    ("spec", "what"),
    [(Linspace("x", 0, 5, 4) * 3, "dwells"), (Fly(Spiral("x", 3, 4, 0.5, "y", 3, 4)), "curves")],
)
def test_only_straight_lines_are_steered(stage: Rehearsal, spec: Any, what: str) -> None:
    with pytest.raises(FlyscanError, match=f"the path has {what}; only straight lines"):
        stage.run(adaptive_fly(stage.nano, spec, period=0.5, channel="signal", width=0.3))
    stage.check_safe()


def test_without_a_prior_a_target_error_makes_lines_fast_and_returns(stage: Rehearsal) -> None:
    spec = Fly(Linspace("y", 0, 1, 2) * ~Linspace("x", 0.1, 11.9, 200))
    plan = adaptive_fly(
        stage.nano, spec, period=PERIOD, channel="signal", width=0.3, target_error=2e4, extra=0.1
    )
    stage.run(plan)
    check_accounts(stage)
    (started,) = records(stage, "started")
    assert started["policy"]["class"] == "flyscan.adaptive:CurvatureSpeed"


def test_policies_are_given_as_objects_or_as_data(stage: Rehearsal) -> None:
    policy = Composite([CurvatureSpeed("signal", 0.3, target_error=100.0)])
    for given in (policy, policy.to_dict()):
        stage.run(grid(stage, channel=None, width=None, policy=given))
        check_accounts(stage)
    assert BeamGuard().to_dict()["class"] == "flyscan.adaptive:BeamGuard"
