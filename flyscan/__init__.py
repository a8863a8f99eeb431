"""flyscan: fly scans that can be paused, resumed and steered from their own data.

The names here are what scientists use; developers of controller bindings find the contracts
in :mod:`flyscan.controllers` and the conformance suite in :mod:`flyscan.testing`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .adaptive import regrid
    from .devices import Flyer, HostAxis
    from .errors import FlyscanError
    from .flight.host import HostConfig, InProcessHost, ProcessHost
    from .plans import (
        adaptive_fly,
        adaptive_fly_grid,
        fly,
        fly_grid,
        fly_paths,
        rel_fly,
        rel_fly_grid,
    )

__all__ = [
    "Flyer",
    "FlyscanError",
    "HostAxis",
    "HostConfig",
    "InProcessHost",
    "ProcessHost",
    "adaptive_fly",
    "adaptive_fly_grid",
    "fly",
    "fly_grid",
    "fly_paths",
    "regrid",
    "rel_fly",
    "rel_fly_grid",
]

_HOME = {
    **dict.fromkeys(("Flyer", "HostAxis"), ".devices"),
    "FlyscanError": ".errors",
    "regrid": ".adaptive",
    **dict.fromkeys(("HostConfig", "InProcessHost", "ProcessHost"), ".flight.host"),
    **dict.fromkeys(("fly", "fly_grid", "fly_paths", "rel_fly", "rel_fly_grid"), ".plans"),
    **dict.fromkeys(("adaptive_fly", "adaptive_fly_grid"), ".plans"),
}


def __getattr__(name: str) -> Any:
    """Import on first use: the flight host and the simulators do without the RunEngine's world."""
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
