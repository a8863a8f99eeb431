"""Wave tables: definition, memory, read-out (``WAV``, ``WCL``, ``GWD?``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ._array import array_lines
from ._codec import groups, integer, number
from ._errors import Code, Refusal
from ._profile import WaveLimits
from ._waveforms import Segment, line, ramp, sine

if TYPE_CHECKING:
    from ._controller import Handler

__all__ = ["WaveTables"]

Floats = NDArray[np.float64]
_LENGTH = "1"  # the only wave parameter WAV? knows


class WaveTables:
    """The tables of one controller, points in axis units.

    Args:
        limits: number of tables, points shared by them.
        title: remark in read-out data.
        sample_time: seconds per point at table rate 1.
    """

    def __init__(self, limits: WaveLimits, title: str, sample_time: float) -> None:
        self._limits = limits
        self._title = title
        self._sample_time = sample_time
        self._tables: dict[int, Floats] = {}
        self._locked: Callable[[int], bool] = lambda table: False

    def lock_with(self, locked: Callable[[int], bool]) -> None:
        """Refuse changes to tables for which `locked` says so: those being output."""
        self._locked = locked

    def commands(self) -> dict[str, Handler]:
        """Handlers by mnemonic."""
        return {
            "WAV": self._define,
            "WAV?": self._lengths,
            "WCL": self._clear,
            "GWD?": self._read,
        }

    def number(self, text: str) -> int:
        """Table number of an argument."""
        return integer(text, 1, self._limits.tables)

    def points(self, table: int) -> Floats:
        """Content of a table, shape (n,); empty if nothing was defined."""
        return self._tables.get(table, np.empty(0))

    def _define(self, args: Sequence[str]) -> list[str] | None:
        if len(args) < 4:
            raise Refusal(Code.PARAM_COUNT)
        table, mode, kind = self.number(args[0]), args[1].upper(), args[2].upper()
        self._check_unlocked(table)
        if mode not in ("X", "&"):
            raise Refusal(Code.PARAM_SYNTAX)
        before = self.points(table) if mode == "&" else np.empty(0)
        segment = self._segment(kind, args[3:], len(before))
        others = sum(len(points) for key, points in self._tables.items() if key != table)
        if others + len(before) + len(segment) > self._limits.points:
            raise Refusal(Code.WAVE_TOO_LARGE)
        self._tables[table] = np.concatenate([before, segment])
        return None

    def _segment(self, kind: str, args: Sequence[str], filled: int) -> Floats:
        if kind == "PNT":
            return self._listed(args, filled)
        counts = {"LIN": 6, "RAMP": 7, "SIN_P": 6}
        if kind not in counts:
            raise Refusal(Code.PARAM_SYNTAX)
        if len(args) != counts[kind]:
            raise Refusal(Code.PARAM_COUNT)
        points = self._limits.points
        segment = Segment(
            length=self._length(args[0]),
            amplitude=number(args[1]),
            offset=number(args[2]),
            wave=self._length(args[3]),
            start=integer(args[4], 0, points - 1),
        )
        if kind == "SIN_P":
            return sine(segment, integer(args[5], 1, segment.wave - 1))
        if kind == "LIN":
            return line(segment, integer(args[5], 0, segment.wave // 2))
        centre = integer(args[6], 1, segment.wave - 1)
        shorter = min(centre, segment.wave - centre)
        return ramp(segment, integer(args[5], 0, shorter // 2), centre)

    def _length(self, text: str) -> int:
        count = integer(text, 1, 2**31)
        if count > self._limits.points:
            raise Refusal(Code.WAVE_TOO_LARGE)
        return count

    def _listed(self, args: Sequence[str], filled: int) -> Floats:
        if len(args) < 3:
            raise Refusal(Code.PARAM_COUNT)
        first, count = integer(args[0], 1, self._limits.points), self._length(args[1])
        if first not in (1, filled + 1):
            raise Refusal(Code.OUT_OF_RANGE)
        if len(args) != 2 + count:
            raise Refusal(Code.PARAM_COUNT)
        return np.array([number(text) for text in args[2:]])

    def _lengths(self, args: Sequence[str]) -> list[str]:
        asked = groups(args, 2) if args else [(str(key), _LENGTH) for key in self._all()]
        if any(parameter != _LENGTH for _, parameter in asked):
            raise Refusal(Code.OUT_OF_RANGE)
        tables = [self.number(text) for text, _ in asked]
        return [f"{table} {_LENGTH}={len(self.points(table))}" for table in tables]

    def _clear(self, args: Sequence[str]) -> None:
        tables = [self.number(text) for text in args] if args else list(self._all())
        for table in tables:
            self._check_unlocked(table)
        for table in tables:
            self._tables.pop(table, None)

    def _read(self, args: Sequence[str]) -> list[str]:
        if len(args) == 1:
            raise Refusal(Code.PARAM_COUNT)
        tables = [self.number(text) for text in args[2:]] or sorted(self._tables)
        if not tables:
            raise Refusal(Code.OUT_OF_RANGE)
        shortest = min(len(self.points(table)) for table in tables)
        first = integer(args[0], 1, max(shortest, 1)) if args else 1
        count = integer(args[1], 1, shortest - first + 1) if args else shortest
        columns = [
            (f"Wave Table {table}", self.points(table)[first - 1 : first - 1 + count])
            for table in tables
        ]
        return array_lines(self._title, self._sample_time, columns)

    def _all(self) -> range:
        return range(1, self._limits.tables + 1)

    def _check_unlocked(self, table: int) -> None:
        if self._locked(table):
            raise Refusal(Code.WAVE_GENERATOR_ACTIVE)
