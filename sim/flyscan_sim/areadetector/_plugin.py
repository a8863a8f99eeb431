"""The HDF5 file plugin: captures frames into files, as told over Channel Access."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flyscan.flight import Clock
from flyscan_sim.epics._channels import WANTS_COMPLETION

from ._bank import Bank
from ._tables import WRITER
from ._writer import HdfFile, has_directory

__all__ = ["HdfPlugin"]

_log = logging.getLogger(__name__)


class HdfPlugin:
    """Prefix ``HDF1:`` of a detector.

    Args:
        prefix: of all names.
        shape: rows and columns of a frame.
        clock: the world's time.
    """

    def __init__(self, prefix: str, shape: tuple[int, int], clock: Clock) -> None:
        self._shape = shape
        actions = {
            "Capture": self._capture,
            "FilePath": self._set_path,
            "FlushNow": self._flush,
        }
        self.bank = Bank(prefix, WRITER, clock, actions)
        self._file: HdfFile | None = None
        self._busy = asyncio.Lock()
        self._idle = asyncio.Event()
        self._idle.set()

    async def take(
        self, images: NDArray[np.uint16], numbers: Sequence[int], times: Sequence[float]
    ) -> None:
        """Write frames, if capturing."""
        async with self._busy:
            if self._idle.is_set() or self.bank.text("EnableCallbacks") == "Disable":
                return
            wanted = int(self.bank.number("NumCapture"))
            captured = int(self.bank.number("NumCaptured"))
            count = min(len(images), wanted - captured) if wanted else len(images)
            try:
                file = await self._open()
                await asyncio.to_thread(file.append, images[:count], numbers[:count], times[:count])
            except OSError as error:
                await self._fail(error)
                return
            rows, columns = self._shape
            await self.bank.post(
                NumCaptured=captured + count,
                UniqueId=numbers[count - 1],
                ArrayCounter=int(self.bank.number("ArrayCounter")) + count,
                ArraySize0=columns,
                ArraySize1=rows,
            )
            if wanted and captured + count >= wanted:
                await self._close()

    async def close(self) -> None:
        """End a capture, if one is under way."""
        async with self._busy:
            await self._close()

    async def _open(self) -> HdfFile:
        if self._file is None:
            name, chunk = self.bank.text("FullFileName"), int(self.bank.number("NumFramesChunks"))
            self._file = await asyncio.to_thread(HdfFile, name, self._shape, max(chunk, 1))
        return self._file

    async def _capture(self, label: str) -> None:
        if label == "Done":
            await self.close()
            return
        async with self._busy:
            if self._idle.is_set():
                self._idle.clear()
                await self._begin()
        if WANTS_COMPLETION.get():
            await self._idle.wait()

    async def _begin(self) -> None:
        bank = self.bank
        name = bank.text("FileTemplate").replace("%6.6d", "%06d")
        parts: tuple[Any, ...] = (bank.text("FilePath"), bank.text("FileName"))
        if name.count("%") > len(parts):
            parts = (*parts, int(bank.number("FileNumber")))
        await bank.post(
            FullFileName=name % parts, NumCaptured=0, WriteStatus=0, WriteMessage="", Capture=1
        )
        if bank.text("AutoIncrement") == "Yes":
            await bank.post(FileNumber=int(bank.number("FileNumber")) + 1)
        if bank.text("LazyOpen") == "No":
            try:
                await self._open()
            except OSError as error:
                await self._fail(error)

    async def _fail(self, error: OSError) -> None:
        _log.warning("cannot write %s: %s", self.bank.text("FullFileName"), error)
        await self.bank.post(WriteStatus="Write error", WriteMessage=str(error))
        await self._close()

    async def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            await asyncio.to_thread(file.close)
        if not self._idle.is_set():
            await self.bank.post(Capture="Done")
            self._idle.set()

    async def _set_path(self, path: str) -> None:
        path = path if path.endswith("/") else f"{path}/"
        depth = int(self.bank.number("CreateDirectory"))
        exists = await asyncio.to_thread(has_directory, path, depth)
        await self.bank.post(FilePath=path, FilePathExists=int(exists))

    async def _flush(self, label: str) -> None:
        async with self._busy:
            if label == "Flush" and self._file is not None:
                await asyncio.to_thread(self._file.flush)
