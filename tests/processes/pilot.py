"""A process with a RunEngine that flies: what the tests kill, suspend or leave.

``python -m tests.processes.pilot OPTIONS`` with JSON options prints one JSON line per event of
the flight, then ``{"outcome": ...}`` and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from typing import Any

from bluesky import RunEngine
from bluesky.utils import RunEngineInterrupted
from ophyd_async.core import StaticFilenameProvider, StaticPathProvider, init_devices

from flyscan.devices import Flyer
from flyscan.flight.host import ProcessHost
from flyscan.plans import fly_grid

OUTPUT = sys.stdout


def say(**what: Any) -> None:
    print(json.dumps(what), file=OUTPUT, flush=True)


def main() -> None:
    sys.stdout = sys.stderr  # the RunEngine talks to its user
    options = json.loads(sys.argv[1])
    RE = RunEngine()
    host = ProcessHost(options["config"])
    path_provider = StaticPathProvider(StaticFilenameProvider("run"), options["directory"])
    with init_devices():
        nano = Flyer(host, "nano", path_provider)
    host.subscribe("nano", lambda event: say(**event))
    say(host=host.pid)
    if options["pause_at"] is not None:
        host.subscribe("nano", pause_at(RE, options["pause_at"]))
    plan = fly_grid(nano, *options["axes"], period=options["period"])
    try:
        RE(plan)
    except RunEngineInterrupted:
        say(outcome="paused")
        if options["leave"]:
            return
    except BaseException as exc:
        say(outcome=type(exc).__name__, text=str(exc))
    else:
        say(outcome="done")
    if options["again"]:
        again(RE, host, nano, options)
    sys.stdin.read()
    asyncio.run_coroutine_threadsafe(host.close(), RE.loop).result()
    say(closed=True)


def pause_at(RE: Any, frames: int) -> Any:
    """Pause once when so many frames are in the file."""
    asked = threading.Event()

    def look(event: dict[str, Any]) -> None:
        if event["event"] == "flushed" and event["frames"] >= frames and not asked.is_set():
            asked.set()
            threading.Thread(target=RE.request_pause).start()  # it waits for the loop we are on

    return look


def again(RE: Any, host: ProcessHost, nano: Flyer, options: dict[str, Any]) -> None:
    """Connect again, with a new host if the first is gone, as a user would."""
    sys.stdin.readline()
    connecting = nano.connect(force_reconnect=True)
    asyncio.run_coroutine_threadsafe(connecting, RE.loop).result()
    say(host=host.pid)


if __name__ == "__main__":
    main()
