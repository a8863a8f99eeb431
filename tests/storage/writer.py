"""A process that writes a run until it is killed or fails; says on stdout what it has flushed.

``python -m tests.storage.writer DIRECTORY [--limit BYTES] [--tuned]``: with a limit, the kernel
refuses to let the file grow beyond it, as a full disk would. A tuned run tells of every block.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import resource
import sys

import numpy as np
from scanspec.specs import Fly, Linspace

from flyscan.errors import StorageError
from flyscan.flight import Path
from flyscan.storage import Hdf5Sink
from tests.storage.runs import frames, run_file
from tests.storage.tuned import record, tuned_frames

BLOCK = 700
FLUSH_EVERY = 3


def long_line() -> Path:
    """One segment of a million points."""
    return Path.from_spec(Fly(Linspace("x", 0.0, 1000.0, 1_000_000)), period=1e-5)


async def write(directory: str, tuned: bool) -> None:
    """Write blocks for ever."""
    path = long_line()
    sink = Hdf5Sink()
    await sink.open(run_file(directory, tuned=tuned))
    await sink.begin_flight(0, path.to_dict())
    say("open")
    try:
        for index in itertools.count():
            first = index * BLOCK
            if tuned:
                stop = first + BLOCK
                await sink.append(tuned_frames(first, range(first, stop), path))
                await sink.add_tuning(record("told", first=first, stop=stop, time=index))
                await sink.flag(np.array([first]))
                await sink.add_tuning(record("flagged", frames=[first]))
            else:
                await sink.append(frames(first, range(first, first + BLOCK), path))
            if index % FLUSH_EVERY == 0:
                say(f"flushed {await sink.flush()}")
    except StorageError as exc:
        say(f"failed {sink.flushed} {exc}")
        try:
            await sink.append(frames(0, range(1), path))
        except StorageError as again:
            say("again" if str(again) == str(exc) else f"other {again}")
    await sink.close()
    say("closed")


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("directory")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--tuned", action="store_true")
    arguments = parser.parse_args()
    if arguments.limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (arguments.limit, arguments.limit))
    asyncio.run(write(arguments.directory, arguments.tuned))
