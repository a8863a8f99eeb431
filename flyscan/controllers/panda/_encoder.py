"""Encoder inputs of the box: whether they are alive, and their counts."""

from __future__ import annotations

from collections.abc import Iterable

from ...errors import NotReadyError
from .._axis_map import AxisMap
from ._control import ControlLink

__all__ = ["PandaEncoder", "check_encoders"]


class PandaEncoder:
    """One INENC block as an :class:`EncoderPort`."""

    def __init__(self, control: ControlLink, block: str, incremental: bool) -> None:
        self._control = control
        self._block = block
        self.incremental = incremental

    @classmethod
    async def of(cls, control: ControlLink, block: str) -> PandaEncoder:
        """Ask the box for the encoder's kind: only a quadrature count may be set (SETP)."""
        protocol = (await control.values(f"{block}.PROTOCOL"))[0]
        return cls(control, block, protocol == "Quadrature")

    @property
    def name(self) -> str:
        """The box and its input."""
        return f"{self._control.name} {self._block}"

    async def read(self) -> int:
        """Present count."""
        return int((await self._control.values(f"{self._block}.VAL"))[0])

    async def preset(self, counts: int) -> None:
        """Set the present count."""
        await self._control.run(f"{self._block}.SETP={counts}")


async def check_encoders(control: ControlLink, device: str, maps: Iterable[AxisMap]) -> None:
    """Check that encoders are connected and healthy.

    Raises:
        NotReadyError: one is not; it says which and what the box says of it.
    """
    for axis_map in maps:
        block = axis_map.encoder
        connected, health = await control.values(f"{block}.CONN", f"{block}.HEALTH")
        if connected != "1" or health != "OK":
            raise NotReadyError(
                f"encoder {block}: connected {connected}, health {health!r}; expected 1 and 'OK'",
                device=device,
                remedy="check the encoder cable, its power and the protocol set in the box",
            )
