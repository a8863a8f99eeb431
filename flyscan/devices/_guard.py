"""The guard: the one thing the RunEngine stops and waits for, whatever happens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from bluesky.protocols import Movable, Stoppable
from ophyd_async.core import AsyncStatus, Device

from ..errors import ConfigurationError

__all__ = ["Guard"]


class Guard(Device, Movable[str], Stoppable):
    """Set to ``"armed"`` before kickoff, it makes the RunEngine bring the flight to rest.

    The RunEngine leaves flyers that were kicked off alone on abort, stop, halt and errors, and
    does not wait for what ``unstage`` starts then. But it awaits ``stop()`` of everything that
    was ever set, before each pause and at every exit, halt included.
    """

    def __init__(self, rest: Callable[[], Awaitable[None]], name: str = "") -> None:
        self._rest = rest
        self._armed = False
        super().__init__(name)

    @property
    def armed(self) -> bool:
        """True from before kickoff to the checkpoint after the last collect."""
        return self._armed

    def set(self, value: str) -> AsyncStatus[None]:
        """Arm or disarm.

        Raises:
            ConfigurationError: anything but ``"armed"`` or ``"disarmed"``.
        """
        if value not in ("armed", "disarmed"):
            raise ConfigurationError(
                f"expected 'armed' or 'disarmed', got {value!r}",
                device=self.name,
                remedy="leave the guard to flyscan's plans",
            )
        self._armed = value == "armed"
        return AsyncStatus(_nothing(), name=self.name)

    def relax(self) -> None:
        """Disarm without being told by a plan: the flyer is being put away."""
        self._armed = False

    async def stop(self, success: bool = True) -> None:
        """Bring an armed flight to rest; return when it is."""
        if self._armed:
            await self._rest()


async def _nothing() -> None:
    """A status needs something to await."""
