"""What processes hold: memory, descriptors, tasks."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path as FilePath

import numpy as np

from flyscan.flight import Channel, FloatArray, IntArray, Monitor

__all__ = ["TaskGauge", "descriptors", "resident_mb"]


def resident_mb(pid: int) -> float:
    """Resident memory of a process without what it shares with files."""
    fields = FilePath(f"/proc/{pid}/statm").read_text().split()
    return (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE") / 1e6


def descriptors(pid: int) -> Counter[str]:
    """Open files, sockets and pipes of a process, by what they are."""
    connections = _connections() | _datagrams()
    found: Counter[str] = Counter()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):  # the one that lists them
            target = os.readlink(f"/proc/{pid}/fd/{fd}")
            found[connections.get(target, target.partition(":")[0])] += 1
    return found


def _connections() -> dict[str, str]:
    """TCP connections by the name of their descriptors: where they lead, and their state."""
    states = {"01": "established", "08": "left by the other side", "0A": "listening"}
    found: dict[str, str] = {}
    for line in FilePath("/proc/net/tcp").read_text().splitlines()[1:]:
        _, _, remote, state, *_, inode = line.split()[:10]
        port = int(remote.partition(":")[2], 16)
        found[f"socket:[{inode}]"] = f"connection to port {port}, {states.get(state, state)}"
    return found


def _datagrams() -> dict[str, str]:
    """UDP sockets by the name of their descriptors: those of Channel Access, mostly."""
    lines = FilePath("/proc/net/udp").read_text().splitlines()[1:]
    return {f"socket:[{line.split()[9]}]": "datagram socket" for line in lines}


class TaskGauge(Monitor):
    """Number of tasks on the flight host's loop, as a column of the data."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._samples: list[tuple[int, float]] = []

    @property
    def channel(self) -> Channel:
        return Channel(self.name, source=f"loop://{self.name}")

    async def connect(self) -> None:
        """It is there."""

    async def close(self) -> None:
        """It stays there."""

    def join(self, time_ns: IntArray) -> FloatArray:
        tasks = len(asyncio.all_tasks())
        self._samples.append((time.time_ns(), tasks))
        return np.full(len(time_ns), float(tasks))

    def drain(self) -> tuple[IntArray, FloatArray]:
        samples, self._samples = self._samples, []
        times, tasks = zip(*samples, strict=True) if samples else ((), ())
        return np.array(times, np.int64), np.array(tasks, np.float64)
