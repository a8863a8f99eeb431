"""Samples given by tables of numbers."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyscan.errors import ConfigurationError
from flyscan.flight import ManualClock
from flyscan_sim.world import Table, detectors_from_json, nanoprobe_world

PLANE = {"rate": 1e4, "x": [0.0, 10.0, 100.0], "y": [0.0, 50.0], "values": [[0, 1, 10], [5, 6, 15]]}


@given(x=st.floats(0, 100), y=st.floats(0, 50))
def test_a_table_is_linear_between_its_nodes(x, y):
    table = Table(PLANE["x"], PLANE["y"], PLANE["values"])
    assert table(np.array([x]), np.array([y]))[0] == pytest.approx(0.1 * x + 0.1 * y, abs=1e-9)


def test_a_table_is_constant_beyond_its_ends():
    table = Table(PLANE["x"], PLANE["y"], PLANE["values"])
    x, y = np.array([-5.0, 200.0, 100.0]), np.array([-1.0, 60.0, 1e9])
    assert table(x, y) == pytest.approx([0.0, 15.0, 15.0])


def test_a_table_of_one_node_is_the_same_everywhere():
    assert Table([0], [0], [[3.0]])(np.array([-1.0, 7.0]), np.array([9.0, 0.0])).tolist() == [3, 3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": [0, 0, 1]}, "x must be increasing"),
        ({"y": []}, "y must be increasing"),
        ({"values": [[1, 2, 3]]}, r"shape \(1, 3\) instead of \(2, 3\)"),
        ({"values": [[1, 2, 3], [1, -2, 3]]}, "not negative"),
        ({"rate": -1}, "rate -1"),
        ({"rate": "many"}, "cannot be read"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_tables_that_make_no_sense_are_refused(change, message):
    with pytest.raises(ConfigurationError, match=message):
        detectors_from_json(json.dumps({"Fe": PLANE | change}))


@pytest.mark.parametrize("text", ["", "[]", '{"Fe": 1}'])
def test_what_is_no_sample_is_refused(text):
    with pytest.raises(ConfigurationError, match="sample"):
        detectors_from_json(text)


async def test_counts_come_from_the_table():
    clock = ManualClock()
    world = nanoprobe_world(clock, chosen=detectors_from_json(json.dumps({"Fe": PLANE})))
    await clock.advance_to(20.0)
    assert world.rate("Fe", 20.0) == pytest.approx(1e4 * (5.0 + 5.0), rel=0.01)  # x = y = 50
    assert world.counted("Fe", 20.0) == pytest.approx(20 * 1e5, rel=0.01)
    assert world.rate("I0", 20.0) == pytest.approx(5e5, rel=0.01)


def test_a_channel_that_does_not_exist_is_refused():
    with pytest.raises(ConfigurationError, match=r"no channel Au.*use some of I0, Fe, Cu, Zn"):
        nanoprobe_world(ManualClock(), chosen=detectors_from_json(json.dumps({"Au": PLANE})))


def test_the_command_takes_a_sample(tmp_path):
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps({"Cu": PLANE}))
    bad.write_text(json.dumps({"Au": PLANE}))
    command = [sys.executable, "-m", "flyscan_sim", "nanoprobe", "--exit-with-parent", "--sample"]
    run = subprocess.run(
        [*command, str(good)], input="", capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0
    assert json.loads(run.stdout)["panda"]["encoders"]["INENC4"] == "detector"
    run = subprocess.run([*command, str(bad)], input="", capture_output=True, text=True, timeout=60)
    assert (run.returncode, "there is no channel Au" in run.stderr) == (2, True)
    run = subprocess.run([*command, "none"], input="", capture_output=True, text=True, timeout=60)
    assert (run.returncode, "cannot read none" in run.stderr) == (2, True)
