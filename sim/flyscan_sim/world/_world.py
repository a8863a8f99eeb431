"""The simulated world: stages, beam, sample and detectors on one clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flyscan.errors import ConfigurationError
from flyscan.flight import Clock

from ._axis import AxisSpec, StageAxis
from ._beam import RingSpec, Shutter, StorageRing
from ._exposure import Exposure
from ._faults import FaultScript
from ._lines import Edges, PulseLine
from ._poisson import PoissonProcess
from ._sample import Field
from ._trajectory import FloatArray

__all__ = ["Detector", "Geometry", "World"]

_SETTLE_LAGS = 8  # time constants until a lag has died out


@dataclass(frozen=True)
class Detector:
    """A counting channel.

    Attributes:
        rate: pulses per second at full ring current and concentration 1.
        field: concentration seen, None for the beam itself.
        dark: pulses per second without beam.
    """

    rate: float
    field: Field | None = None
    dark: float = 0.0


Geometry = Mapping[str, float]
"""Micrometres on the sample per unit of each axis that shifts it in one direction."""


class World:
    """Everything physical; a pure function of time and of the commands and faults so far.

    Args:
        clock: the time all parts live in.
        axes: stage axes by name.
        detectors: counting channels by name.
        horizontal, vertical: how axes add up to the place of the beam on the sample.
        faults: what goes wrong.
        ring: the storage ring.
        shutter_open: state of the shutter at the start.
        seed: fixes vibration and counting noise.
    """

    def __init__(
        self,
        clock: Clock,
        axes: Mapping[str, AxisSpec],
        detectors: Mapping[str, Detector],
        *,
        horizontal: Geometry,
        vertical: Geometry,
        faults: FaultScript | None = None,
        ring: RingSpec | None = None,
        shutter_open: bool = True,
        seed: int = 0,
    ) -> None:
        self.clock = clock
        self.seed = seed
        self.faults = faults or FaultScript(clock)
        self.axes = {
            name: StageAxis(name, spec, clock, self.faults, seed + 1000 * number)
            for number, (name, spec) in enumerate(axes.items(), start=1)
        }
        self.faults.check_axes(self.axes)
        self.ring = StorageRing(ring or RingSpec(), self.faults)
        self.shutter = Shutter(clock, self.faults, opened=shutter_open)
        self.channels = tuple(detectors)
        self._detectors = dict(detectors)
        self._lines: dict[str, PulseLine] = {}
        self._horizontal = horizontal
        self._vertical = vertical
        self._exposure = Exposure(len(detectors), self._rates, self._spans)
        self._processes = [PoissonProcess(seed, number) for number in range(len(detectors))]

    def counted(self, channel: str, t: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Pulses of `channel` from time 0 to `t`, scalar or shape (n,), all `t` <= now.

        The answer for a given `t` never changes and does not depend on what else is asked.

        Raises:
            ConfigurationError: no such channel.
            ValueError: a time lies in the future.
        """
        when = np.asarray(t, float)
        flat = np.maximum(when.ravel(), 0.0)
        if len(flat) and flat.max() > self.clock.now():
            raise ValueError(f"{channel} is counted up to now, not to {flat.max()} s")
        counts = self._count(channel, flat)
        return counts.reshape(when.shape)[()]

    def connect(self, channel: str, edges: Edges) -> None:
        """Add a channel that counts the rising edges of a line of another box.

        Args:
            channel: its name among `channels`.
            edges: when the line rises.

        Raises:
            ConfigurationError: the name is taken.
        """
        if channel in self.channels:
            raise ConfigurationError(
                f"channel {channel!r} exists already",
                device="world",
                remedy="connect each line once, under a name of its own",
            )
        self._lines[channel] = PulseLine(edges)
        self.channels += (channel,)

    def rate(self, channel: str, t: npt.ArrayLike) -> FloatArray:
        """Mean pulses per second of detector `channel` at times `t`."""
        when = np.asarray(t, float)
        rates = self._rates(when.ravel())[self._number(channel)]
        return rates.reshape(when.shape)[()]

    def beam_current(self, t: npt.ArrayLike) -> FloatArray:
        """Ring current at times `t`, mA."""
        return self.ring.current(t)

    def sample_position(self, t: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Where the beam hits the sample at times `t`, um."""
        return self._shift(self._horizontal, t), self._shift(self._vertical, t)

    def _shift(self, geometry: Geometry, t: npt.ArrayLike) -> FloatArray:
        total = np.zeros(np.shape(t))
        for name, scale in geometry.items():
            total = total + scale * self.axes[name].position(t)
        return total

    def _count(self, channel: str, t: FloatArray) -> npt.NDArray[np.int64]:
        if channel in self._lines:
            return self._lines[channel].count(t)
        number = self._number(channel)
        return self._processes[number].count(self._exposure.integral(number, t))

    def _number(self, channel: str) -> int:
        if channel not in self._detectors:
            raise ConfigurationError(
                f"no detector channel {channel!r}",
                device="world",
                remedy=f"use one of {', '.join(self.channels)}",
            )
        return list(self._detectors).index(channel)

    def _rates(self, t: FloatArray) -> FloatArray:
        """Pulse rates of all channels at times (n,), shape (channels, n)."""
        beam = self.ring.current(t) / self.ring.spec.current * self.shutter.is_open(t)
        x, y = self.sample_position(t)
        rates = [
            d.dark + d.rate * beam * (d.field(x, y) if d.field else 1.0)
            for d in self._detectors.values()
        ]
        return np.array(rates).reshape(len(self._detectors), len(t))

    def _spans(self, start: float, end: float) -> list[tuple[float, float]]:
        spans = [(t, t) for t in self.ring.edges(start, end) + self.shutter.edges(start, end)]
        for name in {*self._horizontal, *self._vertical}:
            axis = self.axes[name]
            settle = _SETTLE_LAGS * axis.spec.lag
            spans += [(begin, stop + settle) for begin, stop in axis.moves(start - settle, end)]
            spans += axis.disturbed(start, end)
        return spans
