"""``flyscan-sim``: run a simulated world as a process.

It prints one JSON line with its end points when it is ready, and runs until SIGINT or SIGTERM,
or until its standard input ends if asked to. Exit code 0 after a clean end, 2 if the options
make no sense or a port cannot be had, with one line saying why.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import math
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from flyscan.errors import FlyscanError

if TYPE_CHECKING:
    from .nanoprobe import Nanoprobe

__all__ = ["main"]


class _Parser(argparse.ArgumentParser):
    """Refuses bad options with one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a world; returns the exit code.

    Raises:
        SystemExit: 2 for options that make no sense, 0 after ``--help``.
    """
    options = _parser().parse_args(argv)
    logging.getLogger("caproto").setLevel(logging.CRITICAL)  # it logs what bad clients do
    try:
        return asyncio.run(_run(options))
    except (FlyscanError, OSError) as error:
        sys.stderr.write(f"flyscan-sim: {error}\n")
        return 2


async def _run(options: argparse.Namespace) -> int:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    if options.exit_with_parent:
        _end_with_stdin(loop, ended)
    async with _nanoprobe(options) as probe:
        print(json.dumps(probe.endpoints), flush=True)
        await ended.wait()
    return 0


def _nanoprobe(options: argparse.Namespace) -> Nanoprobe:
    # not before the options are known to be good: this takes most of a second
    from flyscan.flight import Clock, RealClock, ScaledClock

    from .nanoprobe import Nanoprobe, NanoprobePorts
    from .world import detectors_from_json

    clock: Clock = RealClock() if options.speed == 1 else ScaledClock(options.speed)
    control, data = options.panda_ports
    return Nanoprobe(
        clock=clock,
        seed=options.seed,
        faults=options.fault,
        host=options.host,
        panda_host=options.panda_host,
        ports=NanoprobePorts(
            control, data, gcs=options.gcs_port, gcs_c863=options.gcs_c863_port, ca=options.ca_port
        ),
        block_period=options.block_period,
        prefix=options.prefix,
        sample=None if options.sample is None else detectors_from_json(options.sample),
    )


def _end_with_stdin(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    """Set `ended` when standard input ends, that is when whoever holds its other end is gone."""

    def watch() -> None:
        while os.read(0, 4096):
            pass
        with contextlib.suppress(RuntimeError):  # the loop may have been closed meanwhile
            loop.call_soon_threadsafe(ended.set)

    # a thread: asyncio cannot wait for files and terminals alike
    threading.Thread(target=watch, name="stdin", daemon=True).start()


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="flyscan-sim", description="Simulated beamlines on loopback.")
    worlds = parser.add_subparsers(required=True, metavar="WORLD", parser_class=_Parser)
    probe = worlds.add_parser(
        "nanoprobe",
        help="piezo stage, PandA, coarse motors, ring, Siemens star",
        description="An X-ray nanoprobe: PandA, E-727 and C-863 (GCS 2.0), Channel Access.",
    )
    add = probe.add_argument
    add("--seed", type=_natural, default=0, help="fixes sample, vibration and noise")
    add("--speed", type=_positive, default=1.0, help="seconds of the world per second")
    add("--fault", type=_script, action="append", default=[], metavar="JSON|@FILE",
        help="a fault or a list of faults; may be given again")  # fmt: skip
    add("--exit-with-parent", action="store_true", help="end when standard input ends")
    add("--host", default="127.0.0.1", help="address to listen on")
    add("--panda-host", help="address of the PandA, if another")
    add("--panda-ports", type=_port, nargs=2, default=(0, 0), metavar=("CONTROL", "DATA"),
        help="a real PandA has 8888 8889; by default free ones")  # fmt: skip
    for name in ("gcs", "gcs-c863", "ca"):
        add(f"--{name}-port", type=_port, default=0, metavar="PORT", help="by default a free one")
    add("--block-period", type=_positive, default=0.1, metavar="SECONDS",
        help="how often the PandA hands over samples")  # fmt: skip
    add("--prefix", default="SIM:", help="of all EPICS names")
    add("--sample", type=_text, metavar="FILE", help="maps to measure instead of the star, JSON")
    return parser


def _positive(text: str) -> float:
    with contextlib.suppress(ValueError):  # what is no number is refused below
        if 0 < (value := float(text)) < math.inf:
            return value
    raise argparse.ArgumentTypeError(f"{text} is not a positive number")


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 0 on")
    return int(text)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a port number")
    return int(text)


def _script(text: str) -> str:
    return _text(text[1:]) if text.startswith("@") else text


def _text(name: str) -> str:
    try:
        return Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise argparse.ArgumentTypeError(f"cannot read {name}: {error.strerror}") from error


if __name__ == "__main__":
    sys.exit(main())
