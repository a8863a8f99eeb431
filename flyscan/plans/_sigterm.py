"""SIGTERM ends a run as it should end, not in the middle of a document."""

from __future__ import annotations

import signal
import threading
from contextlib import suppress
from types import TracebackType
from typing import Any

from bluesky.utils import TransitionError  # pyright: ignore[reportPrivateImportUsage]

__all__ = ["SigtermHandler"]

TICK = 0.01
ENDING = "the process was told to end (SIGTERM)"


class SigtermHandler:
    """Context manager of a RunEngine: SIGTERM aborts the run, then takes its effect.

    Without it SIGTERM ends the process on the spot. The flight host notices that at once, stops
    and restores the hardware and completes the file; but clean-ups of plans do not run, and
    documents stop where they are. With it the run is aborted first::

        RE = RunEngine(context_managers=[SigintHandler, SigtermHandler])

    so the frames captured so far are described and the run has its stop document. Then the
    process gets the signal again, which does what it did before: by default it ends.

    Between runs and while a run is paused the signal takes effect directly.

    Args:
        RE: the RunEngine, which makes one of these whenever a plan starts or is resumed, in
            the main thread.
    """

    def __init__(self, RE: Any) -> None:  # noqa: N803 - everybody calls it RE
        self._RE = RE
        self._told = threading.Event()
        self._over = threading.Event()
        self._original: Any = signal.SIG_DFL
        self._aborting = threading.Thread(target=self._abort, name="flyscan-sigterm", daemon=True)

    def __enter__(self) -> SigtermHandler:
        self._aborting.start()
        self._original = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        signal.signal(signal.SIGTERM, self._original)
        told = self._told.is_set()
        self._over.set()
        self._told.set()
        self._aborting.join()
        if told:
            signal.raise_signal(signal.SIGTERM)

    def _note(self, number: int, frame: object) -> None:
        """In the main thread, which must not wait for the RunEngine here."""
        self._told.set()

    def _abort(self) -> None:
        self._told.wait()
        while not self._over.wait(TICK):  # it may be about to start, or to pause
            if self._RE.state in ("running", "suspending"):
                # It may have come to its end, or to a pause, since that look.
                with suppress(TransitionError):
                    self._RE.abort(ENDING)
