"""Digital lines of other boxes, counted like detector pulses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ._trajectory import FloatArray

__all__ = ["Edges", "PulseLine"]

Edges = Callable[[float, float], FloatArray]
"""Times of rising edges in ``(start, end]``, increasing, s; `end` is not in the future."""


class PulseLine:
    """Counts of rising edges of a line, for questions in any order.

    Edges are fetched once each; counting starts with the world's time 0.
    """

    def __init__(self, edges: Edges) -> None:
        self._edges = edges
        self._known: FloatArray = np.zeros(0)
        self._reached = 0.0

    def count(self, t: FloatArray) -> npt.NDArray[np.int64]:
        """Edges up to `t`, shape (n,), none of them in the future."""
        latest = float(t.max(initial=0.0))
        if latest > self._reached:
            fresh = self._edges(self._reached, latest)
            self._known = np.concatenate([self._known, fresh]) if len(fresh) else self._known
            self._reached = latest
        return np.searchsorted(self._known, t, side="right").astype(np.int64)
