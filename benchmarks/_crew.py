"""Jobs done by some processes at a time; one that dies or hangs fails them all, by name."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

__all__ = ["CrewError", "scatter"]

J = TypeVar("J")
R = TypeVar("R")

START_S = 120.0
JOB_S = 180.0
"""Seconds for one job on a busy machine."""


class CrewError(RuntimeError):
    """A job was not done."""


@dataclass
class _Failure:
    """What a job ended with instead of a result."""

    trace: str


@dataclass
class _Worker:
    """One process and what it does."""

    process: BaseProcess
    connection: Connection
    job: Any = None
    until: float = 0.0

    def give(self, job: Any, seconds: float) -> None:
        self.job, self.until = job, time.monotonic() + seconds
        self.connection.send(job)

    def take(self) -> Any:
        try:
            result = self.connection.recv()
        except EOFError:
            self.process.join(JOB_S)
            raise CrewError(
                f"worker ended with exit code {self.process.exitcode} during {self.job}"
            ) from None
        if isinstance(result, _Failure):
            raise CrewError(f"{self.job} failed:\n{result.trace}")
        return result


def scatter(
    setup: Callable[[], AbstractContextManager[Callable[[J], R]]],
    jobs: Iterable[J],
    processes: int,
    seconds: float = JOB_S,
) -> Iterator[tuple[J, R]]:
    """Do all jobs, and give each with its result, as they are done.

    Args:
        setup: makes what does one job after the other; called in each process, picklable.
        jobs: picklable, and telling by their ``str``.
        processes: how many; with 1 the calling process does them all.
        seconds: for one job.

    Raises:
        CrewError: a process died or hung or a job raised; it says in which job.
    """
    if processes == 1:
        with setup() as work:
            for job in jobs:
                yield job, work(job)
        return
    workers = [_start(setup) for _ in range(processes)]
    try:
        yield from _share_out(workers, iter(jobs), seconds)
    finally:
        for worker in workers:
            worker.connection.close()  # which ends it, unless it hangs
            worker.process.join(1.0)
            worker.process.kill()
            worker.process.join()


def _share_out(
    workers: list[_Worker], jobs: Iterator[J], seconds: float
) -> Iterator[tuple[J, Any]]:
    idle = list(workers)
    busy: list[_Worker] = []
    first = set(map(id, workers))
    while True:
        while idle and (job := next(jobs, None)) is not None:
            worker = idle.pop()
            worker.give(job, seconds + (START_S if id(worker) in first else 0.0))
            first.discard(id(worker))
            busy.append(worker)
        if not busy:
            return
        patience = max(0.0, min(worker.until for worker in busy) - time.monotonic())
        ready = wait([worker.connection for worker in busy], patience)
        if not ready:
            late = min(busy, key=lambda worker: worker.until)
            raise CrewError(f"not done within {seconds:g} s: {late.job}")
        for worker in [worker for worker in busy if worker.connection in ready]:
            result = worker.take()
            busy.remove(worker)
            idle.append(worker)
            yield worker.job, result


def _start(setup: Callable[[], Any]) -> _Worker:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, setup), daemon=False)
    process.start()
    theirs.close()  # or its end would not be seen
    return _Worker(process, ours)


def _work(connection: Connection, setup: Callable[[], Any]) -> None:
    with setup() as work:
        while True:
            try:
                job = connection.recv()
            except EOFError:
                return
            try:
                result = work(job)
            except Exception:
                result = _Failure(traceback.format_exc())
            connection.send(result)
