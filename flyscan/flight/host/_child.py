"""The host's process as its parent sees it."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path as FilePath

__all__ = ["cause_of", "close_pipes", "exit_of", "spawn"]


def spawn(folder: FilePath) -> subprocess.Popen[bytes]:
    """Start a host that finds its configuration in `folder`.

    Not by asyncio: from Python 3.12 on its transports are collected with their loop, and kill
    their process then, which would leave hardware in the middle of a flight to itself.
    """
    return subprocess.Popen(
        [sys.executable, "-m", "flyscan.flight.host", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )


def exit_of(process: subprocess.Popen[bytes]) -> asyncio.Future[int]:
    """The exit code to come.

    The thread that waits for it does not keep an interpreter from ending.
    """
    loop = asyncio.get_running_loop()
    exited: asyncio.Future[int] = loop.create_future()

    def tell(code: int) -> None:
        if not exited.done():
            exited.set_result(code)

    def wait() -> None:
        code = process.wait()
        with suppress(RuntimeError):  # the loop has been closed meanwhile: nobody is interested
            loop.call_soon_threadsafe(tell, code)

    threading.Thread(target=wait, name="flyscan-host-exit", daemon=True).start()
    return exited


def close_pipes(process: subprocess.Popen[bytes]) -> None:
    """Close our ends. Idempotent."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def cause_of(code: int) -> str:
    """An exit code in words."""
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
