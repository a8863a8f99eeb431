"""A client without a RunEngine whose interpreter ends with a flight under way.

``python -m tests.processes.leaver CONFIG DIRECTORY PATH``, the first and the last in JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys

from flyscan.flight.host import ProcessHost


async def main() -> None:
    config, directory, path = json.loads(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
    host = ProcessHost(config)
    await host.start()
    await host.call("describe", flyer="nano")
    await host.call("open_run", flyer="nano", directory=directory, filename="run", start={})
    await host.call("prepare", flyer="nano", path=path)
    flying = asyncio.Event()
    host.subscribe("nano", lambda event: event["event"] == "preview" and flying.set())
    await host.call("kickoff", flyer="nano")
    await flying.wait()
    print(host.pid, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
