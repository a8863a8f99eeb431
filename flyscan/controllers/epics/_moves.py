"""Moves of motor records: begun together, watched until they are at rest."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...errors import ConnectionLostError, MotionError, WatchdogError
from ...flight import Clock, within
from ...flight._changed import Changed
from ...flight._watchdog import overdue
from ._axis import MotorAxis
from ._motor_record import Speed, faults

__all__ = ["Move", "Moves"]

_PATIENCE = 1.5
_CREEP = 0.01


@dataclass(frozen=True, slots=True)
class Move:
    """One move of one record.

    Args:
        target: VAL, in EGU.
        speed: what to set beforehand.
        seconds: how long it should take.
        tolerance: how far from `target` it may end, in EGU.
    """

    target: float
    speed: Speed
    seconds: float
    tolerance: float


class Moves:
    """The moves under way.

    Args:
        axes: axis name to motor record.
        timeout: seconds a lost connection may take to come back, and a motor to get going.
    """

    def __init__(
        self, axes: Mapping[str, MotorAxis], clock: Clock, changed: Changed, timeout: float
    ) -> None:
        self._axes = axes
        self._clock = clock
        self._changed = changed
        self._timeout = timeout
        self._moves: dict[str, Move] = {}
        self._deadline = 0.0

    async def begin(self, moves: Mapping[str, Move]) -> None:
        """Set the speeds, then start all moves at once."""
        self._moves = {}
        for axis, move in moves.items():
            await self._axes[axis].set_speed(move.speed)
        self._moves = dict(moves)
        longest = max((move.seconds for move in moves.values()), default=0.0)
        self._deadline = self._clock.now() + _PATIENCE * longest + self._timeout
        await asyncio.gather(*(self._axes[axis].go(m.target) for axis, m in moves.items()))

    async def rest(self) -> dict[str, float]:
        """Wait until all are at rest; axes that are not at their target, and by how much.

        Raises:
            MotionError: MSTA reports a fault, or a motor stands still that should move.
            ConnectionLostError: the IOC is away for longer than the time-out.
            WatchdogError: the moves take much longer than planned.
        """
        while True:
            before = {axis: self._axes[axis].readback for axis in self._moves}
            began = self._clock.now()
            if await self._settled(list(self._moves), min(self._timeout, self._deadline - began)):
                break
            for axis, move in self._moves.items():
                self._examine(self._axes[axis], move, before[axis], self._clock.now() - began)
        misses = {
            axis: await self._axes[axis].misses(move.target, move.tolerance)
            for axis, move in self._moves.items()
        }
        return {axis: miss for axis, miss in misses.items() if miss is not None}

    async def _settled(self, axes: Sequence[str], seconds: float) -> bool:
        """Wait at most `seconds` until all of `axes` are at rest or one has a fault."""
        watched = [self._axes[axis] for axis in axes]

        def settled() -> bool:
            if any(axis.connected and faults(axis.status) for axis in watched):
                return True
            return all(axis.connected and not axis.moving for axis in watched)

        late = overdue(", ".join(axes), "the end of the move", seconds, "")
        try:
            await within(self._clock, max(0.0, seconds), self._changed.wait_for(settled), late)
        except WatchdogError:
            return False
        return True

    def _examine(self, axis: MotorAxis, move: Move, before: float, seconds: float) -> None:
        """Why a move that is under way has not ended in `seconds`; raise if it will not."""
        now = self._clock.now()
        late = now >= self._deadline
        if axis.lost_at is not None and (late or now - axis.lost_at >= self._timeout):
            raise ConnectionLostError(
                f"no connection to {axis.settings.pv} for {now - axis.lost_at:.1f} s, "
                f"last seen at {axis.readback:g} on the way to {move.target:g}",
                device=axis.device,
                remedy="check the IOC and the network; the move ends at its target by itself",
            )
        due = move.speed.velo * seconds
        crept = abs(axis.readback - before)
        if axis.moving and axis.connected and due > 10 * move.tolerance and crept < _CREEP * due:
            raise MotionError(
                f"stands still at {axis.readback:g} on the way to {move.target:g}: moved "
                f"{crept:g} in {seconds:.1f} s, expected {due:g}",
                device=axis.device,
                remedy="check for a stall, an amplifier that is off, and the encoder",
            )
        if late and axis.moving:
            raise overdue(
                axis.device,
                f"the end of the move to {move.target:g} (now at {axis.readback:g})",
                _PATIENCE * move.seconds + self._timeout,
                f"check {axis.settings.pv}.VELO and that the stage is free",
            )

    def astray(self, missed: Mapping[str, float]) -> MotionError:
        """The error of moves that ended away from their targets."""
        axis, miss = next(iter(missed.items()))
        move = self._moves[axis]
        return MotionError(
            f"came to rest at {move.target + miss:g} instead of {move.target:g} "
            f"(tolerance {move.tolerance:g})",
            device=self._axes[axis].device,
            remedy="somebody stopped it or the stage is blocked: check limit switches and "
            "following error, or widen 'tolerance'",
        )

    async def brake(self) -> None:
        """Tell everything that moves to stop, without waiting for it."""
        moving = [axis for axis in self._axes.values() if axis.connected and axis.moving]
        await asyncio.gather(*(axis.halt() for axis in moving))

    async def halt(self, axes: Sequence[str]) -> None:
        """Stop and wait for rest; all are told before the first problem is raised.

        Raises:
            ConnectionLostError: an IOC cannot be told.
            WatchdogError: a motor does not come to rest.
        """
        told = await asyncio.gather(
            *(self._axes[axis].halt() for axis in axes), return_exceptions=True
        )
        ramps = [self._moves[axis].speed.accl for axis in axes if axis in self._moves]
        seconds = _PATIENCE * max(ramps, default=0.0) + self._timeout
        for axis in axes:
            await self._axes[axis].until(
                lambda motor=self._axes[axis]: not motor.moving or not motor.connected,
                seconds,
                "rest after STOP",
            )
        for problem in told:
            if problem is not None:
                raise problem
