"""The GCS codec against recorded traffic, and whatever way the bytes are cut."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyscan.controllers.gcs._codec import (
    AnswerReader,
    encode,
    parse_array,
    parse_commands,
    parse_hex,
    parse_integer,
    parse_numbers,
    parse_texts,
)
from flyscan.controllers.gcs._errors import gcs_error, is_fault
from flyscan.errors import (
    ConfigurationError,
    ControllerError,
    LimitError,
    MotionError,
    NotReadyError,
)

TRANSCRIPTS = sorted(Path(__file__).parents[1].joinpath("fixtures", "gcs").glob("*.txt"))
AXES_C885 = [str(slot) for slot in range(1, 24, 2)]


def recorded(path: Path) -> list[tuple[bytes, bytes]]:
    """Commands of the client, each with the bytes answered to it."""
    exchanges: list[tuple[bytes, bytes]] = []
    for line in path.read_text().splitlines():
        found = re.match(r"\s*[\d.]+ (C>|<S) (b['\"].*['\"])(\.\.\.)?", line)
        if found is None:
            continue
        data = ast.literal_eval(found[2]) if "...(" not in line else None
        if found[1] == "C>":
            exchanges.append((data or b"", b""))
        elif data is not None:
            exchanges[-1] = (exchanges[-1][0], exchanges[-1][1] + data)
    return exchanges


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_commands_are_encoded_as_recorded(path: Path):
    commands = [data for data, _ in recorded(path) if data.endswith(b"\n")]
    assert len(commands) > 90
    for data in commands:
        words = data.decode("ascii").split()
        arguments = [float(w) if re.fullmatch(r"-?\d+(\.\d+)?", w) else w for w in words[1:]]
        assert encode(words[0], *arguments) == data


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_each_recorded_answer_is_one_answer(path: Path):
    answers = [data for _, data in recorded(path) if data]
    assert len(answers) > 70
    reader = AnswerReader()
    for data in answers:
        (answer,) = reader.feed(data)
        assert "\n".join(answer) == data.decode("cp1252").replace(" \n", "\n").removesuffix("\n")
    assert not reader.pending


def test_recorded_positions_and_states():
    found = dict(recorded(next(p for p in TRANSCRIPTS if "c885" in p.name)))
    read = {data: AnswerReader().feed(answer)[0] for data, answer in found.items() if answer}
    assert parse_numbers(read[b"POS? 1 3 5\n"], ["1", "3", "5"]) == {"1": 12, "3": 12, "5": 12.4}
    assert parse_hex(read[b"\x05"]) == 0xFFF
    assert list(read[b"SAI? ALL\n"]) == AXES_C885
    assert read[b"\x07"] == ("±",)
    assert parse_texts(read[b"FRF?\n"], AXES_C885) == dict.fromkeys(AXES_C885, "1")


@pytest.mark.parametrize(
    ("command", "data"),
    [("#4", b"\x04"), ("#5", b"\x05"), ("#7", b"\x07"), ("#9", b"\x09"), ("#24", b"\x18")],
)
def test_single_bytes_carry_no_line_end(command: str, data: bytes):
    assert encode(command) == data


def test_numbers_are_plain_decimals():
    assert encode("MOV", "1", 1e-7, "2", -0.0, "3", 12) == b"MOV 1 0.0000001 2 0 3 12\n"


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), "", "1\nSVO", "1 2"])
def test_arguments_that_would_break_the_line_are_refused(bad: float | str):
    with pytest.raises(ControllerError, match="cannot be an argument"):
        encode("MOV", "1", bad)


@given(st.floats(-1e4, 1e4))
def test_numbers_keep_ten_decimals(value: float):
    text = encode("MOV", "1", value).decode().split()[2]
    assert abs(float(text) - value) < 1e-10
    assert "e" not in text


LINES = st.text(st.characters(codec="cp1252", exclude_characters="\n\r"), max_size=12).map(
    lambda line: line.rstrip(" ")
)


@given(
    st.lists(st.lists(LINES, min_size=1, max_size=5), max_size=5),
    st.lists(st.integers(1, 7), min_size=1, max_size=20),
)
def test_answers_do_not_depend_on_how_bytes_arrive(answers: list[list[str]], cuts: list[int]):
    data = b"".join((" \n".join(lines) + "\n").encode("cp1252") for lines in answers)
    reader, found, at = AnswerReader(), [], 0
    while at < len(data):
        step = cuts[at % len(cuts)]
        found += reader.feed(data[at : at + step])
        at += step
    assert [list(answer) for answer in found] == answers
    assert not reader.pending


def test_an_incomplete_answer_is_pending_until_cleared():
    reader = AnswerReader()
    assert reader.feed(b"1=0.5 \n3=") == []
    assert reader.pending
    reader.clear()
    assert reader.feed(b"0\n") == [("0",)]


def test_an_endless_answer_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("flyscan.controllers.gcs._codec._LONGEST", 1000)
    reader = AnswerReader()
    for _ in range(500):
        assert reader.feed(b"x=1\n") == [("x=1",)]
    reader.feed(b"x" * 990)
    with pytest.raises(ControllerError, match="an answer of more than 1000 bytes"):
        reader.feed(b"x" * 11)
    assert reader.feed(b"1\n") == [("1",)]


@pytest.mark.parametrize(
    "answer", [("1=0.5",), ("1=0.5", "3=1", "5=2"), ("1=0.5", "4=1"), ("junk",), ("1", "3=2")]
)
def test_answers_for_other_axes_than_asked_are_refused(answer: tuple[str, ...]):
    with pytest.raises(ControllerError, match="expected values of 1, 3, got"):
        parse_texts(answer, ["1", "3"])


def test_values_come_in_the_order_asked():
    assert list(parse_numbers(("3=1", "1=2"), ["1", "3"]).items()) == [("1", 2), ("3", 1)]


@pytest.mark.parametrize("text", ["1=abc", "1=nan", "1=inf", "1="])
def test_a_value_that_is_no_number_is_refused(text: str):
    with pytest.raises(ControllerError, match="expected numbers"):
        parse_numbers((text,), ["1"])


@pytest.mark.parametrize("answer", [("x",), ("1", "2"), ("1.5",), ("",)])
def test_whole_numbers(answer: tuple[str, ...]):
    assert parse_integer(("-1024",)) == -1024
    with pytest.raises(ControllerError, match="expected a whole number"):
        parse_integer(answer)


def test_commands_of_a_help_text():
    answer = (
        "The following commands are valid:",
        "#5 Request Motion Status",
        "#24 Stop All Axes",
        "*IDN? Get Device Identification",
        "MOV {<AxisID> <Position>} Set Target Position",
        "POS? [{<AxisID>}] Get Real Position",
        "  indented remark",
        "end of help",
    )
    assert parse_commands(answer) == {"#5", "#24", "*IDN?", "MOV", "POS?"}


def array(rows: str, count: int = 2) -> tuple[str, ...]:
    header = (
        "# REM E-727\n# VERSION = 1\n# TYPE = 1\n# SEPARATOR = 32\n# DIM = 2\n"
        f"# SAMPLE_TIME = 0.000500\n# NDATA = {count}\n# NAME0 = Target\n# NAME1 = Real\n"
        "# END_HEADER\n"
    )
    return tuple((header + rows).splitlines())


def test_a_recorded_array():
    found = parse_array(array("1.5 2.5\n-3 4e-1"))
    assert found.sample_time == 0.0005
    assert found.names == ("Target", "Real")
    np.testing.assert_array_equal(found.data, [[1.5, 2.5], [-3, 0.4]])


@pytest.mark.parametrize(
    "answer",
    [array("1 2"), array("1 2\n3 x"), array("1 2\n3"), ("# DIM = 1", "5"), ("5",)],
    ids=["too short", "no number", "ragged", "no count", "no header"],
)
def test_a_broken_array_is_refused(answer: tuple[str, ...]):
    with pytest.raises(ControllerError, match="not a GCS array"):
        parse_array(answer)


@pytest.mark.parametrize(
    ("code", "kind", "text"),
    [
        (2, ConfigurationError, "command unknown to this controller"),
        (5, NotReadyError, "servo off or axis not referenced"),
        (7, LimitError, "position outside the travel"),
        (8, LimitError, "velocity above the controller's maximum"),
        (10, MotionError, "stopped by a stop command"),
        (15, ConfigurationError, "no such axis"),
        (67, LimitError, "wave does not fit"),
        (73, NotReadyError, "wave generator is running"),
        (75, ControllerError, "without a wave table"),
        (-1024, MotionError, "position error too large"),
    ],
)
def test_error_codes_have_names_and_remedies(code: int, kind: type, text: str):
    error = gcs_error(code, device="piezo", command="MOV 1 5")
    assert type(error) is kind
    assert text in error.problem
    assert f"error {code}" in error.problem
    assert "MOV 1 5" in error.problem
    assert error.device == "piezo"
    assert error.remedy


def test_an_unknown_code_is_named_by_its_number():
    error = gcs_error(4711, device="piezo", command="MOV 1 5")
    assert str(error) == (
        "piezo: 'MOV 1 5' failed with error 4711. "
        "Remedy: look up error 4711 in the controller's manual"
    )


def test_faults_are_told_from_refusals():
    assert is_fault(-1024)
    assert is_fault(216)
    assert not any(is_fault(code) for code in (0, 2, 7, 10, 4711))
