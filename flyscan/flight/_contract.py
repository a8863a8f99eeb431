"""The two contracts every controller binding implements: Motion and Capture.

Any Motion combines with any Capture; a box that does both implements both. All coroutines run
on the flight host's loop, never block it, and end within a stated time or raise a
:class:`~flyscan.errors.FlyscanError` that names the device. ``stop`` and ``restore`` are safe
at any time and any number of times. The order in which a flight calls them::

    connect  limits  validate  check  save  align  arm
    [prepare  begin  start  join  end]*  disarm  restore  close

and, for a capture that can, ``triggered`` and ``ready`` of the next sweep between ``start`` and
the next ``begin``, while the stage moves.

A hold asks the capture first, then the motion, and goes on through the same
``prepare, begin, start`` as any other sweep, with a later ``from_point``: starting, resuming
and going back are one code path.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from ._block import Block, Channel
from ._limits import AxisLimits, CaptureCapabilities, MotionCapabilities
from ._path import Path
from ._sweep import Sweep

__all__ = ["Capture", "EndReason", "JoinOutcome", "Motion", "RestoreStep"]


class JoinOutcome(StrEnum):
    """How a sweep ended."""

    DONE = "done"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class EndReason:
    """Why a capture ended.

    Args:
        ok: True for a planned end.
        rows: rows delivered since arming.
        text: the box's own words, e.g. ``"Disarmed"``.
    """

    ok: bool
    rows: int
    text: str


@dataclass(frozen=True, slots=True)
class RestoreStep:
    """One setting of a box as it was before the flight, for the restore journal.

    Args:
        key: the box's name of the setting, e.g. ``"PCOMP1.START"`` or ``"VEL 1"``.
        value: what to write back.
    """

    key: str
    value: str


class Motion(ABC):
    """A controller that moves one or more axes of a path."""

    name: str

    @property
    @abstractmethod
    def axes(self) -> tuple[str, ...]:
        """Names of the axes, as paths use them."""

    @property
    @abstractmethod
    def capabilities(self) -> MotionCapabilities:
        """What the box can do; valid after :meth:`connect`."""

    @abstractmethod
    async def connect(self) -> None:
        """Connect and learn the box's state. Idempotent. Moves and changes nothing.

        Raises:
            ConnectionLostError: nobody answers at the configured address in time.
            ConfigurationError: the box is not of the configured kind or lacks an axis.
        """

    @abstractmethod
    async def close(self) -> None:
        """Close connections. Idempotent."""

    @abstractmethod
    async def limits(self) -> Mapping[str, AxisLimits]:
        """Read the limits of every axis, in user units."""

    @abstractmethod
    async def position(self) -> Mapping[str, float]:
        """Read where every axis is, in user units."""

    @abstractmethod
    async def check(self, path: Path) -> None:
        """Read-only check that the box is fit to fly `path` now.

        Raises:
            NotReadyError: servo off, not referenced, paused, in SET mode, at a limit switch ...
            LimitError: the box's own settings forbid the path.
            ConfigurationError: the path needs a capability the box lacks.
        """

    @abstractmethod
    async def save(self, path: Path) -> None:
        """Read and remember every setting a flight along `path` changes; change nothing.

        From here on :attr:`restore_steps` tells what :meth:`restore` would write, so that it can
        be noted on disk before the first change. What is remembered already stays as it is.
        """

    @abstractmethod
    async def move_to(self, axis: str, position: float, velocity: float | None = None) -> None:
        """Move one axis to a position in user units and wait until it is there.

        Cancelling it leaves the axis decelerating to rest.

        Raises:
            LimitError: the position is outside travel, or the velocity above the limit.
            NotReadyError: the axis cannot move: servo off, not referenced, paused.
        """

    @abstractmethod
    async def prepare(self, sweep: Sweep) -> None:
        """Go to ``sweep.origin`` and settle there.

        Cancelling it leaves the axes decelerating to rest.
        """

    @abstractmethod
    async def start(self, sweep: Sweep) -> None:
        """Start the sweep from its origin; return when the box has accepted the command.

        The motion is bounded in hardware: it ends at ``sweep.target`` if nobody is left to
        stop it.
        """

    @abstractmethod
    async def join(self) -> JoinOutcome:
        """Wait until the sweep ends at its target or comes to rest after :meth:`hold`.

        Raises:
            MotionError: it ended anywhere else: stall, limit switch, following error.
            WatchdogError: it did not end in the planned time plus a margin.
        """

    @abstractmethod
    async def hold(self) -> None:
        """Decelerate to rest on the path and return at rest. Harmless when nothing moves."""

    @abstractmethod
    async def retune(self, factor: float) -> None:
        """Change the speed of the sweep under way to `factor` times its nominal velocity.

        Raises:
            ConfigurationError: the box cannot (see :attr:`capabilities`).
        """

    @abstractmethod
    async def stop(self) -> None:
        """Bring every axis to rest as fast as is safe."""

    @abstractmethod
    def restore_steps(self) -> tuple[RestoreStep, ...]:
        """What :meth:`restore` would write now; kept in the restore journal."""

    @abstractmethod
    async def restore(self, steps: tuple[RestoreStep, ...] | None = None) -> None:
        """Put velocities and other settings back as found; from `steps` after a crash."""


class Capture(ABC):
    """A box that triggers and captures rows along a path."""

    name: str

    @property
    @abstractmethod
    def capabilities(self) -> CaptureCapabilities:
        """What the box can do; valid after :meth:`connect`."""

    @abstractmethod
    def channels(self) -> tuple[Channel, ...]:
        """The columns of every block; valid after :meth:`connect`."""

    @abstractmethod
    async def connect(self) -> None:
        """Connect and learn the box's layout. Idempotent. Changes nothing."""

    @abstractmethod
    async def close(self) -> None:
        """Close connections. Idempotent."""

    @abstractmethod
    def validate(self, path: Path) -> tuple[str, ...]:
        """Check `path` without touching hardware; remarks such as the rounding of the step.

        Raises:
            LimitError: trigger period below the minimum, counts out of range.
            ConfigurationError: no encoder is wired for the fast axis, trigger kind missing.
        """

    @abstractmethod
    async def check(self, path: Path) -> None:
        """Read-only check that the box is fit to capture `path` now.

        Raises:
            BusyError: another client uses the box.
            NotReadyError: encoder not connected, box in a wrong state.
        """

    @abstractmethod
    async def save(self, path: Path) -> None:
        """Read and remember every setting a flight along `path` changes; change nothing.

        As for :meth:`Motion.save`.
        """

    @abstractmethod
    async def align(
        self,
        axis: str,
        readback: Callable[[], Awaitable[float]],
        *,
        tolerance: float,
        move: Callable[[float], Awaitable[None]] | None = None,
        distance: float = 0.0,
    ) -> float:
        """Set and verify the encoder of `axis` against its motor, at rest.

        Args:
            axis: one of the axes whose position a channel reports.
            readback: gives the motor's position in user units.
            tolerance: largest accepted disagreement in user units, positive.
            move: moves the axis to a user position and returns at rest; None for no move.
            distance: signed length of the verification move in user units.

        Returns:
            Encoder minus motor position at the end, in user units.

        Raises:
            NotReadyError: the encoder disagrees with the motor, or does not follow it.
            ConfigurationError: it follows in the wrong direction or at another scale.
        """

    @abstractmethod
    async def arm(self, path: Path, from_point: int) -> None:
        """Configure and arm for `path` from `from_point`; rows count from 0."""

    @abstractmethod
    async def begin(self, sweep: Sweep) -> None:
        """Make triggers ready for `sweep` while the stage stands at ``sweep.origin``.

        Checks that the box waits for the first trigger, so that no motion starts in vain. For
        a box still armed for ``sweep.from_point`` after a hold this changes nothing. For a
        dwell (``sweep.static``) it starts the triggers.

        Raises:
            CaptureError: the box did not come to wait for the first trigger.
        """

    async def triggered(self, sweep: Sweep) -> None:
        """Return once every trigger of the sweep under way is made and its exposure is over.

        Called while the stage still flies, and cancelled when it holds or rests: how long it may
        take is for :meth:`end` to judge. A box that can tell lets the next sweep be made ready
        during the run-down. Unless overridden this never returns.

        Raises:
            CaptureError: as for :meth:`end`.
        """
        await asyncio.Event().wait()

    async def ready(self, sweep: Sweep) -> None:  # noqa: B027  a step that boxes may do without
        """Do what can be done for `sweep` beforehand, while the stage is on its way to it.

        Called after :meth:`triggered` has returned for the sweep before, and may be cancelled.
        Nothing triggers until :meth:`begin`, wherever the stage goes, and :meth:`reached` still
        speaks of the sweep before. If `begin` is called for another sweep, all this is void.
        Unless overridden it does nothing.
        """

    @abstractmethod
    async def reached(self) -> int:
        """Path index of the next point not yet triggered, live from the box."""

    @abstractmethod
    async def hold(self) -> None:
        """Called before the motion holds: stop triggers that do not depend on position."""

    @abstractmethod
    async def withdraw(self) -> None:
        """Take back the triggers of a sweep that was held: nothing triggers until `begin`.

        Called before the stage leaves the place where it was held for another part of the path,
        since on the way it may pass points that are still to come. :meth:`reached` stays valid.
        """

    @abstractmethod
    async def end(self, sweep: Sweep) -> int:
        """Called when the sweep's motion is over: wait for its last trigger to finish.

        Returns:
            Path index of the next point not triggered; ``sweep.segment.end_point`` if none was
            missed. A trigger that made no row counts as one.
        """

    @abstractmethod
    async def retune(self, factor: float) -> None:
        """Change the trigger step or period of the sweep under way to `factor` times nominal.

        Raises:
            ConfigurationError: the box cannot (see :attr:`capabilities`).
        """

    @abstractmethod
    async def captured(self) -> int:
        """Rows captured since the last arming; all of them are on their way through `blocks`.

        Asked for when rows have not come some block periods after their triggers, also after
        :meth:`disarm`: it tells rows that are late from triggers that made none.

        Raises:
            WatchdogError: captured rows do not come to the computer.
        """

    @abstractmethod
    async def disarm(self) -> int:
        """Finish the row under way and end the capture.

        Returns:
            Rows captured since arming; :meth:`blocks` ends after delivering that many.
        """

    @abstractmethod
    def blocks(self) -> AsyncIterator[Block]:
        """Blocks since :meth:`arm`, in order; ends after :meth:`disarm`.

        Every trigger has one number and at most one row. A trigger that made no row, or one with
        the data of others in it, is left out, and its number with it: see :class:`Block`.

        Raises:
            CaptureError: the box ended by itself; the message has its reason and remedy.
            ConnectionLostError: the connection broke and could not be recovered in time.
        """

    @property
    @abstractmethod
    def end_reason(self) -> EndReason | None:
        """Why the last capture ended; None while it runs or before the first."""

    @abstractmethod
    async def stop(self) -> None:
        """Stop triggers and capture at once."""

    @abstractmethod
    def restore_steps(self) -> tuple[RestoreStep, ...]:
        """What :meth:`restore` would write now; kept in the restore journal."""

    @abstractmethod
    async def restore(self, steps: tuple[RestoreStep, ...] | None = None) -> None:
        """Put every changed setting back as found; from `steps` after a crash."""
