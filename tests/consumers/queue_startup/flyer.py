"""Start-up script of the queueserver's worker: the flyer on the simulated nanoprobe."""

import os

from bluesky import RunEngine
from bluesky.callbacks.json_writer import JSONLinesWriter
from event_model import RunRouter
from ophyd_async.core import StaticPathProvider, UUIDFilenameProvider, init_devices

from flyscan import (
    Flyer,
    ProcessHost,
    adaptive_fly,
    adaptive_fly_grid,
    fly,
    fly_grid,
    fly_paths,
    rel_fly,
    rel_fly_grid,
)
from flyscan.demo import SimulatedNanoprobe

__all__ = ["RE", "adaptive_fly", "adaptive_fly_grid", "fly", "fly_grid", "fly_paths"]
__all__ += ["nano", "rel_fly", "rel_fly_grid", "x"]

FOLDER = os.environ["FLYSCAN_QUEUE_FOLDER"]

probe = SimulatedNanoprobe()
probe.__enter__()
RE = RunEngine()
host = ProcessHost(probe.host_config | {"lease": 5.0})
with init_devices():
    nano = Flyer(host, "nano", StaticPathProvider(UUIDFilenameProvider(), FOLDER))
x = nano.axis("x")  # a device of the same name as an axis must not get in the way
RE.subscribe(RunRouter([lambda _, start: ([JSONLinesWriter(FOLDER, f"{start['uid']}.jsonl")], [])]))
