"""``flyscan replay``: identical decisions, the first difference, another policy."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from flyscan.adaptive import Policy, PriorSpeed, SimulatedLine
from flyscan.cli import main
from tests.adaptive.lines import line, now, peak
from tests.adaptive.tape import Dice, Tape, store


def write(directory: Path, *tapes: Tape) -> str:
    async def stored() -> None:
        sink = await store(directory, *tapes)
        await sink.close()

    asyncio.run(stored())
    return str(directory / "run.h5")


def flown(policy: Policy, flight: int = 0, first: int = 0) -> Tape:
    tape = Tape(policy, flight=flight, first=first)
    SimulatedLine(line(), {"y": peak(0.5)}).fly(tape)
    return tape


def test_identical_decisions_exit_with_0(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = flown(PriorSpeed("y", 0.01))
    name = write(tmp_path, one, flown(PriorSpeed("y", 0.01), flight=3, first=one.frames))
    assert main(["replay", name]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"flight 0: identical: {len(one.decisions)} decisions"
    assert lines[1].startswith("flight 3: identical: ")
    assert main(["replay", name, "--flight", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["file"] == name
    assert [(f["flight"], f["difference"]) for f in found["flights"]] == [(3, None)]


def test_the_first_difference_is_named_and_exits_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tape = flown(PriorSpeed("y", 0.01))
    tape.steps[0]["policy"]["params"]["insurance"] = 0.3
    tape.steps[0]["rail"]["max_raise"] = 1.1
    decided = next(s for s in tape.steps if isinstance(s, dict) and s["event"] == "decided")
    decided["decision"] = decided["decision"] | {"reason": "a guess"}
    name = write(tmp_path, tape)
    assert main(["replay", name]) == 1
    found = capsys.readouterr().out
    assert found.startswith("flight 0: not identical: decision 0 (line 0, block 0): reason was")
    assert main(["replay", name, "--json"]) == 1
    assert "reason was" in json.loads(capsys.readouterr().out)["flights"][0]["difference"]


def test_another_policy_shows_what_it_would_have_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = write(tmp_path, flown(PriorSpeed("y", 0.01)))
    policy = {"class": "flyscan.adaptive:Budget", "params": {"total_dose": 0.5}}
    assert main(["replay", name, "--policy", json.dumps(policy)]) == 0
    head, columns, *rows = capsys.readouterr().out.splitlines()
    assert "flyscan.adaptive:Budget would have made" in head
    assert columns.split() == ["number", "line", "block", "time_s", "cause", "what", "reason"]
    assert "fly uniformly" in rows[0]
    assert any("finish" in row for row in rows)
    assert main(["replay", name, "--policy", json.dumps(policy), "--json"]) == 0
    (flight,) = json.loads(capsys.readouterr().out)["flights"]
    assert len(flight["decisions"]) == len(rows)
    assert flight["policy"] == policy


def test_every_kind_of_decision_has_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tape = Tape(Dice(0))
    for _ in range(40):
        tape.begin(line(step_in_flight=True))
        for held in (False, False, True):
            tape.ask(now(held=held))
    tape.stop("too slow", 1.0)
    name = write(tmp_path, tape)
    assert main(["replay", name, "--policy", "tests.adaptive.tape:Dice"]) == 0
    rows = capsys.readouterr().out.splitlines()[2:]
    words = {" ".join(row.split()[5:7]) for row in rows}
    for expected in ("fly uniformly", "fly at", "velocity 1.3", "go back", "finish the"):
        assert any(word.startswith(expected) for word in words), words
    for expected in ("step", "hold", "resume", "finish", "refused"):
        assert any(word.split()[0] == expected for word in words), words
    assert main(["replay", name]) == 1
    assert "may not load 'tests.adaptive.tape:Dice'" in capsys.readouterr().err
    assert main(["replay", name, "--trust", "tests.adaptive.tape:Dice"]) == 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--policy", "{"], "'{' is no JSON"),
        (["--policy", "Nonsense"], "no policy 'flyscan.adaptive:Nonsense'"),
        (["--policy", "PriorSpeed"], "refuses its parameters"),
        (["--flight", "7"], "has no steered flight 7"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], text: str
) -> None:
    name = write(tmp_path, flown(PriorSpeed("y", 0.01)))
    assert main(["replay", name, *arguments]) == 1
    error = capsys.readouterr().err
    assert text in error
    assert "Remedy: " in error
    assert error.count("\n") == 1
