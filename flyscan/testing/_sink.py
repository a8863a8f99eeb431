"""A sink that keeps frames in memory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import StorageError
from ..flight import FloatArray, Frames, IntArray, LedgerRow, RunFile

__all__ = ["MemorySink"]


class MemorySink:
    """Keeps everything; set `fail` to an error to have the next write raise it."""

    def __init__(self) -> None:
        self.run: RunFile | None = None
        self.paths: list[Mapping[str, object]] = []
        self.frames: list[Frames] = []
        self.ledger: list[LedgerRow] = []
        self.monitors: dict[str, list[tuple[IntArray, FloatArray]]] = {}
        self.superseded: set[int] = set()
        self.flagged: set[int] = set()
        self.tuning: list[dict[str, Any]] = []
        self.fail: StorageError | None = None
        self._appended = 0
        self._flushed = 0

    async def open(self, run: RunFile) -> str:
        self.run = run
        return f"{run.directory}/{run.filename}.memory"

    async def begin_flight(self, flight: int, path: Mapping[str, object]) -> None:
        self.paths.append(path)

    async def append(self, frames: Frames) -> None:
        if self.fail is not None:
            raise self.fail
        if frames.first_frame != self._appended:
            raise StorageError(f"frame {self._appended} expected, got {frames.first_frame}")
        self.frames.append(frames)
        self._appended += len(frames)

    async def supersede(self, frames: npt.NDArray[np.int64]) -> None:
        self.superseded.update(int(f) for f in frames)

    async def flag(self, frames: npt.NDArray[np.int64]) -> None:
        self._require_tuned()
        self.flagged.update(int(f) for f in frames)

    async def add_tuning(self, record: Mapping[str, object]) -> None:
        self._require_tuned()
        self.tuning.append(json.loads(json.dumps(dict(record))))

    async def add_ledger(self, row: LedgerRow) -> None:
        self.ledger.append(row)

    async def add_monitor(self, name: str, time_ns: IntArray, values: FloatArray) -> None:
        self.monitors.setdefault(name, []).append((time_ns, values))

    async def flush(self) -> int:
        self._flushed = self._appended
        return self._flushed

    @property
    def flushed(self) -> int:
        return self._flushed

    async def close(self) -> None:
        await self.flush()

    def _require_tuned(self) -> None:
        if self.run is None or not self.run.tuned:
            raise StorageError("the run was not opened for decisions")

    def column(self, name: str) -> npt.NDArray[np.generic]:
        """All values of a channel, or of ``point``, ``segment``, ``flight``, ``time_ns``."""
        if name in ("point", "segment"):
            parts = [getattr(f, name) for f in self.frames]
        elif name == "flight":
            parts = [np.full(len(f), f.flight) for f in self.frames]
        elif name == "time_ns":
            parts = [f.block.time_ns for f in self.frames]
        else:
            parts = [f.block.columns[name] for f in self.frames]
        return np.concatenate(parts) if parts else np.empty(0)
