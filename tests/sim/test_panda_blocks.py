"""PULSE, SEQ, PCAP, COUNTER and the small blocks, wired as users wire them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sim.panda_rig import Path1D, Rig, sequencer_row

TICKS_PER_US = 125


def clocked(period_us: float = 1000.0, *commands: str) -> Rig:
    """CLOCK1 running, started by BITS.OUTA."""
    rig = Rig(trains={"TTLIN1": lambda t: np.floor(np.asarray(t) * 1e6).astype(np.int64)})
    rig.put(f"CLOCK1.PERIOD={period_us * 1e-6!r}", "CLOCK1.ENABLE=BITS.OUTA", *commands)
    return rig


def stamps_us(rig: Rig) -> np.ndarray:
    return rig.rows()["PCAP.TS_TRIG.Value"] / TICKS_PER_US


# PULSE


def test_pulse_train_with_delay() -> None:
    rig = clocked(1000, "PULSE1.TRIG=CLOCK1.OUT", "PULSE1.ENABLE=ONE", "PULSE1.PULSES=3")
    rig.put("PULSE1.DELAY=0.0001", "PULSE1.WIDTH=0.00001", "PULSE1.STEP=0.0002")
    rig.capture("PCAP.TS_TRIG", trigger="PULSE1.OUT")
    rig.put("BITS.A=1")
    rig.run(3.95e-3)
    offsets = np.concatenate([k * 1000 + np.array([0, 200, 400]) for k in range(4)])
    assert np.diff(stamps_us(rig)) == pytest.approx(np.diff(offsets), abs=0.02)
    assert rig.get("PULSE1.DROPPED") == "0"


def test_triggers_during_a_train_are_dropped_and_counted() -> None:
    rig = clocked(100, "PULSE1.TRIG=CLOCK1.OUT", "PULSE1.ENABLE=ONE", "PULSE1.WIDTH=0.00025")
    rig.capture("PCAP.TS_TRIG", trigger="PULSE1.OUT")
    rig.put("BITS.A=1")
    rig.run(2.95e-3)
    assert np.diff(stamps_us(rig)) == pytest.approx(np.full(9, 300), abs=0.02)
    assert rig.get("PULSE1.DROPPED") == "20"


def test_writing_a_parameter_loses_the_queue() -> None:
    rig = clocked(100, "PULSE1.TRIG=CLOCK1.OUT", "PULSE1.ENABLE=ONE", "PULSE1.WIDTH=0.00001")
    rig.put("PULSE1.DELAY=0.01")
    rig.capture("PCAP.TS_TRIG", trigger="PULSE1.OUT")
    rig.put("BITS.A=1")
    rig.run(1.95e-3)
    assert rig.get("PULSE1.QUEUED") == "20"
    rig.put("BITS.A=0", "PULSE1.WIDTH=0.00002")
    assert rig.get("PULSE1.QUEUED") == "0"
    rig.run(20e-3)
    assert rig.rows().size == 0


def test_width_zero_passes_the_input_on_delayed() -> None:
    rig = clocked(100, "PULSE1.TRIG=CLOCK1.OUT", "PULSE1.ENABLE=ONE", "PULSE1.DELAY=0.00003")
    rig.put("PCAP.TRIG_EDGE=Either")
    rig.capture("PCAP.TS_TRIG", "PCAP.BITS1", "PCAP.BITS2", trigger="PULSE1.OUT")
    rig.put("BITS.A=1")
    rig.run(0.95e-3)
    assert np.diff(stamps_us(rig)) == pytest.approx(np.full(18, 50), abs=0.02)
    levels = rig.rows()["PCAP.BITS2.Value"] >> 1 & 1  # PULSE1.OUT
    assert levels.tolist() == [1, 0] * 9 + [1]


@given(
    gaps=st.lists(st.integers(1, 60), min_size=1, max_size=30),
    width=st.integers(5, 40),
    pulses=st.integers(1, 3),
    cuts=st.lists(st.integers(1, 200), max_size=5),
)
@settings(max_examples=60, deadline=None)
def test_pulse_accepts_what_the_clocked_block_accepts(
    gaps: list[int], width: int, pulses: int, cuts: list[int]
) -> None:
    """Against a model that goes clock by clock."""
    from flyscan_sim.panda._pulse import PulseState, _Run, _Setup
    from flyscan_sim.panda._waves import Wave

    ticks = np.cumsum(np.array(gaps) + 2)
    edges = np.stack((ticks, ticks + 1), axis=1).reshape(-1)
    step = width + 3
    setup = _Setup(delay=0, width=width, step=step, pulses=pulses, edge=0)
    accepted, free = list[int](), 0
    for tick in ticks.tolist():
        if tick >= free:
            accepted.append(tick)
            free = tick + (pulses - 1) * step + width + 1
    wanted = [t + k * step + w for t in accepted for k in range(pulses) for w in (0, width)]
    end = int(ticks[-1]) + 10_000
    state, got = PulseState(), list[int]()
    bounds = sorted({0, end, *np.cumsum(cuts).tolist()})
    for start, stop in pairwise(bounds):
        level = bool(np.searchsorted(edges, start, side="right") % 2)
        inside = edges[(edges > start) & (edges <= stop)]
        run = _Run(state, setup, Wave(level, inside))
        run.until(start, stop)
        state = run.state
        got += run.edges().tolist()
    assert got == wanted
    assert state.dropped == ticks.size - len(accepted)


# SEQ


def test_phases_repeats_and_table_repeats() -> None:
    rig = Rig()
    rig.put("SEQ1.PRESCALE=0.000001", "SEQ1.REPEATS=3")
    rig.capture("PCAP.TS_TRIG", trigger="SEQ1.OUTB")
    rows = [
        sequencer_row(repeats=5, time1=10, out1=2, time2=10),
        sequencer_row(time2=100, out2=1),
        sequencer_row(repeats=2, time1=1, out1=2, time2=9),
    ]
    assert rig.table("SEQ1.TABLE", rows) == "OK"
    assert rig.get("SEQ1.STATE") == "WAIT_ENABLE"
    rig.put("SEQ1.ENABLE=ONE")
    rig.run(150e-6)
    assert rig.get("SEQ1.TABLE_LINE") == "2"
    assert rig.get("SEQ1.STATE") == "PHASE2"
    rig.run(1e-3)
    once = [20, 20, 20, 20, 120, 10]
    assert np.diff(stamps_us(rig)) == pytest.approx([*once, 10, *once, 10, *once])
    assert rig.get("SEQ1.STATE") == "WAIT_ENABLE"
    assert rig.get("SEQ1.ACTIVE") == "0"


def test_position_rows_wait_when_the_stage_backs_up() -> None:
    path = Path1D([0.5, 500.5, 200.5, 1500.5], 100_000.0)
    rig = Rig({"INENC1": path})
    rig.put("SEQ1.PRESCALE=0.000001", "SEQ1.REPEATS=1", "SEQ1.POSA=INENC1.VAL")
    rig.capture("INENC1.VAL", trigger="SEQ1.OUTA")
    rows = [
        sequencer_row(trigger=7, position=100 + 10 * i, time1=5, out1=1, time2=5)
        for i in range(100)
    ]
    rig.table("SEQ1.TABLE", rows)
    rig.put("SEQ1.ENABLE=ONE")
    rig.run_to(path.times[1] + 1e-3)
    assert rig.get("SEQ1.STATE") == "WAIT_TRIGGER"
    assert rig.get("SEQ1.TABLE_LINE") == "42"
    rig.run_to(path.end)
    assert rig.rows()["INENC1.VAL.Value"].tolist() == [100 + 10 * i for i in range(100)]


def test_rows_already_passed_fire_in_a_burst() -> None:
    """Position triggers are levels."""
    rig = Rig({"INENC1": Path1D([1000, 1000.5], 1.0)})
    rig.put("SEQ1.PRESCALE=0.000001", "SEQ1.REPEATS=1", "SEQ1.POSA=INENC1.VAL")
    rig.capture("PCAP.TS_TRIG", trigger="SEQ1.OUTA")
    rows = [sequencer_row(trigger=7, position=i, time1=5, out1=1, time2=5) for i in range(20)]
    rig.table("SEQ1.TABLE", rows)
    rig.put("SEQ1.ENABLE=ONE")
    rig.run(1e-3)
    assert np.diff(stamps_us(rig)) == pytest.approx(np.full(19, 10.0))


def test_bit_triggers_gate_repeats() -> None:
    rig = clocked(1000, "SEQ1.BITA=CLOCK1.OUT", "SEQ1.PRESCALE=0.000001", "SEQ1.REPEATS=1")
    rig.capture("PCAP.TS_TRIG", trigger="SEQ1.OUTA")
    row = sequencer_row(repeats=8, trigger=2, time1=100, out1=1, time2=100)
    rig.table("SEQ1.TABLE", [row])
    rig.put("SEQ1.ENABLE=ONE")
    rig.run(1e-3)
    assert rig.get("SEQ1.STATE") == "WAIT_TRIGGER"
    rig.put("BITS.A=1")
    rig.run(5e-3)
    # high for 500 us of each 1000 us: three repeats begin in each
    assert np.diff(stamps_us(rig)) == pytest.approx([200, 200, 600, 200, 200, 600, 200], abs=0.02)


def test_streaming_runs_through_buffers_and_ends_with_the_last() -> None:
    rig = Rig()
    rig.put("SEQ1.PRESCALE=0.000001")
    rig.capture("PCAP.TS_TRIG", trigger="SEQ1.OUTA")
    rows = [sequencer_row(time1=50, out1=1, time2=50)] * 100
    assert rig.table("SEQ1.TABLE", rows, "<<") == "OK"
    rig.put("SEQ1.ENABLE=ONE")
    rig.run(5e-3)
    assert rig.table("SEQ1.TABLE", rows, "<<|") == "OK"
    rig.run(30e-3)
    assert rig.rows().size == 200
    assert rig.get("SEQ1.STATE") == "UNREADY"
    assert rig.get("SEQ1.HEALTH") == "OK"


def test_underrun_needs_a_reset() -> None:
    rig = Rig()
    rig.put("SEQ1.PRESCALE=0.000001")
    rows = [sequencer_row(time1=50, out1=1, time2=50)] * 10
    rig.table("SEQ1.TABLE", rows, "<<")
    rig.put("SEQ1.ENABLE=ONE")
    rig.run(2e-3)
    assert rig.get("SEQ1.HEALTH") == "DMA underrun"
    assert rig.get("SEQ1.STATE") == "UNREADY"
    assert "Broken pipe" in rig.table("SEQ1.TABLE", rows, "<<")
    assert rig.table("SEQ1.TABLE", []) == "OK"
    assert rig.table("SEQ1.TABLE", rows, "<<") == "OK"
    assert rig.get("SEQ1.STATE") == "WAIT_ENABLE"


def test_queued_lines_fall_when_a_buffer_enters_the_ring() -> None:
    rig = Rig()
    rig.put("SEQ1.PRESCALE=0.000001")
    rows = [sequencer_row(time1=5, out1=1, time2=5)]
    rig.table("SEQ1.TABLE", rows * 4000, "<<")
    assert rig.get("SEQ1.TABLE.QUEUED_LINES") == "0"
    rig.table("SEQ1.TABLE", rows * 1000, "<<")
    assert rig.get("SEQ1.TABLE.QUEUED_LINES") == "1000"
    rig.put("SEQ1.ENABLE=ONE")
    rig.run(9e-3)
    assert rig.get("SEQ1.TABLE.QUEUED_LINES") == "1000"
    rig.run(2e-3)  # 905 rows have made room in the ring of 4095
    assert rig.get("SEQ1.TABLE.QUEUED_LINES") == "0"


def test_a_new_fixed_table_resets_a_running_sequencer() -> None:
    rig = Rig()
    rig.put("SEQ1.PRESCALE=0.000001")
    rig.table("SEQ1.TABLE", [sequencer_row(repeats=0, time1=5, out1=1, time2=5)])
    rig.put("SEQ1.ENABLE=ONE")
    rig.run(1e-3)
    assert rig.get("SEQ1.ACTIVE") == "1"
    rig.table("SEQ1.TABLE", [sequencer_row(time2=5)])
    assert rig.get("SEQ1.ACTIVE") == "0"
    assert rig.get("SEQ1.OUTA") == "0"
    assert rig.get("SEQ1.STATE") == "WAIT_ENABLE"  # and wants a rising ENABLE


# PCAP


def test_gate_statistics_are_those_of_the_gate() -> None:
    """A ramp of 1 count per 10 us, gated for 500 us of each 1000 us."""
    path = Path1D([0, 10_000], 100_000.0, start=0.0)
    rig = Rig({"INENC1": path})
    rig.put("CLOCK1.PERIOD=0.001", "CLOCK1.ENABLE=BITS.OUTA", "PCAP.GATE=CLOCK1.OUT")
    rig.put("PCAP.TRIG_EDGE=Falling")
    rig.capture(
        "INENC1.VAL=Value Diff Sum Mean Min Max StdDev",
        "PCAP.GATE_DURATION",
        "PCAP.TS_START",
        "PCAP.TS_END",
        "PCAP.TS_TRIG",
        trigger="CLOCK1.OUT",
    )
    rig.put("BITS.A=1")
    rig.run(9.7e-3)
    rows = rig.rows()
    assert rows.size == 10
    assert rows["PCAP.GATE_DURATION.Value"].tolist() == [62500] * 10
    assert (rows["PCAP.TS_END.Value"] == rows["PCAP.TS_TRIG.Value"]).all()
    assert set((rows["PCAP.TS_END.Value"] - rows["PCAP.TS_START.Value"]).tolist()) == {62500}
    value = rows["INENC1.VAL.Value"]
    assert set(rows["INENC1.VAL.Diff"].tolist()) <= {49, 50, 51}
    assert (rows["INENC1.VAL.Max"] - rows["INENC1.VAL.Min"]) == pytest.approx(50, abs=1)
    scaled = rig.experiment.plan.scaled(rows.view(rig.experiment.plan.raw_dtype))  # type: ignore[union-attr]
    outputs = rig.experiment.plan.header_outputs(raw=False)  # type: ignore[union-attr]
    names = [f"{output.source}.{output.capture}" for output, _ in outputs]
    mean = scaled[f"{names.index('INENC1.VAL.Mean')}"]
    spread = scaled[f"{names.index('INENC1.VAL.StdDev')}"]
    assert mean == pytest.approx(value - 25, abs=1)
    assert spread == pytest.approx(np.full(10, 50 / np.sqrt(12)), rel=0.1)


def test_gate_never_suppresses_rows() -> None:
    rig = clocked(1000)
    rig.capture("PCAP.GATE_DURATION", "COUNTER1.OUT=Value Min Max", trigger="CLOCK1.OUT")
    rig.put("BITS.A=1")
    rig.run(2.5e-3)
    rows = rig.rows()
    assert rows.size == 3
    assert rows["PCAP.GATE_DURATION.Value"].tolist() == [0, 0, 0]
    assert rows["COUNTER1.OUT.Min"].tolist() == [2**31 - 1] * 3


def test_a_held_gate_averages_over_the_pause() -> None:
    """With GATE=ONE a row takes everything since the row before it, slices or not."""
    rig = clocked(1000, "PCAP.GATE=ONE")
    rig.capture("PCAP.GATE_DURATION", trigger="CLOCK1.OUT")
    rig.put("BITS.A=1")
    for _ in range(5):
        rig.run(1.1e-3)
    rig.put("BITS.A=0")
    rig.run(0.35)
    rig.put("BITS.A=1")
    rig.run(0.5e-3)
    durations = rig.rows()["PCAP.GATE_DURATION.Value"] / TICKS_PER_US
    assert durations[1:6] == pytest.approx(np.full(5, 1000), abs=0.02)
    assert durations[6] == pytest.approx(350_500, abs=10)


def test_falling_enable_ends_the_experiment() -> None:
    rig = clocked(1000)
    rig.put("PCAP.ENABLE=BITS.OUTB", "PCAP.TRIG=CLOCK1.OUT", "PCAP.TS_TRIG.CAPTURE=Value")
    rig.put("BITS.A=1", "*PCAP.ARM=")
    rig.run(5e-3)
    assert rig.get("PCAP.ACTIVE") == "1"
    assert rig.rows().size == 0
    rig.put("BITS.B=1")
    rig.run(5e-3)
    rig.put("BITS.B=0")
    rig.run(1e-3)
    # TRIG is high when ENABLE rises, which is a trigger too
    assert rig.rows()["PCAP.TS_TRIG.Value"][0] == 0
    assert rig.rows().size == 6
    assert rig.get("*PCAP.COMPLETION") == "Ok"
    assert rig.get("PCAP.ACTIVE") == "0"


def test_triggers_too_close_are_a_framing_error() -> None:
    rig = clocked(0.04)  # 5 ticks, but 6 words
    rig.put("PCAP.TS_START.CAPTURE=Value", "PCAP.TS_END.CAPTURE=Value")
    rig.capture("PCAP.TS_TRIG", trigger="CLOCK1.OUT")
    rig.put("BITS.A=1")
    rig.run(2e-3)
    assert rig.rows().size == 1
    assert rig.get("*PCAP.COMPLETION") == "Framing error"
    assert rig.get("PCAP.HEALTH") == "Capture events too close together"


def test_captured_lags_by_the_block_period() -> None:
    rig = clocked(1000)
    rig.capture("PCAP.TS_TRIG", trigger="CLOCK1.OUT")
    rig.put("BITS.A=1")
    rig.run(0.09)
    assert rig.get("*PCAP.CAPTURED") == "0"
    rig.run(0.02)
    assert rig.get("*PCAP.CAPTURED") == "100"
    rig.put("*PCAP.DISARM=")
    rig.run(1e-3)
    assert rig.get("*PCAP.CAPTURED") == "111"
    assert rig.get("*PCAP.COMPLETION") == "Disarmed"


def test_a_loop_of_pcap_and_pcomp_settles() -> None:
    """PCAP enables PCOMP, which enables PCAP: armed by hand, ended by the last pulse."""
    rig = Rig({"INENC1": Path1D([-20, 1000], 100_000.0)})
    rig.put("PCOMP1.INP=INENC1.VAL", "PCOMP1.STEP=10", "PCOMP1.WIDTH=1", "PCOMP1.PULSES=7")
    rig.put("PCOMP1.ENABLE=PCAP.ACTIVE", "PCAP.ENABLE=PCOMP1.ACTIVE", "PCAP.TRIG=PCOMP1.OUT")
    rig.put("INENC1.VAL.CAPTURE=Value", "*PCAP.ARM=")
    rig.run(50e-3)
    assert rig.rows()["INENC1.VAL.Value"].tolist() == [0, 10, 20, 30, 40, 50, 60]
    assert rig.get("*PCAP.COMPLETION") == "Ok"
    assert rig.get("PCOMP1.ACTIVE") == "0"


def test_a_ring_oscillator_does_not_stop_the_box() -> None:
    rig = Rig()
    rig.put("LUT1.INPA=LUT1.OUT", "LUT1.FUNC=~A")
    rig.run(1e-3)
    assert rig.get("LUT1.OUT") in "01"


# Counters and logic


def test_counter_follows_the_detector_exactly() -> None:
    rig = clocked(1000, "COUNTER1.TRIG=TTLIN1.VAL", "COUNTER1.ENABLE=BITS.OUTB")
    rig.capture("COUNTER1.OUT=Value Diff", "PCAP.TS_TRIG", trigger="CLOCK1.OUT")
    rig.put("PCAP.GATE=ONE", "COUNTER1.START=500", "BITS.A=1", "BITS.B=1")
    for _ in range(4):
        rig.run(2.2e-3)
    counts = rig.rows()["COUNTER1.OUT.Value"]
    assert np.diff(counts)[1:] == pytest.approx(np.full(counts.size - 2, 1000), abs=1)
    assert rig.rows()["COUNTER1.OUT.Diff"][2:].tolist() == np.diff(counts)[1:].tolist()
    rig.put("BITS.B=0")
    held = rig.get("COUNTER1.OUT")
    rig.run(1e-3)
    assert rig.get("COUNTER1.OUT") == held
    rig.put("BITS.B=1")
    assert int(rig.get("COUNTER1.OUT")) in range(500, 505)


def test_counter_rolls_over_with_a_carry() -> None:
    rig = clocked(100, "COUNTER1.TRIG=CLOCK1.OUT", "COUNTER1.ENABLE=ONE", "COUNTER1.MAX=9")
    rig.put("COUNTER1.SET=0")
    rig.capture("PCAP.TS_TRIG", trigger="COUNTER1.CARRY")
    rig.put("BITS.A=1")
    rig.run(4.45e-3)
    assert rig.get("COUNTER1.OUT") == "5"
    assert np.diff(stamps_us(rig)) == pytest.approx(np.full(3, 1000), abs=0.02)


def test_div_lut_and_gate_shape_a_clock() -> None:
    rig = clocked(100, "DIV1.INP=CLOCK1.OUT", "DIV1.ENABLE=ONE", "DIV1.DIVISOR=4")
    rig.put("SRGATE1.ENABLE=ONE", "SRGATE1.SET=DIV1.OUTD", "SRGATE1.RST=DIV1.OUTN")
    rig.put("LUT1.INPA=SRGATE1.OUT", "LUT1.INPB=CLOCK1.OUT", "LUT1.FUNC=A&~B")
    rig.capture("PCAP.TS_TRIG", trigger="LUT1.OUT")
    rig.put("BITS.A=1")
    for _ in range(4):
        rig.run(0.5e-3)
    # set by every 4th pulse, reset by the next one; high after the clock has fallen
    assert np.diff(stamps_us(rig)) == pytest.approx(np.full(4, 400), abs=0.02)


def test_pgen_plays_its_table() -> None:
    rig = clocked(100, "PGEN1.TRIG=CLOCK1.OUT", "PGEN1.ENABLE=ONE", "PGEN1.REPEATS=2")
    rig.table("PGEN1.TABLE", [(5,), (4294967295,), (7,)])
    rig.put("PGEN1.ENABLE=ZERO", "PGEN1.ENABLE=ONE", "PCAP.TRIG_EDGE=Falling")
    rig.capture("PGEN1.OUT", trigger="CLOCK1.OUT")
    rig.put("BITS.A=1")
    rig.run(0.89e-3)
    assert rig.rows()["PGEN1.OUT.Value"].tolist() == [5, -1, 7, 5, -1, 7, 7, 7, 7]
    assert rig.get("PGEN1.ACTIVE") == "0"


def test_input_delays_shift_edges() -> None:
    rig = clocked(1000, "PCAP.TRIG.DELAY=31")
    rig.put("PULSE1.TRIG=CLOCK1.OUT", "PULSE1.ENABLE=ONE", "PULSE1.WIDTH=0.000001")
    rig.put("PCAP.GATE=PULSE1.OUT", "PCAP.TRIG_EDGE=Rising")
    rig.capture("PCAP.GATE_DURATION", trigger="PULSE1.OUT")
    rig.put("BITS.A=1")
    rig.run(0.5e-3)
    assert rig.rows()["PCAP.GATE_DURATION.Value"].tolist() == [31]


def test_quadrature_counts_from_power_on_until_preset() -> None:
    rig = Rig({"INENC1": Path1D([5000, 5000.5], 1.0)}, absolute=False)
    rig.run(1e-3)
    assert rig.get("INENC1.VAL") == "0"
    assert rig.get("INENC1.CONN") == "1"
    assert rig.get("INENC1.HOMED") == "0"
    rig.put("INENC1.SETP=1234")
    assert rig.get("INENC1.VAL") == "1234"
    assert rig.get("INENC1.HOMED") == "1"
    assert rig.get("INENC2.CONN") == "0"


def test_calc_adds_positions() -> None:
    rig = Rig(
        {"INENC1": Path1D([100, 100.5], 1.0), "INENC2": Path1D([30, 30.5], 1.0)},
    )
    rig.put("CALC1.INPA=INENC1.VAL", "CALC1.INPB=INENC2.VAL", "CALC1.TYPEB=-Value")
    assert rig.get("CALC1.OUT") == "70"


def test_changes_of_bits_and_positions_reach_every_connection_once() -> None:
    from flyscan_sim.panda._control import ControlSession

    rig = Rig()
    other = ControlSession(rig.device)
    for session in (rig.session, other):
        session.handle("*CHANGES=")
    rig.put("BITS.A=1", "BITS.A=0", "BITS.B=1")
    wanted = "!BITS.OUTA=0\n!BITS.OUTB=1\n.\n"
    for session in (rig.session, other):
        assert session.handle("*CHANGES.BITS?") == wanted
        assert session.handle("*CHANGES.BITS?") == ".\n"
    assert other.handle("*CHANGES.CONFIG?") == "!BITS.A=0\n!BITS.B=1\n.\n"
