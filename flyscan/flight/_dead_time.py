"""Counts corrected for the detector's dead time, row by row.

A detector that is blind for `tau` after every count, whatever comes meanwhile (non-paralysable),
sees ``n`` of ``n / (1 - n tau / live)`` counts (G. F. Knoll, Radiation Detection and
Measurement). Correcting a sum of rows instead of every row is wrong by up to -23 %.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..errors import ConfigurationError
from ._block import Block, Channel, FloatArray

__all__ = ["DeadTimes"]

SUFFIX = "_corrected"


class DeadTimes:
    """Adds a column ``NAME_corrected`` for every channel with a dead time.

    Args:
        device: the rig, for messages.
        seconds: channel to its dead time per count.

    Raises:
        ConfigurationError: a dead time is not positive.
    """

    def __init__(self, device: str, seconds: Mapping[str, float]) -> None:
        self._device = device
        self._seconds = dict(seconds)
        wrong = {n: s for n, s in self._seconds.items() if not (np.isfinite(s) and s > 0)}
        if wrong:
            raise ConfigurationError(
                f"dead times {wrong} make no sense",
                device=device,
                remedy="give positive seconds per count, or leave the channel out",
            )

    def channels(self, captured: tuple[Channel, ...]) -> tuple[Channel, ...]:
        """The columns added to those captured.

        Raises:
            ConfigurationError: there is no such channel to correct.
        """
        known = {c.name: c for c in captured if c.shape == ()}
        missing = sorted(self._seconds.keys() - known.keys())
        if missing:
            raise ConfigurationError(
                f"has a dead time for {', '.join(missing)}, which it does not capture",
                device=self._device,
                remedy=f"name some of {', '.join(known)}",
            )
        return tuple(
            Channel(
                f"{name}{SUFFIX}",
                unit=known[name].unit,
                source=f"{known[name].source} (dead time {seconds:g} s)",
                precision=1,
            )
            for name, seconds in self._seconds.items()
        )

    def columns(self, block: Block) -> dict[str, FloatArray]:
        """The columns of a block; NaN where a detector counts more than it can."""
        found: dict[str, FloatArray] = {}
        for name, seconds in self._seconds.items():
            counts = np.asarray(block.columns[name], np.float64)
            with np.errstate(divide="ignore", invalid="ignore"):
                open_share = 1 - counts * seconds / block.exposure
                found[f"{name}{SUFFIX}"] = np.where(open_share > 0, counts / open_share, np.nan)
        return found
