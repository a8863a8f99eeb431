"""Flies detectors on the simulated nanoprobe: ``python worker.py FOLDER``, a JSON order per line.

A process of its own, since Channel Access' settings last as long as a process. The simulator is
in it, so that faults can be added and the camera looked into. Each answer is one JSON line.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from flyscan.controllers.epics import use_channel_access
from flyscan.demo import host_config
from flyscan_sim.nanoprobe import Nanoprobe

PATIENCE = 20.0
KINDS = ("dropped_frame", "late_frame", "extra_frame")
BLOCK = 0.02
"""So that documents follow the frames closely enough to interfere at any of them."""


class Simulator:
    """The nanoprobe on a thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.probe = self.run(self._start())

    async def _start(self) -> Nanoprobe:
        probe = Nanoprobe(block_period=BLOCK)
        await probe.start()
        return probe

    def run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(PATIENCE)

    def add_faults(self, faults: list[dict[str, Any]]) -> None:
        """Instead of those that have not struck; `at` counts triggers from now on."""

        async def add() -> None:
            script = self.probe.world.faults
            for fault in (f for kind in KINDS for f in script.pending(kind)):
                script.remove(fault)
            seen = self.probe.camera.camera.triggers
            for fault in faults:
                script.add(**{**fault, "at": fault["at"] + seen})

        self.run(add())

    def look(self) -> dict[str, Any]:
        async def state() -> dict[str, Any]:
            camera = self.probe.camera
            return {
                "acquiring": camera.camera.acquiring,
                "capturing": camera.writer.bank.text("Capture"),
                "cable": self.probe.panda._device.fields["TTLOUT1"]["VAL"].query(),
                "moving": any(a.moving(self.probe.world.clock.now())
                              for a in self.probe.world.axes.values()),
            }  # fmt: skip

        return self.run(state())


class Worker:
    """A session: RunEngine, flyer and camera."""

    def __init__(self, folder: Path) -> None:
        self.simulator = Simulator()
        ready = self.simulator.probe.endpoints
        use_channel_access(f"{ready['ca']['host']}:{ready['ca']['port']}")
        from bluesky import RunEngine
        from ophyd_async.core import StaticPathProvider, UUIDFilenameProvider, init_devices
        from ophyd_async.epics.adcore import ADWriterFactory
        from ophyd_async.epics.adsimdetector import SimDetector
        from ophyd_async.epics.advimba import VimbaDetector

        from flyscan import Flyer, InProcessHost

        config = host_config(ready)
        config["flyers"]["nano"] |= {"monitors": [], "options": {"flush_period": BLOCK}}
        config["controllers"]["panda"]["params"]["block_period"] = BLOCK
        self.RE: Any = RunEngine()
        self.documents: list[tuple[str, Any]] = []
        self.file = ""
        files = StaticPathProvider(UUIDFilenameProvider(), folder)
        self.host = InProcessHost(config)
        prefix = ready["areadetector"]["prefix"]
        with init_devices():
            nano = Flyer(self.host, "nano", files)
            cam = VimbaDetector(prefix, ADWriterFactory.hdf(files))
            free = SimDetector(prefix, ADWriterFactory.hdf(files))
        self.nano, self.cam, self.free = nano, cam, free
        self.RE.subscribe(self._document)

    def _document(self, name: str, document: Any) -> None:
        self.documents.append((name, document))
        self.file = self.nano.file or self.file

    def fly(
        self,
        *,
        period: float = 0.005,
        lines: int = 4,
        points: int = 15,
        trigger: str = "position",
        exposure: float | None = None,
        faults: list[dict[str, Any]] = [],  # noqa: B006 - never changed
        pauses: list[int] = [],  # noqa: B006
        early: list[float] = [],  # noqa: B006
        end: str | None = None,
        flights: int = 1,
        detector: str = "cam",
    ) -> dict[str, Any]:
        """One run.

        It is paused `early`, seconds after its start or its resumption, then when so many frames
        are stored as `pauses` says; `end` (abort, stop, halt) ends it at the last of these.
        """
        from flyscan import fly_grid, fly_paths
        from flyscan.plans._paths import grid_spec

        self.documents.clear()
        self.file = ""
        self.simulator.add_faults(faults)
        axes = ["y", 40, 43, lines, "x", 40, 60, points]
        options = {"detectors": [getattr(self, detector)], "exposure": exposure, "trigger": trigger}
        if flights == 1:
            plan = fly_grid(self.nano, *axes, period=period, **options)
        else:
            spec = grid_spec(axes, True)
            plan = fly_paths(self.nano, [spec] * flights, period=period, **options)
        began = time.monotonic()
        with self._warnings() as warnings:
            waits = [partial(self._sleep, seconds) for seconds in early]
            waits += [partial(self._await_frames, frames) for frames in pauses]
            error = self._run(plan, waits, end)
        lasted = time.monotonic() - began
        self.simulator.run(asyncio.sleep(0.3))
        return {"error": error, "lasted": lasted, "warnings": warnings, **self._judged()}

    def count(self, num: int) -> dict[str, Any]:
        """An ordinary step scan, the camera triggering itself."""
        import bluesky.plans as bp

        self.documents.clear()
        self.file = ""
        error = self._run(bp.count([self.cam], num), [], None)
        return {"error": error, **self._judged()}

    def _run(self, plan: Any, pauses: list[Callable[[], bool]], end: str | None) -> str | None:
        from bluesky.utils import RunEngineInterrupted

        start = lambda: self.RE(plan)  # noqa: E731
        while True:
            if pauses:
                threading.Thread(target=self._pause_at, args=(pauses.pop(0),)).start()
            try:
                start()
                return None
            except RunEngineInterrupted:
                if self.RE.state != "paused":
                    return None
                if not pauses and end is not None:
                    getattr(self.RE, end)()
                    return None
                start = self.RE.resume
            except Exception as error:
                return f"{type(error).__name__}: {error}"

    def _pause_at(self, wait: Callable[[], bool]) -> None:
        if wait() and self.RE.state == "running":
            self.RE.request_pause()

    def _sleep(self, seconds: float) -> bool:
        time.sleep(seconds)
        return True

    def _await_frames(self, frames: int) -> bool:
        deadline = time.monotonic() + PATIENCE
        while self.nano.flushed < frames or self.nano.file is None or self.RE.state != "running":
            if time.monotonic() > deadline:
                return False
            time.sleep(0.001)
        return True

    @contextmanager
    def _warnings(self) -> Iterator[list[str]]:
        texts: list[str] = []
        handler = logging.Handler(logging.WARNING)
        handler.emit = lambda record: texts.append(record.getMessage())
        logger = logging.getLogger("flyscan")
        logger.addHandler(handler)
        try:
            yield texts
        finally:
            logger.removeHandler(handler)

    def _judged(self) -> dict[str, Any]:
        from flyscan.storage import check_file

        stop = [d for n, d in self.documents if n == "stop"]
        resources = {d["uid"]: d for n, d in self.documents if n == "stream_resource"}
        ranges: dict[str, list[list[int]]] = {d["data_key"]: [] for d in resources.values()}
        for name, datum in self.documents:
            if name == "stream_datum":
                key = resources[datum["stream_resource"]]["data_key"]
                both = (datum["indices"], datum["seq_nums"])
                ranges[key].append([r[end] for r in both for end in ("start", "stop")])
        frames = [d["uri"] for d in resources.values() if d["data_key"] == "cam"]
        return {
            "exit_status": stop[0]["exit_status"] if stop else None,
            "reason": stop[0]["reason"] if stop else "",
            "ranges": ranges,
            "problems": [str(p) for p in check_file(self.file).problems] if self.file else [],
            "rows": _rows(self.file),
            "frames": _frames(frames[0]) if frames else None,
            **self.simulator.look(),
        }


def _rows(file: str) -> dict[str, Any] | None:
    if not file:
        return None
    with h5py.File(file, "r", swmr=True) as h5:
        data = h5["/entry/data"]
        return {"time": data["time"][()].tolist(), "Fe": data["Fe"][()].tolist()}


def _frames(uri: str) -> dict[str, Any]:
    with h5py.File(uri.replace("file://localhost", ""), "r", swmr=True) as h5:
        return {
            "time": h5["/entry/instrument/NDAttributes/NDArrayTimeStamp"][()].tolist(),
            "sum": h5["/entry/data/data"][()].sum(axis=(1, 2), dtype=np.int64).tolist(),
        }


def main() -> None:
    logging.getLogger("caproto").setLevel(logging.CRITICAL)
    logging.getLogger("bluesky").setLevel(logging.CRITICAL)
    worker = Worker(Path(sys.argv[1]))
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        with redirect_stdout(sys.stderr):  # the RunEngine talks
            order = json.loads(line)
            answer = getattr(worker, order.pop("do"))(**order)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
