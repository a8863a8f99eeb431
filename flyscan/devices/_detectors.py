"""Detectors that fly along: armed once, triggered by the flyer's capture, counted against it."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from bluesky.protocols import HasName, Preparable, Stageable, Status
from ophyd_async.core import AsyncStatus, DetectorTrigger, TriggerInfo

from ..errors import ConfigurationError, FlyscanError, LedgerError, LimitError
from ..flight import Clock, Path, RealClock, within
from ._shield import ShieldedDetector

__all__ = ["FlyingDetectors", "TriggeredDetector"]

LOG = logging.getLogger("flyscan.devices")
DUTY = 0.8
POLL = 0.01
LATE_AFTER = 1.0
SETTLE = 0.2


class TriggeredDetector(HasName, Stageable, Protocol):
    """What is asked of a detector; an ophyd-async ``StandardDetector`` is one."""

    async def get_trigger_deadtime(self) -> tuple[set[DetectorTrigger], float | None]: ...

    def prepare(self, value: TriggerInfo) -> Status: ...

    def kickoff(self) -> Status: ...


class FlyingDetectors(Stageable, Preparable):
    """The detectors of one run.

    How many frames there will be is open: flights may be held, or stopped. So detectors are
    armed for more than can come, their index is watched here, and unstaging ends them; their
    own ``complete`` is never used.

    Args:
        detectors: ophyd-async detectors that take one frame per trigger.
        exposure: of all of them, s; None for 80 % of the shortest period, less the dead time.
        patience: how long after its trigger a frame may come, beyond exposure, s.
        clock: time.
    """

    name = "detectors"
    parent = None

    def __init__(
        self,
        detectors: Sequence[TriggeredDetector],
        exposure: float | None = None,
        *,
        patience: float = 5.0,
        clock: Clock | None = None,
    ) -> None:
        self._detectors = tuple(detectors)
        self._exposure = exposure
        self._patience = patience
        self._clock = clock or RealClock()
        self.members = ShieldedDetector.together(*detectors)
        self._prepared: tuple[str, AsyncStatus[None]] | None = None
        self._cycle = 0.0
        self._period = 0.0
        self._segment = -1
        self._before = 0
        self._counted = 0
        self._due: deque[tuple[int, float]] = deque()

    @property
    def names(self) -> list[str]:
        """Names of the detectors."""
        return [detector.name for detector in self._detectors]

    @property
    def index(self) -> float:
        """Frames that all detectors are known to have."""
        return min((member.index for member in self.members), default=math.inf)

    # --- arming ----------------------------------------------------------------------------

    def stage(self) -> AsyncStatus[None]:
        """Stage every detector."""
        return AsyncStatus(self._all("stage"), name=self.name)

    def unstage(self) -> AsyncStatus[None]:
        """Unstage every detector; under way on return, as nobody may await it."""
        self._prepared = None
        return AsyncStatus(self._all("unstage"), name=self.name)

    async def _all(self, verb: str) -> None:
        """One command for every detector; the first error after all of them have ended."""
        results = await asyncio.gather(
            *(_done(getattr(detector, verb)()) for detector in self._detectors),
            return_exceptions=True,
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result

    def prepare(self, value: Sequence[Path | Mapping[str, Any]]) -> AsyncStatus[None]:
        """Arm the detectors for all paths of a run, if they are fast enough.

        A pause makes the RunEngine ask for the same again; both get the same status.

        Raises:
            ConfigurationError: a detector cannot be triggered from outside.
            LimitError: a point takes a detector longer than the period of the path.
        """
        paths = [path if isinstance(path, Path) else Path.from_dict(path) for path in value]
        key = repr([path.to_dict() for path in paths])
        if self._prepared is not None and self._prepared[0] == key:
            status = self._prepared[1]
            if status.success or not status.done:
                return status
        status = AsyncStatus(self._prepare(paths), name=self.name)
        self._prepared = key, status
        return status

    async def _prepare(self, paths: Sequence[Path]) -> None:
        period = self._period = min(path.period for path in paths)
        exposures = [await self._exposure_of(detector, period) for detector in self._detectors]
        points = sum(path.points for path in paths)
        await asyncio.gather(
            *(
                self._arm(detector, exposure, _more_than(points))
                for detector, exposure in zip(self._detectors, exposures, strict=True)
            )
        )

    async def _exposure_of(self, detector: TriggeredDetector, period: float) -> float:
        """The exposure of one detector, s, checked against the path's period."""
        kinds, dead_time = await detector.get_trigger_deadtime()
        if DetectorTrigger.EXTERNAL_EDGE not in kinds:
            raise ConfigurationError(
                "cannot be triggered by an edge, only "
                f"{', '.join(sorted(kind.name for kind in kinds))}",
                device=detector.name,
                remedy="fly with a detector class that supports EXTERNAL_EDGE",
            )
        dead_time = dead_time or 0.0
        exposure = DUTY * period - dead_time if self._exposure is None else self._exposure
        shortest = max(exposure, 0.0) + dead_time
        if exposure <= 0 or period < shortest * (1 - 1e-9):
            raise LimitError(
                f"a period of {period:g} s is shorter than exposure and dead time, "
                f"{max(exposure, 0.0):g} s + {dead_time:g} s",
                device=detector.name,
                remedy=f"use a period above {max(shortest, dead_time / DUTY):g} s"
                + ("" if self._exposure is None else ", or a shorter exposure"),
            )
        self._cycle = max(self._cycle, shortest)
        return exposure

    async def _arm(self, detector: TriggeredDetector, exposure: float, frames: int) -> None:
        await _done(
            detector.prepare(
                TriggerInfo(
                    trigger=DetectorTrigger.EXTERNAL_EDGE,
                    livetime=exposure,
                    number_of_events=frames,
                    exposure_timeout=math.inf,
                )
            )
        )
        await _done(detector.kickoff())

    # --- counting --------------------------------------------------------------------------

    async def count(self, frames: int, segment: int, *, last: bool) -> None:
        """Wait until every detector has `frames` frames, triggers being at rest.

        Args:
            frames: triggers of the run so far.
            segment: what the latest of them belong to.
            last: no more will come, so that an extra frame would have to be seen now.

        Raises:
            LedgerError: frames are missing or too many.
        """
        if segment != self._segment:
            self._segment, self._before = segment, self._counted
        if last:
            await self._clock.sleep(SETTLE + self._cycle)
        await asyncio.gather(*(self._count_one(member, frames) for member in self.members))
        self._counted = frames

    async def _count_one(self, member: ShieldedDetector, frames: int) -> None:
        patience = self._cycle + self._patience
        began = self._clock.now()
        arrival = self._arrival(member, frames)
        await within(self._clock, patience, arrival, lambda: self._wrong(member, frames, patience))
        if (waited := self._clock.now() - began) > LATE_AFTER + self._cycle:
            LOG.warning(
                "%s: frames of segment %d came %.1f s late", member.name, self._segment, waited
            )
        # An extra frame makes the count right before the last frame has come: that one follows
        # the one before at the distance of their triggers.
        await self._clock.sleep(self._period + POLL)
        if await member.look() > frames:
            raise self._wrong(member, frames, patience)

    async def _arrival(self, member: ShieldedDetector, frames: int) -> None:
        while await member.look() < frames:
            await self._clock.sleep(POLL)

    def _wrong(self, member: ShieldedDetector, frames: int, patience: float) -> FlyscanError:
        expected, came = frames - self._before, member.index - self._before
        if came > expected:
            text = f"segment {self._segment}: {came} frames for {expected} triggers"
            remedy = "look for noise on its trigger cable, or for another source of triggers"
        else:
            text = (
                f"segment {self._segment}: {came} of {expected} frames came within "
                f"{patience:.3g} s of the last trigger"
            )
            remedy = (
                "a frame was dropped or is late: check its trigger cable, use a shorter exposure "
                "or a longer period, and look at the load of its IOC, network and disk"
            )
        return LedgerError(text, device=member.name, remedy=remedy)

    def behind(self, rows: int) -> bool:
        """Whether frames of the `rows` stored so far are still on their way, and not overdue."""
        self._note_due(rows)
        return bool(self._due) and not self._overdue

    def watch(self, rows: int) -> None:
        """See that the detectors keep up with the `rows` the flyer has stored, in full flight.

        Raises:
            LedgerError: a frame did not come in time.
        """
        self._note_due(rows)
        if self._overdue:
            slow = min(self.members, key=lambda member: member.index)
            raise LedgerError(
                f"{slow.index} frames came while {self._due[0][0]} rows were captured",
                device=slow.name,
                remedy="check that it is armed, its trigger cable, and its IOC, network and disk",
            )

    def _note_due(self, rows: int) -> None:
        if rows > (self._due[-1][0] if self._due else 0):
            self._due.append((rows, self._clock.now()))
        while self._due and self._due[0][0] <= self.index:
            self._due.popleft()

    @property
    def _overdue(self) -> bool:
        limit = self._cycle + self._patience
        return bool(self._due) and self._clock.now() - self._due[0][1] > limit

    def settled(self, rows: int) -> None:
        """Check, at the end, that there are as many frames as `rows`.

        Raises:
            LedgerError: there are not.
        """
        for member in self.members:
            if member.index != rows:
                raise LedgerError(
                    f"{member.index} frames for {rows} rows",
                    device=member.name,
                    remedy="a row or a frame was lost or doubled: check the trigger cables of "
                    "both, and fly again",
                )


def _more_than(points: int) -> int:
    """Frames to arm for: enough that frames beyond the plan are noticed and not cut off."""
    return points + max(100, points // 10)


async def _done(status: Any) -> None:
    await status
