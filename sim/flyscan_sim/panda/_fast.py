"""Made-up samples for benchmarks: as many as the client takes, or so many a second.

Everything else is as usual (arming, header, framing, completion); only the samples do not
come from the simulated blocks, which could not make millions a second.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._capture import CapturePlan

__all__ = ["FastSource"]

TEMPLATE_ROWS = 16384
STAMPS = ("PCAP.TS_START", "PCAP.TS_END", "PCAP.TS_TRIG")


@dataclass(frozen=True)
class FastSource:
    """Samples at an even period, from the moment PCAP is enabled.

    Time stamps advance by `period_ticks`, the gate is always open, and every other column is
    a saw-tooth of its own.

    Args:
        rows_per_s: samples a second, handed over block by block; None sends without a pause,
            each client at its own speed, nothing kept for late ones.
        period_ticks: distance of the time stamps when `rows_per_s` is None, 8 ns each.
    """

    rows_per_s: float | None = None
    period_ticks: int = 125

    @property
    def step(self) -> int:
        """Ticks from one sample to the next."""
        return round(125e6 / self.rows_per_s) if self.rows_per_s else self.period_ticks

    def template(self, plan: CapturePlan) -> NDArray[np.void]:
        """The first samples (TEMPLATE_ROWS,) of `plan`."""
        rows = np.arange(TEMPLATE_ROWS, dtype=np.int64)
        samples = np.zeros(TEMPLATE_ROWS, plan.raw_dtype)
        for index, column in enumerate(plan.columns):
            if column.source in STAMPS:
                samples[f"{index}"] = rows * self.step
            elif column.source == "PCAP.GATE_DURATION":
                samples[f"{index}"] = self.step
            elif column.dtype != "V12":
                factor = self.step if column.measure == "Sum" else 1
                samples[f"{index}"] = (rows + 100 * index) % 4096 * factor
        return samples

    def block(
        self, plan: CapturePlan, template: NDArray[np.void], first: int, count: int
    ) -> NDArray[np.void]:
        """Samples `first` to `first + count`, at most TEMPLATE_ROWS of them."""
        # As bytes: numpy copies structures field by field, twenty times as slowly.
        samples = template[:count].view(np.uint8).copy().view(template.dtype)
        for index, column in enumerate(plan.columns):
            if column.source in STAMPS:
                samples[f"{index}"] += first * self.step
        return samples
