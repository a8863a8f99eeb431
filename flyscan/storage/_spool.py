"""The bounded queue between the event loop and the one thread that writes the file."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from ..errors import StorageError
from ._errors import storage_error
from ._file import Operation, RunFileWriter

__all__ = ["Spool"]

T = TypeVar("T")


class Spool:
    """Carries out operations on a file in order, in batches, on a thread.

    One batch is under way at a time; what comes meanwhile makes the next one, so batches grow
    with the load. The first failure ends it: later calls raise the same error.

    Args:
        flush_interval: seconds after which what was submitted is made readable unasked.
        batch_bytes: from this size on a batch is written without waiting for the interval.
        queue_bytes: :meth:`room` waits while more than this is queued.
        patience: seconds the disk may take for one job.
    """

    def __init__(
        self, *, flush_interval: float, batch_bytes: int, queue_bytes: int, patience: float
    ) -> None:
        self._flush_interval = flush_interval
        self._batch_bytes = batch_bytes
        self._queue_bytes = queue_bytes
        self._patience = patience
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="flyscan-hdf5")
        self._file: RunFileWriter | None = None
        self._queue: deque[Operation] = deque()
        self._queued_bytes = 0
        self._job: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._asked = 0
        self._answered = 0
        self._failure: StorageError | None = None
        self._told = False

    @property
    def flushed(self) -> int:
        """Frames that other processes can read."""
        return 0 if self._file is None else self._file.flushed

    async def open(self, create: Callable[[], RunFileWriter]) -> RunFileWriter:
        """Create the file on the thread."""
        self._file = await self._call(create)
        return self._file

    def raise_failure(self) -> None:
        """Raise what ended the spool, if something did."""
        if self._failure is not None:
            self._told = True
            raise self._failure

    def submit(self, operation: Operation, size: int = 0) -> None:
        """Queue an operation that holds `size` bytes."""
        self._queue.append(operation)
        self._queued_bytes += size
        self._pump()
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._flush_interval, self._flush_unasked)

    async def room(self) -> None:
        """Wait until the queue is not overfull."""
        if self._queued_bytes > self._queue_bytes or self._failure is not None:
            await self._until(lambda: self._queued_bytes <= self._queue_bytes)

    async def flush(self) -> None:
        """Wait until everything submitted so far is readable by others."""
        self._stop_timer()  # nothing is left for it
        self._asked += 1
        ticket = self._asked
        self._pump()
        await self._until(lambda: self._answered >= ticket)

    async def close(self) -> None:
        """Store what is left, also after a failure whose cause may be gone, and close the file.

        Raises:
            StorageError: something was lost and no call has said so yet.
        """
        self._stop_timer()
        try:
            if self._file is not None:
                await self._finish(self._file)
        finally:
            self._thread.shutdown(wait=False)

    async def _finish(self, file: RunFileWriter) -> None:
        with contextlib.suppress(StorageError):  # the steps below tell what was lost
            await self._until(lambda: self._job is None)
        told, problem = self._told, None
        for step in (partial(file.store, self._queue, flush=True), file.close):
            try:
                await self._call(step)
            except StorageError as exc:
                problem = problem or exc
        if problem is not None and not told:
            raise problem

    def _pump(self) -> None:
        """Give the thread its next job, if it is free and there is reason for one."""
        flush = self._asked > self._answered
        due = flush or self._queued_bytes >= self._batch_bytes
        if not due or self._file is None or self._job is not None or self._failure is not None:
            return
        batch, self._queue = self._queue, deque()
        store = partial(self._file.store, batch, flush=flush)
        self._job = asyncio.get_running_loop().run_in_executor(self._thread, store)
        ticket = self._asked if flush else self._answered
        self._job.add_done_callback(partial(self._stored, batch, self._queued_bytes, ticket))

    def _stored(
        self, batch: deque[Operation], size: int, ticket: int, job: asyncio.Future[None]
    ) -> None:
        self._job = None
        cause = job.exception()
        if cause is None:
            self._queued_bytes -= size
            self._answered = ticket
            self._pump()
            return
        self._queue.extendleft(reversed(batch))
        path = self._file.path if self._file else ""
        self._failure = storage_error(path, "could not be written", cause)
        self._stop_timer()

    def _flush_unasked(self) -> None:
        self._timer = None
        self._asked += 1
        self._pump()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _until(self, reached: Callable[[], bool]) -> None:
        """Let jobs end until `reached` or one fails."""
        try:
            async with asyncio.timeout(self._patience):
                while not reached() and self._failure is None and self._job is not None:
                    await asyncio.wait((self._job,))
        except TimeoutError:
            raise self._stalled() from None
        self.raise_failure()

    async def _call(self, function: Callable[[], T]) -> T:
        """Run `function` on the thread."""
        job = asyncio.get_running_loop().run_in_executor(self._thread, function)
        try:
            async with asyncio.timeout(self._patience):
                return await asyncio.shield(job)
        except TimeoutError:
            raise self._stalled() from None

    def _stalled(self) -> StorageError:
        return StorageError(
            f"expected the disk to take the data, nothing came of it for {self._patience:g} s",
            device=self._file.path if self._file else "data file",
            remedy="check the disk or the network file system",
        )
