"""Replay of recorded sessions of a real client: what it sends must be answered alike.

The server side of the recordings is an idealised box that moves at once. Where a real box needs
time, the replay lets it pass; where an answer depends on physics, only its form is compared.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyscan_sim.gcs import C885, E727
from tests.sim.gcs_bench import Bench

FOLDER = Path(__file__).parents[1] / "fixtures" / "gcs"
PATIENCE_S = 60.0


def sessions(name: str) -> Iterator[tuple[str, str]]:
    """Commands and their recorded answers ('' for none)."""
    command, answer = "", ""
    for line in (FOLDER / name).read_text().splitlines():
        _, who, text = line.split(maxsplit=2)
        literal = ast.literal_eval(text).decode("cp1252")
        if who == "<S":
            answer += literal
        elif who == "C>":
            if command:
                yield command, answer
            command, answer = literal, ""
    yield command, answer


def form(text: str) -> str:
    """The text with every number replaced."""
    return re.sub(r"(?<==)-?[\d.]+(e[-+]?\d+)?", "<number>", text)


def replay(bench: Bench, name: str, special) -> int:
    """Send everything; `special` may judge an exchange, otherwise answers must be equal."""
    exchanges = list(sessions(name))
    for command, golden in exchanges:
        line = command.rstrip("\n") or command
        if golden in ("\xb1\n", "0\n") and line in ("\x07", "\t"):
            await_answer(bench, line, golden)
        elif not special(line, golden):
            got = bench.ask(line)
            assert got == golden.removesuffix("\n"), line
    return len(exchanges)


def await_answer(bench: Bench, line: str, golden: str) -> None:
    began = bench.clock.time
    while bench.ask(line) != golden.removesuffix("\n"):
        assert bench.clock.time < began + PATIENCE_S, f"{line!r} never answered {golden!r}"
        bench.wait(0.5)


def test_a_session_with_twelve_steppers():
    bench = Bench(C885)
    seen: list[str] = []

    def special(line: str, golden: str) -> bool:
        previous, _ = (seen[-1] if seen else "", seen.append(line))
        if line == "HLP?":  # recorded in part
            assert bench.ask(line).startswith("The following commands are valid: \n")
        elif line == "POS?":
            assert form(bench.ask(line)) == form(golden.removesuffix("\n"))
        elif line == "POS? 1 3 5":
            places = [float(part.split("=")[1]) for part in bench.ask(line).splitlines()]
            assert places == pytest.approx([12, 12, 12.4], abs=1e-3)
        elif line == "\x05":
            assert bench.ask(line) == "7", "three axes move"
        elif line.startswith("ONT?") and "=0" not in golden:
            await_answer(bench, line, golden)
        elif line == "ONT? 1 3 5":
            bench.wait(0.1)
            assert form(bench.ask(line)) == form(golden.removesuffix("\n"))
        elif line == "ERR?" and previous == "HLT 1":  # these boxes list no HLT
            assert bench.ask(line) == "2"
        else:
            return False
        return True

    assert replay(bench, "transcript_c885.txt", special) > 150
    bench.wait(30)
    assert bench.ask("SVO? 1 3") == "1=0 \n3=1"


def test_a_session_with_waves_triggers_and_recorder():
    bench = Bench(E727)

    def special(line: str, golden: str) -> bool:
        if line == "HLP?":
            assert bench.ask(line).startswith("The following commands are valid: \n")
        elif line in ("HPA?", "HDR?"):
            assert set(golden.splitlines()) <= set(bench.ask(line).splitlines())
        elif line == "DRC?":
            assert bench.ask(line).splitlines()[:2] == golden.splitlines()[:2]
        elif line.startswith("DRL?"):
            bench.wait(1)
            assert form(bench.ask(line)) == form(golden.removesuffix("\n"))
        elif line.startswith("DRR?"):
            answer = bench.ask(line)
            assert "# DIM = 2 \n# SAMPLE_TIME = 0.000500 \n# NDATA = 1000" in answer
            assert len(answer.splitlines()) == 1000 + 10
        elif line == "WAV?":
            assert bench.ask(line).splitlines()[:2] == golden.splitlines()[:2]
        else:
            return False
        return True

    assert replay(bench, "transcript_e727.txt", special) > 80
    recorded = bench.stage("2").commanded(bench.clock.time)
    assert recorded == pytest.approx(5, abs=0.05), "the ramp on axis 2 ends where it began"
