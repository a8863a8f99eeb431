"""What motor records say to a path, beyond travel and top speed."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping

from ...errors import ConfigurationError, LimitError, NotReadyError
from ...flight import AxisLimits, Path, Segment, Sweep, plan_sweep
from ._motor_record import MotorRecord

__all__ = ["check_path"]

_SLICE = 200


async def check_path(
    device: str,
    path: Path,
    records: Mapping[str, MotorRecord],
    limits: Mapping[str, AxisLimits],
) -> None:
    """Check every segment of `path` against the records of its axes.

    The loop is given a turn every few segments, so that a long path does not block it.

    Raises:
        ConfigurationError: a segment is a curve or moves two motors at a time.
        LimitError: a segment is slower than a motor can go.
        NotReadyError: a backlash correction reaches into the lines or out of the travel.
    """
    backlash = any(record.backlash for record in records.values())
    for segment in path.segments():
        moving = [axis for axis in segment.moving if axis in records]
        if moving:
            _check_segment(device, segment, moving, records)
        if moving and backlash:
            sweep = plan_sweep(segment, segment.first_point, _known(segment, limits))
            _check_backlash(device, sweep, moving[0], records[moving[0]])
        if segment.index % _SLICE == _SLICE - 1:
            await asyncio.sleep(0)


def _known(segment: Segment, limits: Mapping[str, AxisLimits]) -> Mapping[str, AxisLimits]:
    """Limits of all axes of a segment; axes of other controllers are taken as unlimited here."""
    free = AxisLimits(-math.inf, math.inf, math.inf, math.inf)
    return {axis: limits.get(axis, free) for axis in segment.start}


def _check_segment(
    device: str, segment: Segment, moving: list[str], records: Mapping[str, MotorRecord]
) -> None:
    if segment.curved:
        raise ConfigurationError(
            f"segment {segment.index} is a curve along {', '.join(moving)}, motor records move "
            "in straight lines",
            device=device,
            remedy="fly path.without_curves() or use a controller that can fly curves",
        )
    if len(moving) > 1:
        raise ConfigurationError(
            f"segment {segment.index} moves {' and '.join(moving)} together, motor records are "
            "not synchronised",
            device=device,
            remedy="scan along one motor at a time or use a controller that moves axes together",
        )
    axis = moving[0]
    speed, slowest = abs(segment.velocity[axis]), records[axis].vbas
    if speed < slowest * (1 - 1e-9):
        raise LimitError(
            f"segment {segment.index} needs {speed:g} {records[axis].egu}/s, the motor's base "
            f"speed VBAS is {slowest:g}",
            device=f"{device}.{axis}",
            remedy="use a shorter period per point or a larger step, or lower VBAS",
        )


def _check_backlash(device: str, sweep: Sweep, axis: str, record: MotorRecord) -> None:
    """A correction must stay within the run-down, where no frames are taken."""
    leg = abs(record.backlash)
    if not leg:
        return
    run_down = abs(sweep.velocity[axis]) * sweep.ramp / 2
    if leg > run_down:
        raise NotReadyError(
            f"expected BDST = 0 or at most the run-down of {run_down:g} {record.egu}, got "
            f"{record.bdst:g}: the backlash correction would disturb the lines",
            device=f"{device}.{axis}",
            remedy="set BDST to 0 for fly scans: run-ups approach every line in its direction",
        )
    low, high = record.travel
    ends = sweep.origin[axis], sweep.target[axis]
    if min(ends) - leg < low or max(ends) + leg > high:
        raise NotReadyError(
            f"segment {sweep.segment.index} with backlash correction spans {min(ends) - leg:g} "
            f"to {max(ends) + leg:g} {record.egu}, soft limits are {low:g} to {high:g}",
            device=f"{device}.{axis}",
            remedy="set BDST to 0 for fly scans, or move or shrink the path",
        )
