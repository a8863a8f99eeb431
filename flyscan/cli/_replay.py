"""``flyscan replay``: what a policy decides on recorded data."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from ..adaptive import Decision, ReplayedFlight

__all__ = ["add_replay"]

_COLUMNS = "{:>6}  {:>5}  {:>6}  {:>9}  {:<6}  {:<34}  {}"


def add_replay(commands: Any) -> None:
    """Add the command to those of the parser."""
    replay = commands.add_parser(
        "replay", help="let the policy of a steered flight decide again, or try another"
    )
    replay.add_argument("file", type=FilePath, metavar="FILE")
    replay.add_argument(
        "--policy",
        help='try this one: CLASS, or JSON as {"class": "package.module:Class", "params": {...}}',
    )
    replay.add_argument("--flight", type=int, metavar="N", help="only flight N of the run")
    replay.add_argument(
        "--trust",
        action="append",
        default=[],
        metavar="CLASS",
        help="load this policy, package.module:Class, because the file names it",
    )
    replay.add_argument("--json", action="store_true", help="print the result as JSON")
    replay.set_defaults(run=_replay)


def _replay(options: argparse.Namespace) -> int:
    from ..adaptive import replay_file

    policy = None if options.policy is None else _policy(options.policy)
    flights = replay_file(options.file, flight=options.flight, policy=policy, trusted=options.trust)
    if options.json:
        found = {"file": str(options.file), "flights": [flight.to_dict() for flight in flights]}
        print(json.dumps(found))
    else:
        for flight in flights:
            print(*(_compared(flight) if policy is None else _tried(flight)), sep="\n")
    return 1 if any(flight.difference is not None for flight in flights) else 0


def _policy(text: str) -> dict[str, Any]:
    """The policy named on the command line."""
    if not text.lstrip().startswith("{"):
        return {"class": text if ":" in text else f"flyscan.adaptive:{text}"}
    try:
        return dict(json.loads(text))
    except ValueError as exc:
        raise ConfigurationError(
            f"{text!r} is no JSON: {exc}",
            device="--policy",
            remedy='quote it for the shell: --policy \'{"class": "...", "params": {...}}\'',
        ) from exc


def _compared(flight: ReplayedFlight) -> Iterator[str]:
    if flight.difference is None:
        yield f"flight {flight.flight}: identical: {len(flight.decisions)} decisions"
    else:
        yield f"flight {flight.flight}: not identical: {flight.difference}"


def _tried(flight: ReplayedFlight) -> Iterator[str]:
    yield (
        f"flight {flight.flight}: {len(flight.recorded)} decisions recorded; "
        f"{flight.policy['class']} would have made {len(flight.decisions)}"
    )
    yield _COLUMNS.format("number", "line", "block", "time_s", "cause", "what", "reason")
    yield from (
        _COLUMNS.format(
            made.number, made.segment, made.block, f"{made.time:.3f}", made.cause, _what(made),
            made.reason,
        )
        for made in flight.decisions
    )  # fmt: skip


def _what(decision: Decision) -> str:
    """What a decision comes to, in a few words."""
    applied = decision.applied
    if applied is None:
        return "off" if decision.cause in ("fault", "late") else "refused"
    match applied.get("kind"):
        case None:
            return "fly uniformly" if applied["profile"] is None else _profile(applied["profile"])
        case "retune":
            changes = ((n, applied[n]) for n in ("velocity", "step"))
            return ", ".join(f"{n} {value:.6g}" for n, value in changes if value is not None)
        case "go_back":
            return f"go back {applied['start']:.6g} to {applied['stop']:.6g}"
        case "finish":
            return "finish the line" if applied["line_only"] else "finish"
        case kind:
            return str(kind)


def _profile(profile: Mapping[str, Any]) -> str:
    speeds = profile["velocity"]
    return f"fly at {min(speeds):.4g} to {max(speeds):.4g}, {len(speeds) - 1} pieces"
