"""How many rows per second go from the socket through HDF5 into documents.

The simulated PandA (a process that sends rows as fast as they are read, 52 bytes of eight
channels, time and exposure) feeds, one after the other:

- a bare loop: receive, convert, write the same channels, times and exposures with h5py;
- the barest loop: the captured words as they are, counts instead of micrometres;
- the plain client of ``pandablocks``, which only parses;
- the whole of flyscan: capture's intake and conversion, flight, file and ledger in the host
  process, stream documents to a subscriber of a RunEngine here;
- the same at 1e6 rows/s, the most a PandA sends, for the processor time it takes.

Files go to memory (``/dev/shm``) where there is one, so that the software is measured and not
the disk. Event pages are what bluesky offers without files: eight columns, 1000 rows per page.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path as FilePath
from typing import Any

from bluesky import plan_stubs as bps
from bluesky import preprocessors as bpp
from bluesky.run_engine import RunEngine
from ophyd_async.core import StaticPathProvider, UUIDFilenameProvider, init_devices
from pandablocks.asyncio import AsyncioClient
from pandablocks.commands import Arm
from pandablocks.responses import FrameData, ReadyData
from scanspec.specs import Static

from flyscan.devices import Flyer
from flyscan.flight.host import ProcessHost
from flyscan.plans import fly
from flyscan.storage import check_file

from ._bare import as_captured, bare, in_units
from ._box import CAPTURES, HERE, Box, Ports, panda

HARDWARE_RATE = 1e6
SETTLE = 0.25
ROW_BYTES = 90
TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
PANDABLOCKS_HOST = "127.0.0.88"
"""An address of its own, for the client of pandablocks asks for the ports a PandA has."""


def plain_client(seconds: float) -> float:
    """Rows per second that pandablocks' own client parses."""

    async def read() -> float:
        rows, began = 0, time.monotonic()
        async with AsyncioClient(PANDABLOCKS_HOST) as client:
            data = client.data(scaled=False)
            async with contextlib.aclosing(data):
                async for event in data:
                    if isinstance(event, ReadyData):
                        await client.send(Arm())
                        began = time.monotonic()
                    elif isinstance(event, FrameData):
                        rows += len(event.data)
                    if time.monotonic() > began + seconds:
                        break
        return rows / (time.monotonic() - began)

    options = ("--control-port", "8888", "--data-port", "8889")
    with panda(*options, host=PANDABLOCKS_HOST) as ports:
        with Box(ports) as box:
            box.run(*CAPTURES)
        return asyncio.run(read())


class PageFlyer:
    """A stock flyer of eight columns that hands over event pages."""

    name = "pages"
    parent = None
    rows = 1000

    def __init__(self) -> None:
        self._keys = [f"pages-{i}" for i in range(8)]

    def describe_collect(self) -> dict[str, Any]:
        key = {"source": "none", "dtype": "number", "shape": []}
        return dict.fromkeys(self._keys, key)

    def kickoff(self) -> Any:
        raise RuntimeError("is only collected")

    complete = kickoff

    def collect_pages(self) -> Iterator[dict[str, Any]]:
        times = [float(i) for i in range(self.rows)]
        values = dict.fromkeys(self._keys, times)
        yield {"time": times, "data": values, "timestamps": values}


def event_pages(seconds: float) -> float:
    """Rows per second through a RunEngine as event pages."""
    flyer = PageFlyer()
    rows = 0

    @bpp.run_decorator()
    def plan() -> Iterator[Any]:
        nonlocal rows
        yield from bps.declare_stream(flyer, name="primary", collect=True)
        began = time.monotonic()
        while time.monotonic() < began + seconds:
            yield from bps.collect(flyer, name="primary", return_payload=False)
            rows += flyer.rows
        elapsed.append(time.monotonic() - began)

    elapsed: list[float] = []
    run_engine: Any = RunEngine()
    run_engine.subscribe(lambda *_: None)
    run_engine(plan())
    return rows / elapsed[0]


class Watch:
    """Samples rows described, memory and processor time of processes, from a subscriber."""

    def __init__(self) -> None:
        self.rows: list[tuple[float, int]] = []
        self.memory: list[tuple[float, float]] = []
        self.cpu: list[tuple[float, float]] = []
        self._pids: list[int] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def document(self, name: str, doc: dict[str, Any]) -> None:
        """Count what is described, once per frame; every document is looked at."""
        if name == "stream_datum" and (stop := doc["indices"]["stop"]) > self.described:
            self.rows.append((time.monotonic(), stop))

    @property
    def described(self) -> int:
        """Frames described so far."""
        return self.rows[-1][1] if self.rows else 0

    @contextlib.contextmanager
    def watching(self, *pids: int) -> Iterator[None]:
        """Sample these processes meanwhile."""
        self._pids = list(pids)
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()

    def _sample(self) -> None:
        while not self._stop.wait(0.1):
            now = time.monotonic()
            self.memory.append((now, sum(map(resident_mb, self._pids))))
            self.cpu.append((now, sum(map(cpu_seconds, self._pids))))

    @property
    def rate(self) -> float:
        """Rows described per second, from the first to the last."""
        return (self.rows[-1][1] - self.rows[0][1]) / self.seconds

    @property
    def seconds(self) -> float:
        """Time from the first rows described to the last."""
        return self.rows[-1][0] - self.rows[0][0]

    @property
    def growth_mb(self) -> float:
        """Memory gained since the flight was settled, 5 s into 20."""
        settled = self.rows[0][0] + SETTLE * self.seconds
        flying = [mb for t, mb in self.memory if settled <= t <= self.rows[-1][0]]
        return max(flying) - flying[0]

    @property
    def cores(self) -> float:
        """Processor time per time while rows came."""
        flying = [(t, c) for t, c in self.cpu if self.rows[0][0] <= t <= self.rows[-1][0]]
        (t0, c0), (t1, c1) = flying[0], flying[-1]
        return (c1 - c0) / (t1 - t0)


def resident_mb(pid: int) -> float:
    """Resident memory of a process without what it shares with files."""
    fields = FilePath(f"/proc/{pid}/statm").read_text().split()
    return (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE") / 1e6


def cpu_seconds(pid: int) -> float:
    """Processor time a process has used."""
    fields = FilePath(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


def room(directory: str) -> int:
    """Rows that may be written there: half of what is free, on disk and in memory."""
    memory = FilePath("/proc/meminfo").read_text()
    available = next(line for line in memory.splitlines() if line.startswith("MemAvailable"))
    free = min(shutil.disk_usage(directory).free, int(available.split()[1]) * 1024)
    return free // 2 // ROW_BYTES


def whole(ports: Ports, directory: str, rows: int, seconds: float) -> Watch:
    """Fly `rows` rows, triggered within `seconds`, through host, file and RunEngine."""
    config = {
        "controllers": {
            "stage": {"class": "flyscan.testing:MemoryBox", "params": {"axes": ["x", "y"]}},
            "source": {"class": "benchmarks._capture:SourceCapture", "params": asdict(ports)},
        },
        "flyers": {"fast": {"motion": "stage.motion", "capture": "source"}},
    }
    watch = Watch()
    host = ProcessHost(config)
    run_engine: Any = RunEngine()
    run_engine.subscribe(watch.document)
    files: list[str] = []
    try:
        with init_devices():
            flyer = Flyer(
                host, "fast", StaticPathProvider(UUIDFilenameProvider(), FilePath(directory))
            )
        run_engine.subscribe(lambda *_: files.append(flyer.file or ""), "descriptor")
        with watch.watching(os.getpid(), host.pid or 0):
            plan = fly(flyer, Static("x", 0.0, rows), trigger="time", period=seconds / rows)
            run_engine(plan)
    finally:
        asyncio.run_coroutine_threadsafe(host.close(), run_engine.loop).result()
    report = check_file(files[0])
    if not report.ok or watch.described != rows:
        raise RuntimeError(f"{watch.described} of {rows} rows described; {report}")
    os.unlink(files[0])
    return watch


def main(argv: list[str]) -> dict[str, Any]:
    parser = argparse.ArgumentParser(prog="benchmarks throughput", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="length of the long run")
    parser.add_argument("--dir", default="/dev/shm" if os.path.isdir("/dev/shm") else None)
    options = parser.parse_args(argv)
    short = options.seconds / 4
    # The host imports the capture above from where this package is.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    with tempfile.TemporaryDirectory(dir=options.dir) as directory:
        with panda() as ports:
            before = bare(ports, directory, short, in_units)
            rows = min(round(before * options.seconds), room(directory))
            watch = whole(ports, directory, rows, 1.0)
            bare_rate = (before + bare(ports, directory, short, in_units)) / 2
            barest_rate = bare(ports, directory, short, as_captured)
        with panda("--rate", str(HARDWARE_RATE)) as ports:
            rows = round(HARDWARE_RATE * max(short, 2.0))
            at_hardware_rate = whole(ports, directory, rows, rows / HARDWARE_RATE)
    pandablocks_rate = plain_client(short)
    pages_rate = event_pages(short)
    return {
        "rows": watch.described,
        "seconds": watch.seconds,
        "rows_per_s": watch.rate,
        "bare_rows_per_s": bare_rate,
        "pandablocks_rows_per_s": pandablocks_rate,
        "event_pages_rows_per_s": pages_rate,
        "ratio_to_bare": watch.rate / bare_rate,
        "ratio_to_barest": watch.rate / barest_rate,
        "ratio_to_pandablocks": watch.rate / pandablocks_rate,
        "ratio_to_event_pages": watch.rate / pages_rate,
        "rss_growth_mb": watch.growth_mb,
        "panda_1m_cpu": at_hardware_rate.cores,
        "panda_1m_rows_per_s": at_hardware_rate.rate,
    }
