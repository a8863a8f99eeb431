"""Trigger programs of single sweeps in encoder counts and clock ticks. Pure arithmetic.

Position compare (PCOMP) makes evenly spaced triggers at ``START + i * STEP`` in whole counts, so
its error grows along the line; the sequencer (SEQ) takes a table in which every position is
rounded by itself. Block behaviour: PandABlocks-FPGA documentation and sources of PCOMP, SEQ and
PULSE.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from ...errors import ConfigurationError, LimitError
from ...flight import FloatArray, IntArray, Segment, Sweep, Trigger
from .._axis_map import INT32_MAX, INT32_MIN, AxisMap
from ._config import TriggerChoice

__all__ = [
    "MIN_STEP",
    "PHASE_TICKS",
    "CompareLine",
    "Method",
    "SeqLine",
    "Timing",
    "choose",
    "compare_line",
    "pre_start",
    "seq_line",
    "seq_rows",
    "seq_table",
]

#: PCOMP compares with WIDTH 1, and a step of WIDTH or less stalls or aborts it.
MIN_STEP = 2
#: Length of each phase of a SEQ row, in ticks: long enough for any input's edge detection.
PHASE_TICKS = 5
#: Words of one SEQ row, and the base64 line length in bytes (the server takes 1024 characters).
ROW_WORDS = 4
LINE_BYTES = 480
BITA_1, POSA_GE, POSA_LE = 2, 7, 8


class Method(StrEnum):
    """What makes the triggers of a sweep."""

    PCOMP = "pcomp"
    SEQ = "seq"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class Timing:
    """Gate and period of a sweep's rows in clock ticks."""

    gate: int
    period: int

    @classmethod
    def of(cls, segment: Segment, exposure: float | None, duty: float, clock_hz: int) -> Timing:
        """Gate of `exposure` seconds, or of the fraction `duty` of the period if None.

        Where the speed varies, the period is the shortest one between two triggers.

        Raises:
            LimitError: the gate does not fit into the period or the box's 31-bit counter.
        """
        between = segment.period if segment.schedule is None else _shortest(segment.schedule)
        period = round(between * clock_hz)
        gate = round((duty * between if exposure is None else exposure) * clock_hz)
        timing = cls(gate, period)
        if gate < PHASE_TICKS or period < timing.least:
            raise LimitError(
                f"segment {segment.index}: an exposure of {gate / clock_hz:g} s does not fit "
                f"between triggers {between:g} s apart",
                device="gate",
                remedy="use a shorter exposure or a longer period",
            )
        if gate > INT32_MAX:
            raise LimitError(
                f"segment {segment.index}: an exposure of {gate / clock_hz:g} s is longer than "
                f"the {INT32_MAX / clock_hz:.0f} s the box can measure",
                device="gate",
                remedy="use a shorter exposure",
            )
        return timing

    @property
    def least(self) -> int:
        """The shortest period the gate fits into."""
        return self.gate + PHASE_TICKS


def _shortest(schedule: FloatArray) -> float:
    return float(np.diff(schedule).min())


@dataclass(frozen=True, slots=True)
class CompareLine:
    """Evenly spaced triggers of a whole segment, whatever part of it is flown.

    Args:
        start: count of the first trigger.
        step: signed counts between triggers.
        drift: counts by which the last trigger is off, beyond the rounding of the first.
    """

    start: int
    step: int
    drift: float

    @property
    def fits(self) -> bool:
        """True if the rounding of the step never adds up to half a count."""
        return self.drift < 0.5

    def at(self, index: int) -> int:
        """Count of trigger `index`."""
        return self.start + index * self.step


@dataclass(frozen=True, slots=True, eq=False)
class SeqLine:
    """Triggers of a whole segment at counts rounded one by one.

    Args:
        positions: count of every trigger, int64, shape ``(points,)``.
        direction: +1 or -1, the way the counts change.
    """

    positions: IntArray
    direction: int


def choose(segment: Segment, axis_map: AxisMap | None, trigger: TriggerChoice) -> Method:
    """What triggers a segment.

    Raises:
        ConfigurationError: no encoder for its fast axis, or a step no block can make.
        LimitError: counts beyond 32 bits.
    """
    if segment.static or segment.trigger is Trigger.TIME:
        return Method.TIME
    if axis_map is None:
        raise ConfigurationError(
            f"segment {segment.index} is triggered by the position of axis {segment.fast}, "
            "which has no encoder wired to the compare block",
            device=str(segment.fast),
            remedy="add its encoder to the capture's configuration, or trigger by time",
        )
    if segment.bounds is None and trigger is not TriggerChoice.SEQ:
        line = compare_line(segment, axis_map)
        if line.fits:
            return Method.PCOMP
        if trigger is TriggerChoice.PCOMP:
            raise _uneven(segment, axis_map, line)
    elif trigger is TriggerChoice.PCOMP:
        raise ConfigurationError(
            f"segment {segment.index} is a curve, position compare makes even steps only",
            device=axis_map.encoder,
            remedy="set trigger to 'auto' or 'seq', or trigger by time",
        )
    seq_line(segment, axis_map)
    return Method.SEQ


def _uneven(segment: Segment, axis_map: AxisMap, line: CompareLine) -> ConfigurationError:
    exact = segment.step / axis_map.scale
    return ConfigurationError(
        f"segment {segment.index}: a step of {segment.step:g} {axis_map.unit} is {exact:.4f} "
        f"counts; in whole counts the last of {segment.points} triggers is {line.drift:.1f} "
        "counts off",
        device=axis_map.encoder,
        remedy=f"use a multiple of {axis_map.resolution:g} {axis_map.unit}, or set trigger to "
        "'auto'",
    )


def compare_line(segment: Segment, axis_map: AxisMap) -> CompareLine:
    """Position compare parameters of a straight segment.

    Raises:
        ConfigurationError: the step is below two counts.
        LimitError: counts beyond 32 bits.
    """
    fast = segment.fast or ""
    exact = segment.step / axis_map.scale
    step = round(exact)
    if abs(step) < MIN_STEP:
        raise _too_fine(segment, axis_map, exact)
    begin = axis_map.counts(segment.start[fast])
    line = CompareLine(
        start=round(begin + axis_map.compare_shift(segment.velocity[fast])),
        step=step,
        drift=(segment.points - 1) * abs(step - exact),
    )
    _check_range(segment, axis_map, line.start, line.at(segment.points))
    return line


def seq_line(segment: Segment, axis_map: AxisMap) -> SeqLine:
    """Sequencer positions of a segment, straight or curved.

    Raises:
        ConfigurationError: the fast axis turns back, or positions are less than two counts apart.
        LimitError: counts beyond 32 bits.
    """
    fast = segment.fast or ""
    bounds = _bounds(segment, fast)
    lengths = segment.period if segment.schedule is None else np.diff(segment.schedule)
    shift = axis_map.compare_shift(1.0) * np.diff(bounds) / lengths
    positions = np.rint(axis_map.counts(bounds[:-1]) + shift)
    direction = 1 if (segment.stop[fast] - segment.start[fast]) / axis_map.scale > 0 else -1
    steps = direction * np.diff(bounds) / axis_map.scale
    if np.any(steps <= 0):
        raise ConfigurationError(
            f"segment {segment.index} turns back along {fast}, so positions of {fast} alone "
            "cannot trigger it",
            device=axis_map.encoder,
            remedy="trigger this path by time",
        )
    smallest = int(np.argmin(steps))
    if np.any(direction * np.diff(positions) < MIN_STEP) or steps[smallest] < MIN_STEP - 0.5:
        raise _too_fine(segment, axis_map, float(steps[smallest]))
    _check_range(segment, axis_map, float(positions[0]), float(positions[-1]))
    return SeqLine(positions.astype(np.int64), direction)


def _bounds(segment: Segment, axis: str) -> FloatArray:
    if segment.bounds is not None:
        return segment.bounds[axis]
    return np.linspace(segment.start[axis], segment.stop[axis], segment.points + 1)


def _too_fine(segment: Segment, axis_map: AxisMap, counts: float) -> ConfigurationError:
    return ConfigurationError(
        f"segment {segment.index}: a trigger step of {abs(counts):.3g} counts cannot be made, "
        f"the smallest is {MIN_STEP}",
        device=axis_map.encoder,
        remedy=f"use a step of at least {MIN_STEP * axis_map.resolution:g} {axis_map.unit}, or "
        "trigger by time",
    )


def _check_range(segment: Segment, axis_map: AxisMap, first: float, last: float) -> None:
    if min(first, last) < INT32_MIN or max(first, last) > INT32_MAX:
        raise LimitError(
            f"segment {segment.index} spans counts {first:.0f} to {last:.0f}, the box holds "
            f"{INT32_MIN} to {INT32_MAX}",
            device=axis_map.encoder,
            remedy="set the encoder zero nearer to the path",
        )


def pre_start(sweep: Sweep, axis_map: AxisMap, first: int, direction: int) -> int:
    """Counts the stage must stand before the first trigger: half of the run-up.

    Half, so that the position error of a stage at rest does not matter, while a stage on the
    wrong side or already in the line keeps the box from arming.
    """
    origin = axis_map.counts(sweep.origin[sweep.segment.fast or ""])
    return max(0, int(direction * (first - origin) / 2))


def seq_table(line: SeqLine, index: int, before: int, *, gated: bool) -> tuple[str, ...]:
    """Base64 lines of the sequencer table for triggers `index` to the end of the line.

    The table starts with a row that waits for the stage to be `before` counts ahead of the first
    trigger, or rows already passed would fire in a burst.
    """
    return seq_rows(line.positions[index:], line.direction, before, gated=gated)


def seq_rows(
    positions: IntArray, direction: int, before: int | None, *, gated: bool
) -> tuple[str, ...]:
    """Base64 lines of sequencer rows for triggers at `positions`, at least one.

    Position triggers are levels. Unless `before` is None, a row in front waits for the stage to
    be that many counts ahead of the first of them.
    A gated trigger is two rows: one waits for the position, the next for the gate on BITA.
    Row format: PandABlocks SEQ block, fields REPEATS, TRIGGER, POSITION, TIME1, TIME2, OUTA1.
    """
    ahead, crossed = (POSA_LE, POSA_GE) if direction > 0 else (POSA_GE, POSA_LE)
    guard = 0 if before is None else 1
    words = np.zeros((guard + len(positions) * (2 if gated else 1), ROW_WORDS), "<u4")
    arrivals, fires = (words[guard::2], words[guard + 1 :: 2]) if gated else (words[guard:],) * 2
    if before is not None:
        words[0, 0] = 1 | ahead << 16
        words[0, 1] = np.array(positions[0] - direction * before, "<i4").view("<u4")
    fires[:, 0] = 1 | BITA_1 << 16
    arrivals[:, 0] = 1 | crossed << 16
    arrivals[:, 1] = positions.astype("<i4").view("<u4")
    fires[:, 0] |= 1 << 20
    fires[:, 2] = PHASE_TICKS
    words[:, 3] = PHASE_TICKS
    data = words.tobytes()
    return tuple(
        base64.b64encode(data[i : i + LINE_BYTES]).decode() for i in range(0, len(data), LINE_BYTES)
    )
