"""Plans for an unmodified RunEngine."""

from ._adaptive import adaptive_fly, adaptive_fly_grid
from ._plans import fly, fly_grid, fly_paths, rel_fly, rel_fly_grid
from ._signals import EndingHandler, SigtermHandler
from ._stubs import (
    collect_flyer,
    declare_flyer_streams,
    fly_prepared,
    prepare_detectors,
    prepare_flyer,
    stage_all,
    unstage_all,
    until,
)
from ._times import FlightTimes

__all__ = [
    "EndingHandler",
    "FlightTimes",
    "SigtermHandler",
    "adaptive_fly",
    "adaptive_fly_grid",
    "collect_flyer",
    "declare_flyer_streams",
    "fly",
    "fly_grid",
    "fly_paths",
    "fly_prepared",
    "prepare_detectors",
    "prepare_flyer",
    "rel_fly",
    "rel_fly_grid",
    "stage_all",
    "unstage_all",
    "until",
]
