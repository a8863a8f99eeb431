"""What a motion says of itself decides whether it can fly a path."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scanspec.specs import Linspace, Spiral

from flyscan.errors import ConfigurationError, LimitError
from flyscan.flight import (
    AxisLimits,
    ManualClock,
    MotionCapabilities,
    Path,
    Points,
    Segment,
    Sweep,
    Trigger,
    check_path,
    check_sweep,
    plan_sweep,
)
from flyscan.testing import MemoryMotion

LIMITS = AxisLimits(low=0.0, high=10.0, velocity=5.0, acceleration=10.0, unit="um")


class Straight(MemoryMotion):
    """A motion that flies nothing but straight lines."""

    @property
    def capabilities(self) -> MotionCapabilities:
        return MotionCapabilities()


def motion(kind: type[MemoryMotion] = Straight, *axes: str) -> MemoryMotion:
    return kind("stage", dict.fromkeys(axes or ("x",), LIMITS), ManualClock())


async def test_a_path_that_fits_passes_with_axes_of_others() -> None:
    spec = Linspace("z", 1000.0, 2000.0, 3) * ~Linspace.bounded("x", 0.0, 10.0, 5)
    await check_path(motion(), Path.from_spec(spec, period=1.0))


async def test_a_path_of_others_is_refused() -> None:
    path = Path.from_spec(Linspace("z", 0.0, 1.0, 3), period=1.0)
    with pytest.raises(ConfigurationError, match="stage: the path moves z, none of which"):
        await check_path(motion(), path)


async def test_a_path_out_of_travel_is_refused() -> None:
    path = Path.from_spec(Linspace.bounded("x", 0.0, 10.1, 5), period=1.0)
    with pytest.raises(LimitError, match=r"stage x: target 10.1 um is outside the travel 0 to 10"):
        await check_path(motion(), path)


async def test_a_curve_is_refused_by_who_cannot_fly_it() -> None:
    path = Path.from_spec(Points({"x": [1.0, 2.0, 4.0, 7.0]}), period=1.0)
    with pytest.raises(ConfigurationError, match="segment 0 is a curve"):
        await check_path(motion(), path)
    await check_path(motion(MemoryMotion), path)
    await check_path(motion(), path.without_curves())


async def test_a_curve_of_others_does_not_matter() -> None:
    curve = Points({"x": [1.0, 2.0, 4.0, 7.0]})
    path = Path.from_spec(Linspace("y", 0.0, 1.0, 2) * curve, period=1.0)
    await check_path(motion(Straight, "y"), path)


def test_the_first_curve_of_a_path() -> None:
    spiral = Path.from_spec(Spiral("x", 9, 0.1, 0.02, "y", 9), period=1.0)
    found = spiral.first_curve()
    assert found is not None
    assert found.index == 0
    assert Path.from_spec(Linspace("x", 0.0, 1.0, 3), period=1.0).first_curve() is None


@pytest.mark.parametrize("velocity", [0.0, -1.0, 5.1, np.nan])
def test_velocities_beyond_the_limit(velocity: float) -> None:
    with pytest.raises(LimitError, match="expected above 0 up to 5"):
        LIMITS.check_velocity("stage x", velocity)


def test_limits_are_met_to_within_rounding() -> None:
    LIMITS.check_velocity("stage x", 5.0 * (1 + 1e-12))
    LIMITS.check_travel("stage x", 10.0 + 1e-12)
    for wrong in (10.0 + 1e-6, -1e-6, np.nan):
        with pytest.raises(LimitError, match="outside the travel"):
            LIMITS.check_travel("stage x", wrong)


def varied(axis: str = "x") -> Sweep:
    line = Segment(2, 0, 4, {axis: 2.0}, {axis: 6.0}, 1.0, Trigger.POSITION)
    profile = replace(line, schedule=np.array((0.0, 1.0, 3.0, 4.0, 4.8)))
    return plan_sweep(profile, 0, {axis: LIMITS})


def test_a_sweep_of_varying_speed_is_refused_without_profiles() -> None:
    with pytest.raises(
        ConfigurationError, match="segment 2 varies its speed along x or is a curve"
    ):
        check_sweep(motion(), varied())
    check_sweep(motion(MemoryMotion), varied())
    check_sweep(motion(), replace(varied(), segment=replace(varied().segment, schedule=None)))


def test_a_sweep_of_another_motion_is_no_matter() -> None:
    check_sweep(motion(Straight, "y"), varied())
