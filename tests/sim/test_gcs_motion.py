"""Motion commands: moves, limits, servo, reference, stops, status bytes, errors."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flyscan.errors import ConfigurationError
from flyscan_sim.gcs import C863, C885, E727, Controller
from tests.sim.gcs_bench import MOTOR, Bench

READY, BUSY = "\xb1", "\xb0"


@pytest.fixture
def piezo() -> Bench:
    bench = Bench(E727)
    bench.do("SVO 1 1 2 1 3 1")
    return bench


@pytest.fixture
def motor() -> Bench:
    return Bench(C863, homed=True)


def test_a_move_arrives_and_settles_on_target(piezo):
    piezo.do("VEL 1 100", "MOV 1 10 2 60")
    assert piezo.ask("\x05") == "3"
    assert piezo.ask("ONT? 1 2") == "1=0 \n2=0"
    piezo.wait(0.02)
    assert piezo.ask("\x05") == "1", "axis 2 at 2000 um/s is there, axis 1 at 100 um/s is not"
    piezo.wait(0.45)
    assert piezo.ask("ONT? 1 2") == "1=1 \n2=1"
    assert piezo.ask("\x05") == "0"
    assert piezo.value("POS? 1") == pytest.approx(10, abs=0.02)
    assert piezo.value("MOV? 1") == 10


def test_on_target_waits_for_the_settling_time(piezo):
    piezo.do("MOV 1 51")
    end = piezo.stage().end_time()
    piezo.clock.time = end + 0.004
    assert piezo.ask("ONT? 1") == "1=0"
    piezo.clock.time = end + 0.03
    assert piezo.ask("ONT? 1") == "1=1"


def test_a_slow_approach_is_on_target_before_its_motion_ends(piezo):
    piezo.do("VEL 1 0.1", "MOV 1 50.1")
    piezo.wait(0.7)
    assert piezo.ask("ONT? 1") == "1=0", "30 nm to go"
    piezo.wait(0.25)
    assert piezo.ask("ONT? 1") == "1=1", "5 nm to go, the window is 20 nm"
    assert piezo.ask("\x05") == "1"


def test_relative_moves_add_to_the_target(piezo):
    piezo.do("MOV 1 20", "MVR 1 5", "MVR 1 -2.5")
    assert piezo.value("MOV? 1") == 22.5


def test_lines_are_executed_wholly_or_not_at_all(piezo):
    assert piezo.refused("MOV 1 10 2 200") == 7
    assert piezo.refused("VEL 1 10 2 -1") == 8
    assert piezo.refused("SVO 1 0 2 7") == 17
    piezo.wait(1)
    assert piezo.value("MOV? 1") == 50
    assert piezo.value("VEL? 1") == 2000
    assert piezo.ask("SVO?") == "1=1 \n2=1 \n3=1"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("MOV 1 100.1", 7),
        ("MOV 1 -0.1", 7),
        ("MVR 1 51", 7),
        ("MOV 4 1", 15),
        ("POS? 4", 15),
        ("MOV 1", 24),
        ("MOV", 24),
        ("MOV 1 ten", 25),
        ("MOV 1 nan", 25),
        ("MOV 1 1 1 2", 22),
        ("VEL 1 0", 8),
        ("VEL 1 2001", 8),
        ("HLT 1", 2),
        ("FRF 1", 2),
        ("ACC 1 1", 2),
        ("BLA?", 2),
        ("SPA? 1 0x12345678", 54),
        ("MOV " + " ".join(["1 1"] * 17), 24),
        ("MOV 1 " + "0" * 5000, 3),
    ],
)
def test_refusals_answer_nothing_and_leave_their_code(piezo, line, code):
    assert piezo.ask(line) == ""
    assert piezo.ask("ERR?") == str(code)
    assert piezo.ask("ERR?") == "0"
    assert piezo.ask("\x05") == "0", "nothing moves"


@pytest.mark.parametrize(
    ("profile", "lacking"),
    [
        (E727, ["HLT", "FRF", "RON", "ACC", "DEC", "#4"]),
        (C863, ["WAV", "WGO", "TWS", "CTO", "#9"]),
        (C885, ["HLT", "ACC", "DRC", "DRR?", "WAV", "CTO", "TRO", "POS", "#4", "#9"]),
    ],
)
def test_each_model_refuses_what_its_help_does_not_list(profile, lacking):
    bench = Bench(profile)
    listed = [line.split()[0] for line in bench.ask("HLP?").splitlines()[1:-1]]
    single = {"#4": "\x04", "#9": "\x09"}
    for mnemonic in lacking:
        assert mnemonic not in listed
        assert bench.refused(single.get(mnemonic, mnemonic)) == 2
    for mnemonic in listed:
        byte = {"#5": "\x05", "#7": "\x07", "#24": "\x18", **single}.get(mnemonic, mnemonic)
        bench.ask(byte)
        assert mnemonic == "ERR?" or bench.error != 2, mnemonic


def test_no_move_without_servo():
    bench = Bench(E727)
    assert bench.refused("MOV 1 10") == 5
    assert bench.refused("MVR 1 1") == 5
    bench.do("SVO 1 1", "MOV 1 10")
    bench.do("SVO 1 0")
    assert bench.ask("\x05") == "0", "switching the servo off ends the motion"
    assert bench.ask("ONT? 1") == "1=0"


def test_a_motor_needs_a_reference_move():
    bench = Bench(C863)
    assert bench.value("POS? 1") == pytest.approx(0, abs=1e-3), "switched on anywhere: calls it 0"
    assert bench.refused("FRF 1") == 5
    bench.do("SVO 1 1")
    assert bench.refused("MOV 1 1") == 5
    assert bench.ask("FRF? 1") == "1=0"
    bench.do("FRF 1")
    assert bench.ask("\x07") == BUSY
    assert bench.refused("MOV 1 1") == 5
    bench.wait(5)
    assert bench.ask("\x07") == READY
    assert bench.ask("FRF? 1") == "1=1"
    assert bench.value("POS? 1") == pytest.approx(0, abs=1e-3), "the switch is amid the travel"
    assert bench.stage().commanded(bench.clock.time) == 0
    bench.do("MOV 1 20")


def test_a_stopped_reference_move_leaves_the_axis_unreferenced():
    bench = Bench(C885)
    bench.do("FRF 1")
    bench.wait(1)
    assert bench.refused("STP") == 10
    bench.wait(20)
    assert bench.ask("FRF? 1") == "1=0"
    assert bench.ask("\x07") == READY


def test_position_may_be_set_only_without_reference_mode():
    bench = Bench(C863)
    assert bench.refused("POS 1 5") == 88
    bench.do("RON 1 0", "SVO 1 1", "MVR 1 2")
    bench.wait(1)
    assert bench.refused("FRF 1") == 50
    assert bench.refused("MOV 1 1") == 5
    bench.do("POS 1 7", "MOV 1 8")
    bench.wait(1)
    assert bench.value("POS? 1") == pytest.approx(8, abs=1e-3)
    assert bench.stage().commanded(bench.clock.time) == pytest.approx(6), "3 at start, +2, +1"


def test_beyond_the_travel_the_limit_switch_ends_an_unreferenced_motion():
    bench = Bench(C863)
    bench.do("RON 1 0", "SVO 1 1", "MVR 1 25")
    bench.wait(3)
    assert bench.stage().commanded(bench.clock.time) == MOTOR.high


def test_halt_is_smooth_and_stop_is_abrupt(motor):
    stops = []
    for command in ("HLT 1", "STP"):
        motor.do("VEL 1 50", "DEC 1 500", "MOV 1 -20")
        motor.wait(3)
        motor.do("DEC 1 100", "VEL 1 20", "MOV 1 20")
        motor.wait(1)
        began = motor.clock.time
        assert motor.refused(command) == 10
        stops.append(motor.stage().end_time() - began)
        motor.wait(1)
        assert motor.ask("ONT? 1") == "1=1", "the target is where it stopped"
    assert stops == pytest.approx([20 / 100, 20 / 500])


def test_stop_stops_every_axis(piezo):
    for stop in ("STP", "\x18"):
        piezo.do("VEL 1 10 2 10 3 10", "MOV 1 5 2 5 3 5")
        piezo.wait(0.1)
        assert piezo.ask("\x05") == "7"
        assert piezo.refused(stop) == 10
        piezo.wait(0.1)
        assert piezo.ask("\x05") == "0"
        assert piezo.value("POS? 3") > 40
        piezo.do("VEL 1 2000 2 2000 3 2000", "MOV 1 50 2 50 3 50")
        piezo.wait(0.2)


@pytest.mark.parametrize(("profile", "follows"), [(C863, True), (C885, False), (E727, False)])
def test_velocity_in_flight_is_a_capability_of_the_model(profile, follows):
    bench = Bench(profile, homed=True)
    bench.do("SVO 1 1")
    slow, fast = bench.stage().max_velocity / 100, bench.stage().max_velocity / 20
    bench.do(f"VEL 1 {slow}", f"MOV 1 {bench.stage().high}")
    bench.wait(0.1)
    bench.do(f"VEL 1 {fast}")
    bench.wait(0.1)
    speed = bench.stage().velocity(bench.clock.time)
    assert speed == pytest.approx(fast if follows else slow)
    assert bench.value("VEL? 1") == pytest.approx(fast)
    bench.do(f"MOV 1 {bench.stage().low}")
    bench.wait(0.1)
    assert bench.stage().velocity(bench.clock.time) == pytest.approx(-fast)


def test_velocity_in_flight_can_be_granted_to_a_piezo():
    bench = Bench(E727, homed=True, velocity_in_flight=True)
    bench.do("VEL 1 10", "MOV 1 90")
    bench.wait(0.5)
    bench.do("VEL 1 100")
    bench.wait(0.1)
    assert bench.stage().velocity(bench.clock.time) == pytest.approx(100)


def test_the_motion_mask_counts_all_slots():
    bench = Bench(C885, homed=True, axes={"1": "stage1", "5": "stage5", "23": "stage23"})
    assert bench.ask("SAI?") == "1 \n5 \n23"
    assert bench.ask("SAI? ALL").split(" \n") == [str(n) for n in range(1, 24, 2)]
    assert bench.refused("MOV 3 1") == 15
    bench.do("MOV 5 1 23 1")
    assert bench.ask("\x05") == f"{(1 << 2) | (1 << 11):X}"


def test_the_status_register_tells_state(motor):
    motor.wait(0.1)
    assert motor.ask("\x04") == "0x9002", "on target, servo on, beyond the reference switch"
    motor.do("MOV 1 20")
    assert motor.ask("SRG? 1 1").startswith("1 1=0x3")
    motor.do("SVO 1 0")
    assert int(motor.ask("\x04"), 16) & 0xF000 == 0


@pytest.mark.parametrize("kind", ["stall", "following_error"])
def test_a_motor_that_loses_its_stage_switches_the_servo_off(motor, kind):
    motor.do("VEL 1 5", "MOV 1 20")
    motor.wait(0.5)
    extra = {"offset": 0.5} if kind == "following_error" else {}
    motor.world.faults.add(kind, axis="stage1", **extra)
    motor.wait(0.5)
    assert motor.error == -1024
    assert motor.ask("SVO? 1") == "1=0"
    assert motor.refused("MOV 1 0") == 5


def test_a_stalled_piezo_is_never_on_target(piezo):
    piezo.world.faults.add("stall", axis="stage1")
    piezo.do("MOV 1 10")
    piezo.wait(1)
    assert piezo.ask("ONT? 1") == "1=0"
    assert piezo.error == 0


def test_initialising_a_motor_loses_its_reference(motor):
    motor.do("MOV 1 20", "INI")
    assert motor.ask("FRF? 1") == "1=0"
    assert motor.ask("SVO? 1") == "1=0"


def test_bad_wiring_is_refused():
    world = Bench(E727).world
    with pytest.raises(ConfigurationError, match=r"E-727.*no axis '4', there are 1, 2, 3"):
        Controller(world, E727, {"4": "stage1"})
    with pytest.raises(ConfigurationError, match=r"axis 1 should move 'nowhere'"):
        Controller(world, E727, {"1": "nowhere"})
    unwaved = replace(E727, wave=None, commands={"MOV": "", "WAV": "", "XYZ": ""})
    with pytest.raises(ConfigurationError, match=r"not simulated: WAV, XYZ"):
        Controller(world, unwaved, {})


BARE = ["HLT 1", "STP", "SVO 1 0", "SVO 1 1", "FRF 1", "INI"]
steps = st.lists(
    st.one_of(
        st.tuples(st.just("MOV 1 {:.4f}"), st.floats(-30, 30)),
        st.tuples(st.just("MVR 1 {:.4f}"), st.floats(-30, 30)),
        st.tuples(st.just("VEL 1 {:.4f}"), st.floats(0.1, 60)),
        st.tuples(st.just("ACC 1 {:.4f}"), st.floats(10, 600)),
        st.tuples(st.just("DEC 1 {:.4f}"), st.floats(10, 600)),
        st.tuples(
            st.sampled_from(["HLT 1", "STP", "SVO 1 0", "SVO 1 1", "FRF 1", "INI"]), st.none()
        ),
        st.tuples(st.just("wait"), st.floats(0.001, 1.5)),
    ),
    min_size=1,
    max_size=25,
)


@given(steps)
@settings(max_examples=60, deadline=None)
def test_whatever_is_sent_the_stage_stays_within_travel_and_stops_when_told(commands):
    bench = Bench(C863, homed=True)
    for template, value in commands:
        if template == "wait":
            bench.wait(value)
        else:
            bench.ask(template.format(value) if value is not None else template)
    assert bench.refused("STP") == 10
    within = bench.stage().max_velocity / bench.stage().max_acceleration
    assert bench.stage().end_time() <= bench.clock.time + within + 1e-9
    bench.wait(within + 0.1)
    assert bench.ask("\x05") == "0"
    times = np.linspace(0, bench.clock.time, 2000)
    path = bench.stage().commanded(times)
    assert path.min() >= MOTOR.low - 1e-9
    assert path.max() <= MOTOR.high + 1e-9
    assert np.abs(bench.stage().velocity(times)).max() <= MOTOR.max_velocity * (1 + 1e-9)
    on = bench.ask("SVO? 1") == "1=1"
    assert bench.ask("ONT? 1") == f"1={int(on)}"
