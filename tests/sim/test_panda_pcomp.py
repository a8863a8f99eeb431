"""PCOMP against the behaviour of the FPGA block."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sim.panda_rig import Path1D, Rig


def compare(path: Path1D, *more: str, **values: object) -> Rig:
    """A PCOMP on INENC1, capturing the position at each pulse; enabled."""
    rig = Rig({"INENC1": path})
    rig.put("PCOMP1.INP=INENC1.VAL", *(f"PCOMP1.{k}={v}" for k, v in values.items()), *more)
    rig.capture("INENC1.VAL", "PCAP.TS_TRIG")
    rig.put("PCOMP1.ENABLE=ONE")
    return rig


def positions(rig: Rig) -> list[int]:
    return rig.rows()["INENC1.VAL.Value"].tolist()


@given(
    turns=st.lists(st.integers(-300, 1500), min_size=1, max_size=8),
    step=st.integers(2, 40),
    width=st.integers(1, 39),
    forward=st.booleans(),
    slices=st.lists(st.floats(1e-4, 5e-3), max_size=6),
)
@settings(max_examples=60, deadline=None)
def test_every_crossing_once_however_the_stage_moves(
    turns: list[int], step: int, width: int, forward: bool, slices: list[float]
) -> None:
    """Held armed and moved to and fro, the grid is neither repeated nor left out, in order."""
    width = min(width, step - 1)
    sign = 1 if forward else -1
    path = Path1D([-50.5 * sign, *(t * sign + 0.5 for t in turns), 1000.5 * sign], 200_000.0)
    rig = compare(
        path,
        START=0,
        STEP=step,
        WIDTH=width,
        PULSES=20,
        PRE_START=10,
        DIR="Positive" if forward else "Negative",
    )
    for length in slices:
        rig.run(length)
    rig.run_to(path.end + 1e-3)
    got = np.array(positions(rig))
    wanted = sign * step * np.arange(20)
    # the sample is taken two clocks after the crossing, one count further at most
    assert got.size == 20
    assert (np.abs(got - wanted) <= 1).all()
    assert rig.get("PCOMP1.PRODUCED") == "20"
    assert rig.get("PCOMP1.STATE") == "WAIT_ENABLE"
    assert rig.get("PCOMP1.HEALTH") == "OK"


def test_crossing_time_is_exact_to_the_tick() -> None:
    """1 count per 10 us: a pulse every 80 us, whatever the slices and the search grid."""
    rig = compare(Path1D([-20, 1000], 100_000.0), START=0, STEP=8, WIDTH=1, PULSES=50)
    for _ in range(11):
        rig.run(1.23e-3)
    intervals = np.diff(rig.rows()["PCAP.TS_TRIG.Value"])
    assert intervals.size == 49
    assert set(intervals.tolist()) <= {9999, 10000, 10001}


def test_step_written_while_out_is_high_acts_on_the_next_pulse() -> None:
    rig = compare(Path1D([-20, 1000], 100_000.0), START=0, STEP=100, WIDTH=50, PULSES=4)
    rig.run_to(1e-3 + (20 + 110) * 1e-5)  # at 110, inside the second pulse
    assert rig.get("PCOMP1.STATE") == "WAIT_FALLING"
    rig.put("PCOMP1.STEP=200")
    rig.run_to(12e-3)
    assert positions(rig) == [0, 100, 300, 500]


def test_step_written_while_out_is_low_acts_on_the_pulse_after_the_next() -> None:
    rig = compare(Path1D([-20, 1000], 100_000.0), START=0, STEP=100, WIDTH=50, PULSES=4)
    rig.run_to(1e-3 + (20 + 60) * 1e-5)  # at 60, after the first pulse
    assert rig.get("PCOMP1.STATE") == "WAIT_RISING"
    rig.put("PCOMP1.STEP=200")
    rig.run_to(12e-3)
    assert positions(rig) == [0, 100, 300, 500]
    # the pulse at 100 was already fixed by the falling edge at 50


@pytest.mark.parametrize(("step", "after"), [(98, 198), (60, 160), (2, 102), (101, 201)])
def test_step_may_be_lowered_in_flight(step: int, after: int) -> None:
    rig = compare(Path1D([-20, 1000], 100_000.0), START=0, STEP=100, WIDTH=1, PULSES=4)
    rig.run_to(1e-3 + (20 + 60) * 1e-5)
    rig.put(f"PCOMP1.STEP={step}")
    rig.run_to(12e-3)
    assert positions(rig) == [0, 100, after, after + step]
    assert rig.get("PCOMP1.HEALTH") == "OK"


def test_step_lowered_by_just_the_width_looks_like_a_jump() -> None:
    rig = compare(Path1D([-20, 1000], 100_000.0), START=0, STEP=100, WIDTH=1, PULSES=4)
    rig.run_to(1e-3 + (20 + 60) * 1e-5)
    rig.put("PCOMP1.STEP=99")
    rig.run_to(12e-3)
    assert positions(rig) == [0]
    assert rig.get("PCOMP1.HEALTH") == "Position jumped by more than STEP"


def test_start_and_direction_are_ignored_once_running() -> None:
    rig = compare(Path1D([-20, 1000], 100_000.0), START=0, STEP=100, WIDTH=1, PULSES=3)
    rig.run_to(1e-3 + 40e-5)
    rig.put("PCOMP1.START=7", "PCOMP1.DIR=Negative")
    rig.run_to(12e-3)
    assert positions(rig) == [0, 100, 200]


def test_step_below_width_stalls_silently() -> None:
    rig = compare(Path1D([-20, 1000], 100_000.0), START=0, STEP=5, WIDTH=10)
    rig.run(15e-3)
    assert rig.get("PCOMP1.PRODUCED") == "1"
    assert rig.get("PCOMP1.STATE") == "WAIT_RISING"
    assert rig.get("PCOMP1.HEALTH") == "OK"
    assert rig.get("PCOMP1.ACTIVE") == "1"


def test_step_equal_to_width_aborts() -> None:
    rig = compare(Path1D([-20, 1000], 100_000.0), START=0, STEP=10, WIDTH=10)
    rig.run(15e-3)
    assert rig.get("PCOMP1.HEALTH") == "Position jumped by more than STEP"
    assert rig.get("PCOMP1.ACTIVE") == "0"


def test_a_jump_over_a_step_aborts() -> None:
    def jumping(seconds: np.ndarray) -> np.ndarray:
        return np.where(seconds < 2e-3, -5, 105).astype(np.int64)

    rig = Rig({"INENC1": jumping})
    rig.put("PCOMP1.INP=INENC1.VAL", "PCOMP1.STEP=100", "PCOMP1.WIDTH=1", "PCOMP1.ENABLE=ONE")
    rig.run(5e-3)
    assert rig.get("PCOMP1.HEALTH") == "Position jumped by more than STEP"
    assert rig.get("PCOMP1.PRODUCED") == "0"


@pytest.mark.parametrize(("lowered", "produced"), [(2, "10"), (3, "10")])
def test_pulses_lowered_to_what_is_produced_never_stops(lowered: int, produced: str) -> None:
    rig = compare(Path1D([-20, 999], 100_000.0), START=0, STEP=100, WIDTH=1, PULSES=5)
    rig.run_to(1e-3 + (20 + 250) * 1e-5)
    assert rig.get("PCOMP1.PRODUCED") == "3"
    rig.put(f"PCOMP1.PULSES={lowered}")
    rig.run_to(15e-3)
    assert rig.get("PCOMP1.PRODUCED") == produced


def test_pulses_lowered_in_time_end_the_train() -> None:
    rig = compare(Path1D([-20, 999], 100_000.0), START=0, STEP=100, WIDTH=1, PULSES=9)
    rig.run_to(1e-3 + (20 + 250) * 1e-5)
    rig.put("PCOMP1.PULSES=4")
    rig.run_to(15e-3)
    assert rig.get("PCOMP1.PRODUCED") == "4"
    assert rig.get("PCOMP1.STATE") == "WAIT_ENABLE"


def test_pulses_raised_in_flight_are_made() -> None:
    rig = compare(Path1D([-20, 999], 100_000.0), START=0, STEP=100, WIDTH=1, PULSES=5)
    rig.run_to(1e-3 + (20 + 250) * 1e-5)
    rig.put("PCOMP1.PULSES=8")
    rig.run_to(15e-3)
    assert rig.get("PCOMP1.PRODUCED") == "8"
    assert rig.get("PCOMP1.STATE") == "WAIT_ENABLE"


def test_waits_for_pre_start_without_a_word() -> None:
    """A stage that is not beyond START - PRE_START never fires, with HEALTH OK."""
    rig = compare(Path1D([-5, 500], 100_000.0), START=0, STEP=10, WIDTH=1, PRE_START=20)
    rig.run(10e-3)
    assert rig.get("PCOMP1.STATE") == "WAIT_PRE_START"
    assert rig.get("PCOMP1.HEALTH") == "OK"
    assert rig.get("PCOMP1.PRODUCED") == "0"


def test_relative_start_counts_from_where_it_was_enabled() -> None:
    rig = compare(
        Path1D([200, 700], 100_000.0), START=30, STEP=100, WIDTH=1, PULSES=3, RELATIVE="Relative"
    )
    rig.run(10e-3)
    assert positions(rig) == [230, 330, 430]


def test_either_direction_is_taken_from_the_side_of_the_stage() -> None:
    rig = compare(Path1D([500, 0], 100_000.0), START=400, STEP=100, WIDTH=1, PULSES=3, DIR="Either")
    rig.run(10e-3)
    assert positions(rig) == [399, 299, 199] or positions(rig) == [400, 300, 200]


def test_direction_cannot_be_guessed_from_nothing() -> None:
    rig = compare(
        Path1D([0, 100], 1e5), START=0, STEP=10, WIDTH=1, DIR="Either", RELATIVE="Relative"
    )
    rig.run(1e-3)
    assert rig.get("PCOMP1.HEALTH") == "Can't guess DIR when RELATIVE and PRE_START=0 and START=0"


def test_a_new_enable_starts_over() -> None:
    rig = compare(Path1D([-20, 500, -20, 500], 1e5), START=0, STEP=100, WIDTH=1, PULSES=2)
    rig.run_to(8e-3)
    assert rig.get("PCOMP1.PRODUCED") == "2"
    rig.put("PCOMP1.ENABLE=ZERO", "PCOMP1.ENABLE=ONE")
    assert rig.get("PCOMP1.PRODUCED") == "0"
    rig.run_to(20e-3)
    assert positions(rig) == [0, 100, 0, 100]
