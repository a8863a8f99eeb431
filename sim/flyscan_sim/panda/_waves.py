"""Signals over one slice of time, in ticks of the 125 MHz clock.

A slice is the ticks `start` < t <= `end`. A bit is a level at `start` and the ticks at which
it toggles; from the tick of an edge on it has its new level. Everything is numpy, so that a
hundred triggers cost as much Python as one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "EMPTY",
    "HIGH",
    "LOW",
    "NEVER",
    "Span",
    "Ticks",
    "Wave",
    "combine",
    "edges_of",
    "from_levels",
    "merge_toggles",
    "no_ticks",
]

Ticks = NDArray[np.int64]
EMPTY: Ticks = np.empty(0, np.int64)


def no_ticks() -> Ticks:
    """An empty list of ticks."""
    return EMPTY


NEVER = 2**62
"""A tick that does not come."""


@dataclass(frozen=True, slots=True)
class Span:
    """A slice of time: ticks start < t <= end."""

    start: int
    end: int


@dataclass(frozen=True, slots=True, eq=False)
class Wave:
    """A bit over a slice: level just before the first of its `edges`, strictly increasing."""

    level: bool
    edges: Ticks = field(default_factory=no_ticks)

    def same(self, other: Wave) -> bool:
        return self.level == other.level and np.array_equal(self.edges, other.edges)

    @property
    def final(self) -> bool:
        """Level after the last edge."""
        return self.level ^ bool(self.edges.size & 1)

    @property
    def rising(self) -> Ticks:
        return self.edges[int(self.level) :: 2]

    @property
    def falling(self) -> Ticks:
        return self.edges[int(not self.level) :: 2]

    def at(self, ticks: Ticks) -> NDArray[np.bool_]:
        """Levels at `ticks` (n,)."""
        toggles = np.searchsorted(self.edges, ticks, side="right")
        return (toggles & 1).astype(bool) ^ self.level

    def highs(self, start: int, end: int) -> tuple[Ticks, Ticks]:
        """First and one-past-last ticks of the intervals at high level within start < t <= end."""
        begins = self.rising if not self.level else np.concatenate(([start + 1], self.rising))
        ends = self.falling
        if ends.size < begins.size:
            ends = np.concatenate((ends, [end + 1]))
        keep = ends > begins
        return begins[keep].astype(np.int64), ends[keep].astype(np.int64)

    def delayed(self, ticks: int) -> Wave:
        return Wave(self.level, self.edges + ticks)


HIGH = Wave(True)
LOW = Wave(False)


def edges_of(wave: Wave, edge: int) -> Ticks:
    """Rising (0), falling (1) or all (2) edges: the order of the TRIG_EDGE labels."""
    return (wave.rising, wave.falling, wave.edges)[edge]


def combine(table: NDArray[np.bool_], *waves: Wave) -> Wave:
    """The function of `waves` given by a truth table indexed with the first wave as top bit."""
    levels = [wave.level for wave in waves]
    before = bool(table[_index(np.array([levels]))[0]])
    moving = [wave.edges for wave in waves if wave.edges.size]
    if not moving:
        return HIGH if before else LOW
    ticks = np.unique(np.concatenate(moving))
    after = table[_index(np.stack([wave.at(ticks) for wave in waves], axis=1))]
    changed = after != np.concatenate(([before], after[:-1]))
    return Wave(before, ticks[changed])


def _index(levels: NDArray[np.bool_]) -> Ticks:
    weights = 1 << np.arange(levels.shape[1] - 1, -1, -1, dtype=np.int64)
    return levels @ weights


def merge_toggles(*edges: Ticks) -> Ticks:
    """Toggles of a signal from several lists: two at the same tick cancel."""
    ticks, counts = np.unique(np.concatenate(edges), return_counts=True)
    return ticks[(counts & 1).astype(bool)]


def from_levels(level: bool, ticks: Ticks, levels: NDArray[np.bool_]) -> Wave:
    """The wave that takes `levels` at `ticks`, in any order; of a tick the last one counts."""
    if not ticks.size:
        return HIGH if level else LOW
    order = np.argsort(ticks, kind="stable")
    ticks, levels = ticks[order], levels[order]
    final = np.append(np.diff(ticks) > 0, True)
    ticks, levels = ticks[final], levels[final]
    before = np.concatenate(([level], levels[:-1]))
    return Wave(level, ticks[levels != before])
