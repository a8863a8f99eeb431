"""The throughput benchmark runs from end to end; its figures are not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path as FilePath

ROOT = FilePath(__file__).parents[2]


def test_every_figure_is_measured():
    command = [sys.executable, "-m", "benchmarks", "throughput", "--seconds", "1", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures.keys() >= {
        "rows_per_s",
        "ratio_to_bare",
        "ratio_to_pandablocks",
        "ratio_to_event_pages",
        "rss_growth_mb",
        "panda_1m_cpu",
    }
    assert figures["rows"] > 100_000
    assert figures["rows_per_s"] > 0
    assert 0 < figures["panda_1m_cpu"] < 2
