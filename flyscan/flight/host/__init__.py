"""The flight host: where flights run, in a process of their own or in the calling one."""

from ._api import EventCallback, Host
from ._config import ControllerConfig, FlyerConfig, HostConfig
from ._inprocess import InProcessHost
from ._process import ProcessHost
from ._restore import restore_orphans
from ._state_folder import JournalEntry, RunningHost, StateFolder
from ._stop import stop_hosts

__all__ = [
    "ControllerConfig",
    "EventCallback",
    "FlyerConfig",
    "Host",
    "HostConfig",
    "InProcessHost",
    "JournalEntry",
    "ProcessHost",
    "RunningHost",
    "StateFolder",
    "restore_orphans",
    "stop_hosts",
]
