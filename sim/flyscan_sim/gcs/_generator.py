"""The wave generators: per axis one, playing a wave table a number of cycles.

Facts from the E-727 user manual E727T0005: one point per servo cycle times table rate; output is
wave value plus offset; "start at the endpoint of the last cycle" sets the offset to the
output at the end of every cycle. A stopped generator starts again with the first point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ._codec import groups, integer, number
from ._errors import Code, Refusal
from ._waveforms import slew_limited
from ._wavetables import WaveTables

if TYPE_CHECKING:
    from ._axis import GcsAxis
    from ._controller import Handler

__all__ = ["Run", "WaveGenerators"]

Floats = NDArray[np.float64]

_START, _CONTINUE = 0x1, 0x100
_AHEAD_S = 10.0  # how far the output is laid into the stage's future
_REFILL_S = 5.0  # and when more is laid
_MAX_CYCLES = 2**31 - 1
_MAX_RATE = 1_000_000


@dataclass
class Run:
    """One start of a generator.

    Args:
        start: world time of the first point, s.
        points: one cycle, units, without offset.
        step: seconds per point.
        cycles: how many, 0 for endless.
        offset: offset of the first cycle.
        advance: what each cycle adds to the offset.
        interpolate: straight lines between points instead of steps.
        mode: as started.
        stopped: world time of an early end.
    """

    start: float
    points: Floats
    step: float
    cycles: int
    offset: float
    advance: float
    interpolate: bool
    mode: int
    stopped: float = float("inf")
    laid: int = 0

    @property
    def period(self) -> float:
        """Seconds per cycle."""
        return len(self.points) * self.step

    @property
    def end(self) -> float:
        """When the output ends or ended."""
        planned = self.start + self.cycles * self.period if self.cycles else float("inf")
        return min(planned, self.stopped)

    def completed(self, now: float) -> int:
        """Whole cycles output until `now`."""
        elapsed = max(min(now, self.end) - self.start, 0.0)
        return int(np.floor(elapsed / self.period + 1e-9))


class _Generator:
    def __init__(self, axis: str) -> None:
        self.axis = axis
        self.table = 0
        self.cycles = 0
        self.rate = 1
        self.interpolate = True
        self.offset = 0.0
        self.run: Run | None = None


class WaveGenerators:
    """All generators of one controller; generator n drives the n-th axis.

    Args:
        axes: connected axes by identifier.
        slots: identifiers in the order of the generators.
        tables: wave tables.
        servo_cycle: seconds.
        now: the world's time in s.
    """

    def __init__(
        self,
        axes: dict[str, GcsAxis],
        slots: Sequence[str],
        tables: WaveTables,
        servo_cycle: float,
        now: Callable[[], float],
    ) -> None:
        self._axes = axes
        self._generators = {index: _Generator(name) for index, name in enumerate(slots, start=1)}
        self._tables = tables
        self._servo_cycle = servo_cycle
        self._now = now
        self._started: list[Callable[[], None]] = []
        self.runs: dict[str, list[Run]] = {name: [] for name in slots}
        tables.lock_with(self._playing)

    def commands(self) -> dict[str, Handler]:
        """Handlers by mnemonic."""
        return {
            "WSL": self._select,
            "WSL?": self._ask(lambda generator: str(generator.table)),
            "WGC": self._cycles,
            "WGC?": self._ask(lambda generator: str(generator.cycles)),
            "WOS": self._offset,
            "WOS?": self._ask(lambda generator: f"{generator.offset:.7f}"),
            "WTR": self._rate,
            "WTR?": self._ask(lambda g: f"{g.rate} {int(g.interpolate)}"),
            "WGO": self._start_stop,
            "WGO?": self._ask(lambda generator: str(generator.run.mode if generator.run else 0)),
            "WGR": self._record,
            "#9": self._status,
        }

    def on_start(self, action: Callable[[], None]) -> None:
        """Call `action` whenever output starts (and at ``WGR``): the data recorder listens."""
        self._started.append(action)

    def drives(self, axis: str) -> bool:
        """Whether a generator is moving an axis."""
        return any(g.run is not None and g.axis == axis for g in self._generators.values())

    def stop(self, axes: Iterable[str]) -> None:
        """End the output on these axes; the stage stays where the output was left."""
        now = self._now()
        names = set(axes)
        for generator in self._generators.values():
            if generator.run is not None and generator.axis in names:
                generator.run.stopped = now
                self._finish(generator, generator.run, now)
                self._axes[generator.axis].halt(now, smoothly=False)

    def update(self, now: float) -> None:
        """Let pass what happened until `now`: ends of cycles; lay more output if needed."""
        for generator in self._generators.values():
            run = generator.run
            if run is None:
                continue
            if now >= run.end:
                self._finish(generator, run, now)
            else:
                self._account(generator, run, now)
                self._lay(generator, run, now)

    def _account(self, generator: _Generator, run: Run, now: float) -> None:
        if run.mode & _CONTINUE:
            generator.offset = run.offset + run.completed(now) * run.advance

    def _finish(self, generator: _Generator, run: Run, now: float) -> None:
        self._account(generator, run, now)
        generator.run = None

    def _generator(self, text: str) -> _Generator:
        return self._generators[integer(text, 1, len(self._generators))]

    def _pairs(self, args: Sequence[str]) -> list[tuple[_Generator, str]]:
        return [(self._generator(name), value) for name, value in groups(args, 2)]

    def _ask(self, text: Callable[[_Generator], str]) -> Handler:
        def answer(args: Sequence[str]) -> list[str]:
            asked = [integer(arg, 1, len(self._generators)) for arg in args]
            return [f"{key}={text(self._generators[key])}" for key in asked or self._generators]

        return answer

    def _playing(self, table: int) -> bool:
        return any(g.run is not None and g.table == table for g in self._generators.values())

    def _select(self, args: Sequence[str]) -> None:
        chosen: list[tuple[_Generator, int]] = []
        for generator, text in self._pairs(args):
            if generator.run is not None:
                raise Refusal(Code.WAVE_GENERATOR_ACTIVE)
            chosen.append((generator, 0 if text == "0" else self._tables.number(text)))
        for generator, table in chosen:
            generator.table = table

    def _cycles(self, args: Sequence[str]) -> None:
        for generator, cycles in [
            (generator, integer(text, 0, _MAX_CYCLES)) for generator, text in self._pairs(args)
        ]:
            generator.cycles = cycles

    def _offset(self, args: Sequence[str]) -> None:
        for generator, offset in [(g, number(text)) for g, text in self._pairs(args)]:
            generator.offset = offset

    def _rate(self, args: Sequence[str]) -> None:
        changes: list[tuple[list[_Generator], int, bool]] = []
        for name, rate, interpolation in groups(args, 3):
            chosen = list(self._generators.values()) if name == "0" else [self._generator(name)]
            changes.append(
                (chosen, integer(rate, 1, _MAX_RATE), bool(integer(interpolation, 0, 1)))
            )
        for chosen, table_rate, interpolate in changes:
            for generator in chosen:
                generator.rate, generator.interpolate = table_rate, interpolate

    def _start_stop(self, args: Sequence[str]) -> None:
        wanted = [(generator, integer(text, 0, 0x1FF)) for generator, text in self._pairs(args)]
        for generator, mode in wanted:
            if mode:
                self._check_start(generator, mode)
        self.stop([generator.axis for generator, mode in wanted if not mode])
        for generator, mode in wanted:
            if mode:
                self._start(generator, mode)
        if any(mode for _, mode in wanted):
            self._record(())

    def _check_start(self, generator: _Generator, mode: int) -> None:
        if mode not in (_START, _START | _CONTINUE):
            raise Refusal(Code.OUT_OF_RANGE)
        if generator.axis not in self._axes:
            raise Refusal(Code.INVALID_AXIS)
        if generator.run is not None:
            raise Refusal(Code.WAVE_GENERATOR_ACTIVE)
        if not generator.table or not len(self._tables.points(generator.table)):
            raise Refusal(Code.NO_WAVE_SELECTED)
        if not self._axes[generator.axis].servo:
            raise Refusal(Code.NO_REFERENCE_OR_SERVO_OFF)

    def _start(self, generator: _Generator, mode: int) -> None:
        points = self._tables.points(generator.table)
        tick = np.floor(self._now() / self._servo_cycle + 1e-6) + 1  # the next servo cycle
        run = Run(
            start=float(tick) * self._servo_cycle,
            points=points,
            step=self._servo_cycle * generator.rate,
            cycles=generator.cycles,
            offset=generator.offset,
            advance=float(points[-1]) if mode & _CONTINUE else 0.0,
            interpolate=generator.interpolate or generator.rate == 1,
            mode=mode,
        )
        generator.run = run
        self.runs[generator.axis].append(run)
        self._lay(generator, run, self._now())

    def _record(self, args: Sequence[str]) -> None:
        for action in self._started:
            action()

    def _status(self, args: Sequence[str]) -> list[str]:
        bits = sum(1 << (key - 1) for key, g in self._generators.items() if g.run is not None)
        return [f"{bits:X}"]

    def _lay(self, generator: _Generator, run: Run, now: float) -> None:
        """Extend the stage's future by whole cycles to at least `_AHEAD_S` from now."""
        if run.laid and (run.laid == run.cycles or self._laid_until(run) > now + _REFILL_S):
            return
        current = run.completed(now)
        ahead = int(np.ceil((now + _AHEAD_S - run.start) / run.period))
        last = max(ahead, current + 1)
        run.laid = min(last, run.cycles) if run.cycles else last
        times, path = self._output(run, range(current, run.laid))
        axis = self._axes[generator.axis]
        place = float(axis.commanded(now))
        coming = times > now + 1e-9 if now > run.start else np.ones(len(times), dtype=bool)
        path = np.clip(path[coming], axis.low, axis.high)
        times = times[coming] - now
        if times[0] > 0:  # amid a cycle: go on from here
            times, path = np.r_[0.0, times], np.r_[place, path]
        times, path = slew_limited(times, path, place, axis.stage.max_velocity)
        axis.follow(*_thinned(times, path), now)

    def _laid_until(self, run: Run) -> float:
        return run.start + run.laid * run.period

    def _output(self, run: Run, cycles: range) -> tuple[Floats, Floats]:
        """Corners of the output in these cycles: world times and positions."""
        count = len(run.points)
        number_of = np.repeat(np.arange(cycles.start, cycles.stop), count)
        index = np.tile(np.arange(count), len(cycles))
        times = run.start + number_of * run.period + index * run.step
        path = np.tile(run.points, len(cycles)) + run.offset + number_of * run.advance
        if not run.interpolate:
            times = np.column_stack([times, times + run.step - self._servo_cycle]).ravel()
            path = np.repeat(path, 2)
        end = run.start + cycles.stop * run.period
        return np.r_[times, end], np.r_[path, path[-1]]


def _thinned(times: Floats, path: Floats) -> tuple[Floats, Floats]:
    """Leave out what lies on the straight line between its neighbours or repeats a time."""
    fresh = np.r_[True, np.diff(times) > 1e-12]
    times, path = times[fresh], path[fresh]
    if len(times) < 3:
        return times, path
    slopes = np.diff(path) / np.diff(times)
    bend = np.abs(np.diff(slopes)) > 1e-9 * max(float(np.abs(slopes).max()), 1e-30)
    keep = np.r_[True, bend, True]
    return times[keep], path[keep]
