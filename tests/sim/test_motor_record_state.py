"""Semantics of the motor record, on a manual clock and without a network."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flyscan.flight import ManualClock
from flyscan_sim.epics import MotorRecord, MotorSettings
from flyscan_sim.world import AxisSpec, FaultScript, StageAxis

SPEC = AxisSpec("mm", 1e-3, -50.0, 50.0, max_velocity=20.0, max_acceleration=200.0, lag=2e-3)


class Bench:
    """A record, its clock, and the list of everything it posted."""

    def __init__(self, **changes):
        self.clock = ManualClock()
        self.faults = FaultScript(self.clock)
        self.axis = StageAxis("m", SPEC, self.clock, self.faults)
        setup = {"velocity": 5.0, "acceleration_time": 0.1, **changes}
        self.record = MotorRecord(
            "SIM:m", self.axis, self.clock, self.faults, MotorSettings(**setup)
        )
        self.log = []

    def __getitem__(self, name):
        return self.record.fields[name]

    def put(self, **values):
        for name, value in values.items():
            self.record.put(name, value)
            self.collect()

    def collect(self):
        self.log += [(self.clock.now(), *post) for post in self.record.posts]
        self.record.posts.clear()

    def posted(self, name):
        return [value for _, field, value in self.log if field == name]

    async def run(self, seconds):
        end = self.clock.now() + seconds
        while (when := self.record.next_update()) is not None and when <= end:
            await self.clock.advance_to(when)
            self.record.update()
            self.collect()
        await self.clock.advance_to(end)

    async def finish(self, limit=100.0):
        """Run until the record reports done; returns how long that took."""
        begun = self.clock.now()
        while not self["DMOV"]:
            when = self.record.next_update()
            assert when is not None, "moving, but no report is due"
            assert when - begun < limit
            await self.clock.advance_to(when)
            self.record.update()
            self.collect()
        return self.clock.now() - begun


@pytest.fixture
def motor():
    return Bench()


async def test_a_move_ends_on_target_after_the_time_of_the_ramps(motor):
    motor.put(VAL=10.0)
    assert (motor["DMOV"], motor["MOVN"], motor["MIP"]) == (0, 1, 0x20)
    taken = await motor.finish()
    assert taken == pytest.approx(10 / 5 + 0.1, abs=0.02)
    assert motor["RBV"] == pytest.approx(10.0, abs=1e-9)
    assert (motor["DMOV"], motor["MOVN"], motor["MIP"]) == (1, 0, 0)
    assert motor.posted("DMOV") == [0, 1]
    assert motor.posted("MOVN") == [1, 0]


async def test_the_readback_is_reported_ten_times_a_second_and_at_the_end(motor):
    motor.put(VAL=10.0)
    await motor.finish()
    times = [t for t, field, _ in motor.log if field == "RBV"]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert all(gap == pytest.approx(0.1) for gap in gaps[:-1])
    assert 19 <= len(times) <= 23
    assert motor.posted("RBV")[-1] == pytest.approx(10.0)


async def test_dmov_blinks_even_when_there_is_nowhere_to_go(motor):
    motor.put(VAL=0.0)
    assert motor.posted("DMOV") == [0, 1]
    assert motor.posted("VAL") == [0.0]
    assert motor.record.next_update() is None


@pytest.mark.parametrize(("given_speed", "kept"), [(50.0, 8.0), (0.1, 0.5), (3.0, 3.0)])
async def test_velo_clamps_silently_between_vbas_and_vmax(motor, given_speed, kept):
    motor.put(VBAS=0.5, VMAX=8.0, VELO=given_speed)
    assert motor["VELO"] == kept
    assert motor.posted("VELO")[-1] == kept


async def test_vmax_zero_is_no_limit_and_a_lower_vmax_pulls_speeds_down(motor):
    motor.put(VELO=15.0)
    assert motor["VELO"] == 15.0
    motor.put(VMAX=4.0)
    assert [motor[n] for n in ("VELO", "BVEL", "JVEL", "HVEL")] == [4.0] * 4


async def test_velo_in_motion_waits_for_the_next_move(motor):
    motor.put(VAL=10.0)
    await motor.run(0.5)
    motor.put(VELO=1.0)
    await motor.run(0.5)
    assert motor.axis.velocity(motor.clock.now()) == pytest.approx(5.0)
    assert 0.5 + await motor.finish() == pytest.approx(1.6, abs=0.02)
    motor.put(VAL=12.0)
    assert await motor.finish() == pytest.approx(2.1, abs=0.02)


async def test_a_new_target_ahead_is_queued_until_the_motion_ends(motor):
    motor.put(VAL=5.0)
    await motor.run(0.3)
    motor.put(VAL=8.0)
    await motor.run(0.8)
    assert motor.axis.commanded(1.12) == pytest.approx(5.0, abs=0.05)  # it did stop at 5
    assert motor["DMOV"] == 0
    await motor.finish()
    assert motor["RBV"] == pytest.approx(8.0, abs=1e-9)
    assert motor.posted("DMOV") == [0, 1]


async def test_a_new_target_behind_turns_the_motor_round(motor):
    motor.put(VAL=20.0)
    await motor.run(1.0)
    motor.put(VAL=-2.0)
    await motor.run(0.2)
    assert motor.axis.velocity(motor.clock.now()) < 1e-6
    await motor.finish()
    assert max(motor.posted("RBV")) < 6.0
    assert motor["RBV"] == pytest.approx(-2.0, abs=1e-9)


async def test_without_ntm_a_target_behind_waits_as_well(motor):
    motor.put(NTM=0, VAL=10.0)
    await motor.run(1.0)
    motor.put(VAL=-2.0)
    await motor.finish()
    assert max(motor.posted("RBV")) == pytest.approx(10.0)
    assert motor["RBV"] == pytest.approx(-2.0, abs=1e-9)


@pytest.mark.parametrize("target", [49.5, -49.5])
async def test_a_limit_violation_reverts_val_and_does_not_move(motor, target):
    motor.put(VAL=1.0)
    await motor.finish()
    motor.log.clear()
    motor.put(VAL=target)
    assert (motor["VAL"], motor["LVIO"], motor["DMOV"]) == (1.0, 1, 1)
    assert motor.posted("VAL")[-1] == 1.0
    assert motor.posted("DMOV") == [0, 1]
    assert motor.record.next_update() is None
    motor.put(VAL=2.0)
    assert motor["LVIO"] == 0
    await motor.finish()
    assert motor["RBV"] == pytest.approx(2.0, abs=1e-9)


async def test_a_violating_target_in_motion_is_dropped_and_the_motion_goes_on(motor):
    motor.put(VAL=5.0)
    await motor.run(0.3)
    motor.put(VAL=100.0)
    assert (motor["VAL"], motor["LVIO"], motor["DMOV"]) == (5.0, 1, 0)
    await motor.finish()
    assert motor["RBV"] == pytest.approx(5.0, abs=1e-9)


async def test_both_dial_limits_zero_disable_the_soft_limits(motor):
    motor.put(DHLM=0.0, DLLM=0.0, VAL=49.5)
    assert motor["LVIO"] == 0
    await motor.finish()
    assert motor["RBV"] == pytest.approx(49.5)


async def test_user_limits_follow_dial_limits_and_back(motor):
    motor.put(OFF=10.0)
    assert (motor["LLM"], motor["HLM"]) == (-39.0, 59.0)
    motor.put(HLM=30.0)
    assert motor["DHLM"] == 20.0
    motor.put(DIR="Neg")
    assert (motor["LLM"], motor["HLM"]) == (
        motor["OFF"] - motor["DHLM"],
        motor["OFF"] - motor["DLLM"],
    )


async def test_running_into_the_switch_stops_the_motor_and_forgets_the_target(motor):
    motor.put(DHLM=0.0, DLLM=0.0, VAL=60.0)
    await motor.finish()
    assert (motor["HLS"], motor["LLS"]) == (1, 0)
    assert motor["VAL"] == motor["RBV"] == pytest.approx(50.0)
    assert motor["MSTA"] & 0x4
    assert (motor.record.fields.menu("STAT"), motor.record.fields.menu("SEVR")) == ("HIGH", "MAJOR")
    motor.put(VAL=40.0)
    await motor.finish()
    assert (motor["HLS"], motor.record.fields.menu("SEVR")) == (0, "NO_ALARM")


async def test_stop_makes_val_the_readback_where_the_motor_came_to_rest(motor):
    motor.put(VAL=20.0)
    await motor.run(1.0)
    motor.put(STOP=1)
    assert (motor["STOP"], motor["DMOV"]) == (0, 0)
    await motor.finish()
    assert 4.5 < motor["RBV"] < 6
    assert motor["VAL"] == motor["RBV"]
    assert motor["DVAL"] == motor["DRBV"]
    assert motor.record.next_update() is None


async def test_stop_at_rest_changes_nothing(motor):
    motor.put(VAL=3.0)
    await motor.finish()
    motor.put(STOP=1)
    assert (motor["VAL"], motor["DMOV"], motor["STOP"]) == (3.0, 1, 0)


async def test_backlash_goes_beyond_the_target_and_returns_at_bvel(motor):
    motor.put(BDST=2.0, BVEL=1.0, VAL=10.0)  # up is preferred: stop 2 short, then creep
    await motor.run(1.72)
    assert motor["RBV"] == pytest.approx(8.0, abs=0.01)
    assert 1.72 + await motor.finish() == pytest.approx(1.7 + 2.1, abs=0.05)
    assert motor["RBV"] == pytest.approx(10.0, abs=1e-9)
    motor.log.clear()
    motor.put(VAL=5.0)  # down: overshoot to 3, come back
    await motor.finish()
    assert min(motor.posted("RBV")) == pytest.approx(3.0, abs=1e-3)
    assert motor["RBV"] == pytest.approx(5.0, abs=1e-9)
    assert motor.posted("DMOV") == [0, 1]


async def test_backlash_within_its_range_uses_bvel_only(motor):
    motor.put(BDST=2.0, BVEL=1.0, VAL=1.0)
    assert await motor.finish() == pytest.approx(1.1, abs=0.03)
    assert min(motor.posted("RBV")) >= 0


async def test_a_newer_target_makes_the_backlash_part_superfluous(motor):
    motor.put(BDST=2.0, BVEL=1.0, VAL=-10.0)
    await motor.run(0.5)
    motor.log.clear()
    motor.put(VAL=-20.0)
    await motor.finish()
    assert motor.posted("MIP").count(0x100) == 1
    assert min(motor.posted("RBV")) == pytest.approx(-22.0, abs=1e-2)  # at full speed
    assert motor["RBV"] == pytest.approx(-20.0, abs=1e-9)


async def test_a_motor_outside_its_limits_may_come_back(motor):
    motor.put(VAL=20.0)
    await motor.finish()
    motor.put(DHLM=10.0)
    motor.put(VAL=21.0)
    assert (motor["LVIO"], motor["VAL"]) == (1, 20.0)
    motor.put(VAL=15.0)  # still outside
    assert motor["LVIO"] == 0
    await motor.finish()
    assert motor["RBV"] == pytest.approx(15.0, abs=1e-9)


async def test_preferred_moves_with_equal_speeds_need_no_second_part(motor):
    motor.put(BDST=2.0, VAL=10.0)
    assert await motor.finish() == pytest.approx(2.1, abs=0.03)


async def test_backlash_counts_for_the_soft_limits(motor):
    motor.put(BDST=2.0, VAL=-48.0)  # would overshoot to -50
    assert (motor["LVIO"], motor["VAL"]) == (1, 0.0)


async def test_jog_runs_until_released_and_jvel_acts_at_once(motor):
    motor.put(JVEL=2.0, JAR=50.0, JOGF=1)
    assert (motor["DMOV"], motor["MIP"]) == (0, 1)
    await motor.run(1.0)
    assert motor.axis.velocity(motor.clock.now()) == pytest.approx(2.0)
    motor.put(JVEL=4.0)
    await motor.run(0.1)
    assert motor.axis.velocity(motor.clock.now()) == pytest.approx(4.0)
    motor.put(JOGF=0)
    await motor.finish()
    assert motor["VAL"] == motor["RBV"] == pytest.approx(2.0 + 0.4, abs=0.3)
    assert motor["MIP"] == 0


async def test_jog_down_with_reversed_direction_moves_the_dial_up(motor):
    motor.put(DIR="Neg", JVEL=2.0, JOGR=1)
    await motor.run(0.5)
    motor.put(JOGR=0)
    await motor.finish()
    assert motor["DRBV"] > 0.5
    assert motor["RBV"] < -0.5


async def test_jog_stops_a_second_before_the_soft_limit(motor):
    motor.put(DHLM=10.0, JVEL=2.0, JOGF=1)
    await motor.finish()
    assert (motor["LVIO"], motor["JOGF"]) == (1, 0)
    assert 8.0 < motor["RBV"] < 8.6
    motor.put(JOGF=1)
    assert (motor["JOGF"], motor["LVIO"], motor["DMOV"]) == (0, 1, 1)


async def test_jog_backlash_is_taken_out_after_release(motor):
    motor.put(BDST=1.0, JVEL=2.0, JOGF=1)
    await motor.run(1.0)
    motor.log.clear()
    motor.put(JOGF=0)
    await motor.finish()
    assert [int(v) for v in motor.posted("MIP")] == [0x2000, 0x4, 0x4000, 0]
    assert min(motor.posted("RBV")) == pytest.approx(motor["RBV"] - 1.0, abs=2e-3)
    assert motor["RBV"] == pytest.approx(motor["VAL"], abs=1e-9)


async def test_a_jog_asked_for_in_motion_is_not_taken(motor):
    motor.put(VAL=5.0)
    motor.put(JOGF=1)
    await motor.finish()
    assert motor["RBV"] == pytest.approx(5.0)
    motor.put(VAL=6.0)
    await motor.finish()
    assert motor["RBV"] == pytest.approx(6.0)


async def test_pause_without_retries_ends_the_move_and_keeps_val(motor):
    motor.put(VAL=20.0)
    await motor.run(1.0)
    motor.put(SPMG="Pause")
    await motor.finish()
    assert motor["VAL"] == 20.0
    assert motor["RBV"] < 6.0


async def test_pause_with_retries_holds_the_move_and_go_resumes_it(motor):
    motor.put(RTRY=3, VAL=20.0)
    await motor.run(1.0)
    motor.put(SPMG="Pause")
    await motor.run(3.0)
    assert motor["RBV"] < 6.0
    assert motor["DMOV"] == 0
    assert motor.record.next_update() is None
    motor.put(SPMG="Go")
    await motor.finish()
    assert motor["RBV"] == pytest.approx(20.0, abs=1e-3)


async def test_go_before_the_pause_has_come_to_a_stand_goes_on(motor):
    motor.put(VAL=20.0)
    await motor.run(1.0)
    motor.put(SPMG="Pause")
    motor.put(SPMG="Go")
    await motor.finish()
    assert motor["RBV"] == pytest.approx(20.0, abs=1e-9)


async def test_a_target_written_while_paused_waits_for_go(motor):
    motor.put(SPMG="Pause", VAL=3.0)
    assert (motor["DMOV"], motor["MOVN"]) == (0, 0)
    await motor.run(1.0)
    assert motor["RBV"] == 0.0
    motor.put(SPMG="Go")
    await motor.finish()
    assert motor["RBV"] == pytest.approx(3.0)


async def test_spmg_stop_forgets_the_target(motor):
    motor.put(VAL=20.0)
    await motor.run(1.0)
    motor.put(SPMG="Stop")
    await motor.finish()
    assert motor["VAL"] == motor["RBV"]
    motor.put(SPMG="Go")
    assert motor["DMOV"] == 1
    assert motor.record.next_update() is None


async def test_spmg_move_makes_one_move_and_pauses(motor):
    motor.put(SPMG="Move", VAL=2.0)
    await motor.finish()
    assert motor.record.fields.menu("SPMG") == "Pause"
    assert motor["RBV"] == pytest.approx(2.0)


async def test_set_mode_with_variable_offset_redefines_user_coordinates(motor):
    motor.put(VAL=5.0)
    await motor.finish()
    motor.put(SET="Set", VAL=0.0)
    assert (motor["OFF"], motor["RBV"], motor["DVAL"]) == (-5.0, pytest.approx(0.0), 5.0)
    assert (motor["DMOV"], motor["HLM"]) == (1, 44.0)
    motor.put(SET="Use", VAL=1.0)
    await motor.finish()
    assert motor["DRBV"] == pytest.approx(6.0)


async def test_set_mode_with_frozen_offset_redefines_the_dial(motor):
    motor.put(VAL=5.0)
    await motor.finish()
    motor.put(FOFF="Frozen", SET="Set", VAL=0.0)
    assert (motor["OFF"], motor["DVAL"], motor["RBV"]) == (0.0, 0.0, 0.0)
    assert motor.axis.position(motor.clock.now()) == pytest.approx(5.0)
    motor.put(SET="Use", VAL=1.0)
    await motor.finish()
    assert motor.axis.position(motor.clock.now()) == pytest.approx(6.0)


async def test_retries_shrink_a_following_error_and_give_up_with_miss(motor):
    motor.put(RTRY=5, RDBD=0.01)
    motor.faults.add("following_error", axis="m", offset=0.5)
    await motor.run(0.01)
    motor.put(VAL=10.0)
    await motor.finish()
    assert motor["RBV"] == pytest.approx(10.0, abs=0.01)
    assert (motor["RCNT"], motor["MISS"]) == (0, 0)  # relative moves account for it at once
    motor.faults.add("stall", axis="m")
    motor.put(VAL=15.0)
    await motor.finish()
    assert (motor["RCNT"], motor["MISS"]) == (6, 1)
    assert motor["RBV"] == pytest.approx(10.0, abs=0.01)


async def test_an_error_that_appears_on_the_way_is_retried(motor):
    motor.put(RTRY=5, RDBD=0.01, VAL=10.0)
    await motor.run(0.5)
    motor.faults.add("following_error", axis="m", offset=0.5)
    await motor.finish()
    assert motor["RBV"] == pytest.approx(10.0, abs=0.01)
    assert motor["RCNT"] == 1
    assert 0x40 in motor.posted("MIP")


async def test_without_retries_the_error_stays(motor):
    motor.faults.add("following_error", axis="m", offset=0.5)
    motor.put(VAL=10.0)
    await motor.finish()
    assert motor["RBV"] == pytest.approx(10.5)
    assert motor["DIFF"] == pytest.approx(-0.5)


async def test_a_stall_shows_in_msta_and_as_an_alarm(motor):
    motor.put(VAL=10.0)
    await motor.run(0.5)
    motor.faults.add("stall", axis="m")
    await motor.finish()
    assert motor["MSTA"] & 0x40
    assert motor.record.fields.menu("STAT") == "STATE"
    assert motor["RBV"] < 3.0


async def test_delay_postpones_done(motor):
    motor.put(DLY=0.7, VAL=5.0)
    assert await motor.finish() == pytest.approx(1.1 + 0.7, abs=0.03)
    assert motor["MOVN"] == 0


async def test_tweaks_and_relative_moves(motor):
    motor.put(TWV=0.5, TWF=1)
    assert motor["TWF"] == 0
    await motor.finish()
    motor.put(TWR=1)
    await motor.finish()
    motor.put(RLV=2.0)
    await motor.finish()
    assert (motor["VAL"], motor["RLV"]) == (2.0, 0.0)
    motor.put(RVAL=3000)
    await motor.finish()
    assert motor["RBV"] == pytest.approx(3.0)
    motor.put(DVAL=4.0)
    await motor.finish()
    assert motor["VAL"] == pytest.approx(4.0)


async def test_homing_ends_at_axis_zero(motor):
    motor.put(VAL=5.0)
    await motor.finish()
    motor.put(HVEL=2.0, HOMR=1)
    assert motor["DMOV"] == 0
    await motor.finish()
    assert (motor["HOMR"], motor["ATHM"]) == (0, 1)
    assert motor["VAL"] == motor["RBV"] == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("ACCL", 0.0, 0.1),
        ("BACC", -1.0, 0.1),
        ("JAR", 0.0, 50.0),
        ("NTMF", 1, 2),
        ("RDBD", 0, 1e-3),
    ],
)
async def test_nonsense_is_replaced_by_what_the_record_uses(motor, name, value, kept):
    motor.put(**{name: value})
    assert motor[name] == pytest.approx(kept)
    assert motor.posted(name)[-1] == pytest.approx(kept)


@pytest.mark.parametrize("name", ["RBV", "DMOV", "MRES", "MSTA"])
async def test_readbacks_cannot_be_written(motor, name):
    with pytest.raises(KeyError, match="not writable"):
        motor.put(**{name: 1})


@pytest.mark.parametrize(
    ("name", "value"), [("VAL", float("nan")), ("VELO", float("inf")), ("SPMG", 4), ("SPMG", "Run")]
)
async def test_impossible_values_are_refused_and_change_nothing(motor, name, value):
    before = motor[name]
    with pytest.raises(ValueError, match=r"finite|choice|not in"):
        motor.put(**{name: value})
    assert motor.record.posts == []
    assert (motor[name], motor["DMOV"]) == (before, 1)


writes = st.one_of(
    st.tuples(st.just("VAL"), st.floats(-60, 60)),
    st.tuples(st.just("DVAL"), st.floats(-60, 60)),
    st.tuples(st.just("VELO"), st.floats(0.1, 30)),
    st.tuples(st.just("STOP"), st.just(1)),
    st.tuples(st.sampled_from(["JOGF", "JOGR"]), st.integers(0, 1)),
    st.tuples(st.just("SPMG"), st.sampled_from(["Stop", "Pause", "Move", "Go"])),
    st.tuples(st.just("BDST"), st.floats(-3, 3)),
    st.tuples(st.just("RTRY"), st.integers(0, 3)),
    st.tuples(st.just("DIR"), st.sampled_from(["Pos", "Neg"])),
    st.tuples(st.just("TWF"), st.just(1)),
)


@settings(deadline=None, max_examples=120)
@given(st.lists(st.tuples(writes, st.floats(0, 2)), min_size=1, max_size=12))
async def test_whatever_is_written_the_record_comes_to_rest_inside_its_limits(script):
    motor = Bench()
    for (name, value), pause in script:
        motor.put(**{name: value})
        await motor.run(pause)
    motor.put(JOGF=0, JOGR=0, SPMG="Go")
    await motor.finish(limit=1000)
    assert motor.record.next_update() is None
    assert not motor.axis.moving(motor.clock.now())
    assert motor["MOVN"] == 0
    user = motor["DVAL"] * (-1 if motor["DIR"] else 1) + motor["OFF"]
    assert motor["VAL"] == pytest.approx(user, abs=1e-9)
    motor.put(VAL=motor["RBV"] if abs(motor["RBV"]) > 40 else motor["OFF"])
    await motor.finish(limit=1000)
    changes = motor.posted("DMOV")
    assert all(a != b for a, b in pairwise(changes))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(-48.9, 48.9), min_size=1, max_size=5), st.floats(-2, 2))
async def test_every_accepted_target_is_reached(targets, backlash):
    motor = Bench()
    motor.put(BDST=backlash)
    for target in targets:
        motor.put(VAL=target)
        await motor.finish()
        if not motor["LVIO"]:
            assert motor["RBV"] == pytest.approx(target, abs=1e-3)
        assert motor["VAL"] == pytest.approx(motor["RBV"], abs=1e-3)
