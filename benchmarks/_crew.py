"""Jobs done by some processes at a time; one that dies or hangs fails them all, by name.

A process that hangs ends itself, with its stacks on standard error.
"""

from __future__ import annotations

import faulthandler
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
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
CLOSE_S = 15.0


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

    def give(self, job: Any) -> None:
        self.job = job
        with self._alive():
            self.connection.send(job)

    def take(self) -> Any:
        with self._alive():
            result = self.connection.recv()
        if isinstance(result, _Failure):
            raise CrewError(f"{self.job} failed:\n{result.trace}")
        return result

    @contextmanager
    def _alive(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, ConnectionError):
            self.process.join()
            raise CrewError(
                f"worker ended with exit code {self.process.exitcode} during {self.job}"
            ) from None


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
        processes: how many; without any the calling process does them all.
        seconds: for one job.

    Raises:
        CrewError: a process died or hung or a job raised; it says in which job.
    """
    if not processes:
        with setup() as work:
            for job in jobs:
                yield job, work(job)
        return
    workers = [_start(setup, seconds) for _ in range(processes)]
    try:
        yield from _share_out(workers, iter(jobs))
    finally:
        for worker in workers:
            worker.connection.close()  # which ends it, unless it hangs
            worker.process.join(CLOSE_S)
            worker.process.kill()
            worker.process.join()


def _share_out(workers: list[_Worker], jobs: Iterator[J]) -> Iterator[tuple[J, Any]]:
    idle, busy = list(workers), list[_Worker]()
    while True:
        while idle and (job := next(jobs, None)) is not None:
            busy.append(idle.pop())
            busy[-1].give(job)
        if not busy:
            return
        ready = wait([worker.connection for worker in busy])
        for worker in [worker for worker in busy if worker.connection in ready]:
            result = worker.take()
            busy.remove(worker)
            idle.append(worker)
            yield worker.job, result


def _start(setup: Callable[[], Any], seconds: float) -> _Worker:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, setup, seconds))
    process.start()
    theirs.close()  # or its end would not be seen
    return _Worker(process, ours)


def _work(connection: Connection, setup: Callable[[], Any], seconds: float) -> None:
    """What a process does. One that hangs says where, and ends."""
    faulthandler.dump_traceback_later(START_S, exit=True)
    with setup() as work, suppress(EOFError, ConnectionError):  # nobody wants any more
        while True:
            faulthandler.cancel_dump_traceback_later()
            job = connection.recv()
            faulthandler.dump_traceback_later(seconds, exit=True)
            try:
                result = work(job)
            except Exception:
                result = _Failure(traceback.format_exc())
            connection.send(result)
