"""The data recorder: what is taken, when it starts, how it is read."""

import numpy as np
import pytest

from flyscan_sim.gcs import C863, C885, E727
from tests.sim.gcs_bench import Bench


@pytest.fixture
def motor() -> Bench:
    bench = Bench(C863, homed=True)
    bench.wait(0.1)
    return bench


@pytest.fixture
def piezo() -> Bench:
    bench = Bench(E727, homed=True)
    bench.do("MOV 1 0")
    bench.wait(0.3)
    return bench


def header(answer: str) -> dict[str, str]:
    lines = [line.strip(" #") for line in answer.splitlines() if line.startswith("#")]
    return dict(line.split(" = ") for line in lines if " = " in line)


def rows(answer: str) -> np.ndarray:
    return np.loadtxt(answer.splitlines(), comments="#", ndmin=2)


def test_a_recording_shows_targets_positions_errors_and_velocities(motor):
    motor.do("DRC 1 1 1 2 1 2 3 1 3 4 1 70", "RTR 20", "DRT 0 1 0", "VEL 1 5", "MOV 1 20")
    began = motor.clock.time
    motor.wait(1.1)
    answer = motor.ask("DRR? 1 1000 1 2 3 4")
    about = header(answer)
    assert float(about["SAMPLE_TIME"]) == 0.001
    assert (about["NDATA"], about["DIM"], about["TYPE"], about["SEPARATOR"]) == (
        "1000",
        "4",
        "1",
        "32",
    )
    assert about["NAME1"] == "Current Position of axis1"
    data = rows(answer)
    times = began + np.arange(1000) * 1e-3
    assert data[:, 0] == pytest.approx(motor.stage().commanded(times), abs=1e-6)
    assert data[:, 1] == pytest.approx(motor.stage().position(times), abs=1e-4)
    assert data[:, 2] == pytest.approx(data[:, 0] - data[:, 1], abs=1e-6)
    assert data[100:, 3] == pytest.approx(5.0)
    motor.do("DRC 4 1 72", "MOV 1 -20")
    motor.wait(1)
    speed = rows(motor.ask("DRR? 200 600 4"))
    assert np.mean(speed) == pytest.approx(-5, abs=0.05)


def test_it_can_be_read_while_it_records(motor):
    motor.do("RTR 20", "DRT 0 1 0", "MOV 1 20")
    motor.wait(0.5)
    assert motor.value("DRL? 1") == 501
    assert len(rows(motor.ask("DRR? 100 400 2"))) == 400
    assert motor.refused("DRR? 1 600 2") == 77
    assert len(rows(motor.ask("DRR?"))) == 501
    motor.wait(5)
    assert motor.ask("DRL?") == "1=1024 \n2=1024 \n3=1024 \n4=1024", "one shot: full is full"
    assert len(rows(motor.ask("DRR?"))) == 1024


def test_a_new_configuration_empties_its_table(motor):
    motor.do("DRT 0 1 0", "MOV 1 20")
    motor.wait(1)
    motor.do("DRC 2 1 3")
    assert motor.ask("DRL? 1 2") == "1=1024 \n2=0"
    motor.do("DRC 1 1 0")
    assert motor.refused("DRR? 1 1 1") == 77


@pytest.mark.parametrize(
    ("source", "starts", "again"),
    [(0, 0, 0), (1, 1, 1), (2, 1, 0), (6, 1, 0)],
)
def test_trigger_sources(motor, source, starts, again):
    motor.do(f"DRT 0 {source} 0")
    motor.ask("POS?")
    assert motor.value("DRL? 1") == 0
    motor.do("MOV 1 10")
    assert motor.value("DRL? 1") == starts
    motor.wait(0.1)
    before = motor.value("DRL? 1")
    motor.do("MOV 1 11")
    assert motor.value("DRL? 1") == (1 if again else before)


def test_recording_at_once_and_by_a_step(motor):
    motor.do("DRT 0 4 0")
    motor.wait(0.05)
    assert motor.value("DRL? 1") > 50
    motor.do("DRT 0 0 0", "STE 1 1.5")
    assert motor.value("DRL? 1") == 1
    motor.wait(0.5)
    assert motor.value("MOV? 1") == 4.5


def test_the_rate_of_a_recording_stays_as_it_was_taken(motor):
    motor.do("DRT 0 1 0", "RTR 10", "MOV 1 10")
    motor.wait(0.1)
    motor.do("RTR 100")
    assert float(header(motor.ask("DRR? 1 10 1"))["SAMPLE_TIME"]) == 0.0005
    assert motor.ask("RTR?") == "100"


def test_the_wave_generator_always_starts_it(piezo):
    piezo.do("WAV 1 X LIN 2000 10 0 2000 0 100", "WSL 1 1", "WGC 1 1", "RTR 10", "WGO 1 1")
    piezo.wait(0.05)
    piezo.do("WGR")
    piezo.wait(0.04)
    assert piezo.value("DRL? 1") == 81
    assert rows(piezo.ask("DRR? 1 1 1"))[0, 0] == pytest.approx(5, abs=0.2)
    assert piezo.ask("TNR?") == "8"
    piezo.do("WGO 1 0")
    assert piezo.value("DRL? 1") == 81, "stopping does not record"


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("DRC 5 1 1", 57),
        ("DRC 1 1 99", 58),
        ("DRC 1 7 1", 59),
        ("DRC 1 1", 24),
        ("DRT 0 9 0", 17),
        ("DRT 9 1 0", 57),
        ("RTR 0", 17),
        ("DRR? 1 10", 77),
        ("DRR? 1", 24),
        ("DRL? 7", 57),
    ],
)
def test_bad_commands_are_refused(motor, command, code):
    assert motor.refused(command) == code


def test_options_are_described(motor):
    text = motor.ask("HDR?").splitlines()
    assert text[0] == "#RecordOptions  "
    assert "2=Current Position of axis " in text
    assert "1024 datapoints per table " in text
    assert motor.ask("DRC? 2") == "2=1 2"
    assert motor.ask("DRT? 1") == "1=0 0"
    assert Bench(C885).refused("DRR? 1 1") == 2


def test_an_unconnected_source_records_zeros():
    bench = Bench(E727, homed=True, axes={"1": "stage1"})
    bench.do("DRC 1 3 2", "DRT 0 4 0")
    bench.wait(0.01)
    assert np.all(rows(bench.ask("DRR? 1 100 1")) == 0)


def test_parameters_of_the_recorder(motor):
    assert motor.ask("SPA? 1 0x16000000 1 0x0E000200") == (
        "1 0x16000000=10 \n1 0x0E000200=5.000000e-05"
    )
    motor.do("SPA 1 0x16000000 25")
    assert motor.ask("RTR?") == "25"
    assert motor.refused("SPA 1 0x16000300 5") == 64
    assert motor.refused("SPA 1 0x1 5") == 54
    assert motor.refused("SPA? 7 0x16000000") == 15
