"""A bounded series of time-stamped samples, joined to rows and drained for storage (sans-IO)."""

from __future__ import annotations

import numpy as np

from ...errors import CaptureError
from ...flight import FloatArray, IntArray

__all__ = ["Samples"]


class Samples:
    """Samples of one slow channel, each valid until the next.

    At most `capacity` samples are kept. Those that have been drained make room for new ones,
    the oldest first and never the newest of them. Nothing else is ever dropped: a sample that
    finds no room, and a join that needs one that made room, end in an error.

    Args:
        device: name for error messages.
        capacity: samples kept.
    """

    def __init__(self, device: str, capacity: int) -> None:
        self._device = device
        self._time: IntArray = np.empty(capacity, dtype=np.int64)
        self._value: FloatArray = np.empty(capacity, dtype=np.float64)
        self._length = 0
        self._drained = 0
        self._forgotten: int | None = None
        self._lost = 0

    def __len__(self) -> int:
        return self._length

    def add(self, time_ns: int, value: float) -> None:
        """Append a sample; one older than its predecessor is taken to be of the same time.

        IOCs stamp in order. When one sets its clock back, the order of arrival is still right.
        """
        if self._length == len(self._time) and not self._make_room():
            self._lost += 1
            return
        last = int(self._time[self._length - 1]) if self._length else time_ns
        self._time[self._length] = max(time_ns, last)
        self._value[self._length] = value
        self._length += 1

    def _make_room(self) -> bool:
        """Forget the older half of the drained samples, at least one, if there are two."""
        gone = max(self._drained // 2, self._drained > 1)
        if not gone:
            return False
        self._forgotten = int(self._time[gone])
        kept = self._length - gone
        self._time[:kept] = self._time[gone : self._length].copy()
        self._value[:kept] = self._value[gone : self._length].copy()
        self._length, self._drained = kept, self._drained - gone
        return True

    def join(self, time_ns: IntArray) -> FloatArray:
        """The last sample at or before each time, NaN before the first; shape ``(n,)``.

        Raises:
            CaptureError: samples were lost, or those needed are not kept any more.
        """
        self._raise_if_lost()
        if self._forgotten is not None and len(time_ns) and time_ns.min() < self._forgotten:
            raise CaptureError(
                f"rows are {(self._forgotten - int(time_ns.min())) / 1e9:.3f} s older than the "
                f"oldest of the {len(self._time)} samples kept",
                device=self._device,
                remedy="give the monitor a larger capacity, or let its IOC post less often",
            )
        index = np.searchsorted(self._time[: self._length], time_ns, side="right") - 1
        joined = np.full(len(time_ns), np.nan)
        known = index >= 0
        joined[known] = self._value[index[known]]
        return joined

    def drain(self) -> tuple[IntArray, FloatArray]:
        """Samples added since the last call.

        Raises:
            CaptureError: samples were lost.
        """
        self._raise_if_lost()
        new = slice(self._drained, self._length)
        self._drained = self._length
        return self._time[new].copy(), self._value[new].copy()

    def _raise_if_lost(self) -> None:
        if self._lost:
            raise CaptureError(
                f"{self._lost} samples found no room: {len(self._time)} were waiting to be stored",
                device=self._device,
                remedy="give the monitor a larger capacity, or let its IOC post less often",
            )
