"""How far the clock of an IOC is ahead of ours, from the arrival of its monitors."""

from __future__ import annotations

__all__ = ["ClockOffset"]

_AGREEMENT_NS = 50_000_000


class ClockOffset:
    """Estimate of IOC time minus local time.

    An event stamped ``s`` by the IOC arrives at local time ``a``; ``s - a`` is the offset less
    the time the event was on its way, so the largest ``s - a`` seen is the best estimate. The
    first event of a subscription carries the stamp of the record's last processing, of any age:
    it tells something only if it lies in our future.

    A delay and an offset of the same size cannot be told apart. Offsets up to 50 ms therefore
    count as none: clocks kept by NTP agree better than that, and their stamps are used as given.
    """

    def __init__(self) -> None:
        self._largest: int | None = None

    def observe(self, stamp_ns: int, arrival_ns: int, *, aged: bool = False) -> None:
        """Take an event into account; `aged` for the first one of a subscription."""
        ahead = stamp_ns - arrival_ns
        if aged and ahead < 0:
            return
        if self._largest is None or ahead > self._largest:
            self._largest = ahead

    @property
    def ns(self) -> int:
        """Nanoseconds to subtract from a stamp of the IOC."""
        if self._largest is None or abs(self._largest) <= _AGREEMENT_NS:
            return 0
        return self._largest
