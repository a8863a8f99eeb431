"""The benchmark of preparing a path, run as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def benchmarks(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *args]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)


def test_prepare_is_less_work_than_the_points_themselves() -> None:
    done = benchmarks("prepare", "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["points_2d"] == 3162**2
    assert figures["points_3d"] == 10**7
    assert figures["seconds"] < figures["baseline_seconds"]
    assert figures["peak_mb"] < 100 < figures["baseline_peak_mb"]


def test_names_are_listed() -> None:
    assert "prepare" in benchmarks().stdout
    unknown = benchmarks("nonsense")
    assert unknown.returncode == 2
    assert "prepare" in unknown.stdout
