"""Channel Access' own environment variables."""

from __future__ import annotations

import os
import sys

from ...errors import ConfigurationError

__all__ = ["use_channel_access"]


def use_channel_access(*servers: str, broadcast: bool = False, here: bool = True) -> None:
    """Say where Channel Access looks for IOCs; call it before anything imports ``aioca``.

    The CA library reads ``EPICS_CA_ADDR_LIST`` and ``EPICS_CA_AUTO_ADDR_LIST`` once, when its
    first channel is made, and never again in that process. Beamlines set the two variables in
    the shell that starts the flight host and do not need this function; simulators on free
    ports and tests do. There is one Channel Access context per process, tied to the event loop
    that makes a channel: use the EPICS bindings from one loop only.

    Args:
        servers: ``"host:port"`` of each IOC or gateway, e.g. ``"127.0.0.1:5064"``.
        broadcast: search on the broadcast address of every network interface as well.
        here: False if only processes started from now on, such as a flight host, will use
            Channel Access, whatever this one does already.

    Raises:
        ConfigurationError: aioca has been imported already with other settings.
    """
    wanted = {
        "EPICS_CA_ADDR_LIST": " ".join(servers),
        "EPICS_CA_AUTO_ADDR_LIST": "YES" if broadcast else "NO",
    }
    if here and "aioca" in sys.modules and any(os.environ.get(k) != v for k, v in wanted.items()):
        raise ConfigurationError(
            f"Channel Access is in use already and cannot be pointed at {' '.join(servers)}",
            device="EPICS_CA_ADDR_LIST",
            remedy="call use_channel_access first, or set the variables in the shell",
        )
    os.environ.update(wanted)
