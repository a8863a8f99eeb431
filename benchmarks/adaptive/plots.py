"""Pictures of the page on adaptive flights, from the benchmark's own data.

``python -m benchmarks.adaptive.plots FIGURES FOLDER``: FIGURES is the output of
``python -m benchmarks adaptive --json``, the pictures go into FOLDER.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from flyscan.adaptive import CurvatureSpeed, Flown, PriorSpeed, SimulatedLine, Steering
from flyscan.flight import FloatArray

from ._cells import Evaluation
from ._lines import TURN, Cell, context
from ._noise_free import RAIL, drawn
from ._signals import SIGNALS, signal_of
from ._step_scan import (
    FINEST,
    MOVE_S,
    UNIFORM_ROWS,
    going_back_settings,
    our_levels,
    peer_levels,
    two_pass_settings,
)

__all__ = ["main"]

STYLE = {"font.size": 8, "figure.dpi": 100, "axes.grid": True, "grid.alpha": 0.3}
COUNTS = ("none", "1e6", "1e4", "1e2")
EXPOSURE_S = 0.01
PLACES = 8


def main(argv: list[str]) -> int:
    if len(argv) != 2:
        print(__doc__)
        return 2
    figures = json.loads(Path(argv[0]).read_text().splitlines()[-1])
    folder = Path(argv[1])
    with mpl.rc_context(STYLE):
        gain(figures).savefig(folder / "adaptive-gain.png")
        one_line().savefig(folder / "adaptive-line.png")
        steps().savefig(folder / "adaptive-steps.png")
    return 0


def gain(figures: dict[str, Any]) -> Figure:
    """Error over that of uniform lines of the same time, by counts."""
    figure = Figure((7.5, 3.0), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for panel, rows in zip(panels, (10, 1), strict=True):
        for cells, marker in ((figures["cells"], "o"), (figures["held_out"]["cells"], "s")):
            for name in dict.fromkeys(key.split("/")[0] for key in cells):
                ratio = [cells[f"{name}/{rows}/{count}"]["prior"]["10"] for count in COUNTS]
                panel.semilogy(range(len(COUNTS)), ratio, marker, ls="-", ms=3, lw=0.8, label=name)
        panel.set_xticks(range(len(COUNTS)), COUNTS)
        panel.set_xlabel("peak counts per row")
        panel.set_title(f"{rows} row{'s' * (rows > 1)} per feature width", fontsize=8)
    panels[0].set_ylabel("error / error of uniform lines")
    panels[1].legend(fontsize=6, ncols=2, loc="lower right")
    return figure


def one_line() -> Figure:
    """An absorption edge: where two policies spend the time of one uniform line."""
    signal, offset = SIGNALS["S5"], np.array([0.2])
    rows = round(UNIFORM_ROWS / signal.width)
    x = np.linspace(0.0, 1.0, 4001)
    truth = signal.value(x, offset)[0]
    prior = Steering(PriorSpeed("y", signal.width, counting=False), RAIL)
    first = _flown(rows, prior)
    planned = _flown(rows, prior, len(first.rows))
    error = 3e-6
    policy = CurvatureSpeed("y", signal.width, counting=False, target_error=error)
    back = _flown(rows, Steering(policy, RAIL))
    figure = Figure((7.5, 5.0), layout="constrained")
    top, middle, bottom = figure.subplots(3, 1, sharex=True)
    top.plot(x, truth, "k", lw=0.8)
    top.set_ylabel("signal")
    for flown, name in ((first, "uniform"), (planned, "line before"), (back, "going back")):
        r = flown.rows
        length = np.abs(r.stop - r.start) / signal.width
        middle.semilogy(0.5 * (r.start + r.stop), length, ".", ms=1.5, label=name)
        found = drawn(flown, x, signal.width, counting=False)
        bottom.semilogy(x, _smoothed(np.abs(found - truth)), lw=0.8, label=name)
    middle.set_ylabel("row length / width")
    middle.legend(fontsize=6, markerscale=4)
    bottom.set_ylabel("error")
    bottom.set_ylim(1e-8, 1e-2)
    bottom.set_xlabel("position (keV)")
    return figure


def _flown(rows: int, steering: Steering, first: int = 0) -> Flown:
    offset = np.array([0.2])
    line = context(rows, turnaround=TURN)
    sample = {"y": lambda x: SIGNALS["S5"].integral(x[None], offset)[0]}
    return SimulatedLine(line, sample, first=first).fly(steering)


def _smoothed(error: FloatArray) -> FloatArray:
    """Root mean square over 41 neighbours."""
    return np.sqrt(np.convolve(error**2, np.ones(41) / 41, mode="same")) + 1e-12


def steps() -> Figure:
    """Error against time: step scans, uniform flights and ours."""
    figure = Figure((7.5, 3.0), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for panel, name in zip(panels, ("S1", "S2"), strict=True):
        signal = signal_of(name)
        offsets = np.random.default_rng(952).uniform(*signal.offsets, PLACES)
        even = Evaluation(Cell(signal, UNIFORM_ROWS, 0.0), PLACES, 0, offsets=offsets)
        times = np.array([0.2, 0.5, 1.0, 2.0, 4.0])
        level = even.uniform_error(1.0)
        rows = UNIFORM_ROWS / signal.width
        panel.loglog(
            times * rows * EXPOSURE_S, [even.uniform_error(t) for t in times], "k-", label="uniform"
        )
        scans = [
            (points * (EXPOSURE_S + MOVE_S), error)
            for n in FINEST
            for points, error in peer_levels(signal, offsets, signal.width / n, reverse=False)
        ]
        panel.loglog(*zip(*scans, strict=True), "x", ms=4, label="adaptive_scan, all settings")
        for settings, label in (
            (going_back_settings(signal, level), "going back"),
            (two_pass_settings(signal), "two passes"),
        ):
            ours = list(our_levels(settings, signal, offsets, reverse=False))
            panel.loglog(
                [number * EXPOSURE_S for number, _ in ours], [e for _, e in ours], ".-", label=label
            )
        panel.axhline(level, color="k", lw=0.5, ls=":")
        panel.set_title(f"{name}, {EXPOSURE_S * 1e3:g} ms per row", fontsize=8)
        panel.set_xlabel("time (s)")
        panel.xaxis.set_minor_formatter(NullFormatter())
    panels[0].set_ylabel("rms error")
    panels[1].legend(fontsize=6)
    return figure


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
