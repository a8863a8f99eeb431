"""The default world: an X-ray nanoprobe mapping a Siemens star."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from flyscan.flight import Clock, RealClock

from ._axis import AxisSpec
from ._faults import FaultScript
from ._sample import default_sample
from ._table import check_channels
from ._world import Detector, World

__all__ = ["COARSE_MOTORS", "nanoprobe_world"]

COARSE_MOTORS: Final = ("coarse_x", "coarse_y", "coarse_z")
"""Axes of the default world behind EPICS motor records, mm."""

_PIEZO: Final = AxisSpec(
    unit="um",
    resolution=1e-3,
    low=0.0,
    high=100.0,
    max_velocity=2000.0,
    max_acceleration=1e5,
    lag=1e-3,
    jitter=2e-3,
    drift=5e-3,
    start=50.0,
)
_DC_MOTOR: Final = AxisSpec(
    unit="mm",
    resolution=1e-4,
    low=-25.0,
    high=25.0,
    max_velocity=50.0,
    max_acceleration=500.0,
    lag=2e-3,
    jitter=5e-5,
)
_STEPPER: Final = AxisSpec(
    unit="mm",
    resolution=1e-4,
    low=-25.0,
    high=25.0,
    max_velocity=10.0,
    max_acceleration=100.0,
    lag=5e-3,
)


def nanoprobe_world(
    clock: Clock | None = None,
    seed: int = 0,
    faults: FaultScript | None = None,
    axes: Mapping[str, AxisSpec] | None = None,
    chosen: Mapping[str, Detector] | None = None,
) -> World:
    """The default world.

    Piezo axes ``x y z`` (um), a DC motor ``detector`` (mm), steppers ``coarse_x coarse_y
    coarse_z`` (mm, they carry the piezo stage), channels ``I0 Fe Cu Zn``.

    Args:
        clock: real time if not given.
        seed: fixes the sample, the vibration and the counting noise.
        faults: what goes wrong.
        axes: axes to replace or add, by name.
        chosen: detectors to replace, by channel.

    Raises:
        ConfigurationError: a chosen channel does not exist.
    """
    stages = dict.fromkeys(("x", "y", "z"), _PIEZO)
    stages |= {"detector": _DC_MOTOR} | dict.fromkeys(COARSE_MOTORS, _STEPPER)
    fields = default_sample(seed)
    detectors = {
        "I0": Detector(rate=500_000.0, dark=20.0),
        "Fe": Detector(rate=120_000.0, field=fields["Fe"], dark=1.0),
        "Cu": Detector(rate=60_000.0, field=fields["Cu"], dark=1.0),
        "Zn": Detector(rate=40_000.0, field=fields["Zn"], dark=1.0),
    }
    check_channels(chosen or {}, detectors)
    return World(
        clock or RealClock(),
        stages | dict(axes or {}),
        detectors | dict(chosen or {}),
        horizontal={"x": 1.0, "coarse_x": 1000.0},
        vertical={"y": 1.0, "coarse_y": 1000.0},
        faults=faults,
        seed=seed,
    )
