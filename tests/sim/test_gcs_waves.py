"""Wave tables, wave generators and trigger outputs of the piezo controller."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flyscan.errors import ConfigurationError
from flyscan_sim.gcs import C885, E727
from flyscan_sim.gcs._waveforms import Segment, line, ramp, sine, slew_limited
from tests.sim.gcs_bench import Bench

CYCLE = 50e-6


@pytest.fixture
def bench() -> Bench:
    bench = Bench(E727)
    bench.do("SVO 1 1 2 1 3 1", "MOV 1 0 2 0 3 0")
    bench.wait(0.3)
    return bench


def table(bench: Bench, number: int) -> np.ndarray:
    body = bench.ask(f"GWD? 1 {bench.value(f'WAV? {number} 1'):.0f} {number}")
    return np.loadtxt(body.splitlines(), comments="#", ndmin=1)


def output(bench: Bench, times) -> np.ndarray:
    return bench.stage().commanded(np.asarray(times))


def test_a_line_speeds_up_sweeps_and_slows_down():
    curve = line(Segment(1000, 10.0, 5.0, 1000, 0), 100)
    assert (curve[0], curve[-1]) == (5.0, 15.0)
    steps = np.diff(curve)
    assert np.all(steps > 0)
    assert np.ptp(steps[101:-101]) < 1e-12, "constant speed in between"
    assert np.allclose(steps, steps[::-1])
    assert np.allclose(np.diff(steps[:99]), np.diff(steps[:99])[0]), "constant acceleration"


def test_segments_hold_before_and_after_their_curve():
    curve = line(Segment(100, 4.0, 1.0, 50, 20), 0)
    assert np.all(curve[:21] == 1.0)
    assert np.all(curve[69:] == 5.0)
    assert curve[45] == pytest.approx(1 + 4 * 25 / 49)


def test_a_ramp_peaks_at_its_centre_and_a_sine_too():
    up_down = ramp(Segment(1000, 10.0, 5.0, 1000, 0), 50, 300)
    assert up_down.argmax() == 300
    assert (up_down[0], up_down[300]) == (5.0, 15.0)
    wave = sine(Segment(2000, 20.0, 10.0, 2000, 0), 500)
    assert wave.argmax() == 500
    assert (wave[0], wave[500]) == pytest.approx((10.0, 30.0))
    shifted = sine(Segment(2000, 20.0, 10.0, 2000, 500), 500)
    assert np.array_equal(shifted, np.roll(wave, 500)), "the start point is a phase shift"


def test_points_are_appended(bench):
    bench.do("WAV 3 X PNT 1 3 0 0.5 1", "WAV 3 & PNT 4 2 1.5 2", "WAV 3 & LIN 3 1 2 3 0 0")
    assert table(bench, 3) == pytest.approx([0, 0.5, 1, 1.5, 2, 2, 2.5, 3])
    bench.do("WAV 3 X PNT 1 1 7")
    assert table(bench, 3) == pytest.approx([7])
    bench.do("WCL 3")
    assert bench.ask("WAV?").splitlines()[2] == "3 1=0 "


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("WAV 1 X LIN 262145 1 0 100 0 0", 67),
        ("WAV 1 X LIN 100 1 0 100 0 51", 17),
        ("WAV 1 X LIN 100 1 0 100 0", 24),
        ("WAV 1 X PNT 1 3 0 1", 24),
        ("WAV 1 X PNT 2 1 0", 17),
        ("WAV 1 Z PNT 1 1 0", 1),
        ("WAV 1 X SQUARE 1 1 0", 1),
        ("WAV 5 X PNT 1 1 0", 17),
        ("WAV 1 X PNT 1 28 " + " ".join(["1"] * 28), 24),
        ("WAV 1 X RAMP 1000 1 0 1000 0 300 500", 17),
        ("WGO 1 1", 75),
        ("WGO 1 3", 17),
        ("WGO 4 1", 17),
        ("WSL 1 9", 17),
        ("GWD?", 17),
    ],
)
def test_bad_wave_commands_are_refused(bench, command, code):
    assert bench.refused(command) == code


def test_27_points_fit_into_one_command_and_28_do_not(bench):
    points = " ".join(str(n) for n in range(27))
    bench.do(f"WAV 1 X PNT 1 27 {points}")
    assert bench.refused(f"WAV 1 X PNT 1 28 {points} 27") == 24


def test_all_tables_share_the_memory(bench):
    bench.do("WAV 1 X LIN 200000 1 0 200000 0 0")
    assert bench.refused("WAV 2 X LIN 62145 1 0 62145 0 0") == 67
    bench.do("WAV 2 X LIN 62144 1 0 62144 0 0")
    assert bench.refused("WAV 2 & PNT 1 1 0") == 67
    bench.do("WAV 1 X PNT 1 1 0", "WAV 2 & PNT 1 1 0")


def test_a_finite_run_follows_the_table_and_ends(bench):
    bench.do("WAV 1 X SIN_P 1000 20 0 1000 0 500", "WSL 1 1", "WGC 1 3", "WOS 1 5", "WTR 1 2 1")
    bench.do("MOV 1 5")
    bench.wait(0.2)
    bench.do("WGO 1 1")
    start = bench.clock.time + CYCLE
    assert bench.ask("\x09") == "1"
    assert bench.ask("\x05") == "1"
    bench.wait(0.299)
    assert bench.ask("WGO? 1") == "1=1"
    bench.wait(0.002)
    assert bench.ask("\x09") == "0"
    assert bench.ask("WGO? 1") == "1=0"
    index = np.arange(3000)
    expected = 5 + 10 * (1 - np.cos(2 * np.pi * index / 1000))
    assert np.allclose(output(bench, start + index * 1e-4), expected, atol=1e-6)
    last = expected[-1]
    bench.wait(0.1)
    assert output(bench, bench.clock.time) == pytest.approx(last)
    assert bench.value("MOV? 1") == pytest.approx(last, abs=1e-6)
    assert bench.ask("ONT? 1") == "1=1"


def test_while_a_generator_runs_its_axis_is_not_on_target(bench):
    bench.do("WAV 1 X SIN_P 20000 40 0 20000 0 10000", "WSL 1 1", "WGC 1 1")
    assert bench.ask("ONT? 1") == "1=1"
    bench.do("WGO 1 1")
    assert bench.ask("ONT? 1") == "1=0"
    bench.wait(1.1)
    assert bench.ask("ONT? 1") == "1=1"


def test_without_interpolation_the_output_is_a_staircase(bench):
    bench.do("WAV 1 X PNT 1 3 0 0.05 0.1", "WSL 1 1", "WGC 1 1", "WTR 0 100 0", "WGO 1 1")
    start = bench.clock.time + CYCLE
    bench.wait(0.1)
    samples = output(bench, start + np.array([0.1, 4.9, 5.1, 9.9, 10.1, 14]) * 1e-3)
    assert samples == pytest.approx([0, 0, 0.05, 0.05, 0.1, 0.1])


def test_starting_off_the_first_point_the_stage_catches_up_at_its_speed(bench):
    bench.do("WAV 1 X LIN 4000 10 40 4000 0 0", "WSL 1 1", "WGC 1 1", "WGO 1 1")
    start = bench.clock.time + CYCLE
    bench.wait(0.5)
    times = start + np.linspace(0, 0.25, 3000)
    speed = np.diff(output(bench, times)) / np.diff(times)
    assert speed.max() == pytest.approx(2000, rel=1e-3)
    assert output(bench, start + 0.1) == pytest.approx(45, abs=0.01)


def test_output_is_cut_at_the_limits_of_travel(bench):
    bench.do("WAV 1 X LIN 2000 80 50 2000 0 0", "WSL 1 1", "WGC 1 1", "WGO 1 1")
    bench.wait(0.5)
    path = output(bench, np.linspace(0, bench.clock.time, 5000))
    assert path.max() == 100
    assert bench.value("MOV? 1") == 100


def test_starting_at_the_end_point_adds_up_the_offset(bench):
    bench.do("WAV 1 X LIN 1000 10 0 1000 0 0", "WSL 1 1", "WGC 1 3", "WGO 1 257")
    start = bench.clock.time + CYCLE
    bench.wait(0.04)
    assert bench.value("WOS? 1") == 0
    bench.wait(0.02)
    assert bench.value("WOS? 1") == pytest.approx(10)
    bench.wait(0.2)
    assert output(bench, start + np.array([0.025, 0.075, 0.125])) == pytest.approx(
        [5, 15, 25], abs=0.02
    )
    assert bench.value("WOS? 1") == pytest.approx(30)
    bench.do("WGC 1 1", "WGO 1 257")
    bench.wait(0.1)
    assert bench.value("MOV? 1") == pytest.approx(40), "a second start goes on from there"
    bench.do("WOS 1 0", "MOV 1 0")
    bench.wait(0.2)
    bench.do("WGO 1 257")
    bench.wait(0.1)
    assert bench.value("MOV? 1") == pytest.approx(10)


def test_an_offset_set_during_a_run_is_for_the_next_one(bench):
    bench.do("WAV 1 X LIN 1000 10 0 1000 0 0", "WSL 1 1", "WGC 1 1", "WGO 1 1", "WOS 1 20")
    bench.wait(0.1)
    assert bench.value("MOV? 1") == pytest.approx(10)
    bench.do("WGO 1 1")
    bench.wait(0.1)
    assert bench.value("MOV? 1") == pytest.approx(30)


def test_a_stopped_generator_stays_and_starts_again_at_the_first_point(bench):
    bench.do("WAV 1 X LIN 20000 40 0 20000 0 0", "WSL 1 1", "WGC 1 1", "WGO 1 1")
    bench.wait(0.5)
    bench.do("WGO 1 0")
    bench.wait(0.1)
    place = output(bench, bench.clock.time)
    assert place == pytest.approx(20, abs=0.1)
    assert bench.ask("\x05") == "0"
    bench.do("WGO 1 1")
    bench.wait(0.1)
    assert output(bench, bench.clock.time) == pytest.approx(4, abs=0.01), "not resumed: begun anew"


@pytest.mark.parametrize("stop", ["STP", "\x18"])
def test_stop_ends_generators_too(bench, stop):
    bench.do("WAV 1 X LIN 20000 40 0 20000 0 0", "WSL 1 1 2 1", "WGC 1 1 2 1", "WGO 1 1 2 1")
    bench.wait(0.5)
    assert bench.ask("\x09") == "3"
    assert bench.refused(stop) == 10
    bench.wait(0.05)
    assert bench.ask("\x09") == "0"
    assert bench.ask("\x05") == "0"


def test_while_a_generator_runs_its_axis_takes_no_other_command(bench):
    bench.do("WAV 1 X LIN 20000 40 0 20000 0 0", "WSL 1 1", "WGC 1 1", "WGO 1 1")
    assert bench.refused("MOV 1 3") == 73
    assert bench.refused("MVR 1 3") == 73
    assert bench.refused("WGO 1 1") == 73
    assert bench.refused("WAV 1 X PNT 1 1 0") == 73
    assert bench.refused("WCL 1") == 73
    assert bench.refused("WSL 1 2") == 73
    bench.do("MOV 2 3", "WAV 2 X PNT 1 1 0")
    bench.do("SVO 1 0")
    assert bench.ask("\x09") == "0"
    assert bench.refused("WGO 1 1") == 5


def test_an_endless_run_goes_on_until_stopped(bench):
    bench.do("WAV 1 X SIN_P 2000 10 0 2000 0 1000", "WSL 1 1", "WGC 1 0", "WGO 1 1")
    start = bench.clock.time + CYCLE
    bench.wait(31.0)
    assert bench.ask("\x09") == "1"
    times = start + np.linspace(0, 31, 4001)
    expected = 5 * (1 - np.cos(2 * np.pi * (times - start) / 0.1))
    assert np.allclose(output(bench, times), expected, atol=0.02)
    bench.do("WGO 1 0")
    bench.wait(0.1)
    assert bench.ask("\x05") == "0"


@given(
    st.lists(st.floats(0, 100), min_size=2, max_size=12),
    st.integers(1, 4),
    st.integers(1, 400),
    st.sampled_from([0, 1]),
    st.sampled_from([1, 257]),
    st.floats(0, 0.4),
)
@settings(max_examples=60, deadline=None)
def test_no_waveform_drives_the_stage_beyond_its_travel_or_speed(
    points, cycles, rate, interpolate, mode, wait
):
    bench = Bench(E727, homed=True)
    values = " ".join(f"{p:.3f}" for p in points)
    bench.do(
        f"WAV 1 X PNT 1 {len(points)} {values}",
        "WSL 1 1",
        f"WGC 1 {cycles}",
        f"WTR 0 {rate} {interpolate}",
        f"WGO 1 {mode}",
    )
    bench.wait(wait)
    bench.ask("STP")
    bench.wait(0.2)
    assert bench.ask("\x05") == "0"
    times = np.arange(0, bench.clock.time, 1e-4)
    path = output(bench, times)
    assert path.min() >= -1e-9
    assert path.max() <= 100 + 1e-9
    assert np.abs(np.diff(path)).max() <= 2000 * 1e-4 * (1 + 1e-6)


@given(
    st.lists(st.floats(-5, 5), min_size=2, max_size=10),
    st.floats(-5, 5),
    st.floats(0.5, 20),
)
@settings(max_examples=100, deadline=None)
def test_the_slew_limit_ends_on_the_path_and_never_breaks_the_speed(path, position, speed):
    times = np.arange(len(path), dtype=float)
    out_t, out_x = slew_limited(times, np.array(path), position, speed)
    assert out_x[0] == position
    assert out_x[-1] == pytest.approx(path[-1])
    assert np.all(np.diff(out_t) >= 0)
    assert np.all(np.abs(np.diff(out_x)) <= speed * np.diff(out_t) * (1 + 1e-9) + 1e-9)


def generator_lines(bench: Bench) -> None:
    bench.do("CTO 1 2 1 1 3 4", "TWC", "TWS 1 1 1 1 100 1 1 101 1 1 200 1", "TRO 1 1")


def test_generator_triggers_rise_at_their_points(bench):
    generator_lines(bench)
    bench.do("WAV 1 X LIN 1000 10 0 1000 0 0", "WSL 1 1", "WGC 1 2", "WTR 0 2 1", "WGO 1 1")
    start = bench.clock.time + CYCLE
    bench.wait(0.3)
    expected = start + np.array([0, 99, 199, 1000, 1099, 1199]) * 1e-4
    assert bench.controller.rising_edges(1, 0, bench.clock.time) == pytest.approx(expected)
    assert len(bench.controller.rising_edges(2, 0, bench.clock.time)) == 0


def test_generator_triggers_end_with_the_generator_and_with_tro(bench):
    generator_lines(bench)
    bench.do("WAV 1 X LIN 1000 10 0 1000 0 0", "WSL 1 1", "WGC 1 0", "WGO 1 1")
    start = bench.clock.time + CYCLE
    bench.wait(0.12)
    bench.do("TRO 1 0")
    bench.wait(0.1)
    bench.do("TRO 1 1")
    bench.wait(0.03)
    bench.do("WGO 1 0")
    bench.wait(1)
    edges = bench.controller.rising_edges(1, 0, bench.clock.time) - start
    first = [0, 0.00495, 0.00995, 0.05, 0.05495, 0.05995, 0.1, 0.10495, 0.10995]
    assert edges == pytest.approx(first, abs=1e-9), "later points fell into times without output"


def test_position_distance_triggers_once_per_step_and_loses_pulses_when_too_fast(bench):
    bench.do("CTO 1 2 1 1 3 0 1 1 1 1 8 10 1 9 20", "TRO 1 1", "VEL 1 100", "MOV 1 30")
    began = bench.clock.time
    bench.wait(1)
    edges = bench.controller.rising_edges(1, began, bench.clock.time)
    assert len(edges) == 10, "at 10, 11 ... 19"
    assert np.diff(edges) == pytest.approx(0.01, abs=1e-3)
    bench.do("MOV 1 0")
    back = bench.clock.time
    bench.wait(1)
    assert len(bench.controller.rising_edges(1, back, bench.clock.time)) == 0, "one direction only"
    bench.do("CTO 1 1 0.02", "VEL 1 2000", "MOV 1 30")
    fast = bench.clock.time
    bench.wait(1)
    lost = 500 - len(bench.controller.rising_edges(1, fast, bench.clock.time))
    assert lost > 300, "0.02 um at 2000 um/s is less than one servo cycle"


def test_on_target_and_band_triggers(bench):
    bench.do("CTO 1 2 1 1 3 2 2 2 1 2 3 3 2 5 10 2 6 20", "TRO 1 1 2 1", "VEL 1 100", "MOV 1 30")
    began = bench.clock.time
    bench.wait(1)
    arrival = bench.controller.rising_edges(1, began, bench.clock.time)
    assert len(arrival) >= 1
    assert arrival[0] == pytest.approx(began + 0.301, abs=0.02)
    inside = bench.controller.rising_edges(2, began, bench.clock.time)
    assert inside[0] == pytest.approx(began + 0.1, abs=0.005)


@given(st.lists(st.floats(0.0, 0.5), max_size=8))
@settings(max_examples=30, deadline=None)
def test_edges_do_not_depend_on_how_they_are_asked(cuts):
    bench = Bench(E727, homed=True)
    generator_lines(bench)
    bench.do("CTO 2 2 1 2 3 0 2 1 0.5", "TRO 2 1")
    bench.do("WAV 1 X SIN_P 1000 10 0 1000 0 500", "WSL 1 1", "WGC 1 5", "WTR 0 2 1", "WGO 1 257")
    bench.wait(0.5)
    bounds = [0.0, *sorted(cuts), 0.5]
    for number in (1, 2):
        whole = bench.controller.rising_edges(number, 0.0, 0.5)
        parts = [bench.controller.rising_edges(number, *pair) for pair in pairwise(bounds)]
        assert len(whole) > 10
        assert np.array_equal(np.concatenate(parts), whole)


def test_trigger_configuration_can_be_read_back(bench):
    bench.do("CTO 1 2 3 1 3 4 1 1 0.25", "TRO 1 1", "TRI 2 1", "TWS 1 5 1 1 6 1 1 6 0")
    assert bench.ask("CTO? 1 2 1 3 1 1") == "1 2=3 \n1 3=4 \n1 1=0.25"
    assert bench.ask("TRO?") == "1=1 \n2=0 \n3=0"
    assert bench.ask("TRI? 2") == "2=1"
    rows = np.loadtxt(bench.ask("TWS? 4 3 1").splitlines(), comments="#")
    assert rows.tolist() == [0, 1, 0]
    for bad, code in [
        ("CTO 1 3 9", 17),
        ("CTO 1 2 7", 15),
        ("CTO 1 4 1", 17),
        ("CTO 1 1 0", 17),
        ("TWS 1 0 1", 17),
        ("TWS 1 1", 24),
        ("TRO 4 1", 17),
    ]:
        assert bench.refused(bad) == code, bad


def test_a_model_without_trigger_outputs_says_so():
    with pytest.raises(ConfigurationError, match=r"C-885.M1: no trigger output 1"):
        Bench(C885).controller.rising_edges(1, 0, 0)
