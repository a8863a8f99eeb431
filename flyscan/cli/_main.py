"""``flyscan demo | check | replay | repair | stop | restore | sim``."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, TypeVar

from ..errors import FlyscanError
from ._replay import add_replay

if TYPE_CHECKING:
    from ..flight.host import JournalEntry, RunningHost

__all__ = ["main"]

T = TypeVar("T")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0 well, 1 found something wrong or failed, 2 usage."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["sim"]:  # its options are flyscan-sim's own
        from flyscan_sim.cli import main as sim

        return sim(arguments[1:])
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except FlyscanError as exc:
        sys.stderr.write(f"flyscan: {exc}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("flyscan: interrupted\n")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="flyscan", description="Fly scans that can be paused, resumed and steered."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="fly a map on simulated hardware")
    demo.add_argument("--out", type=FilePath, help="existing directory for file and picture")
    demo.add_argument("--json", action="store_true", help="print the result as JSON, last line")
    demo.set_defaults(run=_demo)

    check = commands.add_parser("check", help="verify a data file, and documents against it")
    check.add_argument("file", type=FilePath, metavar="FILE")
    check.add_argument("--documents", type=FilePath, help="JSON lines of [name, document]")
    check.add_argument("--json", action="store_true", help="print the report as JSON")
    check.set_defaults(run=_check)

    add_replay(commands)

    repair = commands.add_parser("repair", help="make the file of a killed writer readable again")
    repair.add_argument("file", type=FilePath, metavar="FILE")
    repair.set_defaults(run=_repair)

    stop = commands.add_parser("stop", help="stop all flights of all hosts of this user")
    stop.set_defaults(run=_stop)

    restore = commands.add_parser(
        "restore", help="put back the settings that a killed flight host has left changed"
    )
    restore.set_defaults(run=_restore)

    commands.add_parser("sim", help="run simulated hardware, see flyscan sim --help")
    return parser


def _demo(options: argparse.Namespace) -> int:
    from ..demo import run_demo

    result = run_demo(options.out, progress=not options.json)
    print(result.table())
    if options.json:
        print(json.dumps(result.to_dict()))
    return 0 if result.lost == result.duplicated == 0 else 1


def _check(options: argparse.Namespace) -> int:
    from ..storage import check_file

    report = check_file(options.file, options.documents)
    print(json.dumps(report.to_dict()) if options.json else report)
    return 0 if report.ok else 1


def _stop(_: argparse.Namespace) -> int:
    from ..flight.host import StateFolder, stop_hosts

    def line(host: RunningHost, error: FlyscanError | None) -> str:
        return f"host {host.pid}: {error or 'all flights stopped'}"

    hosts = stop_hosts(StateFolder().hosts())
    return asyncio.run(_report(hosts, line, "no flight host is running"))


def _restore(_: argparse.Namespace) -> int:
    from ..flight.host import StateFolder, restore_orphans

    def line(entry: JournalEntry, error: FlyscanError | None) -> str:
        return f"{entry.controller}: {error or f'{len(entry.steps)} settings put back'}"

    folder = StateFolder()
    code = asyncio.run(_report(restore_orphans(folder), line, "nothing to restore"))
    for machine, count in folder.elsewhere().items():
        print(f"{machine}: {count} more in the journal of that machine, restore them there")
    return code


async def _report(
    results: AsyncIterator[tuple[T, FlyscanError | None]],
    line: Callable[[T, FlyscanError | None], str],
    nothing: str,
) -> int:
    """Print a line for each result as it comes; the exit code is 1 if one failed."""
    failed = count = 0
    async for item, error in results:
        count += 1
        failed += error is not None
        print(line(item, error))
    if not count:
        print(nothing)
    return 1 if failed else 0


def _repair(options: argparse.Namespace) -> int:
    from ..storage import repair_file

    print(repair_file(options.file))
    return 0
