"""Axis map: user <-> dial <-> counts, and its alignment with the motor."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyscan.controllers._axis_map import INT32_MAX, AxisMap, align
from flyscan.errors import ConfigurationError, LimitError, NotReadyError

signs = st.sampled_from([-1, 1])
lengths = st.floats(-1e4, 1e4)
maps = st.builds(
    AxisMap,
    encoder=st.just("INENC1"),
    resolution=st.floats(1e-4, 1.0),
    sign=signs,
    zero=lengths,
    direction=signs,
    offset=lengths,
)


@given(maps, lengths)
def test_user_and_counts_are_inverse(axis_map: AxisMap, user: float):
    assert axis_map.user(axis_map.counts(user)) == pytest.approx(user, abs=1e-7)
    assert axis_map.counts(np.array([user]))[0] == axis_map.counts(user)


@given(maps, lengths)
def test_user_is_dial_by_the_motor_records_rule(axis_map: AxisMap, user: float):
    dial = axis_map.dial(user)
    assert axis_map.direction * dial + axis_map.offset == pytest.approx(user, abs=1e-7)
    by_hand = axis_map.sign * (dial - axis_map.zero) / axis_map.resolution
    assert axis_map.counts(user) == pytest.approx(by_hand, rel=1e-9, abs=1e-3)


@given(maps, st.floats(-1e3, 1e3), st.floats(0, 1e-3))
def test_compare_shift_makes_a_late_encoder_trigger_in_place(
    axis_map: AxisMap, velocity: float, latency: float
):
    late = AxisMap.from_dict(axis_map.to_dict() | {"latency": latency})
    where = late.user(late.counts(5.0) + late.compare_shift(velocity))
    assert where + velocity * latency == pytest.approx(5.0, abs=1e-7)


@given(maps)
def test_round_trip_through_json(axis_map: AxisMap):
    assert AxisMap.from_dict(json.loads(json.dumps(axis_map.to_dict()))) == axis_map


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"resolution": 0.0}, "resolution must be a positive number"),
        ({"resolution": -1.0}, "resolution must be a positive number"),
        ({"resolution": math.nan}, "resolution must be a positive number"),
        ({"resolution": 1.0, "sign": 2}, r"sign must be \+1 or -1, got 2"),
        ({"resolution": 1.0, "direction": 0}, "direction must be"),
        ({"resolution": 1.0, "offset": math.inf}, "offset must be a finite number"),
        ({"resolution": 1.0, "nope": 1}, r"unknown parameters \['nope'\]"),
        ({}, r"missing \['resolution'\]"),
    ],
)
def test_bad_parameters_are_named(parameters: dict[str, float], named: str):
    with pytest.raises(ConfigurationError, match=named):
        AxisMap.from_dict({"encoder": "INENC1"} | parameters)


def test_range_of_the_counter_is_checked():
    axis_map = AxisMap("INENC1", 1.0)
    axis_map.check_range(0, INT32_MAX)
    with pytest.raises(LimitError, match="counter holds -2147483648 to 2147483647"):
        axis_map.check_range(0, INT32_MAX + 1)


class Stage:
    """A stage with a motor that knows where it is and an encoder that may not."""

    name = "panda INENC1"

    def __init__(self, axis_map: AxisMap, *, incremental: bool, gain: float = 1.0) -> None:
        self.axis_map = axis_map
        self.incremental = incremental
        self.gain = gain
        self.position = 12.0
        self.base = 0.0 if incremental else axis_map.counts(0.0)
        self.moves: list[float] = []

    async def readback(self) -> float:
        return self.position

    async def read(self) -> int:
        return round(self.base + self.gain * self.position / self.axis_map.scale)

    async def preset(self, counts: int) -> None:
        self.base += counts - await self.read()

    async def move(self, position: float) -> None:
        self.moves.append(position)
        self.position = position


MAP = AxisMap("INENC1", 0.001, sign=-1, zero=3.0, direction=-1, offset=7.0, unit="um")


async def test_an_incremental_encoder_is_preset_from_the_motor():
    stage = Stage(MAP, incremental=True)
    off = await align(MAP, stage, stage.readback, tolerance=0.01, move=stage.move, distance=1.0)
    assert abs(off) < 0.001
    assert await stage.read() == round(MAP.counts(12.0))
    assert stage.moves == [13.0, 12.0]


async def test_an_absolute_encoder_must_agree():
    stage = Stage(MAP, incremental=False)
    assert abs(await align(MAP, stage, stage.readback, tolerance=0.01)) < 0.001
    stage.base += 50
    before = stage.base
    with pytest.raises(NotReadyError, match=r"says 12\.05 um, the motor 12; .* `zero` .* by 0\.05"):
        await align(MAP, stage, stage.readback, tolerance=0.01)
    assert stage.base == before


async def test_following_the_remedy_makes_it_agree():
    stage = Stage(MAP, incremental=False)
    stage.base += 50
    mended = AxisMap.from_dict(MAP.to_dict() | {"zero": MAP.zero + 0.05})
    assert abs(await align(mended, stage, stage.readback, tolerance=0.01)) < 0.001


@pytest.mark.parametrize(
    ("gain", "error", "named"),
    [
        (0.0, NotReadyError, "the encoder stood still"),
        (-1.0, ConfigurationError, "flip `sign`"),
        (2.0, ConfigurationError, "set `resolution` in the axis map to 0.0005"),
    ],
)
async def test_the_move_finds_a_wrong_cable_sign_or_resolution(
    gain: float, error: type[Exception], named: str
):
    stage = Stage(MAP, incremental=True, gain=gain)
    with pytest.raises(error, match=named):
        await align(MAP, stage, stage.readback, tolerance=0.01, move=stage.move, distance=1.0)
    assert stage.position == 12.0


async def test_a_move_too_small_to_tell_is_refused():
    stage = Stage(MAP, incremental=True)
    with pytest.raises(NotReadyError, match="well above the tolerance"):
        await align(MAP, stage, stage.readback, tolerance=0.01, move=stage.move, distance=0.015)
