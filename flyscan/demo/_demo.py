"""``flyscan demo``: a snake map on the simulated nanoprobe, paused and resumed on the way.

Then some lines across it that are flown as fast as what they show allows.
"""

from __future__ import annotations

import asyncio
import signal
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path as FilePath
from typing import Any

import h5py  # pyright: ignore[reportMissingTypeStubs]
import numpy as np
from bluesky.run_engine import RunEngine
from bluesky.utils import ProgressBarManager, RunEngineInterrupted
from ophyd_async.core import StaticPathProvider, UUIDFilenameProvider, init_devices

from ..devices import Flyer
from ..errors import StorageError
from ..flight.host import ProcessHost
from ..plans import EndingHandler, adaptive_fly_grid, fly_grid
from ..storage import check_file, kept_frames, read_ledger, read_tuning
from ._nanoprobe import SimulatedNanoprobe
from ._picture import draw_map, draw_speeds

__all__ = ["DemoResult", "run_demo"]

LINES, POINTS, PERIOD = 101, 101, 0.001
CENTRE, HALF = 50.0, 32.0
ADAPTIVE_LINES, ADAPTIVE_POINTS, ADAPTIVE_PERIOD = 6, 201, 0.004
ELEMENT, FEATURE = "Fe", 2.0
PAUSE_AFTER = 5.0
PAUSE_LASTS = 1.0


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What a demo saw.

    Args:
        rows: frames in the file.
        lost: planned points without a kept frame.
        duplicated: frames beyond one per point.
        segments: lines flown.
        pauses: pauses taken and resumed.
        duration_s: seconds from the first run-up to the last frame, the pause left out.
        dead_time_ratio: share of that in which no frame was due: turnarounds, reconfiguration.
        data_file: path of the HDF5 file.
        picture: path of the PNG.
        adaptive_rows: frames of the adaptive lines.
        adaptive_lost: their points that are neither kept nor given up by a decision.
        adaptive_decisions: plans and proposals made for them.
        adaptive_speed_ratio: highest over lowest speed flown in them.
        adaptive_file: path of their HDF5 file.
        adaptive_picture: path of the PNG of signal and speed.
    """

    rows: int
    lost: int
    duplicated: int
    segments: int
    pauses: int
    duration_s: float
    dead_time_ratio: float
    data_file: str
    picture: str
    adaptive_rows: int
    adaptive_lost: int
    adaptive_decisions: int
    adaptive_speed_ratio: float
    adaptive_file: str
    adaptive_picture: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)

    def table(self) -> str:
        """A short table for people."""
        rows = [(name.replace("_", " "), value) for name, value in self.to_dict().items()]
        width = max(len(name) for name, _ in rows)
        return "\n".join(
            f"  {name:<{width}}  {value:.3g}"
            if isinstance(value, float)
            else f"  {name:<{width}}  {value}"
            for name, value in rows
        )


def run_demo(out: FilePath | None = None, *, progress: bool = True) -> DemoResult:
    """Fly the map.

    Args:
        out: existing directory for file and picture; a new temporary one by default.
        progress: show a progress bar.

    Raises:
        FlyscanError: what went wrong, with the remedy.
    """
    directory = FilePath(tempfile.mkdtemp(prefix="flyscan-demo-")) if out is None else out
    if not directory.is_dir():
        raise StorageError(
            "is not a directory", device=str(directory), remedy="create it, or choose another"
        )
    with SimulatedNanoprobe() as probe:
        # Ctrl-C ends a demo, where the RunEngine's own handler would pause it.
        ctrl_c = partial(EndingHandler, number=signal.SIGINT)
        RE: Any = RunEngine(context_managers=[ctrl_c])  # noqa: N806 - everybody calls it RE
        host = ProcessHost(probe.host_config)
        try:
            with init_devices():
                nano = Flyer(
                    host, "nano", StaticPathProvider(UUIDFilenameProvider(), directory.resolve())
                )
            if progress:
                RE.waiting_hook = ProgressBarManager()
            return _fly(RE, nano)
        finally:
            asyncio.run_coroutine_threadsafe(host.close(), RE.loop).result()


def _fly(RE: Any, nano: Flyer) -> DemoResult:  # noqa: N803 - everybody calls it RE
    files: list[str] = []

    def note_file(_name: str, _document: Any) -> None:
        files.append(nano.file or "")

    RE.subscribe(note_file, "descriptor")
    low, high = CENTRE - HALF, CENTRE + HALF
    grid = fly_grid(nano, "y", low, high, LINES, "x", low, high, POINTS, period=PERIOD)
    pauses = _run_with_pause(RE, grid)
    lines = adaptive_fly_grid(
        nano,
        *("y", CENTRE + 5, CENTRE + 7.5, ADAPTIVE_LINES),
        *("x", low, high, ADAPTIVE_POINTS),
        period=ADAPTIVE_PERIOD,
        channel=ELEMENT,
        width=FEATURE,
        i0="I0",
    )
    RE(lines)
    return _summarise(FilePath(files[0]), pauses, FilePath(files[-1]))


def _run_with_pause(RE: Any, plan: Any) -> int:  # noqa: N803
    """Run a plan, pause it once from outside as a user would, and resume it."""
    ours = threading.Event()

    def pause() -> None:
        if RE.state == "running":
            ours.set()
            RE.request_pause()

    timer = threading.Timer(PAUSE_AFTER, pause)
    timer.start()
    try:
        RE(plan)
    except RunEngineInterrupted:
        try:
            time.sleep(PAUSE_LASTS)
        except KeyboardInterrupt:
            RE.abort("interrupted by the user")
            raise
        RE.resume()
    finally:
        timer.cancel()
    return int(ours.is_set())


def _summarise(file: FilePath, pauses: int, adaptive: FilePath) -> DemoResult:
    report = check_file(file)
    (flight,) = report.flights
    with h5py.File(file, "r") as h5:
        ledger = read_ledger(h5)
    phases = {
        phase: sum(row.phases.get(phase, 0.0) for row in ledger)
        for phase in ("line", "turnaround", "reconfiguration")
    }
    duration = sum(phases.values())
    return DemoResult(
        rows=report.frames,
        lost=flight.points - flight.kept,
        duplicated=flight.frames - flight.kept,
        segments=flight.segments,
        pauses=pauses,
        duration_s=round(duration, 3),
        dead_time_ratio=round(1 - flight.points * PERIOD / duration, 4),
        data_file=str(file),
        picture=str(draw_map(file, file.with_suffix(".png"), (LINES, POINTS))),
        **_adaptive_part(adaptive),
    )


def _adaptive_part(file: FilePath) -> dict[str, Any]:
    """What the adaptive lines add to the result."""
    report = check_file(file)
    (flight,) = report.flights
    with h5py.File(file, "r") as h5:
        decisions = sum(record["event"] == "decided" for record in read_tuning(h5))
    names = ("start", "stop", "exposure")
    columns = {n: c.astype(np.float64) for n, c in kept_frames(file, names).items()}
    speed = np.abs(columns["stop"] - columns["start"]) / columns["exposure"]
    return {
        "adaptive_rows": report.frames,
        "adaptive_lost": flight.points - flight.kept - flight.waived,
        "adaptive_decisions": decisions,
        "adaptive_speed_ratio": round(float(speed.max() / speed.min()), 2),
        "adaptive_file": str(file),
        "adaptive_picture": str(draw_speeds(file, file.with_suffix(".png"), ELEMENT)),
    }
