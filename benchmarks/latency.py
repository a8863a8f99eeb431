"""From a block on the socket to a velocity command on the wire, whatever subscribers do.

A process sends a block of rows every 10 ms as a PandA would; the flight host's process receives,
converts, checks, numbers and hands it to storage, shows it to a policy that asks for another
velocity every time, has its guard rail check that, notes it in the file and sends it on another
socket of the sender: the flight is steered as any other. The sender takes both times: a block's
departure and the answer's arrival. Meanwhile the RunEngine's process gets the flight's documents,
and has a subscriber that does for every one of them nothing (``idle``), or sleeps 1 s, or computes
in pure Python, or encodes 300 000 floats as JSON, or pickles 300 000 small objects (``blocked``).

One flight takes its `--seconds`, some more to start a host, and as long as the subscriber needs for
the documents that are left at its end; one that hangs ends the benchmark with an error.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path as FilePath
from typing import Any

import numpy as np
from bluesky.run_engine import RunEngine
from ophyd_async.core import StaticPathProvider, UUIDFilenameProvider, init_devices
from scanspec.specs import Line

from flyscan.devices import Flyer
from flyscan.flight.host import ProcessHost
from flyscan.plans import adaptive_fly

from ._deadline import deadline
from ._prompter import BLOCK_PERIOD, ROW_LENGTH, ROWS
from ._restless import Restless

__all__ = ["main"]

HERE = FilePath(__file__).parent.parent
PATIENCE = 120.0
"""Seconds a flight may take longer than its rows."""
RESOLUTION = 0.001
"""um per count of the encoder, as the capture takes it."""

TAIL = 200
"""Rows after those measured: what would act beyond the end of a line is refused."""

LEASE = 600.0
"""Seconds for which the host may hear nothing: here the RunEngine's silence is wanted."""

FLOATS = [i / 7 for i in range(300_000)]
OBJECTS = [{"number": i, "value": i / 7} for i in range(300_000)]

Work = Callable[[], object]

BLOCKED: dict[str, Work] = {
    "sleep": lambda: time.sleep(1.0),
    "python": lambda: sum(i * i for i in range(5_000_000)),
    "json": lambda: json.dumps(FLOATS),
    "pickle": lambda: pickle.dumps(OBJECTS),
}


def _fly(data: int, commands: int, rows: int, folder: str, work: Work) -> None:
    params = {"data": data, "commands": commands}
    host = ProcessHost(
        {
            "controllers": {"tap": {"class": "benchmarks._tap:TapBox", "params": params}},
            "flyers": {"fast": {"motion": "tap.motion", "capture": "tap.capture"}},
            "lease": LEASE,
            "policies": ["benchmarks._restless:Restless"],
        }
    )
    run_engine: Any = RunEngine()
    try:
        with init_devices():
            flyer = Flyer(
                host, "fast", StaticPathProvider(UUIDFilenameProvider(), FilePath(folder))
            )
        run_engine.subscribe(lambda *_: work())
        step, period = ROW_LENGTH * RESOLUTION, BLOCK_PERIOD / ROWS
        points = rows + TAIL
        line = Line("x", step / 2, step * (points - 0.5), points)
        run_engine(adaptive_fly(flyer, line, period=period, policy=Restless()))
    finally:
        asyncio.run_coroutine_threadsafe(host.close(), run_engine.loop).result()


def _latencies(seconds: float, kind: str, work: Work) -> np.ndarray:
    """Milliseconds for every block of one flight.

    Raises:
        RuntimeError: blocks were not answered.
        TimeoutError: it did not end.
    """
    began = time.monotonic()
    with deadline(seconds + PATIENCE, f"the flight with the subscriber {kind!r}"):
        latencies = _measured(seconds, work)
    took = time.monotonic() - began
    print(f"{kind}: {len(latencies)} blocks in {took:.0f} s", file=sys.stderr, flush=True)
    return latencies


def _measured(seconds: float, work: Work) -> np.ndarray:
    rows = ROWS * round(seconds / BLOCK_PERIOD)
    command = [sys.executable, "-m", "benchmarks._prompter", str(rows)]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            command, cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process,
    ):
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("a pipe is missing")
        ports = json.loads(process.stdout.readline())
        _fly(ports["data"], ports["commands"], rows, folder, work)
        process.stdin.close()
        report = json.loads(process.stdout.readline())
    if len(report["latencies_ms"]) != rows // ROWS:
        raise RuntimeError(f"{len(report['latencies_ms'])} of {rows // ROWS} blocks were answered")
    return np.array(report["latencies_ms"])


def main(argv: list[str]) -> dict[str, Any]:
    parser = argparse.ArgumentParser(
        prog="benchmarks latency",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each flight")
    parser.add_argument(
        "--subscribers", nargs="*", choices=BLOCKED, default=list(BLOCKED), metavar="KIND"
    )
    options = parser.parse_args(argv)
    # The host imports the box above from where this package is.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    idle = _latencies(options.seconds, "idle", lambda: None)
    blocked = {
        kind: float(np.percentile(_latencies(options.seconds, kind, BLOCKED[kind]), 99))
        for kind in options.subscribers
    }
    return {
        "blocks": len(idle),
        "idle_p50_ms": float(np.percentile(idle, 50)),
        "idle_p99_ms": float(np.percentile(idle, 99)),
        "blocked_p99_ms": blocked,
    }
