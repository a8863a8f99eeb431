"""Lines flown with ophyd-async's EPICS Motor: ``python -m benchmarks._peer LINES POINTS``.

The usual plan: for every line the slow motor and the run-up of the fast one in parallel, kickoff,
``collect_while_completing``. What is collected costs nothing: a detector without hardware or
driver. Prints ``{"dead_s": ...}``: seconds per turnaround, everything between kickoff of the first
line and completion of the last that is neither a line nor the first run-up or the last run-down.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bluesky import plan_stubs as bps
from bluesky import preprocessors as bpp
from bluesky.run_engine import RunEngine
from event_model import compose_stream_resource
from ophyd_async.core import FlyMotorInfo, init_devices

from ._lines import PERIOD, Lines


class Counter:
    """Frames without a detector: as many per line as it has points, described at once."""

    name = "frames"
    parent = None

    def __init__(self) -> None:
        self.frames = 0
        self._described = 0
        self._resource: Any = None

    def describe_collect(self) -> dict[str, Any]:
        return {
            self.name: {
                "source": "none",
                "dtype": "number",
                "dtype_numpy": "<f8",
                "shape": [1],
                "external": "STREAM:",
            }
        }

    def get_index(self) -> int:
        return self.frames

    def collect_asset_docs(self, index: int | None = None) -> Iterator[Any]:
        if self._resource is None:
            self._resource = compose_stream_resource(
                mimetype="application/x-hdf5",
                uri="file://localhost/none.h5",
                data_key=self.name,
                parameters={},
            )
            yield "stream_resource", self._resource.stream_resource_doc
        if self.frames > self._described:
            indices = {"start": self._described, "stop": self.frames}
            self._described = self.frames
            yield "stream_datum", self._resource.compose_stream_datum(indices)


@contextmanager
def motors(speed: float) -> Iterator[dict[str, Any]]:
    """The process with the motor records; gives what it printed."""
    command = [sys.executable, "-m", "benchmarks._motors", str(speed)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        if process.stdout is None or process.stdin is None:
            raise RuntimeError("a pipe is missing")
        yield json.loads(process.stdout.readline())
        process.stdin.close()


def fly(run_engine: Any, x: Any, y: Any, lines: Lines) -> float:
    """Fly all lines; seconds from the first kickoff to the last completion."""
    counter = Counter()
    times: list[float] = []

    @bpp.run_decorator()
    def plan() -> Iterator[Any]:
        yield from bps.declare_stream(counter, name="primary", collect=True)
        for row, (start, stop) in lines.ends():
            info = FlyMotorInfo(
                start_position=start, end_position=stop, time_for_move=lines.points * PERIOD
            )
            yield from bps.abs_set(y, row, group="ready")
            yield from bps.prepare(x, info, group="ready")
            yield from bps.wait("ready")
            times.append(time.monotonic())
            yield from bps.kickoff(x, wait=True)
            counter.frames += lines.points
            yield from bps.collect_while_completing(
                [x], [counter], flush_period=0.5, stream_name="primary"
            )
            times.append(time.monotonic())

    run_engine(plan())
    return times[-1] - times[0]


def main(lines: Lines) -> None:
    with motors(lines.speed) as ready:
        os.environ["EPICS_CA_ADDR_LIST"] = f"127.0.0.1:{ready['port']}"
        os.environ["EPICS_CA_AUTO_ADDR_LIST"] = "NO"
        # not before the environment is set: libca reads it when it is loaded
        from ophyd_async.epics.motor import Motor

        run_engine: Any = RunEngine()
        with init_devices():
            x, y = Motor(ready["x"]), Motor(ready["y"])
        elapsed = fly(run_engine, x, y, lines)
    flying = lines.count * lines.points * PERIOD + 2 * lines.ramp
    print(json.dumps({"dead_s": (elapsed - flying) / (lines.count - 1)}))


if __name__ == "__main__":
    main(Lines(*map(int, sys.argv[1:])))
