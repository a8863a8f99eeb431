"""Motion by EPICS motor records."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from ...errors import BusyError, ConfigurationError, LimitError, NotReadyError
from ...flight import (
    AxisLimits,
    Clock,
    JoinOutcome,
    Motion,
    MotionCapabilities,
    Path,
    RealClock,
    RestoreStep,
    Sweep,
    check_sweep,
    rest_to_rest,
    shielded,
)
from ...flight._changed import Changed
from ._axis import MotorAxis
from ._channels import ChannelAccess
from ._motor_record import AxisSettings, MotorRecord, Speed, move_problem, ready_problem
from ._moves import Move, MoveGroup, come_to_rest
from ._path_check import check_path

__all__ = ["EpicsMotion"]


class EpicsMotion(Motion):
    """Coarse stages driven by EPICS motor records over Channel Access.

    A sweep is one plain move of one record: its VELO is the cruise velocity, its ACCL the ramp,
    its VAL the end of the run-down, so it ends by itself if nobody is left to stop it. The
    record applies a new VELO to the next move only, so speed cannot change in flight; records
    are not synchronised, so one of them moves per sweep. Positions, limits and velocities are
    the records' user coordinates.

    Args:
        name: name for error messages.
        axes: path axis to its settings: ``{"x": {"pv": "BL:X", "settle": 0.1}}``, see
            :class:`~flyscan.controllers.epics.AxisSettings`.
        clock: what waits are measured with.
        timeout: seconds after which an IOC that does not answer or a motor that does not react
            counts as lost.
    """

    def __init__(
        self,
        name: str,
        axes: Mapping[str, Mapping[str, Any]],
        *,
        clock: Clock | None = None,
        timeout: float = 5.0,
    ) -> None:
        if not axes:
            raise ConfigurationError(
                "a motion needs at least one axis",
                device=name,
                remedy='give axes, for example {"x": {"pv": "BL02I-MO-STAGE-01:X"}}',
            )
        self.name = name
        self._clock = clock or RealClock()
        self._timeout = timeout
        self._changed = Changed()
        self._channels = ChannelAccess(name, timeout)
        self._axes = {
            axis: MotorAxis(
                f"{name}.{axis}",
                AxisSettings.parse(f"{name}.{axis}", given),
                self._channels,
                self._changed,
                self._clock,
                timeout,
            )
            for axis, given in axes.items()
        }
        self._sweep = self._group({})
        self._connected = False
        self._held = False
        self._found: dict[str, Speed] = {}

    # --- connection and state --------------------------------------------------------------

    @property
    def axes(self) -> tuple[str, ...]:
        return tuple(self._axes)

    @property
    def capabilities(self) -> MotionCapabilities:
        return MotionCapabilities()

    async def connect(self) -> None:
        if self._connected:
            return
        try:
            await self._channels.connect([pv for a in self._axes.values() for pv in a.pvs])
            await asyncio.gather(*(axis.begin() for axis in self._axes.values()))
        except BaseException:
            await self._channels.close()
            raise
        self._connected = True

    async def close(self) -> None:
        self._connected = False
        await self._channels.close()

    async def limits(self) -> Mapping[str, AxisLimits]:
        return self._limits(await self._records(self._axes))

    async def position(self) -> Mapping[str, float]:
        positions = await asyncio.gather(*(axis.position() for axis in self._axes.values()))
        return dict(zip(self._axes, positions, strict=True))

    async def check(self, path: Path) -> None:
        records = await self._records(axis for axis in self._axes if axis in path.axes)
        if not records:
            raise ConfigurationError(
                f"the path moves {', '.join(path.axes)}, none of which belongs to it",
                device=self.name,
                remedy=f"use {', '.join(self.axes)}, or fly with the motion that has these axes",
            )
        for name, record in records.items():
            axis = self._axes[name]
            problem = ready_problem(record, axis.settings.pv, axis.settings)
            if problem is not None:
                raise NotReadyError(problem[0], device=axis.device, remedy=problem[1])
            if record.dmov == 0:
                raise BusyError(
                    "the motor is moving, somebody else drives it",
                    device=axis.device,
                    remedy=f"wait for it to end, or stop it with {axis.settings.pv}.STOP",
                )
        limits = self._limits(records)
        extents = path.extents()
        for name, limit in limits.items():
            for end in extents[name]:
                _check_travel(self._axes[name], limit, end)
        await check_path(self.name, path, records, limits)

    # --- motion ----------------------------------------------------------------------------

    async def move_to(self, axis: str, position: float, velocity: float | None = None) -> None:
        if axis not in self._axes:
            raise ConfigurationError(
                f"unknown axis {axis!r}",
                device=self.name,
                remedy=f"axes are {', '.join(self.axes)}",
            )
        motor = self._axes[axis]
        record = (await self._records([axis]))[axis]
        limits = self._limits({axis: record})[axis]
        _check_move(motor, record, limits, position, velocity)
        usual = self._found.get(axis, record.speed)
        acceleration = record.acceleration(usual)
        speed = usual if velocity is None else record.ramped(velocity, velocity / acceleration)
        seconds = rest_to_rest(record.rbv - position, speed.velo, acceleration)
        allowed = seconds + record.dly + (1 + record.rtry) * 2 * record.leg_time()
        move = Move(position, speed, allowed, record.tolerance(motor.settings))
        try:
            await self._fly({axis: move})
        finally:
            if speed != record.speed:
                await shielded(motor.leave_speed(record.speed))

    async def _fly(self, moves: Mapping[str, Move]) -> None:
        """Carry out moves; whatever goes wrong, they are stopped."""
        group = self._group(moves)
        await group.begin()
        if missed := await group.rest():
            raise group.astray(missed)

    def _group(self, moves: Mapping[str, Move]) -> MoveGroup:
        return MoveGroup(self._axes, moves, self._clock, self._changed, self._timeout)

    async def prepare(self, sweep: Sweep) -> None:
        check_sweep(self, sweep)
        targets = {axis: sweep.origin[axis] for axis in self._axes if axis in sweep.origin}
        records = await self._records(targets)
        limits = self._limits(records)
        moves: dict[str, Move] = {}
        for axis, record in records.items():
            tolerance = record.tolerance(self._axes[axis].settings)
            if not record.stands_at(targets[axis], tolerance):
                moves[axis] = _travel(record, targets[axis], limits[axis], tolerance)
        await self._fly(moves)

    async def start(self, sweep: Sweep) -> None:
        records = await self._records(a for a in sweep.segment.moving if a in self._axes)
        self._held = False
        moves = {
            axis: _cruise(record, sweep, axis, record.tolerance(self._axes[axis].settings))
            for axis, record in records.items()
        }
        self._sweep = self._group(moves)
        await self._sweep.begin()

    async def join(self) -> JoinOutcome:
        missed = await self._sweep.rest()
        if missed and not self._held:
            raise self._sweep.astray(missed)
        return JoinOutcome.HELD if missed else JoinOutcome.DONE

    async def hold(self) -> None:
        self._held = True
        moving = [motor for motor in self._axes.values() if motor.moving]
        await come_to_rest(moving, self._timeout)

    async def retune(self, factor: float) -> None:
        raise ConfigurationError(
            f"cannot fly {factor:g} times as fast from now on: a motor record applies a new VELO "
            "to its next move only",
            device=self.name,
            remedy="fly with a motion whose capabilities say velocity_in_flight",
        )

    async def stop(self) -> None:
        if self._connected:
            await come_to_rest(list(self._axes.values()), self._timeout)

    # --- settings --------------------------------------------------------------------------

    def restore_steps(self) -> tuple[RestoreStep, ...]:
        # VELO before ACCL, which the record may recompute from it.
        return tuple(
            RestoreStep(self._axes[axis].pv(field), repr(value))
            for axis, speed in self._found.items()
            for field, value in (("VELO", speed.velo), ("ACCL", speed.accl))
        )

    async def restore(self, steps: tuple[RestoreStep, ...] | None = None) -> None:
        wanted = self.restore_steps() if steps is None else steps
        known = {axis.pv(field) for axis in self._axes.values() for field in ("VELO", "ACCL")}
        if strange := [step.key for step in wanted if step.key not in known]:
            raise ConfigurationError(
                f"cannot put back {', '.join(strange)}, which belongs to none of the axes",
                device=self.name,
                remedy="restore with the configuration that the flight was made with",
            )
        if wanted:
            await self.connect()
        for step in wanted:
            await self._channels.write(step.key, float(step.value))
        self._found.clear()

    async def save(self, path: Path) -> None:
        """Keep the speeds found before the first change."""
        for axis, record in (await self._records(a for a in path.axes if a in self._axes)).items():
            self._found.setdefault(axis, record.speed)

    # --- parts -----------------------------------------------------------------------------

    async def _records(self, axes: Iterable[str]) -> dict[str, MotorRecord]:
        if not self._connected:
            raise NotReadyError(
                "not connected", device=self.name, remedy="await connect() before flying"
            )
        names = list(axes)
        records = await asyncio.gather(*(self._axes[axis].record() for axis in names))
        return dict(zip(names, records, strict=True))

    def _limits(self, records: Mapping[str, MotorRecord]) -> dict[str, AxisLimits]:
        return {
            axis: record.limits(self._axes[axis].settings, self._found.get(axis, record.speed))
            for axis, record in records.items()
        }


def _check_move(
    motor: MotorAxis,
    record: MotorRecord,
    limits: AxisLimits,
    position: float,
    velocity: float | None,
) -> None:
    """Raise for a move the record would refuse or carry out differently."""
    if problem := move_problem(record, motor.settings.pv):
        raise NotReadyError(problem[0], device=motor.device, remedy=problem[1])
    _check_travel(motor, limits, position)
    if velocity is not None and not record.vbas < velocity <= limits.velocity:
        raise LimitError(
            f"cannot move at {velocity:g} {limits.unit}/s, speeds are {record.vbas:g} to "
            f"{limits.velocity:g}",
            device=motor.device,
            remedy="leave the velocity to the record, or choose one in between",
        )


def _check_travel(motor: MotorAxis, limits: AxisLimits, position: float) -> None:
    if not limits.low <= position <= limits.high:
        raise LimitError(
            f"cannot go to {position:g} {limits.unit}, soft limits are {limits.low:g} to "
            f"{limits.high:g}",
            device=motor.device,
            remedy=f"stay within {motor.settings.pv}.LLM..{motor.settings.pv}.HLM",
        )


def _travel(record: MotorRecord, target: float, limits: AxisLimits, tolerance: float) -> Move:
    """A move between sweeps, as fast as the limits allow."""
    seconds = rest_to_rest(record.rbv - target, limits.velocity, limits.acceleration)
    speed = record.ramped(limits.velocity, limits.velocity / limits.acceleration)
    return Move(target, speed, seconds + 2 * record.leg_time(), tolerance)


def _cruise(record: MotorRecord, sweep: Sweep, axis: str, tolerance: float) -> Move:
    """The move of a sweep."""
    return Move(
        record.aim(sweep.origin[axis], sweep.target[axis]),
        record.ramped(abs(sweep.velocity[axis]), sweep.ramp),
        sweep.duration + 2 * record.leg_time(),
        tolerance,
    )
