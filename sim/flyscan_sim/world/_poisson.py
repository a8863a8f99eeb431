"""One realisation of the Poisson process, readable anywhere in any order."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import numpy.typing as npt

from ._trajectory import FloatArray

__all__ = ["PoissonProcess"]

_BLOCK = 65_536  # mean events of a block: the piece that is drawn event by event
_GROUP = 1024  # blocks whose totals are drawn together
_KEPT = 8


class PoissonProcess:
    """Counts of a unit-rate Poisson process on ``[0, inf)``.

    The realisation is fixed by `seed`. Block totals are drawn first (Poisson), then the events
    of a block are strewn uniformly over it, which is the same process; so reading far ahead
    does not need the events in between, and the answers do not depend on the order of reading.
    """

    def __init__(self, *seed: int) -> None:
        self._seed = seed
        self._before: list[npt.NDArray[np.int64]] = []
        self._blocks: OrderedDict[int, FloatArray] = OrderedDict()

    def count(self, mean: FloatArray) -> npt.NDArray[np.int64]:
        """Events up to the argument, shape (n,), of a process of unit rate."""
        block = np.floor(mean / _BLOCK).astype(np.int64)
        counts = np.zeros(mean.shape, np.int64)
        for index in np.unique(block).tolist():
            here = block == index
            events = self._events(index)
            inside = np.searchsorted(events, mean[here] - index * _BLOCK, side="right")
            counts[here] = self._offset(index) + inside
        return counts

    def _offset(self, index: int) -> int:
        """Events before block `index`."""
        group, place = divmod(index, _GROUP)
        while len(self._before) <= group:
            totals = self._rng(0, len(self._before)).poisson(_BLOCK, _GROUP)
            start = int(self._before[-1][-1]) if self._before else 0
            self._before.append(start + np.r_[0, np.cumsum(totals)])
        return int(self._before[group][place])

    def _events(self, index: int) -> FloatArray:
        if index not in self._blocks:
            group, place = divmod(index, _GROUP)
            start = self._offset(index)
            total = int(self._before[group][place + 1]) - start
            self._blocks[index] = np.sort(self._rng(1, index).random(total)) * _BLOCK
            if len(self._blocks) > _KEPT:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(index)
        return self._blocks[index]

    def _rng(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng([*self._seed, *stream])
