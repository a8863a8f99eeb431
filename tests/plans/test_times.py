"""The table at the end of a run says where its time went."""

from __future__ import annotations

from typing import Any

import pytest

from flyscan.plans import FlightTimes, fly_grid
from tests.plans.rehearsal import Rehearsal

LINES, POINTS, PERIOD = 3, 5, 0.01


def test_a_map_that_was_paused(stage: Rehearsal):
    texts: list[str] = []
    stage.RE.subscribe(FlightTimes(texts.append))
    stage.at(0.5, "pause")
    stage.run(fly_grid(stage.nano, "y", 1, 2, LINES, "x", 1, 3, POINTS, period=PERIOD))

    (text,) = texts
    first, header, *rows = text.splitlines()
    assert len(stage.rests) == 1
    assert first == "nano: 3 segments in 4 sweeps, 15 of 15 points, held 1 times"
    assert header.split() == ["phase", "s", "%", "ms/segment"]
    found = {name: tuple(map(float, values)) for name, *values in map(str.split, rows)}
    spent = {phase: ledger_total(stage, phase) for phase in found}
    assert list(spent) == ["line", "turnaround", "reconfiguration", "waiting"]
    assert spent["line"] > LINES * POINTS * PERIOD
    for phase, (seconds, share, per_segment) in found.items():
        assert seconds == pytest.approx(spent[phase], abs=5e-4)
        assert share == pytest.approx(100 * spent[phase] / sum(spent.values()), abs=0.05)
        assert per_segment == pytest.approx(1e3 * spent[phase] / LINES, abs=5e-3)


def ledger_total(stage: Rehearsal, phase: str) -> float:
    pages = [page["data"] for page in stage.of("event_page")]
    key = f"nano-ledger-{phase}"
    return sum(sum(data[key]) for data in pages if key in data)


def page(descriptor: str, flight: int, segment: int, line: float) -> dict[str, Any]:
    row = {"flight": flight, "segment": segment, "planned": 5, "kept": 5, "holds": 0, "sweeps": 1}
    row |= {"line": line, "turnaround": 1.0, "reconfiguration": 0.0, "waiting": 0.0}
    data = {f"m1-nano-ledger-{column}": [value] for column, value in row.items()}
    return {"descriptor": descriptor, "data": data}


def test_the_last_row_of_a_segment_counts_and_runs_are_kept_apart():
    texts: list[str] = []
    times = FlightTimes(texts.append)
    keys = {"m1-nano-ledger-line": {}, "m1-nano-ledger-turnaround": {}}
    for run in ("a", "b"):
        times("start", {"uid": run})
        described = {"uid": f"{run}1", "run_start": run, "name": "ledger", "data_keys": keys}
        times("descriptor", described)
    times("event_page", page("a1", 0, 0, 9.0))
    times("event_page", page("a1", 0, 0, 3.0))
    times("event_page", page("b1", 0, 0, 7.0))
    times("event_page", page("other", 0, 0, 8.0))
    times("stop", {"run_start": "a"})
    times("stop", {"run_start": "a"})
    assert texts == [
        "m1-nano: 1 segments in 1 sweeps, 5 of 5 points, held 0 times\n"
        "  phase                   s      %  ms/segment\n"
        "  line                3.000   75.0     3000.00\n"
        "  turnaround          1.000   25.0     1000.00\n"
        "  reconfiguration     0.000    0.0        0.00\n"
        "  waiting             0.000    0.0        0.00"
    ]


def test_a_run_without_ledger_prints_nothing(capsys: pytest.CaptureFixture[str]):
    times = FlightTimes()
    times("start", {"uid": "a"})
    times("descriptor", {"uid": "a1", "run_start": "a", "name": "primary", "data_keys": {}})
    times("stop", {"run_start": "a"})
    assert capsys.readouterr().out == ""
