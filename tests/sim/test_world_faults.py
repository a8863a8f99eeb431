"""The fault script: read from JSON, fires when it should and once, refuses nonsense."""

import pytest

from flyscan.errors import ConfigurationError
from flyscan.flight import ManualClock
from flyscan_sim.world import FaultScript, nanoprobe_world


@pytest.fixture
def clock():
    return ManualClock()


def test_json_script_is_read(clock):
    script = FaultScript.from_json(
        clock,
        '[{"kind": "lost_trigger", "at": 137}, {"kind": "close_data", "at": 2.5, "for": 1.0},'
        ' {"kind": "stall", "axis": "x", "at": 1}]',
    )
    assert script.active("close_data", 2.4) is None
    fault = script.active("close_data", 2.5)
    assert fault is not None
    assert (fault.at, fault.duration, fault.end) == (2.5, 1.0, 3.5)
    assert script.active("close_data", 3.5) is None
    assert script.active("stall", 1e6, axis="x") is not None
    assert script.active("stall", 1e6, axis="y") is None


def test_scripts_are_joined_and_one_object_is_a_script(clock):
    script = FaultScript.from_json(
        clock, '{"kind": "overrun", "at": 2}', '[{"kind": "overrun", "at": 1}]'
    )
    assert [fault.at for fault in script.of("overrun")] == [1, 2]


def test_a_world_refuses_faults_of_axes_it_does_not_have(clock):
    script = FaultScript(clock, [{"kind": "stall", "axis": "w"}])
    with pytest.raises(ConfigurationError, match="stall: no axis 'w', known are x, y, z"):
        nanoprobe_world(clock, faults=script)


def test_indexed_faults_fire_once_each(clock):
    script = FaultScript(clock, [{"kind": "lost_trigger", "at": n} for n in (5, 9, 5)])
    assert [f.at for f in script.pending("lost_trigger")] == [5, 5, 9]
    assert script.take("lost_trigger", 4) is None
    assert script.take("lost_trigger", 5) is not None
    assert script.take("lost_trigger", 5) is not None
    assert script.take("lost_trigger", 5) is None
    assert [f.at for f in script.pending("lost_trigger")] == [9]


def test_indexed_fault_without_an_index_meets_the_next_occasion(clock):
    script = FaultScript(clock)
    script.add("lost_trigger")
    assert script.take("lost_trigger", 42) is not None
    assert script.take("lost_trigger", 43) is None


async def test_timed_faults_begin_now_at_the_earliest_and_are_due_once(clock):
    script = FaultScript(clock)
    await clock.advance(10.0)
    assert script.add("close_control", at=3.0).at == 10.0
    assert script.add("close_control").at == 10.0
    assert script.add("close_control", at=12.0).at == 12.0
    assert script.due("close_control", 10.0) is not None
    assert script.due("close_control", 10.0) is not None
    assert script.due("close_control", 11.9) is None
    assert script.due("close_control", 12.0) is not None


async def test_a_fault_can_be_ended(clock):
    script = FaultScript(clock)
    fault = script.add("slow_replies", delay=0.2)
    await clock.advance(5.0)
    script.remove(fault)
    assert script.active("slow_replies", 5.0) is None
    past = script.active("slow_replies", 4.9)
    assert past is not None
    assert past.number("delay") == 0.2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[{", "not JSON"),
        ("3", "expected an object or a list of objects"),
        ("[3]", "expected an object or a list of objects"),
        (
            '[{"kind": "meteor"}]',
            "unknown kind 'meteor', known are lost_trigger, doubled_trigger, stall",
        ),
        ('[{"at": 3}]', "an entry without 'kind'"),
        ('[{"kind": "stall"}]', "stall needs axis"),
        ('[{"kind": "overrun", "colour": 1}]', "overrun does not know colour"),
        ('[{"kind": "overrun", "at": "soon"}]', "'at' must be a number, got 'soon'"),
        ('[{"kind": "overrun", "at": NaN}]', "'at' must be a number"),
        ('[{"kind": "overrun", "for": -1}]', "'for' must not be negative"),
        ('[{"kind": "late_arm", "delay": "long"}]', "'delay' must be a number, got 'long'"),
    ],
)
def test_nonsense_is_refused_with_the_remedy(clock, text, problem):
    with pytest.raises(ConfigurationError, match=problem) as refused:
        FaultScript.from_json(clock, text)
    assert str(refused.value).startswith("fault script: ")
    assert "Remedy: write e.g." in str(refused.value)


def test_a_fault_of_one_box_spares_the_others(clock):
    script = FaultScript(clock)
    script.add("slow_replies", delay=0.1, box="gcs")
    assert script.active("slow_replies", 0.0, box="gcs") is not None
    assert script.active("slow_replies", 0.0, box="panda") is None
    script.add("garbage")
    assert script.active("garbage", 0.0, box="panda") is not None
    with pytest.raises(ConfigurationError, match="'box' must be one of panda, gcs, ioc, got 'x'"):
        script.add("garbage", box="x")


async def test_steps_of_a_wall_clock_add_up(clock):
    script = FaultScript(clock)
    script.add("clock_step", at=1.0, by=10.0, box="ioc")
    script.add("clock_step", at=2.0, by=-3.0, box="ioc")
    assert [script.clock_error("ioc", t) for t in (0.9, 1.0, 2.0)] == [0.0, 10.0, 7.0]
    assert script.clock_error("panda", 2.0) == 0.0
