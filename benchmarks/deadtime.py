"""What a turnaround costs, against what velocity and acceleration make inevitable.

A snake of lines of 64 um at 640 um/s on the piezo stage of the simulated nanoprobe, over its real
protocols (PI GCS and PandA), with host and RunEngine in processes of their own. The time between
two lines is that from the end of the last frame to the begin of the next, by the PandA's clock.
Setting up the triggers of the next line ("reconfiguration", from the ledger) is told apart. The
inevitable: run-down, rest to rest, run-up with the configured settling (10 ms), with velocity and
acceleration as configured. The simulated stage accelerates twice as hard as that, unasked, so that
less than the inevitable is possible; `ratio_to_stage` goes by what it can do. All figures are
medians over the turnarounds, in ms.

The peer flies the same lines on the same simulated stage behind EPICS motor records with
ophyd-async's Motor and ``collect_while_completing``; it has no detector to set up and no settling,
and between lines uses twice the acceleration.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path as FilePath
from typing import Any

import numpy as np

from flyscan.plans import fly

from ._lines import PERIOD, Lines
from ._session import Session, session

__all__ = ["main"]

HERE = FilePath(__file__).parent.parent


def _between_lines(flown: Session) -> np.ndarray:
    """Seconds between the lines of the last run."""
    columns = flown.columns("time", "segment")
    first = np.flatnonzero(np.diff(columns["segment"])) + 1
    return columns["time"][first] - columns["time"][first - 1] - PERIOD


def _ours(lines: Lines) -> dict[str, float]:
    with session() as flown:
        flown.RE(fly(flown.nano, lines.spec, period=PERIOD))
        dead = _between_lines(flown)
        setting_up = np.array([row.phases["reconfiguration"] for row in flown.ledger()][1:])
        physical = lines.turnaround(flown.limits, settle=True)
        at_best = lines.at_best(flown.limits)
    turnaround = float(np.median(dead - setting_up))
    return {
        "ratio_to_physical": turnaround / physical,
        "ratio_to_stage": turnaround / at_best,
        "turnaround_ms": 1e3 * turnaround,
        "physical_ms": 1e3 * physical,
        "stage_ms": 1e3 * at_best,
        "reconfiguration_ms": 1e3 * float(np.median(setting_up)),
        "peer_physical_ms": 1e3 * lines.turnaround(flown.limits, settle=False),
    }


def _peer(lines: Lines) -> float:
    """Seconds per turnaround; in another process, since Channel Access is set up once in each."""
    command = [sys.executable, "-m", "benchmarks._peer", str(lines.count), str(lines.points)]
    done = subprocess.run(command, cwd=HERE, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])["dead_s"]


def main(argv: list[str]) -> dict[str, Any]:
    parser = argparse.ArgumentParser(
        prog="benchmarks deadtime",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--lines", type=int, default=100, help="lines of 100 points")
    options = parser.parse_args(argv)
    lines = Lines(options.lines, 100)
    figures = _ours(lines)
    peer_ms = 1e3 * _peer(lines)
    return {
        "lines": lines.count,
        "ratio_to_physical": figures.pop("ratio_to_physical"),
        "peer_ratio_to_physical": peer_ms / figures["peer_physical_ms"],
        **figures,
        "peer_turnaround_ms": peer_ms,
    }
