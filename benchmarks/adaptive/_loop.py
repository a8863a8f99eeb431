"""How fast a steered flight answers: from a block at the host's socket to a speed on the wire.

A simulated C-863, which changes its velocity in flight, and a simulated PandA, each behind a relay
that takes the times; a policy that proposes another speed for every block. RunEngine, flight host,
relay and boxes are processes of their own, as they are machines of their own on a beamline.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path as FilePath
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from scanspec.specs import Line

from flyscan.demo import SimulatedNanoprobe
from flyscan.flight.host import ProcessHost
from flyscan.plans import adaptive_fly

from .._relay import HERE, relayed
from .._restless import CODES, Restless, rows_told
from .._session import Session

__all__ = ["Answers", "loop_figures"]

PERIOD = 0.001
SPEED = 1.0
"""mm/s: ten counts of the encoder per row."""

SECONDS = 10.0
LONG_BLOCK = 0.05
SHORT_BLOCKS = (0.01, 0.005, 0.0025)
SUSTAINED = 0.98
"""Share of the blocks that must have an answer of their own."""


@dataclass(frozen=True)
class Answers:
    """What came of the blocks of a flight.

    Args:
        blocks: how many were sent while there was something to decide.
        latencies: seconds from each answered block to the command, shape (answered,).
        seconds: from the first answered block to the last command.
    """

    blocks: int
    latencies: np.ndarray
    seconds: float

    @classmethod
    def of(cls, noted: dict[str, Any], planned: float) -> Answers:
        """From what a relay noted.

        Raises:
            RuntimeError: nothing was answered.
        """
        departures = [(rows, when) for rows, when in noted["departures"]]
        matched: list[tuple[int, float, float]] = []
        place = 0
        for velocity, when in noted["velocities"]:
            code = rows_told(velocity, planned)
            for i in range(place, len(departures)):
                rows, left = departures[i]
                if left > when:
                    break
                if rows % CODES == code:
                    matched.append((i, left, when))
                    place = i + 1
                    break
        if not matched:
            raise RuntimeError("no block was answered")
        first, last = matched[0], matched[-1]
        latencies = np.array([when - left for _, left, when in matched])
        return cls(last[0] - first[0] + 1, latencies, last[2] - first[1])

    @property
    def share(self) -> float:
        """Share of the blocks that were answered."""
        return len(self.latencies) / self.blocks

    @property
    def rate(self) -> float:
        """Decisions per second."""
        return len(self.latencies) / self.seconds


def answers(block_period: float, seconds: float) -> Answers:
    """Fly one line of `seconds` and see how its blocks are answered."""
    # The host imports the policy from where this package is.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory())
        probe = stack.enter_context(
            SimulatedNanoprobe("--block-period", str(block_period), here=False)
        )
        ports, noted = stack.enter_context(
            relayed(probe.ready["panda"]["data_port"], probe.ready["gcs_c863"]["port"])
        )
        config = _through(ports, probe.host_config, block_period)
        flown = Session(ProcessHost(config), FilePath(folder))
        stack.callback(flown.close)
        points = round(seconds / PERIOD)
        half = 0.5 * SPEED * PERIOD
        line = Line("detector", half, points * SPEED * PERIOD - half, points)
        flown.RE(adaptive_fly(flown.nano, line, period=PERIOD, policy=Restless()))
        return Answers.of(noted(), SPEED)


def _through(ports: dict[str, int], config: dict[str, Any], block_period: float) -> dict[str, Any]:
    """The demo's configuration turned to the detector stage, behind a relay."""
    controllers = config["controllers"]
    stage, panda = controllers["stage"]["params"], controllers["panda"]["params"]
    stage |= {"port": ports["gcs"], "profile": "C-863"}
    stage["axes"] = {"detector": {"id": "1", "unit": "mm", "acceleration": 100.0}}
    panda |= {"data_port": ports["data"], "block_period": block_period}
    panda["encoders"] = {"detector": {"encoder": "INENC4", "resolution": 1e-4, "unit": "mm"}}
    config["flyers"] = {"nano": {"motion": "stage", "capture": "panda"}}
    config["policies"] = ["benchmarks._restless:Restless"]
    return config


def loop_figures(*, quick: bool = False) -> dict[str, Any]:
    """Latency with 50-row blocks, and the decisions per second that were sustained."""
    seconds = 1.0 if quick else SECONDS
    long = answers(LONG_BLOCK, seconds)
    short = {period: answers(period, seconds) for period in SHORT_BLOCKS[: 1 if quick else None]}
    sustained = [one.rate for one in short.values() if one.share >= SUSTAINED]
    return {
        "decision_p50_ms": 1e3 * float(np.percentile(long.latencies, 50)),
        "decision_p99_ms": 1e3 * float(np.percentile(long.latencies, 99)),
        "decision_share": long.share,
        "decisions_per_s": max(sustained or [one.rate for one in short.values()]),
        "decisions_by_block": {
            f"{1e3 * period:g} ms": {
                "per_s": one.rate,
                "share": one.share,
                "p99_ms": 1e3 * float(np.percentile(one.latencies, 99)),
            }
            for period, one in short.items()
        },
    }
