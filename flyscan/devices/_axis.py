"""Axes of a host's motion controllers as ordinary movables."""

from __future__ import annotations

import time
from typing import Any

from bluesky.protocols import HasHints, Hints, Location, Movable, Reading, Stoppable
from event_model import DataKey
from ophyd_async.core import AsyncStatus, Device

from ..flight.host import Host

__all__ = ["HostAxis"]


class HostAxis(Device, Movable[float], Stoppable, HasHints):
    """One axis that its flight host also flies: for ``mv``, ``rd``, baseline and step scans.

    Args:
        host: where its controller lives.
        owner: the controller's or the flyer's name in the host's configuration.
        axis: the axis' name there.
    """

    def __init__(self, host: Host, owner: str, axis: str, name: str = "") -> None:
        self._host = host
        self._owner = owner
        self._axis = axis
        self._setpoint: float | None = None
        self._limits: dict[str, Any] = {}
        super().__init__(name or axis)

    async def connect(
        self, mock: Any = False, timeout: float = 10.0, force_reconnect: bool = False
    ) -> None:
        """Start the host if need be and read the axis' limits.

        Raises:
            ConfigurationError: the owner has no such axis.
        """
        if mock:
            await super().connect(mock, timeout, force_reconnect)  # pyright: ignore[reportUnknownMemberType]
            return
        await self._host.start()
        self._limits = await self._host.call("axis_limits", owner=self._owner, axis=self._axis)

    @property
    def hints(self) -> Hints:
        """Live plots draw the position."""
        return {"fields": [self.name]}

    async def describe(self) -> dict[str, DataKey]:
        key: DataKey = {
            "source": f"flyscan://{self._owner}/{self._axis}",
            "dtype": "number",
            "dtype_numpy": "<f8",
            "shape": [],
            "units": self._limits.get("unit", ""),
            "precision": self._limits.get("precision", 3),
            "limits": {
                "control": {"low": self._limits.get("low"), "high": self._limits.get("high")}
            },
        }
        return {self.name: key}

    async def read(self) -> dict[str, Reading[float]]:
        return {self.name: {"value": await self._position(), "timestamp": time.time()}}

    async def locate(self) -> Location[float]:
        here = await self._position()
        return {"setpoint": here if self._setpoint is None else self._setpoint, "readback": here}

    def set(self, value: float, velocity: float | None = None) -> AsyncStatus[None]:
        """Move to a position in axis units, at `velocity` units per second if given."""
        return AsyncStatus(self._move(float(value), velocity), name=self.name)

    async def stop(self, success: bool = True) -> None:
        """Bring it to rest."""
        await self._host.call("axis_stop", owner=self._owner, axis=self._axis)

    async def _move(self, value: float, velocity: float | None) -> None:
        self._setpoint = value
        await self._host.call(
            "axis_move", owner=self._owner, axis=self._axis, position=value, velocity=velocity
        )

    async def _position(self) -> float:
        return float(await self._host.call("axis_read", owner=self._owner, axis=self._axis))
