"""What a path needs from the box, worked out without touching it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ...errors import ConfigurationError, LimitError
from ...flight import Path, Segment, Sweep
from .._axis_map import INT32_MAX, AxisMap
from ._config import Names, TriggerChoice
from ._lines import MIN_STEP, Method, Timing, choose, compare_line
from ._triggers import Program, program_for

__all__ = ["Planner", "distinct"]


def distinct(path: Path) -> Iterator[Segment]:
    """The segments worth looking at.

    A path repeats the lines of its innermost dimension, forwards and backwards, so two turns
    of it show them all.
    """
    enough = 2 * path.shape[-1] if path.shape else path.points
    seen: set[tuple[object, ...]] = set()
    for segment in path.segments():
        if segment.first_point >= enough:
            return
        fast = segment.fast
        ends = (segment.start[fast], segment.stop[fast]) if fast is not None else ()
        key = (fast, ends, segment.points, segment.period, segment.trigger)
        if segment.bounds is not None or key not in seen:
            seen.add(key)
            yield segment


@dataclass(frozen=True, slots=True)
class Planner:
    """Turns segments into trigger programs.

    Args:
        device: the capture's name, for messages.
        encoders: axis to its map.
        trigger: which block compares positions.
        exposure: gate in seconds, or None for the fraction `duty` of the period.
        duty: see `exposure`.
        names: the blocks in use.
        clock_hz: frequency of the box's clock.
        table_rows: rows a sequencer table holds.
        gate_bit: what positions wait for, if anything; only the sequencer can.
        streamed: whether sequencer rows are given in pieces while it runs.
    """

    device: str
    encoders: Mapping[str, AxisMap]
    trigger: TriggerChoice
    exposure: float | None
    duty: float
    names: Names
    clock_hz: int
    table_rows: int
    gate_bit: str | None
    streamed: bool = False

    def axis_map(self, segment: Segment) -> AxisMap | None:
        """Map of the segment's fast axis."""
        return self.encoders.get(segment.fast or "")

    def method(self, segment: Segment) -> Method:
        """What triggers the segment; raises what :func:`choose` raises."""
        if self.gate_bit is None:
            return choose(segment, self.axis_map(segment), self.trigger)
        method = choose(segment, self.axis_map(segment), TriggerChoice.SEQ)
        if method is not Method.SEQ or self.trigger is TriggerChoice.PCOMP:
            raise ConfigurationError(
                f"segment {segment.index} cannot wait for the gate {self.gate_bit}: only position "
                "triggers by SEQ can",
                device=self.device,
                remedy="trigger by position with trigger 'auto' or 'seq', or remove `gate`",
            )
        return method

    def program(self, sweep: Sweep) -> Program:
        """Set-up of the sweep's triggers."""
        segment = sweep.segment
        timing = Timing.of(segment, self.exposure, self.duty, self.clock_hz)
        method = self.method(segment)
        axis_map = self.axis_map(segment)
        return program_for(
            self.names,
            method,
            sweep,
            axis_map,
            timing,
            self.clock_hz,
            self.gate_bit,
            streamed=self.streamed,
        )

    def methods(self, path: Path) -> frozenset[Method]:
        """What triggers the lines of a path."""
        return frozenset(self.method(segment) for segment in distinct(path))

    def retunable(self, path: Path) -> bool:
        """Whether the step of every line of `path` can change on the way."""
        return all(self._maker(segment) is None for segment in distinct(path))

    def steps(self, segment: Segment, factor: float) -> tuple[float, int]:
        """Counts between the triggers of a line at `factor` times its step, and the fewest.

        Position compare makes whole counts only.

        Raises:
            ConfigurationError: what makes its triggers cannot.
            LimitError: too few for the block or, at nominal speed, for the gate.
        """
        axis_map, maker = self.axis_map(segment), self._maker(segment)
        if maker is not None or axis_map is None:
            raise ConfigurationError(
                f"the step of segment {segment.index} cannot change during a sweep (by "
                f"{factor:g}): its triggers are made by {maker}",
                device=self.device,
                remedy="change the speed of the motion instead; or trigger straight lines by "
                "position, with steps of whole counts or with `streamed` tables",
            )
        timing = Timing.of(segment, self.exposure, self.duty, self.clock_hz)
        exact = abs(segment.step / axis_map.scale)
        least = max(MIN_STEP, math.ceil(exact * timing.least / timing.period))
        wanted = exact * factor if math.isfinite(factor) else 0.0
        if self.method(segment) is Method.PCOMP:
            wanted = round(wanted)
        if not least <= wanted <= INT32_MAX:
            raise LimitError(
                f"{factor:g} times the step of segment {segment.index} is {exact * factor:.4g} "
                f"counts, with a gate of {timing.gate / self.clock_hz:g} s the box makes {least} "
                f"to {INT32_MAX}",
                device=self.device,
                remedy="change the step less, or configure a shorter `exposure`",
            )
        return wanted, least

    def _maker(self, segment: Segment) -> str | None:
        """What triggers a line and cannot change its step; None if it can."""
        method = self.method(segment)
        if method is Method.TIME:
            return "a timed train"
        if method is Method.SEQ and not self.streamed:
            return "a table of the sequencer"
        return None if segment.bounds is None else "positions of a curve"

    def validate(self, path: Path) -> tuple[str, ...]:
        """Check every distinct segment; remarks tell how steps are rounded.

        Raises:
            LimitError: an exposure or a number of counts does not fit.
            ConfigurationError: an encoder, a counter or a kind of trigger is missing.
        """
        remarks: dict[str, None] = {}
        for segment in distinct(path):
            remarks |= dict.fromkeys(self._validate(segment))
        return tuple(remarks)

    def _validate(self, segment: Segment) -> Iterator[str]:
        Timing.of(segment, self.exposure, self.duty, self.clock_hz)
        method = self.method(segment)
        axis_map = self.axis_map(segment)
        if method is Method.TIME:
            self._check_train(segment)
        if method is Method.SEQ and self.streamed:
            self._check_counted(segment, "from a streamed table")
        if axis_map is not None and segment.fast is not None:
            axis_map.check_range(segment.start[segment.fast], segment.stop[segment.fast])
            yield from self._rounding(segment, axis_map, method)

    def _check_train(self, segment: Segment) -> None:
        self._check_counted(segment, "by time")
        if not segment.static and segment.fast not in self.encoders:
            raise ConfigurationError(
                f"segment {segment.index} starts at a position of axis {segment.fast}, which has "
                "no encoder wired to the compare block",
                device=str(segment.fast),
                remedy="add its encoder to the capture's configuration",
            )

    def _check_counted(self, segment: Segment, how: str) -> None:
        if self.names.counter is None:
            raise ConfigurationError(
                f"segment {segment.index} is triggered {how}, but no COUNTER is left to count "
                "its triggers",
                device=self.device,
                remedy="free one of the counters used by channels",
            )

    def _rounding(self, segment: Segment, axis_map: AxisMap, method: Method) -> Iterator[str]:
        if method is Method.TIME:
            return
        if method is Method.SEQ:
            self._check_table(segment)
            yield (
                f"{segment.fast}: every position is rounded to counts by itself (SEQ), at most "
                f"{axis_map.resolution / 2:g} {axis_map.unit} off"
            )
            return
        exact = abs(segment.step / axis_map.scale)
        if abs(exact - round(exact)) > 1e-6:
            drift = compare_line(segment, axis_map).drift
            yield (
                f"{segment.fast}: the step of {exact:.6f} counts is rounded to {round(exact)}, "
                f"which adds up to {drift:.3f} counts at the end of a line"
            )

    def _check_table(self, segment: Segment) -> None:
        most = (self.table_rows - 1) // (1 if self.gate_bit is None else 2)
        if segment.points > most and not self.streamed:
            raise LimitError(
                f"segment {segment.index} has {segment.points} points, a sequencer table holds "
                f"{most}",
                device=self.device,
                remedy="use a step that is a whole number of counts, shorter lines, or `streamed` "
                "tables",
            )
