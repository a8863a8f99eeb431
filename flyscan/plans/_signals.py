"""A signal that is to end the process ends a run as it should end, not amid a document."""

from __future__ import annotations

import os
import selectors
import signal
import threading
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from bluesky.utils import TransitionError  # pyright: ignore[reportPrivateImportUsage]

__all__ = ["EndingHandler", "SigtermHandler"]

TICK = 0.01


class EndingHandler:
    """Context manager of a RunEngine: a signal aborts the run, then takes its effect.

    Between runs and while a run is paused the signal takes effect directly. One that comes while
    a run is about to start ends it as soon as it has.

    Python runs handlers of signals in the main thread only, and that sleeps while a plan runs. The
    system may give the signal to any other thread, which does not wake it. So the wake-up pipe
    of the interpreter is watched, which is told of every signal at once (signal.set_wakeup_fd).

    Args:
        RE: the RunEngine, which makes one of these whenever a plan starts or is resumed, in
            the main thread.
        number: of the signal.
    """

    def __init__(self, RE: Any, number: signal.Signals) -> None:  # noqa: N803 - as everybody does
        self._RE = RE
        self._number = number
        self._told = False
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._next = -1
        self._original: Any = signal.SIG_DFL
        name = f"flyscan-{number.name}"
        self._watching = threading.Thread(target=self._watch, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._next = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._watching.start()
        self._original = signal.signal(self._number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        signal.signal(self._number, self._original)
        signal.set_wakeup_fd(self._next, warn_on_full_buffer=False)
        os.close(self._writer)
        self._watching.join()
        os.close(self._reader)
        if self._told:
            signal.raise_signal(self._number)

    def _note(self, number: int, frame: object) -> None:
        """In the main thread, which must not wait for the RunEngine here."""
        self._told = True

    def _watch(self) -> None:
        """Until the other end of the pipe is closed."""
        reason = f"the process was told to end ({self._number.name})"
        with selectors.DefaultSelector() as selector:
            selector.register(self._reader, selectors.EVENT_READ)
            while True:
                if selector.select(TICK if self._told else None):
                    numbers = os.read(self._reader, 256)
                    if not numbers:
                        return
                    self._take(numbers)
                # Also a run that is about to start; one that is about to pause ends by that.
                if self._told and self._RE.state in ("running", "suspending"):
                    with suppress(TransitionError):  # it has come to its end since that look
                        self._RE.abort(reason)

    def _take(self, numbers: bytes) -> None:
        """Signals have come; whoever had the wake-up pipe before us is told of them too."""
        self._told = self._told or self._number in numbers
        if self._next != -1:
            with suppress(BlockingIOError):  # as full as it would be without us
                os.write(self._next, numbers)


class SigtermHandler(EndingHandler):
    """Context manager of a RunEngine: SIGTERM aborts the run, then takes its effect.

    Without it SIGTERM ends the process on the spot. The flight host notices that at once, stops
    and restores the hardware and completes the file; but clean-ups of plans do not run, and
    documents stop where they are. With it the run is aborted first::

        RE = RunEngine(context_managers=[SigintHandler, SigtermHandler])

    so the frames captured so far are described and the run has its stop document. Then the
    process gets the signal again, which does what it did before: by default it ends.

    Args:
        RE: the RunEngine.
    """

    def __init__(self, RE: Any) -> None:  # noqa: N803 - as everybody does
        super().__init__(RE, signal.SIGTERM)
