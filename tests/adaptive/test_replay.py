"""Decisions are data: they survive JSON, and a replay makes the same ones."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from flyscan.adaptive import (
    Asked,
    BeamGuard,
    Began,
    Budget,
    Composite,
    CurvatureSpeed,
    Decision,
    Ended,
    Event,
    Finish,
    GoBack,
    Hold,
    LineContext,
    Parametric,
    Plan,
    Policy,
    PriorSpeed,
    Profile,
    Proposal,
    Resume,
    Retune,
    Rows,
    SimulatedLine,
    Situation,
    StabilityGuard,
    Steering,
    StepSize,
    Told,
    TwoPass,
    first_difference,
    policy_from_dict,
    proposal_from_dict,
    replay,
)
from flyscan.errors import ConfigurationError
from tests.adaptive.lines import RAIL, line, now, peak

POLICIES: list[Policy] = [
    PriorSpeed("y", 0.01, others=("z",), lines_per_slice=4),
    CurvatureSpeed("y", 0.01, target_error=3.0),
    TwoPass("y", 0.01, insurance=0.3),
    StepSize("y", 0.01, target_error=3.0),
    Parametric("y", "slit", "length", uncertainty=0.1),
    BeamGuard(monitor="ring", monitor_low=1, monitor_high=2),
    StabilityGuard("error", 0.1),
    Budget(pixel=0.1, pixel_dose=1.0),
    Composite([BeamGuard(), PriorSpeed("y", 0.02)]),
]

PROPOSALS: list[Proposal] = [
    Retune("a", velocity=2.0),
    GoBack("b", 1.0, 0.5, Profile((1.0, 0.5), (2.0, 1.0))),
    Hold("c", refly_from=3),
    Resume("d"),
    Finish("e", line_only=True),
]


class Recorder(Steering):
    """Writes down what a steering is told."""

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy, RAIL)
        self.events: list[Event] = []

    def begin(self, line: LineContext, time: float = 0.0) -> Plan:
        self.events.append(Began(line, time))
        return super().begin(line, time)

    def tell(self, rows: Rows, time: float = 0.0) -> None:
        self.events.append(Told(rows, time))
        super().tell(rows, time)

    def ask(self, now: Situation) -> Decision | None:
        self.events.append(Asked(now))
        return super().ask(now)

    def end(self) -> dict[str, object]:
        self.events.append(Ended())
        return super().end()


def recorded() -> Recorder:
    """Three lines with a surprise on the last."""
    recorder = Recorder(PriorSpeed("y", 0.01))
    both = lambda x: peak(0.3, 0.01, 1e6)(x) + peak(0.7, 0.01, 1e6)(x)  # noqa: E731
    first = 0
    rng = np.random.default_rng(5)
    for sample in (peak(0.3, 0.01, 1e6), peak(0.3, 0.01, 1e6), both):
        context = line(extra_time=0.25)
        flown = SimulatedLine(context, {"y": sample}, rng, first=first).fly(recorder)
        first += len(flown.rows)
    return recorder


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: type(policy).__name__)
def test_policies_survive_json(policy: Policy) -> None:
    data = json.loads(json.dumps(policy.to_dict()))
    assert data["class"] == f"flyscan.adaptive:{type(policy).__name__}"
    again = policy_from_dict(data)
    assert type(again) is type(policy)
    assert json.dumps(again.to_dict()) == json.dumps(policy.to_dict())


@pytest.mark.parametrize("proposal", PROPOSALS, ids=lambda proposal: proposal.kind)
def test_proposals_survive_json(proposal: Proposal) -> None:
    assert proposal_from_dict(json.loads(json.dumps(proposal.to_dict()))) == proposal


def test_contexts_survive_json() -> None:
    for thing in (line(profile_pieces=20), now(monitors={"ring": 1.0}, time_left=3.0)):
        assert type(thing).from_dict(json.loads(json.dumps(thing.to_dict()))) == thing
    plan = Plan(Profile((0.0, 1.0), (1.0, 2.0)), "why", 2.0, 0.1, {"z": 0.5})
    assert Plan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"class": "nowhere:Policy"}, "no policy 'nowhere:Policy'"),
        ({"class": "flyscan.adaptive"}, "no policy"),
        ({"class": "flyscan.adaptive:Rows"}, "is no policy"),
        ({"class": "flyscan.adaptive:Budget", "params": {"money": 1}}, "refuses its parameters"),
        ({}, "no policy ''"),
    ],
)
def test_unknown_policies_are_named(data: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        policy_from_dict(data)
    with pytest.raises(ConfigurationError, match="no proposal is of kind 'jump'"):
        proposal_from_dict({"kind": "jump", "reason": ""})


def test_a_replay_decides_the_same_to_the_last_bit() -> None:
    recorder = recorded()
    assert any(isinstance(d.proposal, GoBack) for d in recorder.decisions)
    again = replay(recorder.events, PriorSpeed("y", 0.01), RAIL)
    assert first_difference(recorder.decisions, again) is None
    through_json = [
        Decision.from_dict(json.loads(json.dumps(decision.to_dict()))) for decision in again
    ]
    assert first_difference(recorder.decisions, through_json) is None


def test_what_the_flight_adds_later_is_not_compared() -> None:
    recorder = recorded()
    flown = [replace(d, effective_point=7, latency=0.01) for d in recorder.decisions]
    assert first_difference(flown, recorder.decisions) is None


def test_the_first_difference_is_named() -> None:
    recorder = recorded()
    other = replay(recorder.events, PriorSpeed("y", 0.01, insurance=0.3), RAIL)
    found = first_difference(recorder.decisions, other)
    assert found is not None
    assert found.startswith("decision 1 (line 0, block 100): proposed.profile.velocity[")
    shorter = first_difference(recorder.decisions, recorder.decisions[:-1])
    assert shorter == f"{len(recorder.decisions)} decisions recorded, " + (
        f"{len(recorder.decisions) - 1} in the replay"
    )


def test_another_policy_can_be_tried_on_recorded_rows() -> None:
    decisions = replay(recorded().events, Budget(total_dose=0.5), RAIL)
    assert any(isinstance(decision.proposal, Finish) for decision in decisions)
