"""Moves of motor records: begun together, watched until they are at rest."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...errors import ConnectionLostError, MotionError, WatchdogError
from ...flight import Clock, shielded, within
from ...flight._changed import Changed
from ...flight._watchdog import overdue
from ._axis import MotorAxis
from ._motor_record import Speed, faults

__all__ = ["Move", "MoveGroup", "come_to_rest"]

_PATIENCE = 1.5
_CREEP = 0.01
_RECONNECTION_S = 15.0  # libca searches for a lost channel only after up to 10 s


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


class MoveGroup:
    """Moves that begin together and are watched together.

    Args:
        motors: axis name to motor record, for every axis of `moves`.
        moves: axis name to its move.
        timeout: seconds after which a motor that does not get on is looked at.
    """

    def __init__(
        self,
        motors: Mapping[str, MotorAxis],
        moves: Mapping[str, Move],
        clock: Clock,
        changed: Changed,
        timeout: float,
    ) -> None:
        self._motors = {axis: motors[axis] for axis in moves}
        self._moves = moves
        self._clock = clock
        self._changed = changed
        self._timeout = timeout
        self._deadline = math.inf

    async def begin(self) -> None:
        """Set the speeds, then start all moves at once; they brake if one of them cannot start."""
        try:
            for axis, move in self._moves.items():
                await self._motors[axis].set_speed(move.speed)
            longest = max((move.seconds for move in self._moves.values()), default=0.0)
            self._deadline = self._clock.now() + _PATIENCE * longest + self._timeout
            await asyncio.gather(*(self._motors[a].go(m.target) for a, m in self._moves.items()))
        except BaseException:
            await shielded(self._brake())
            raise

    async def rest(self) -> dict[str, float]:
        """Wait until all are at rest; axes that are not at their target, and by how much.

        Raises:
            MotionError: MSTA reports a fault, or a motor stands still that should move.
            ConnectionLostError: the IOC is away for longer than the time-out.
            WatchdogError: the moves take much longer than planned.
        """
        try:
            return await self._rest()
        except BaseException:
            await shielded(self._brake())
            raise

    async def _rest(self) -> dict[str, float]:
        while True:
            before = {axis: motor.readback for axis, motor in self._motors.items()}
            began = self._clock.now()
            if await self._settled(self._window(began)):
                break
            for axis, move in self._moves.items():
                self._examine(self._motors[axis], move, before[axis], self._clock.now() - began)
        misses = {
            axis: await self._motors[axis].misses(move.target, move.tolerance)
            for axis, move in self._moves.items()
        }
        return {axis: miss for axis, miss in misses.items() if miss is not None}

    def _window(self, now: float) -> float:
        """Seconds until it is worth looking whether the moves are still getting on."""
        if any(motor.lost_at is not None for motor in self._motors.values()):
            return self._timeout
        return min(self._timeout, max(0.0, self._deadline - now))

    async def _settled(self, seconds: float) -> bool:
        """Wait at most `seconds` until all are at rest or one has a fault."""
        watched = self._motors.values()

        def settled() -> bool:
            if any(axis.connected and faults(axis.status) for axis in watched):
                return True
            return all(axis.connected and not axis.moving for axis in watched)

        late = overdue(", ".join(self._motors), "the end of the move", seconds, "")
        try:
            await within(self._clock, max(0.0, seconds), self._changed.wait_for(settled), late)
        except WatchdogError:
            return False
        return True

    def _examine(self, motor: MotorAxis, move: Move, before: float, seconds: float) -> None:
        """Why a move that is under way has not ended in `seconds`; raise if it will not."""
        now = self._clock.now()
        late = now >= self._deadline
        if motor.lost_at is not None:
            if now - motor.lost_at < max(self._timeout, _RECONNECTION_S):
                return
            raise ConnectionLostError(
                f"no connection to {motor.settings.pv} for {now - motor.lost_at:.1f} s, "
                f"last seen at {motor.readback:g} on the way to {move.target:g}",
                device=motor.device,
                remedy="check the IOC and the network; the move ends at its target by itself",
            )
        due = move.speed.velo * seconds
        crept = abs(motor.readback - before)
        if motor.moving and due > 10 * move.tolerance and crept < _CREEP * due:
            raise MotionError(
                f"stands still at {motor.readback:g} on the way to {move.target:g}: moved "
                f"{crept:g} in {seconds:.1f} s, expected {due:g}",
                device=motor.device,
                remedy="check for a stall, an amplifier that is off, and the encoder",
            )
        if late and motor.moving:
            raise overdue(
                motor.device,
                f"the end of the move to {move.target:g} (now at {motor.readback:g})",
                _PATIENCE * move.seconds + self._timeout,
                f"check {motor.settings.pv}.VELO and that the stage is free",
            )

    def astray(self, missed: Mapping[str, float]) -> MotionError:
        """The error of moves that ended away from their targets."""
        axis, miss = next(iter(missed.items()))
        move = self._moves[axis]
        return MotionError(
            f"came to rest at {move.target + miss:g} instead of {move.target:g} "
            f"(tolerance {move.tolerance:g})",
            device=self._motors[axis].device,
            remedy="somebody stopped it or the stage is blocked: check limit switches and "
            "following error, or widen 'tolerance'",
        )

    async def _brake(self) -> None:
        """Tell everything that moves to stop, without waiting for it."""
        moving = [motor for motor in self._motors.values() if motor.connected and motor.moving]
        await asyncio.gather(*(motor.halt() for motor in moving))


async def come_to_rest(motors: Sequence[MotorAxis], timeout: float) -> None:
    """Stop and wait for rest; all are told before the first problem is raised.

    Raises:
        ConnectionLostError: an IOC cannot be told.
        WatchdogError: a motor does not come to rest.
    """
    told = await asyncio.gather(*(motor.halt() for motor in motors), return_exceptions=True)
    for motor in motors:
        await motor.until(
            lambda motor=motor: not motor.moving or not motor.connected,
            _PATIENCE * motor.ramp + timeout,
            "rest after STOP",
        )
    for problem in told:
        if problem is not None:
            raise problem
