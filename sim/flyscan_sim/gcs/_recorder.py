"""The data recorder: what it takes, when it starts, how it is read.

The world knows its past, so a recording is a start time; values are worked out when read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ._array import array_lines
from ._codec import Request, groups, integer
from ._errors import Code, Refusal
from ._profile import Profile, RecorderLimits

if TYPE_CHECKING:
    from ._axis import GcsAxis
    from ._controller import Handler

__all__ = ["Recorder"]

Floats = NDArray[np.float64]

# Trigger sources of DRT (MS249E; 9 is what clients of wave generators send)
_DEFAULT, _MOVE, _NEXT, _NOW, _MOVE_ONCE, _WAVE = 0, 1, 2, 4, 6, 9
_SOURCES = {
    _DEFAULT: "default setting",
    _MOVE: "any command changing target position",
    _NEXT: "next command",
    _NOW: "trigger immediately",
    _MOVE_ONCE: "any command changing target position, once",
}
_MOVES = ("MOV", "MVR", "STE", "FRF")
_MAX_RATE = 1_000_000


@dataclass
class _Table:
    source: str
    option: int
    started: float | None = None


class Recorder:
    """All record tables of one controller.

    Args:
        limits: tables and points.
        profile: the controller model.
        axes: connected axes by identifier.
        now: the world's time in s.
    """

    def __init__(
        self,
        limits: RecorderLimits,
        profile: Profile,
        axes: dict[str, GcsAxis],
        now: Callable[[], float],
    ) -> None:
        self._limits = limits
        self._profile = profile
        self._axes = axes
        self._now = now
        self._rate = limits.rate
        self._recorded_rate = limits.rate
        self._source = _DEFAULT
        self._source_value = "0"
        self._tables = self._power_on()

    @property
    def rate(self) -> int:
        """Servo cycles per point of the next recording."""
        return self._rate

    def commands(self) -> dict[str, Handler]:
        """Handlers by mnemonic."""
        return {
            "DRC": self._configure,
            "DRC?": self._ask(lambda table: f"{table.source} {table.option}"),
            "DRT": self._set_source,
            "DRT?": self._ask(lambda table: f"{self._source} {self._source_value}"),
            "DRL?": self._ask(lambda table: str(self._length(table))),
            "DRR?": self._read,
            "HDR?": self._describe,
            "RTR": self._set_rate,
            "RTR?": lambda args: [str(self._rate)],
            "TNR?": lambda args: [str(self._limits.tables)],
        }

    def set_rate(self, text: str) -> None:
        """Set the rate of the next recording."""
        self._rate = integer(text, 1, _MAX_RATE)

    def trigger(self) -> None:
        """Start recording into all tables, anew if one is under way."""
        self._recorded_rate = self._rate
        for table in self._tables.values():
            table.started = self._now()

    def wave_started(self) -> None:
        """The wave generator started: that always triggers a recording where there is one."""
        if self._limits.wave_start:
            self.trigger()

    def executed(self, request: Request) -> None:
        """A command was executed: it may be the trigger."""
        moves = request.mnemonic in _MOVES
        if request.mnemonic == "STE" or (self._source == _MOVE and moves):
            self.trigger()
        elif (self._source == _MOVE_ONCE and moves) or (
            self._source == _NEXT and not request.is_query and request.mnemonic != "DRT"
        ):
            self.trigger()
            self._source = _DEFAULT

    def _power_on(self) -> dict[int, _Table]:
        names = list(self._profile.axis_ids)
        options = self._limits.defaults
        return {
            number: _Table(
                names[min(number, len(names)) - 1], options[min(number, len(options)) - 1]
            )
            for number in range(1, self._limits.tables + 1)
        }

    def _number(self, text: str) -> int:
        try:
            return integer(text, 1, self._limits.tables)
        except Refusal:
            raise Refusal(Code.INVALID_RECORD_TABLE) from None

    def _ask(self, text: Callable[[_Table], str]) -> Handler:
        def answer(args: Sequence[str]) -> list[str]:
            numbers = [self._number(arg) for arg in args] or list(self._tables)
            return [f"{number}={text(self._tables[number])}" for number in numbers]

        return answer

    def _configure(self, args: Sequence[str]) -> None:
        changes: dict[int, _Table] = {}
        for number, source, option in groups(args, 3):
            if source not in self._profile.axis_ids:
                raise Refusal(Code.INVALID_RECORD_SOURCE)
            if not option.isdecimal() or int(option) not in self._limits.options:
                raise Refusal(Code.INVALID_RECORD_OPTION)
            changes[self._number(number)] = _Table(source, int(option))
        self._tables.update(changes)

    def _set_source(self, args: Sequence[str]) -> None:
        # The tables of these models share one trigger, whatever table is named.
        for number, source, value in groups(args, 3):
            if number != "0":
                self._number(number)
            chosen = integer(source, 0, _WAVE)
            if chosen not in _SOURCES and not (chosen == _WAVE and self._profile.wave):
                raise Refusal(Code.OUT_OF_RANGE)
            self._source, self._source_value = chosen, value
            if chosen == _NOW:
                self.trigger()

    def _set_rate(self, args: Sequence[str]) -> None:
        if len(args) != 1:
            raise Refusal(Code.PARAM_COUNT)
        self.set_rate(args[0])

    def _step(self) -> float:
        return self._recorded_rate * self._profile.servo_cycle

    def _length(self, table: _Table) -> int:
        if table.started is None or not table.option:
            return 0
        taken = int((self._now() - table.started) / self._step() + 1e-6) + 1
        return min(taken, self._limits.points)

    def _read(self, args: Sequence[str]) -> list[str]:
        if len(args) == 1:
            raise Refusal(Code.PARAM_COUNT)
        numbers = [self._number(text) for text in args[2:]]
        numbers = numbers or [n for n, table in self._tables.items() if table.option]
        tables = [self._tables[number] for number in numbers]
        available = min((self._length(table) for table in tables), default=0)
        first = integer(args[0], 1, self._limits.points) if args else 1
        count = integer(args[1], 1, self._limits.points) if args else available
        if not count or first - 1 + count > available:
            raise Refusal(Code.NOT_ENOUGH_RECORDED)
        columns = [
            (f"{self._limits.options[t.option]}{t.source}", self._values(t, first - 1, count))
            for t in tables
        ]
        return array_lines(self._profile.name, self._step(), columns)

    def _values(self, table: _Table, first: int, count: int) -> Floats:
        axis = self._axes.get(table.source)
        if axis is None:  # nothing is connected there
            return np.zeros(count)
        index = np.arange(first, first + count, dtype=np.float64)
        times: Floats = (table.started or 0.0) + index * self._step()
        if table.option == 1:
            return axis.commanded(times)
        if table.option == 2:
            return axis.positions(times)
        if table.option == 3:
            return axis.commanded(times) - axis.positions(times)
        if table.option == 70:
            return axis.commanded_velocity(times)
        before = axis.positions(times - self._step())
        return (axis.positions(times) - before) / self._step()

    def _describe(self, args: Sequence[str]) -> list[str]:
        sources = dict(_SOURCES)
        if self._profile.wave:
            sources[_WAVE] = "wave generator"
        return [
            "#RecordOptions ",
            *(f"{number}={text}" for number, text in self._limits.options.items()),
            "#TriggerOptions ",
            *(f"{number}={text}" for number, text in sources.items()),
            "#Parameters to be set with SPA ",
            "0x16000000=Data Recorder Table Rate",
            "#Additional information ",
            f"{self._limits.tables} record tables",
            f"{self._limits.points} datapoints per table",
            "end of help",
        ]
