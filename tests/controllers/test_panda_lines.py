"""Trigger programs in counts and ticks, without a box."""

from __future__ import annotations

import base64
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from flyscan.controllers._axis_map import AxisMap
from flyscan.controllers.panda._config import TriggerChoice
from flyscan.controllers.panda._lines import (
    Method,
    Timing,
    choose,
    compare_line,
    pre_start,
    seq_line,
    seq_table,
)
from flyscan.errors import ConfigurationError, LimitError
from flyscan.flight import AxisLimits, Segment, Trigger, plan_sweep

LIMITS = {"x": AxisLimits(-1e9, 1e9, 1e9, 1e9, "um")}


def segment(start: float, stop: float, points: int, trigger: Trigger = Trigger.POSITION) -> Segment:
    return Segment(3, 100, points, {"x": start}, {"x": stop}, 0.001, trigger)


def curve(bounds: list[float]) -> Segment:
    values = np.array(bounds)
    return Segment(
        0, 0, len(bounds) - 1, {"x": bounds[0]}, {"x": bounds[-1]}, 0.001, Trigger.POSITION,
        {"x": values},
    )  # fmt: skip


maps = st.builds(
    AxisMap,
    encoder=st.just("INENC1"),
    resolution=st.sampled_from([0.001, 0.004, 0.0305]),
    sign=st.sampled_from([-1, 1]),
    zero=st.floats(-50, 50),
    direction=st.sampled_from([-1, 1]),
    offset=st.floats(-50, 50),
)
lines = st.builds(
    segment,
    st.floats(-100, 100),
    st.floats(-100, 100),
    st.integers(1, 2000),
)


@given(maps, lines)
def test_compare_positions_are_within_rounding_and_drift(axis_map: AxisMap, line: Segment):
    assume(abs(line.step / axis_map.scale) >= 2)
    compare = compare_line(line, axis_map)
    exact = axis_map.counts(line.start["x"]) + np.arange(line.points) * line.step / axis_map.scale
    made = compare.start + np.arange(line.points) * compare.step
    assert np.abs(made - exact).max() <= 0.5 + compare.drift + 1e-6
    assert compare.at(line.points - 1) == made[-1]


@given(maps, lines)
def test_sequencer_positions_are_within_half_a_count(axis_map: AxisMap, line: Segment):
    assume(abs(line.step / axis_map.scale) >= 4)
    made = seq_line(line, axis_map)
    exact = axis_map.counts(line.start["x"]) + np.arange(line.points) * line.step / axis_map.scale
    assert np.abs(made.positions - exact).max() <= 0.5 + 1e-4
    assert np.all(np.diff(made.positions) * made.direction > 0)


@given(maps, lines)
def test_auto_takes_position_compare_where_it_stays_within_half_a_count(
    axis_map: AxisMap, line: Segment
):
    assume(abs(line.step / axis_map.scale) >= 4)
    method = choose(line, axis_map, TriggerChoice.AUTO)
    assert (method is Method.PCOMP) == (compare_line(line, axis_map).drift < 0.5)
    assert choose(line, axis_map, TriggerChoice.SEQ) is Method.SEQ


def test_twelve_and_a_half_nanometres_on_four_nanometre_counts():
    axis_map = AxisMap("INENC1", 0.004, unit="um")
    line = segment(0.0, 12.5, 1000)
    assert compare_line(line, axis_map).drift == pytest.approx(999 * 0.125)
    assert choose(line, axis_map, TriggerChoice.AUTO) is Method.SEQ
    with pytest.raises(ConfigurationError, match=r"is 3\.1250 counts; .* 124\.9 counts off"):
        choose(line, axis_map, TriggerChoice.PCOMP)


def test_the_latency_shifts_the_two_directions_apart():
    axis_map = AxisMap("INENC1", 0.001, latency=1e-4)
    there, back = segment(0.0, 50.0, 500), segment(50.0, 0.0, 500)
    # 100 um/s times 100 us is 10 nm, 10 counts, against the direction of motion.
    assert compare_line(there, axis_map).start == -10
    assert compare_line(back, axis_map).start == 50_010
    assert seq_line(there, axis_map).positions[0] == -10
    assert seq_line(back, axis_map).positions[-1] == 110


def test_curves_need_the_sequencer_and_must_not_turn_back():
    axis_map = AxisMap("INENC1", 0.001)
    uneven = curve([0.0, 1.0, 2.5, 3.0])
    assert choose(uneven, axis_map, TriggerChoice.AUTO) is Method.SEQ
    assert seq_line(uneven, axis_map).positions.tolist() == [0, 1000, 2500]
    with pytest.raises(ConfigurationError, match="makes even steps only"):
        choose(uneven, axis_map, TriggerChoice.PCOMP)
    with pytest.raises(ConfigurationError, match="turns back along x"):
        choose(curve([0.0, 2.0, 1.0, 5.0]), axis_map, TriggerChoice.AUTO)


def test_time_needs_no_encoder_here_and_position_does():
    assert choose(segment(0, 1, 10, Trigger.TIME), None, TriggerChoice.AUTO) is Method.TIME
    with pytest.raises(ConfigurationError, match="no encoder wired"):
        choose(segment(0, 1, 10), None, TriggerChoice.AUTO)


@pytest.mark.parametrize("counts", [0.2, 1.0, 1.4])
def test_steps_below_two_counts_are_refused(counts: float):
    axis_map = AxisMap("INENC1", 0.001, unit="um")
    for trigger in TriggerChoice:
        with pytest.raises(ConfigurationError, match="cannot be made, the smallest is 2"):
            choose(segment(0, counts * 0.001 * 100, 100), axis_map, trigger)


def test_counts_beyond_32_bits_are_refused():
    axis_map = AxisMap("INENC1", 1e-9)
    for trigger in TriggerChoice:
        with pytest.raises(LimitError, match="the box holds -2147483648 to 2147483647"):
            choose(segment(0, 3, 10), axis_map, trigger)


def test_gate_and_period_in_ticks():
    line = segment(0, 1, 10)
    assert Timing.of(line, None, 0.8, 125_000_000) == Timing(100_000, 125_000)
    assert Timing.of(line, 1e-4, 0.8, 125_000_000) == Timing(12_500, 125_000)
    for exposure in (0.001, 0.002, 0.0, -1.0):
        with pytest.raises(LimitError, match="does not fit between triggers"):
            Timing.of(line, exposure, 0.8, 125_000_000)
    slow = Segment(0, 0, 1, {"x": 0.0}, {"x": 0.0}, 30.0, Trigger.TIME)
    with pytest.raises(LimitError, match="longer than the 17 s"):
        Timing.of(slow, None, 0.8, 125_000_000)


def test_the_gate_fits_the_fastest_part_of_a_line_of_varying_speed():
    varied = replace(segment(0, 1, 4), schedule=np.array((0.0, 1e-3, 3e-3, 3.5e-3, 4e-3)))
    assert Timing.of(varied, None, 0.8, 125_000_000) == Timing(50_000, 62_500)
    with pytest.raises(LimitError, match=r"between triggers 0\.0005 s apart"):
        Timing.of(varied, 6e-4, 0.8, 125_000_000)


def test_a_late_encoder_is_compensated_at_the_speed_of_every_point():
    late = AxisMap("INENC1", 0.001, latency=1e-3)
    varied = replace(segment(0, 4, 4), schedule=np.array((0.0, 0.1, 0.3, 0.35, 0.4)))
    # 10, 5, 20 and 20 um/s are 10, 5, 20 and 20 counts in the time by which it is late.
    assert seq_line(varied, late).positions.tolist() == [-10, 995, 1980, 2980]


@given(maps, lines, st.integers(0, 1999))
def test_the_stage_stands_beyond_pre_start(axis_map: AxisMap, line: Segment, index: int):
    assume(index < line.points)
    assume(abs(line.step / axis_map.scale) >= 4)
    sweep = plan_sweep(line, line.first_point + index, LIMITS)
    compare = compare_line(line, axis_map)
    first, direction = compare.at(index), 1 if compare.step > 0 else -1
    before = pre_start(sweep, axis_map, first, direction)
    run_up = direction * (first - axis_map.counts(sweep.origin["x"]))
    assert 0 <= before <= max(0, run_up / 2)


def rows_of(table: tuple[str, ...]) -> list[tuple[int, int, int, int, int, int]]:
    """Repeats, trigger, OUTA1, position, time 1, time 2 of every row."""
    words = np.frombuffer(b"".join(map(base64.b64decode, table)), "<u4").reshape(-1, 4)
    return [
        (
            int(w[0] & 0xFFFF),
            int(w[0] >> 16 & 0xF),
            int(w[0] >> 20),
            int(w[1:2].view("<i4")[0]),
            int(w[2]),
            int(w[3]),
        )
        for w in words
    ]


def test_table_begins_with_a_row_against_the_direction():
    up = seq_line(curve([-0.003, 0.005, 0.010, 0.020]), AxisMap("INENC1", 0.001))
    assert rows_of(seq_table(up, 0, 7, gated=False)) == [
        (1, 8, 0, -10, 0, 5),
        (1, 7, 1, -3, 5, 5),
        (1, 7, 1, 5, 5, 5),
        (1, 7, 1, 10, 5, 5),
    ]
    down = seq_line(curve([0.020, 0.010, 0.005]), AxisMap("INENC1", 0.001))
    assert rows_of(seq_table(down, 1, 7, gated=False)) == [(1, 7, 0, 17, 0, 5), (1, 8, 1, 10, 5, 5)]


def test_a_gated_trigger_waits_for_its_position_then_for_the_gate():
    line = seq_line(curve([0.0, 0.010, 0.020]), AxisMap("INENC1", 0.001))
    assert rows_of(seq_table(line, 0, 3, gated=True)) == [
        (1, 8, 0, -3, 0, 5),
        (1, 7, 0, 0, 0, 5),
        (1, 2, 1, 0, 5, 5),
        (1, 7, 0, 10, 0, 5),
        (1, 2, 1, 0, 5, 5),
    ]


def test_long_tables_are_cut_into_lines_the_server_takes():
    line = seq_line(segment(0.0, 100.0, 1000), AxisMap("INENC1", 0.001))
    table = seq_table(line, 0, 5, gated=False)
    assert max(map(len, table)) < 1024
    assert all(len(base64.b64decode(text)) % 16 == 0 for text in table)
    assert len(rows_of(table)) == 1001
