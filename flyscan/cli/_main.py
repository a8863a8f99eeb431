"""``flyscan demo | check | repair | stop | restore | sim``."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path as FilePath
from typing import TYPE_CHECKING

from ..errors import FlyscanError

if TYPE_CHECKING:
    from ..flight.host import JournalEntry, RunningHost

__all__ = ["main"]


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

    return asyncio.run(_stop_all(stop_hosts(StateFolder().hosts())))


async def _stop_all(results: AsyncIterator[tuple[RunningHost, FlyscanError | None]]) -> int:
    failed = count = 0
    async for host, error in results:
        count += 1
        failed += error is not None
        print(f"host {host.pid}: {error or 'all flights stopped'}")
    if not count:
        print("no flight host is running")
    return 1 if failed else 0


def _restore(_: argparse.Namespace) -> int:
    from ..flight.host import StateFolder, restore_orphans

    folder = StateFolder()
    code = asyncio.run(_restore_all(restore_orphans(folder)))
    for machine, count in folder.elsewhere().items():
        print(f"{machine}: {count} more in the journal of that machine, restore them there")
    return code


async def _restore_all(results: AsyncIterator[tuple[JournalEntry, FlyscanError | None]]) -> int:
    failed = count = 0
    async for entry, error in results:
        count += 1
        failed += error is not None
        print(f"{entry.controller}: {error or f'{len(entry.steps)} settings put back'}")
    if not count:
        print("nothing to restore")
    return 1 if failed else 0


def _repair(options: argparse.Namespace) -> int:
    from ..storage import repair_file

    print(repair_file(options.file))
    return 0
