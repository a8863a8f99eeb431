"""A simulated PandA whose samples are made up: ``python -m benchmarks._source``.

Prints its ports as ``{"control": ..., "data": ...}`` when ready and serves until terminated.
Without ``--rate`` every client gets rows as fast as it takes them; with it, blocks leave every
100 ms, as the box sends them.
"""

from __future__ import annotations

import argparse
import asyncio
import json

from flyscan_sim.panda import FastSource, PandaServer, PandaWiring
from flyscan_sim.world import nanoprobe_world


async def serve(host: str, control_port: int, data_port: int, rate: float | None) -> None:
    """Run the box for ever."""
    server = PandaServer(
        nanoprobe_world(),
        PandaWiring(),
        host=host,
        control_port=control_port,
        data_port=data_port,
        source=FastSource(rate),
    )
    await server.start()
    print(json.dumps({"control": server.control_port, "data": server.data_port}), flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--control-port", type=int, default=0)
    parser.add_argument("--data-port", type=int, default=0)
    parser.add_argument("--rate", type=float, help="rows per second, no limit if not given")
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.host, arguments.control_port, arguments.data_port, arguments.rate))


if __name__ == "__main__":
    main()
