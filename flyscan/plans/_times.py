"""Where the time of a run went, from its ledger stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["FlightTimes"]

PHASES = ("line", "turnaround", "reconfiguration", "waiting")
COUNTS = ("planned", "kept", "holds", "sweeps")
STREAM = "ledger"
SUFFIX = f"-{STREAM}-{PHASES[0]}"


@dataclass
class _Account:
    """The ledger of one flyer in one run.

    Args:
        run: uid of its start document.
        flyer: device name.
        rows: flight and segment to column to value.
    """

    run: str
    flyer: str
    rows: dict[tuple[int, int], dict[str, float]] = field(
        default_factory=dict[tuple[int, int], dict[str, float]]
    )

    def take(self, data: Mapping[str, list[Any]]) -> None:
        """Rows of a page; a segment flown again gets a new row, which replaces the first."""
        columns = {c: data[f"{self.flyer}-{STREAM}-{c}"] for c in (*COUNTS, *PHASES)}
        flights, segments = (data[f"{self.flyer}-{STREAM}-{c}"] for c in ("flight", "segment"))
        for i, key in enumerate(zip(flights, segments, strict=True)):
            self.rows[key] = {column: values[i] for column, values in columns.items()}

    def table(self) -> str:
        """A line of counts, then the phases."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        sums = {c: sum(row[c] for row in self.rows.values()) for c in (*COUNTS, *PHASES)}
        segments, total = len(self.rows), sum(sums[phase] for phase in PHASES)
        yield (
            f"{self.flyer}: {segments} segments in {sums['sweeps']:.0f} sweeps, "
            f"{sums['kept']:.0f} of {sums['planned']:.0f} points, held {sums['holds']:.0f} times"
        )
        yield f"  {'phase':<15} {'s':>9} {'%':>6} {'ms/segment':>11}"
        for phase in PHASES:
            spent = sums[phase]
            share = 100 * spent / total if total else 0.0
            yield f"  {phase:<15} {spent:>9.3f} {share:>6.1f} {1e3 * spent / segments:>11.2f}"


class FlightTimes:
    """A callback for documents: prints at the end of every run where its time went.

    For every flyer it says how many segments were flown in how many sweeps, how many of the points
    that they were to have are there, how often they were held, and for each phase the seconds in
    all, its share and the milliseconds per segment. ``line`` is from the start of motion to its
    end, run-up and run-down included; ``turnaround`` the way to the next run-up;
    ``reconfiguration`` setting up its triggers; ``waiting`` the pauses. What comes before the
    kickoff is in none of them. Runs without a ledger print nothing.

    Args:
        out: is given the text; ``print`` by default.
    """

    def __init__(self, out: Callable[[str], None] = print) -> None:
        self._out = out
        self._accounts: dict[str, _Account] = {}

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Take in one document."""
        if name == "descriptor":
            self._open(document)
        elif name == "event_page" and document["descriptor"] in self._accounts:
            self._accounts[document["descriptor"]].take(document["data"])
        elif name == "stop":
            self._close(document["run_start"])

    def _open(self, descriptor: Mapping[str, Any]) -> None:
        if descriptor.get("name") != STREAM:
            return
        for key in descriptor["data_keys"]:
            if key.endswith(SUFFIX):
                account = _Account(descriptor["run_start"], key.removesuffix(SUFFIX))
                self._accounts[descriptor["uid"]] = account

    def _close(self, run: str) -> None:
        ended = [uid for uid, account in self._accounts.items() if account.run == run]
        for account in [self._accounts.pop(uid) for uid in ended]:
            if account.rows:
                self._out(account.table())
