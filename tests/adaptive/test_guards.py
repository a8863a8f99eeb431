"""Beam, stability and budget."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from flyscan.adaptive import (
    BeamGuard,
    Budget,
    Composite,
    Finish,
    Flag,
    GoBack,
    Hold,
    PriorSpeed,
    Resume,
    Retune,
    StabilityGuard,
)
from flyscan.errors import CaptureError, ConfigurationError
from tests.adaptive.lines import line, now, rows


def begun(policy: Any) -> Any:
    policy.begin(line())
    return policy


def flux(n: int = 50, **lost: Any) -> np.ndarray:
    values = np.ones(n)
    for name, value in lost.items():
        values[int(name[1:])] = value
    return values


def test_loss_is_found_to_the_row() -> None:
    guard = begun(BeamGuard())
    dying = np.ones(50)
    dying[30:] = 0.7, *[0.0] * 19
    guard.tell(rows(50, i0=dying))
    assert guard.ask(now()) == Hold("incident flux below 0.5 of nominal", refly_from=29)
    assert guard.ask(now(held=True)) == Resume("tries again after 0 s")


def test_loss_and_return_within_a_block_is_reflown_all_the_same() -> None:
    guard = begun(BeamGuard())
    guard.tell(rows(50, i0=flux(_12=0.1, _13=0.0)))
    hold = guard.ask(now())
    assert isinstance(hold, Hold)
    assert hold.refly_from == 11


def test_top_up_is_no_loss() -> None:
    guard = begun(BeamGuard())
    guard.tell(rows(50, i0=flux(_12=0.6, _13=0.55)))
    assert guard.ask(now()) is None
    assert guard.end()["losses"] == 0


def test_a_row_between_the_thresholds_before_a_loss_is_reflown_across_blocks() -> None:
    guard = begun(BeamGuard())
    weak = np.ones(50)
    weak[48:] = 0.7
    guard.tell(rows(50, i0=weak))
    guard.tell(rows(50, first=50, i0=np.zeros(50)))
    hold = guard.ask(now())
    assert isinstance(hold, Hold)
    assert hold.refly_from == 47


def test_a_beam_that_sags_is_flown_again_only_as_far_back_as_it_fell() -> None:
    guard = begun(BeamGuard())
    guard.tell(rows(50, i0=np.full(50, 0.7)))  # 0.1 s
    guard.tell(rows(50, first=50, at=0.1, i0=np.full(50, 0.7)))
    guard.tell(rows(50, first=100, at=0.2, i0=np.zeros(50)))
    hold = guard.ask(now())
    assert isinstance(hold, Hold)
    assert hold.refly_from == 49


def test_blind_tries_become_rarer_until_the_beam_stays() -> None:
    guard = begun(BeamGuard())
    guard.tell(rows(50, i0=np.ones(50)))
    waits: list[float] = []
    t, first = 0.1, 50
    for _ in range(9):
        guard.tell(rows(5, first=first, at=first / 500, i0=np.zeros(5)))
        first += 5
        assert isinstance(guard.ask(now(time=t)), Hold)
        held = t
        while guard.ask(now(time=t, held=True)) is None:
            t += 0.125
        waits.append(t - held)
    assert waits == pytest.approx([0, 1, 2, 4, 8, 16, 32, 60, 60], abs=0.13)
    guard.tell(rows(40000, first=first, at=first / 500, i0=np.ones(40000)))
    guard.tell(rows(5, first=50000, at=100.0, i0=np.zeros(5)))
    assert isinstance(guard.ask(now(time=t)), Hold)
    assert isinstance(guard.ask(now(time=t, held=True)), Resume)


def test_a_loss_during_a_hold_of_others_is_held_for_too() -> None:
    guard = begun(BeamGuard())
    guard.tell(rows(50, i0=np.zeros(50)))
    hold = guard.ask(now(held=True))
    assert isinstance(hold, Hold)
    assert hold.refly_from == 0
    assert isinstance(guard.ask(now(held=True)), Resume)


def test_rows_to_be_flown_again_are_passed_on_as_bad() -> None:
    guard = begun(BeamGuard())
    guard.tell(rows(50, i0=np.ones(50)))
    lit = rows(50, first=50, at=0.1, i0=flux(_12=0.0))
    guard.tell(lit)
    assert guard.pass_on(lit).usable.tolist() == [True] * 11 + [False] * 39
    more = rows(50, first=100, at=0.2, i0=np.ones(50))
    guard.tell(more)
    assert not guard.pass_on(more).usable.any()
    assert guard.end() == {"policy": "BeamGuard", "losses": 1, "discarded_rows": 89}


def test_a_dump_does_not_switch_off_what_comes_after_the_guard() -> None:
    both = Composite([BeamGuard(), PriorSpeed("y", 0.01)])
    both.begin(line())
    both.tell(rows(50, i0=np.zeros(50)))
    assert isinstance(both.ask(now()), Hold)
    again = np.full(50, 100.0)
    both.tell(rows(50, first=50, point=np.arange(50), i0=np.ones(50), counts=again))
    summary = both.end()["parts"][1]
    assert summary["bad_rows"] == 0


def test_a_monitor_alone_gives_up_the_rows_of_its_lag() -> None:
    def rings(value: float, n: int = 50) -> dict[str, np.ndarray]:
        return {"ring": np.full(n, value)}

    guard = begun(BeamGuard(monitor="ring", monitor_low=200, monitor_high=400, lag=0.05))
    guard.tell(rows(50, signals=rings(500)))
    hold = guard.ask(now(time=0.121, monitors={"ring": 100.0}))
    assert isinstance(hold, Hold)
    assert hold.refly_from == 35  # its live time ended 0.049 s ago
    in_rows = begun(BeamGuard(monitor="ring", monitor_low=200, monitor_high=400, lag=0.051))
    falling = rings(500)
    falling["ring"][30:] = 150
    in_rows.tell(rows(50, signals=falling))
    hold = in_rows.ask(now(monitors={"ring": 150.0}))
    assert isinstance(hold, Hold)
    assert hold.refly_from == 4


def test_monitor_with_hysteresis_and_wait() -> None:
    guard = begun(BeamGuard(monitor="ring", monitor_low=200, monitor_high=400, wait=600))
    guard.tell(rows(i0=np.ones(50)))
    assert guard.ask(now(monitors={"ring": 300})) is None
    assert guard.ask(now(monitors={"ring": 199})) == Hold("ring below 200", refly_from=250)
    held = [(0, 300), (10, 401), (500, 390), (600, 402), (1100, 420), (1200, 420)]
    answers = [guard.ask(now(time=t, held=True, monitors={"ring": r})) for t, r in held]
    assert answers[:-1] == [None] * 5
    assert answers[-1] == Resume("ring is back since 600 s")


def test_flapping_is_counted_and_never_resumed_early() -> None:
    guard = begun(BeamGuard(monitor="ring", monitor_low=200, monitor_high=400, wait=5))
    holds = resumes = 0
    held = False
    for t in range(200):
        ring = 100.0 if t % 4 < 2 else 500.0  # never back for 5 s
        answer = guard.ask(now(time=float(t), held=held, monitors={"ring": ring}))
        holds += isinstance(answer, Hold)
        resumes += isinstance(answer, Resume)
        held = held or isinstance(answer, Hold)
    assert (holds, resumes) == (1, 0)


def test_a_guard_that_sees_nothing_says_so() -> None:
    with pytest.raises(CaptureError, match="no incident flux and no monitor"):
        begun(BeamGuard()).tell(rows())
    guard = begun(BeamGuard(monitor="ring", monitor_low=1, monitor_high=2))
    with pytest.raises(ConfigurationError, match="ring: no such monitor; there are sun"):
        guard.ask(now(monitors={"sun": 1.0}))


@pytest.mark.parametrize(
    "make",
    [
        lambda: BeamGuard(low=0.9, high=0.8),
        lambda: BeamGuard(wait=-1.0),
        lambda: BeamGuard(monitor="ring", monitor_low=3, monitor_high=2),
        lambda: StabilityGuard("error", 0.0),
        lambda: StabilityGuard("error", 1.0, tries=0),
        lambda: Budget(pixel_dose=1.0),
        lambda: Budget(total_dose=-1.0),
    ],
)
def test_contradictory_parameters_are_refused(make: Any) -> None:
    with pytest.raises(ConfigurationError, match="Remedy"):
        make()


def moved(guard: StabilityGuard, **moment: Any) -> Any:
    """What it asks for after flags."""
    while isinstance(answer := guard.ask(now(**moment)), Flag):
        pass
    return answer


def test_a_bad_stretch_is_retaken_three_times_slower_and_slower_then_flagged() -> None:
    guard = begun(StabilityGuard("error", 0.1))
    error = np.zeros(50)
    error[10:15] = 0.3
    guard.tell(rows(50, signals={"error": error}))
    speeds: list[float] = []
    assert guard.ask(now()) == Flag("position error out of tolerance: taken again", 10, 15)
    for number in (1, 2, 3):
        back = moved(guard, at_end=True)
        assert isinstance(back, GoBack)
        assert (back.start, back.stop) == pytest.approx((0.02, 0.03))
        speeds.append(back.profile.velocity[0])
        assert guard.ask(now()) is None
        retaken = rows(
            5,
            first=50 * number,
            at=0.02,
            signals={"error": np.full(5, 0.2)},
            passes=np.full(5, number),
        )
        guard.tell(retaken)
    assert speeds == [0.5, 0.25, 0.125]
    assert guard.ask(now()) == Flag("position error out of tolerance: given up", 150, 155)
    assert guard.ask(now()) is None
    assert guard.end()["flagged"] == [pytest.approx([0.02, 0.03])]


def test_jitter_counts_and_nan_is_out_of_tolerance() -> None:
    guard = begun(StabilityGuard("error", 0.1, jitter=0.01))
    guard.tell(rows(50, signals={"error": 0.05 * (-1.0) ** np.arange(50)}))
    assert moved(guard) is None, "it is still going on"
    guard.tell(rows(50, first=50, at=0.1, signals={"error": np.zeros(50)}))
    assert isinstance(moved(guard), GoBack)
    silent = begun(StabilityGuard("error", 0.1))
    silent.tell(rows(5, signals={"error": np.full(5, np.nan)}))
    assert isinstance(moved(silent, at_end=True), GoBack)


def test_an_axis_that_rests_is_held_against_where_it_should() -> None:
    guard = StabilityGuard("y_encoder", 0.1)
    guard.begin(line(rests={"y_encoder": 7.0}))
    block = rows(5, signals={"y_encoder": np.array([7.0, 7.05, 6.7, 6.8, 7.0])})
    guard.tell(block)
    assert guard.ask(now()) == Flag("position error out of tolerance: taken again", 2, 4)
    assert guard.pass_on(block).usable.tolist() == [True, True, False, False, True]


def test_rows_of_unknown_place_are_flagged_but_not_taken_again() -> None:
    guard = begun(StabilityGuard("error", 0.1))
    guard.tell(rows(3, start=np.full(3, np.nan), signals={"error": np.ones(3)}))
    assert guard.ask(now()) == Flag("position error out of tolerance: given up", 0, 3)
    assert guard.ask(now()) is None


def test_where_nothing_goes_back_the_speed_is_halved() -> None:
    guard = StabilityGuard("error", 0.1)
    guard.begin(line(goes_back=False))
    guard.tell(rows(5, signals={"error": np.ones(5)}))
    slower = moved(guard)
    assert isinstance(slower, Retune)
    assert slower.velocity == 0.5
    assert len(guard.end()["flagged"]) == 1


def test_dose_is_counted_and_ends_the_flight() -> None:
    budget = begun(Budget(total_dose=0.15))
    budget.tell(rows(50, i0=np.full(50, 0.5)))
    assert budget.ask(now()) is None
    budget.tell(rows(50, first=50))
    assert budget.end()["dose_s"] == pytest.approx(0.15)
    assert isinstance(budget.ask(now()), Finish)


def test_time_left_hurries_the_line_then_ends_it() -> None:
    budget = begun(Budget())
    assert budget.ask(now(time_left=0.5)) is None
    hurry = budget.ask(now(time_left=0.25))
    assert isinstance(hurry, Retune)
    assert hurry.velocity == pytest.approx(2.0)
    assert isinstance(budget.ask(now(time_left=0.0)), Finish)


def test_dose_per_pixel_bounds_the_plan_of_another_policy() -> None:
    from flyscan.adaptive import SimulatedLine, Steering
    from tests.adaptive.lines import RAIL, peak

    def slowest(*policies: Any) -> float:
        steering = Steering(Composite([*policies, PriorSpeed("y", 0.01, counting=False)]), RAIL)
        context = line()
        first = SimulatedLine(context, {"y": peak(0.4)}).fly(steering)
        again = SimulatedLine(context, {"y": peak(0.4)}, first=len(first.rows)).fly(steering)
        assert steering.fault is None
        assert again.plan.profile is not None
        return min(again.plan.profile.velocity)

    assert slowest() < 0.2
    assert slowest(Budget(pixel=0.01, pixel_dose=0.02)) == pytest.approx(0.5)


def test_guards_come_before_speed() -> None:
    both = Composite([BeamGuard(), Budget(total_dose=1e-6)])
    both.begin(line())
    both.tell(rows(50, i0=np.zeros(50)))
    assert isinstance(both.ask(now()), Hold)
