"""Digital output lines: what ``CTO``, ``TRO``, ``TWS`` make of them, as times of rising edges.

Modes of the E-727 (user manual E727T0005): 0 position distance, 2 on target, 3 min/max threshold,
4 generator trigger. Lines are looked at once per servo cycle: position triggers jitter by
velocity times 50 us, and steps covered faster than that lose pulses, as on the box.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ._array import array_lines
from ._codec import groups, integer, number, switch
from ._errors import Code, Refusal
from ._profile import Profile

if TYPE_CHECKING:
    from ._axis import GcsAxis
    from ._controller import Handler
    from ._generator import Run, WaveGenerators

__all__ = ["TriggerLines"]

Floats = NDArray[np.float64]

_STEP, _AXIS, _MODE, _MIN, _MAX, _POLARITY, _FROM, _TO = 1, 2, 3, 5, 6, 7, 8, 9
_DISTANCE, _ON_TARGET, _BAND, _GENERATOR = 0, 2, 3, 4
_DEFAULTS: Mapping[int, float] = {
    _STEP: 0.1,
    _AXIS: 1,
    _MODE: _DISTANCE,
    _MIN: 0.0,
    _MAX: 0.0,
    _POLARITY: 1,
    _FROM: 0.0,
    _TO: 0.0,
}


@dataclass(frozen=True)
class _Line:
    """Configuration of one line; `high` are the wave table points (from 1) where it is high."""

    enabled: bool = False
    values: Mapping[int, float] = field(default_factory=lambda: dict(_DEFAULTS))
    high: frozenset[int] = frozenset()


class TriggerLines:
    """The output lines of one controller, with their past configurations.

    Args:
        profile: the controller model.
        axes: connected axes by identifier.
        waves: wave generators.
        now: the world's time in s.
    """

    def __init__(
        self,
        profile: Profile,
        axes: dict[str, GcsAxis],
        waves: WaveGenerators,
        now: Callable[[], float],
    ) -> None:
        self._profile = profile
        self._axes = axes
        self._waves = waves
        self._now = now
        lines = range(1, profile.trigger_lines + 1)
        self._lines = {line: [(now(), _Line())] for line in lines}
        self._inputs = dict.fromkeys(lines, False)

    def commands(self) -> dict[str, Handler]:
        """Handlers by mnemonic."""
        return {
            "CTO": self._configure,
            "CTO?": self._configuration,
            "TRO": self._enable,
            "TRO?": self._ask(lambda line: self._present(line).enabled),
            "TRI": self._enable_input,
            "TRI?": self._ask(lambda line: self._inputs[line]),
            "TWS": self._set_actions,
            "TWS?": self._actions,
            "TWC": self._clear_actions,
        }

    def rising_edges(self, line: int, start: float, end: float) -> Floats:
        """World times in ``(start, end]`` at which `line` goes high, shape (n,).

        Slices may be asked in any way and add up; `end` must not lie in the future.
        """
        history = self._lines[line]
        until = [time for time, _ in history[1:]] + [np.inf]
        parts = [
            self._edges(config, max(start, begin), min(end, stop))
            for (begin, config), stop in zip(history, until, strict=True)
            if config.enabled and begin < end and stop > start
        ]
        return np.concatenate([np.empty(0), *parts])

    def _edges(self, config: _Line, start: float, end: float) -> Floats:
        axis = self._profile.axis_ids[int(config.values[_AXIS]) - 1]
        if axis not in self._axes:
            return np.empty(0)
        if config.values[_MODE] == _GENERATOR:
            parts = [
                _generator_edges(run, config.high, start, end)
                for run in self._waves.runs[axis]
                if run.start <= end and run.end > start
            ]
            return np.concatenate([np.empty(0), *parts])
        cycle = self._profile.servo_cycle
        first, last = math.floor(start / cycle), math.floor(end / cycle)
        ticks: Floats = np.arange(first, last + 1, dtype=np.float64) * cycle
        if len(ticks) < 2:
            return np.empty(0)
        rises = self._rises(config.values, self._axes[axis], ticks)
        times = ticks[1:][rises]
        return times[(times > start) & (times <= end)]

    def _rises(
        self, values: Mapping[int, float], axis: GcsAxis, ticks: Floats
    ) -> NDArray[np.bool_]:
        places = axis.positions(ticks)
        if values[_MODE] == _DISTANCE:
            return _steps_covered(places, values[_STEP], values[_FROM], values[_TO])
        if values[_MODE] == _ON_TARGET:
            window = self._profile.window * axis.stage.resolution
            goal = axis.commanded(ticks)
            standing = axis.commanded_velocity(ticks) == 0
            level = standing & (np.abs(places - goal) <= window)
        else:
            level = (places > values[_MIN]) & (places < values[_MAX])
        return level[1:] & ~level[:-1]

    def _present(self, line: int) -> _Line:
        return self._lines[line][-1][1]

    def _change(self, line: int, config: _Line) -> None:
        self._lines[line].append((self._now(), config))

    def _line(self, text: str) -> int:
        return integer(text, 1, len(self._lines))

    def _ask(self, text: Callable[[int], bool]) -> Handler:
        def answer(args: Sequence[str]) -> list[str]:
            lines = [self._line(arg) for arg in args] or list(self._lines)
            return [f"{line}={int(text(line))}" for line in lines]

        return answer

    def _configure(self, args: Sequence[str]) -> None:
        changes: dict[int, dict[int, float]] = {}
        for name, parameter, text in groups(args, 3):
            key = integer(parameter, _STEP, _TO)
            changes.setdefault(self._line(name), {})[key] = self._value(key, text)
        for line, values in changes.items():
            config = self._present(line)
            self._change(line, replace(config, values={**config.values, **values}))

    def _value(self, key: int, text: str) -> float:
        if key not in _DEFAULTS:
            raise Refusal(Code.OUT_OF_RANGE)
        if key == _AXIS:
            if text not in self._profile.axis_ids:
                raise Refusal(Code.INVALID_AXIS)
            return self._profile.axis_ids.index(text) + 1
        value = number(text)
        unknown = (key == _MODE and value not in (_DISTANCE, _ON_TARGET, _BAND, _GENERATOR)) or (
            key == _POLARITY and value != 1
        )
        if unknown or (key == _STEP and value <= 0):
            raise Refusal(Code.OUT_OF_RANGE)
        return value

    def _configuration(self, args: Sequence[str]) -> list[str]:
        asked = (
            groups(args, 2) if args else [(str(n), str(k)) for n in self._lines for k in _DEFAULTS]
        )
        answers: list[str] = []
        for name, parameter in asked:
            line, key = self._line(name), integer(parameter, _STEP, _TO)
            if key not in _DEFAULTS:
                raise Refusal(Code.OUT_OF_RANGE)
            answers.append(f"{line} {key}={self._present(line).values[key]:g}")
        return answers

    def _enable(self, args: Sequence[str]) -> None:
        for line, on in [(self._line(name), switch(text)) for name, text in groups(args, 2)]:
            self._change(line, replace(self._present(line), enabled=on))

    def _enable_input(self, args: Sequence[str]) -> None:
        self._inputs |= {self._line(name): switch(text) for name, text in groups(args, 2)}

    def _set_actions(self, args: Sequence[str]) -> None:
        points: dict[int, set[int]] = {}
        for name, point, text in groups(args, 3):
            line = self._line(name)
            high = points.setdefault(line, set(self._present(line).high))
            place = integer(point, 1, self._points())
            (high.add if switch(text) else high.discard)(place)
        for line, high in points.items():
            self._change(line, replace(self._present(line), high=frozenset(high)))

    def _clear_actions(self, args: Sequence[str]) -> None:
        for line in self._lines:
            self._change(line, replace(self._present(line), high=frozenset()))

    def _actions(self, args: Sequence[str]) -> list[str]:
        if len(args) < 2:
            raise Refusal(Code.PARAM_COUNT)
        first = integer(args[0], 1, self._points())
        count = integer(args[1], 1, self._points() - first + 1)
        lines = [self._line(text) for text in args[2:]] or list(self._lines)
        wanted = np.arange(first, first + count)
        columns = [
            (f"Trigger Line {line}", np.isin(wanted, list(self._present(line).high)).astype(float))
            for line in lines
        ]
        return array_lines(self._profile.name, self._profile.servo_cycle, columns)

    def _points(self) -> int:
        return self._profile.wave.points if self._profile.wave else 1


def _generator_edges(run: Run, high: frozenset[int], start: float, end: float) -> Floats:
    """Edges of a line that is high at the points `high` of the table a generator plays."""
    count = len(run.points)
    played = np.array(sorted(point - 1 for point in high if point <= count), dtype=np.int64)
    first = max(0, int((start - run.start) / run.period) - 1)
    until = min(end, run.end)
    last = int(np.floor((until - run.start) / run.period + 1e-9)) + 1
    if not len(played) or last <= first:
        return np.empty(0)
    number_of = np.arange(first, last)[:, np.newaxis]
    index = (number_of * count + played).ravel()
    rises = index[np.r_[True, np.diff(index) > 1]]
    if first > 0 and len(rises) and rises[0] == first * count and played[-1] == count - 1:
        rises = rises[1:]  # high since the last point of the cycle before
    times: Floats = run.start + rises.astype(np.float64) * run.step
    # A generator that is over has not output the point due at its very end.
    return times[(times > start) & (times <= end) & (times < run.end)]


def _steps_covered(places: Floats, step: float, first: float, last: float) -> NDArray[np.bool_]:
    """Whether a whole step was completed since the tick before, one answer per interval."""
    if first == last:
        number_of = np.floor(places / step + 1e-9)
        return np.diff(number_of) != 0
    sign = 1.0 if last > first else -1.0
    covered = (places - first) * sign
    number_of = np.floor(covered / step + 1e-9)
    inside = (covered[1:] >= 0) & (covered[1:] <= abs(last - first) + step * 1e-9)
    return (np.diff(number_of) > 0) & inside
