"""A time limit for what runs on the main thread and may wait for ever."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["deadline"]


@contextmanager
def deadline(seconds: float, what: str) -> Iterator[None]:
    """Interrupt the block when its time is up, wherever it waits; main thread only.

    Raises:
        TimeoutError: `what` took longer.
    """

    def strike(*_: object) -> None:
        raise TimeoutError(f"{what} was not over after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, strike)
    pending = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *pending)  # whoever set it waits that much longer
