"""The flight host: where flights run, in a process of their own or in the calling one."""

from ._api import EventCallback, Host
from ._config import ControllerConfig, FlyerConfig, HostConfig
from ._inprocess import InProcessHost
from ._process import ProcessHost

__all__ = [
    "ControllerConfig",
    "EventCallback",
    "FlyerConfig",
    "Host",
    "HostConfig",
    "InProcessHost",
    "ProcessHost",
]
