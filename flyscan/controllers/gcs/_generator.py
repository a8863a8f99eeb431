"""The wave generator of a controller: load a curve, run it, stop it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...errors import ConfigurationError, ControllerError
from ...flight import FloatArray, Sweep
from ._codec import parse_array, parse_texts
from ._controller import GcsController
from ._profile import WaveMemory
from ._wave import plan_wave, points_commands

__all__ = ["WaveGenerator"]

_COMMANDS = ("#9", "GWD?", "WAV", "WGC", "WGO", "WOS", "WSL", "WTR")
_SETTINGS = ("WGC", "WOS", "WSL", "WTR")
_LINEAR = 1
_START_NOW = 1
# The curve may deviate by a fraction of what is allowed at rest.
_FRACTION = 0.2
# Tables are read back as text with a limited number of decimals.
_READ_BACK = 1e-5


class WaveGenerator:
    """Curves by wave table; generator and table of an axis have the number of the axis.

    Args:
        controller: whose generator it is.
    """

    def __init__(self, controller: GcsController) -> None:
        self._controller = controller
        self._loaded: tuple[str, ...] = ()

    @property
    def available(self) -> bool:
        """Whether the controller has one."""
        return self._controller.profile.wave is not None and self._controller.lists(*_COMMANDS)

    async def settings(self) -> dict[str, str]:
        """Present settings of the configured axes' generators: ``"WTR 1"`` to its values."""
        found: dict[str, str] = {}
        ids = [str(self._controller.number(user)) for user in self._controller.axes]
        for command in _SETTINGS:
            if self._controller.lists(f"{command}?"):
                texts = await self._controller.link.query(
                    lambda answer: parse_texts(answer, ids), f"{command}?", *ids
                )
                found |= {f"{command} {id_}": text for id_, text in texts.items()}
        return found

    async def load(self, sweep: Sweep) -> None:
        """Write the curve of a sweep and make it ready to run once.

        What was written is read back before anything moves, as the E-727 manual advises.

        Raises:
            ConfigurationError: the controller has no wave generator.
            LimitError: the curve leaves the travel or does not fit into its memory.
            ControllerError: the tables read back differ.
        """
        controller = self._controller
        memory = self._memory()
        times, curves = sweep.curve()
        moving = [user for user in controller.axes if user in sweep.segment.moving]
        for user in moving:
            for end in (np.min(curves[user]), np.max(curves[user])):
                controller.check_travel(user, float(end))
        wave = plan_wave(
            times,
            {user: controller.axes[user].all_to_box(curves[user]) for user in moving},
            memory=memory,
            tolerances={
                user: _FRACTION * controller.tolerance(user) / controller.axes[user].scale
                for user in moving
            },
            device=controller.name,
        )
        tables = {str(controller.number(user)): p for user, p in wave.tables.items()}
        for id_, points in tables.items():
            await self._write(id_, points)
        await self._verify(tables)
        link = controller.link
        for id_ in tables:
            await link.command("WSL", id_, int(id_))
            await link.command("WGC", id_, 1)
            await link.command("WOS", id_, 0)
            await link.command("WTR", id_, wave.rate, _LINEAR)
        self._loaded = tuple(tables)

    async def start(self) -> None:
        """Run what was loaded."""
        pairs = [word for id_ in self._loaded for word in (id_, _START_NOW)]
        await self._controller.link.command("WGO", *pairs, repeat=False)

    async def stop(self) -> None:
        """Stop the generators loaded; the axes stand."""
        if self._loaded:
            pairs = [word for id_ in self._loaded for word in (id_, 0)]
            await self._controller.link.command("WGO", *pairs)

    def _memory(self) -> WaveMemory:
        memory = self._controller.profile.wave
        if memory is None or not self.available:
            raise ConfigurationError(
                "the controller has no wave generator to fly a curve with",
                device=self._controller.name,
                remedy="fly straight lines, or use a controller of the E-727 class",
            )
        return memory

    async def _write(self, table: str, points: FloatArray) -> None:
        for arguments in points_commands(table, points):
            await self._controller.link.command("WAV", *arguments, repeat=False)

    async def _verify(self, tables: Mapping[str, FloatArray]) -> None:
        for table, points in tables.items():
            found = await self._controller.link.query(parse_array, "GWD?", 1, len(points), table)
            if found.data.shape != (len(points), 1) or not np.allclose(
                found.data[:, 0], points, rtol=0, atol=_READ_BACK
            ):
                raise ControllerError(
                    f"wave table {table} differs from what was written",
                    device=self._controller.name,
                    remedy="make sure that no other client writes wave tables",
                )
