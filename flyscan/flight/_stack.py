"""The nested dimensions of a scan, and where they put a point, without expanding them.

A scan is a stack of levels, outermost first, as `scanspec` calculates it. The innermost level is
flown; the others hold their midpoints meanwhile. Everything about a point follows from index
arithmetic, so a stack of 3162 x 3162 points costs two arrays of 3162.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ._block import FloatArray, IntArray

__all__ = ["BoolArray", "Level", "Stack", "fold"]

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """One dimension: frames along some axes, or bare repeats when there are none.

    Args:
        length: number of frames, at least 1.
        snaked: every other iteration runs backwards.
        middle: midpoints, axis to shape ``(length,)``.
        lower: where the axes are when a frame begins, same shape.
        upper: where they are when it ends, same shape.
        gap: whether the motion is interrupted before each frame; the first element is for the
            step from the last frame of one iteration to the first of the next, False if snaked.
        period: seconds of each frame; empty where another level says.
    """

    length: int
    snaked: bool
    middle: Mapping[str, FloatArray]
    lower: Mapping[str, FloatArray]
    upper: Mapping[str, FloatArray]
    gap: BoolArray
    period: FloatArray

    @property
    def varies(self) -> bool:
        """True if frames of this level last differently long."""
        return bool((self.period[1:] != self.period[:-1]).any())

    def wrap(self, axis: str) -> float:
        """Distance `axis` moves from the last frame of an iteration to the next iteration."""
        values = self.middle[axis]
        return 0.0 if self.snaked else float(abs(values[-1] - values[0]))


@dataclass(frozen=True, eq=False)
class Stack:
    """Levels from outermost to innermost.

    An *iteration* is one run through the innermost level.
    """

    outer: tuple[Level, ...]
    inner: Level

    @cached_property
    def iterations(self) -> int:
        """How many times the innermost level is run through."""
        return math.prod(level.length for level in self.outer)

    @property
    def points(self) -> int:
        """Points of the whole scan."""
        return self.iterations * self.inner.length

    @cached_property
    def repeats(self) -> tuple[int, ...]:
        """Iterations that pass at one frame of each outer level."""
        lengths = [level.length for level in self.outer]
        return tuple(math.prod(lengths[d + 1 :]) for d in range(len(lengths)))

    def backward(self, iteration: int) -> bool:
        """True if the innermost level runs backwards in `iteration`."""
        return self.inner.snaked and iteration % 2 == 1

    def holds(self, iteration: int) -> dict[str, float]:
        """Where the axes of the outer levels stand during `iteration`."""
        where: dict[str, float] = {}
        for level, every in zip(self.outer, self.repeats, strict=True):
            turn, frame = divmod(iteration // every, level.length)
            if level.snaked and turn % 2:
                frame = level.length - 1 - frame
            where.update((a, float(values[frame])) for a, values in level.middle.items())
        return where

    def midpoints(self, first: int, last: int) -> dict[str, FloatArray]:
        """Midpoints of points `first` to `last` (exclusive), axis to shape ``(n,)``."""
        points = np.arange(first, last)
        values: dict[str, FloatArray] = {}
        for level, size in self._sizes():
            frame, _ = _frames(level, points // size)
            values.update((a, middle[frame]) for a, middle in level.middle.items())
        return values

    def flatten(self) -> Level:
        """The whole stack as one level, every point written out."""
        points = np.arange(self.points)
        middle: dict[str, FloatArray] = {}
        lower: dict[str, FloatArray] = {}
        upper: dict[str, FloatArray] = {}
        gap = np.zeros(len(points), dtype=bool)
        period = np.empty(0)
        period: FloatArray
        for level, size in self._sizes():
            frame, backward = _frames(level, points // size)
            for axis, values in level.middle.items():
                low, high = level.lower[axis][frame], level.upper[axis][frame]
                middle[axis] = values[frame]
                lower[axis] = np.where(backward, high, low)
                upper[axis] = np.where(backward, low, high)
            before = np.where(backward, (frame + 1) % level.length, frame)
            gap |= level.gap[before] & (points % size == 0)
            period = level.period[frame] if level.period.size else period
        snaked = bool(self.outer) and self.outer[0].snaked
        return Level(len(points), snaked, middle, lower, upper, gap, period)

    def _sizes(self) -> Iterator[tuple[Level, int]]:
        """Every level with the number of points that pass at one of its frames."""
        for level, every in zip(self.outer, self.repeats, strict=True):
            yield level, every * self.inner.length
        yield self.inner, 1


def _frames(level: Level, turns: IntArray) -> tuple[IntArray, BoolArray]:
    """Frame of `level` at its `turns`-th step, and whether it runs backwards there."""
    turn, frame = np.divmod(turns, level.length)
    backward = (turn % 2 == 1) & level.snaked
    return np.where(backward, level.length - 1 - frame, frame), backward


def fold(levels: Sequence[Level]) -> Stack:
    """Stack `levels` so that every iteration of the innermost one begins after a gap.

    Where iterations run into each other without a gap, or durations change with an outer level,
    the levels concerned are written out into one. That is the exception: lines of a grid are
    always separated.
    """
    for first in range(len(levels) - 1, -1, -1):
        outer = tuple(levels[:first])
        nested = Stack(tuple(levels[first:-1]), levels[-1])
        if first and not (_repeats_alike(nested) and _separated(outer, levels[first:])):
            continue
        return Stack(outer, nested.flatten() if nested.outer else nested.inner)
    raise ValueError("a stack needs at least one level")


def _repeats_alike(nested: Stack) -> bool:
    """True if every run through `nested` is the first one again, or its mirror image.

    See "Why squash can change the path" in scanspec's documentation.
    """
    inner = (*nested.outer[1:], nested.inner) if nested.outer else ()
    if nested.outer and nested.outer[0].snaked:
        return all(level.snaked for level in inner)
    turns = 1
    for level, below in zip(nested.outer, inner, strict=True):
        turns *= level.length
        if below.snaked and turns % 2:
            return False
    return True


def _separated(outer: Sequence[Level], nested: Sequence[Level]) -> bool:
    """True if a gap comes between any two runs through `nested`."""
    if any(level.varies for level in outer):
        return False
    wraps = any(bool(level.gap[0]) for level in nested)
    for level in reversed(outer):
        if not (wraps or level.gap[1:].all()):
            return False
        wraps = wraps or bool(level.gap[0])
    return True
