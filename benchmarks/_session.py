"""A RunEngine and a flyer on the simulated nanoprobe, each where it belongs: three processes."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path as FilePath
from typing import Any

import h5py
import numpy as np
from bluesky.run_engine import RunEngine
from ophyd_async.core import StaticPathProvider, UUIDFilenameProvider, init_devices

from flyscan.demo import SimulatedNanoprobe
from flyscan.devices import Flyer
from flyscan.flight import AxisLimits, LedgerRow
from flyscan.flight.host import ProcessHost
from flyscan.storage import read_ledger

__all__ = ["Session", "session"]


class Session:
    """A RunEngine and a flyer called ``nano``.

    Attributes:
        files: every run's file, in order.
    """

    def __init__(self, host: ProcessHost, folder: FilePath) -> None:
        self.RE: Any = RunEngine()
        self.host = host
        with init_devices():  # which looks for local variables
            nano = Flyer(host, "nano", StaticPathProvider(UUIDFilenameProvider(), folder))
        self.nano = nano
        self.files: list[str] = []
        self.RE.subscribe(self._note_file, "descriptor")

    def _note_file(self, _name: str, _document: Any) -> None:
        file = self.nano.file
        if file is not None and file not in self.files:
            self.files.append(file)

    @property
    def limits(self) -> dict[str, AxisLimits]:
        """Limits of the flyer's axes."""
        return {axis: AxisLimits(**values) for axis, values in self.nano.axes.items()}

    def columns(self, *names: str) -> dict[str, np.ndarray]:
        """Columns of the last run's file; ``time`` in Unix seconds."""
        with h5py.File(self.files[-1], "r") as file:
            data = file["/entry/data"]
            found = {name: data[name][()] for name in names}
            if "time" in found:
                found["time"] = found["time"] + int(data["time"].attrs["epoch_ns"]) / 1e9
        return found

    def ledger(self) -> list[LedgerRow]:
        """Ledger of the last run's file."""
        with h5py.File(self.files[-1], "r") as file:
            return list(read_ledger(file))

    def close(self) -> None:
        """End the host."""
        asyncio.run_coroutine_threadsafe(self.host.close(), self.RE.loop).result()


@contextmanager
def session(
    *options: str, adapt: Callable[[dict[str, Any]], None] = lambda _: None
) -> Iterator[Session]:
    """Start everything, and end it.

    Args:
        options: of ``flyscan-sim nanoprobe``.
        adapt: changes the demo's host configuration.
    """
    with tempfile.TemporaryDirectory() as folder, SimulatedNanoprobe(*options, here=False) as probe:
        config = probe.host_config
        adapt(config)
        flown = Session(ProcessHost(config), FilePath(folder))
        try:
            yield flown
        finally:
            flown.close()
