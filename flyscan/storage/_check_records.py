"""Check of the record of one steered flight: in order, and of frames that exist."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ._problem import Kind, Problem

__all__ = ["check_records"]


def check_records(
    flight: int, records: Sequence[Mapping[str, Any]], frames: int, *, clean: bool
) -> Iterator[Problem]:
    """What is wrong with the record of a flight.

    Args:
        flight: number of the flight.
        records: what happened in it.
        frames: complete frames in the file.
        clean: False while the file is written and after its writer was killed: then the
            record may be ahead of the frames.
    """
    order = _Order(frames if clean else None)
    for position, record in enumerate(records):
        try:
            text = order.problem(record)
        except (KeyError, TypeError, ValueError) as exc:
            text = f"it cannot be read: {exc!r}"
        if text:
            yield Problem(Kind.DAMAGED, f"flight {flight}: record {position}: {text}")


class _Order:
    """What was told and decided so far.

    Args:
        frames: complete frames; None if there may come more.
    """

    def __init__(self, frames: int | None) -> None:
        self._frames = frames
        self._told = self._decided = 0

    def problem(self, record: Mapping[str, Any]) -> str:
        """What is wrong with the next record; empty if nothing is."""
        match record["event"]:
            case "told":
                return self._check_told(int(record["first"]), int(record["stop"]))
            case "decided":
                return self._check_decided(int(record["decision"]["number"]))
            case "applied":
                number = int(record["number"])
                made = number < self._decided
                return "" if made else f"decision {number} was applied, but not made"
            case "flagged":
                return self._check_flagged(max(map(int, record["frames"]), default=-1))
            case _:
                return ""

    def _check_told(self, first: int, stop: int) -> str:
        told, self._told = self._told, stop
        if not told <= first <= stop:
            return f"expected frames from {told} on to be told, got {first} to {stop}"
        if self._frames is not None and stop > self._frames:
            return f"frames {first} to {stop} were told, there are {self._frames}"
        return ""

    def _check_decided(self, number: int) -> str:
        expected, self._decided = self._decided, number + 1
        return "" if number == expected else f"expected decision {expected}, got {number}"

    def _check_flagged(self, last: int) -> str:
        if self._frames is None or last < self._frames:
            return ""
        return f"frame {last} is flagged, there are {self._frames}"
