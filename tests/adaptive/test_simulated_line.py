"""The line on paper: exact rows, exact time, and the many-seeds form of the benchmark."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.adaptive._cells import plan_prior, plan_two_pass
from benchmarks.adaptive._lines import TURN, Cell, context, edges_of, measure
from benchmarks.adaptive._signals import HELD_OUT, SIGNALS, signal_of
from flyscan.adaptive import (
    Budget,
    Finish,
    GoBack,
    LineContext,
    Plan,
    Policy,
    PriorSpeed,
    Profile,
    Proposal,
    Retune,
    Rows,
    SimulatedLine,
    Situation,
    Steering,
    TwoPass,
)
from tests.adaptive.lines import RAIL, flat, line


class Script(Policy):
    """Proposes things at given blocks."""

    def __init__(self, script: dict[int, Proposal]) -> None:
        self.script = script
        self.blocks = 0

    def begin(self, line: LineContext) -> Plan:
        return Plan(None, "script")

    def tell(self, rows: Rows) -> None:
        self.blocks += 1

    def ask(self, now: Situation) -> Proposal | None:
        return self.script.pop(self.blocks, None)


@pytest.mark.parametrize("signal", [*SIGNALS, *HELD_OUT])
def test_row_means_of_signals_are_exact(signal: str) -> None:
    one = signal_of(signal)
    offset = np.array([np.mean(one.offsets)])
    edges = np.linspace(0.0, 1.0, 41)[None]
    mean = np.diff(one.integral(edges, offset), axis=1)[0] * 40
    fine = one.value(np.linspace(0, 1, 400_001)[:-1] + 1.25e-6, offset)[0]
    assert mean == pytest.approx(fine.reshape(40, -1).mean(axis=1), rel=1e-6)


def test_uniform_lines_are_exact() -> None:
    flown = SimulatedLine(line(), {"y": flat(1e4)}).fly(Steering(Budget(), RAIL))
    assert len(flown.rows) == 500
    assert flown.seconds == pytest.approx(1.0)
    assert flown.rows.counts["y"] == pytest.approx(np.full(500, 20.0))


def test_a_retune_acts_after_the_loop_delay_with_the_acceleration_there_is() -> None:
    policy = Script({20: Retune("faster", velocity=1.5)})
    flown = SimulatedLine(line(acceleration=20.0), {"y": flat()}).fly(Steering(policy, RAIL))
    speed = (flown.rows.stop - flown.rows.start) * 500
    assert speed[:105] == pytest.approx(np.ones(105))  # 20 blocks of 5 rows and a delay of 5
    assert speed[106] == pytest.approx(1.06, abs=0.01)  # 20 / s^2 during a row and a half
    assert speed[125:-1] == pytest.approx(np.full(len(speed) - 126, 1.5), rel=1e-3)


def test_going_back_costs_what_it_costs_and_leaves_no_gap() -> None:
    profile = Profile((0.15, 0.05), (0.5, 0.5))
    policy = Script({20: GoBack("look", 0.15, 0.05, profile)})
    context = line(turnaround=0.05)
    flown = SimulatedLine(context, {"y": flat()}).fly(Steering(policy, RAIL))
    main = flown.rows.take(flown.rows.pass_number == 0)
    assert main.start[1:] == pytest.approx(main.stop[:-1], abs=1e-12)
    back = flown.rows.take(flown.rows.pass_number == 1)
    assert back.start[0] == pytest.approx(0.15)
    assert len(back) == 100
    assert flown.seconds == pytest.approx(1.0 + 0.2 + 2 * 0.05 + 0.058, abs=0.02)


def test_finish_ends_the_line() -> None:
    flown = SimulatedLine(line(), {"y": flat()}).fly(Steering(Script({40: Finish("enough")}), RAIL))
    assert len(flown.rows) == 205


@pytest.mark.parametrize("name", ["S1", "S2"])
@pytest.mark.parametrize("peak", [0.0, 1e4])
def test_many_seeds_at_once_are_planned_as_the_policy_plans(name: str, peak: float) -> None:
    cell = Cell(SIGNALS[name], 3, peak)
    offsets = np.array([0.3, 0.62])
    uniform = np.repeat(np.linspace(0, 1, cell.rows + 1)[None], 2, axis=0)
    curve = measure(cell, offsets, uniform, (1, 2))
    speed, gain = plan_prior(cell, [curve], 0)
    for seed in range(2):
        policy = PriorSpeed("y", cell.signal.width, counting=bool(peak))
        policy.begin(context(cell.rows))
        exposure = peak / cell.rows * cell.rows if peak else 1.0
        block = Rows(
            first=0,
            point=np.arange(cell.rows),
            start=curve.edges[seed, :-1],
            stop=curve.edges[seed, 1:],
            time=np.arange(cell.rows) * cell.period,
            live=np.full(cell.rows, exposure),
            counts={"y": curve.rate[seed] * exposure},
        )
        policy.tell(block)
        plan = policy.begin(context(cell.rows))
        assert plan.gain == pytest.approx(gain[seed])
        assert plan.profile is not None
        assert plan.profile.velocity == pytest.approx(speed[seed], rel=1e-9)


def test_many_second_passes_are_planned_as_the_policy_plans() -> None:
    cell = Cell(SIGNALS["S1"], 10, 0.0)
    offsets = np.array([0.4])
    speed, gain, left, price = plan_two_pass(cell, offsets, (1,))
    policy = TwoPass("y", cell.signal.width, counting=False)
    steering = Steering(policy, RAIL)
    sample = {"y": lambda x: cell.signal.integral(x[None], offsets)[0]}
    SimulatedLine(context(cell.rows, turnaround=TURN), sample).fly(steering)
    back = steering.decisions[-1].proposal
    assert isinstance(back, GoBack)
    assert back.profile.duration == pytest.approx(left, rel=1e-3)
    assert 0.1 < price < 0.125
    assert policy.end()["gain"] == pytest.approx(gain[0], rel=0.02)
    flown = np.sort(back.profile.velocity)
    assert np.median(flown) == pytest.approx(np.median(speed[0]), rel=0.05)


def test_rows_of_a_profile_share_the_time() -> None:
    speed = np.linspace(0.5, 2.0, 101)[None]
    took = float(np.sum(2 * 0.01 / (speed[0, 1:] + speed[0, :-1])))
    edges = edges_of(speed, 50, took / 50)
    assert edges[0, 0] == 0.0
    assert edges[0, -1] == 1.0
    assert np.all(np.diff(edges[0]) > 0)
