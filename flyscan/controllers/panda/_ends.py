"""Why a capture ends: the box's words turned into errors that name cause and remedy.

Completion codes: PandABlocks-server documentation, "Experiment Completion".
"""

from __future__ import annotations

from ...errors import CaptureError
from ._pandablocks import PandaEnd

__all__ = ["PLANNED", "end_error"]

#: Ends we bring about ourselves: PCAP.ENABLE dropped, or *PCAP.DISARM= sent.
PLANNED = (PandaEnd.OK, PandaEnd.DISARMED)

_CAUSES: dict[PandaEnd, tuple[str, str]] = {
    PandaEnd.OK: (
        "its enable signal dropped, though flyscan did not end it",
        "something else drives PCAP.ENABLE: look for another client that changed the settings",
    ),
    PandaEnd.DISARMED: (
        "somebody disarmed it",
        "look for another client that sent *PCAP.DISARM=, and fly again",
    ),
    PandaEnd.EARLY_DISCONNECT: (
        "the box thinks that flyscan disconnected",
        "check the network between the flight host and the box",
    ),
    PandaEnd.DATA_OVERRUN: (
        "rows were not fetched fast enough and the box's buffer overran",
        "check network and disk speed, capture fewer channels, or trigger more slowly",
    ),
    PandaEnd.FRAMING_ERROR: (
        "triggers came closer together than the box can capture so many channels",
        "use a longer period, fewer channels, or look for noise on the trigger",
    ),
    PandaEnd.DRIVER_DATA_OVERRUN: (
        "the box's processor was too busy to move the rows",
        "stop other clients of the box (web pages, IOC polling) or trigger more slowly",
    ),
    PandaEnd.DMA_DATA_ERROR: (
        "rows came faster than the box's memory takes them",
        "use a longer period or fewer channels",
    ),
}


def end_error(device: str, reason: PandaEnd, rows: int) -> CaptureError:
    """The error for a capture that ended by itself after `rows` rows."""
    cause, remedy = _CAUSES.get(reason, ("for a reason flyscan does not know", "fly again"))
    return CaptureError(
        f"the capture ended after {rows} rows with {reason.value!r}: {cause}",
        device=device,
        remedy=remedy,
    )
