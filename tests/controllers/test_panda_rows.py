"""Rows from the data port's words: transcripts, numbers, replay, cut rows, lost triggers."""

from __future__ import annotations

import ast
import itertools
import re
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandablocks.connections import DataConnection
from pandablocks.responses import EndData, EndReason, FieldCapture, FrameData, StartData

from flyscan.controllers._axis_map import AxisMap
from flyscan.controllers.panda._columns import (
    GATE,
    TIMESTAMP,
    Column,
    captures,
    channel_column,
    encoder_columns,
)
from flyscan.controllers.panda._config import ChannelSpec
from flyscan.controllers.panda._ends import end_error
from flyscan.controllers.panda._rows import RowAssembler, unix_ns
from flyscan.errors import CaptureError
from flyscan.flight import Block, Channel

HZ = 125_000_000
TRANSCRIPT = FilePath(__file__).parents[1] / "fixtures" / "panda" / "data_port.txt"
START = "2026-11-20T05:55:50.496682138Z"
INDEX = "COUNTER8.OUT.Value"


def raw_stream() -> bytes:
    """What a real server sent in framed raw format, from connection to end."""
    section = TRANSCRIPT.read_text().split("== 'XML FRAMED RAW'\n")[1].split("\n==")[0]
    parts = re.findall(r"(?:on connect|after arm|after disarm): (b'.*')$", section, re.MULTILINE)
    return b"".join(ast.literal_eval(part) for part in parts)


def test_transcript_of_a_real_server():
    """The simulated-hardware server counts every word of a sample up, so values are known."""
    axis_map = AxisMap("INENC1", 0.001, unit="um")
    columns = tuple(encoder_columns("x", axis_map, "panda://box", HZ))
    rows = RowAssembler("panda", columns, None, HZ)
    parser = DataConnection()
    parser.connect(scaled=False)
    blocks: list[Block] = []
    for event in parser.receive_bytes(raw_stream()):
        if isinstance(event, StartData):
            rows.start(event)
        elif isinstance(event, FrameData):
            blocks += rows.feed(event.data)
        elif isinstance(event, EndData):
            assert event.reason is EndReason.OK
            assert rows.end(event.samples) == 8
    base = np.arange(8) * 256
    assert [block.first for block in blocks] == list(range(8))
    column = {n: np.concatenate([b.columns[n] for b in blocks]) for n in blocks[0].columns}
    assert column["x_min"] == pytest.approx((base + 1) * 0.001)
    assert column["x_max"] == pytest.approx((base + 2) * 0.001)
    total = (base + 6) + (base + 7) * 2.0**32
    assert column["x"] == pytest.approx(total / (base + 3) * 0.001)
    exposure = np.concatenate([b.exposure for b in blocks])
    assert exposure == pytest.approx((base + 3) * 8e-9)
    time_ns = np.concatenate([b.time_ns for b in blocks])
    ticks = (base + 4) + (base + 5) * 2**32
    assert time_ns.tolist() == (unix_ns(START) + (ticks - (base + 3)) * 8).tolist()


def test_time_stamps_to_the_nanosecond():
    assert unix_ns("1970-01-01T00:00:01.000000002Z") == 1_000_000_002
    assert unix_ns("2023-11-14T22:13:20Z") == 1_700_000_000_000_000_000
    assert unix_ns("2023-11-14T22:13:20.5Z") == 1_700_000_000_500_000_000
    with pytest.raises(ValueError, match="not a time stamp"):
        unix_ns("yesterday")


# --- a small capture with one counter ------------------------------------------------------

COUNTS = Column(Channel("n", "<i4"), "COUNTER1.OUT.Diff")
DTYPE = np.dtype([("COUNTER1.OUT.Diff", "<i4"), (GATE, "<i4"), (INDEX, "<i4"), (TIMESTAMP, "<i8")])


def header(missed: int = 0, **changes: Any) -> StartData:
    assert DTYPE.names is not None
    fields = [FieldCapture(*_split(name)) for name in DTYPE.names]
    values: dict[str, Any] = {"start_time": START, "fields": fields, "process": "Raw"} | changes
    return StartData(
        missed=missed, format="Framed", sample_bytes=20, arm_time=None, hw_time_offset_ns=None,
        **values,
    )  # fmt: skip


def _split(name: str) -> tuple[str, np.dtype[Any], str]:
    field, _, capture = name.rpartition(".")
    return field, np.dtype("int32"), capture


def words(first: int, stop: int, gates: Any = 1000) -> np.ndarray:
    """Captured rows `first` to `stop`; the counter's value tells which row it was."""
    rows = np.zeros(stop - first, DTYPE)
    rows["COUNTER1.OUT.Diff"] = np.arange(first, stop)
    rows[GATE] = gates
    rows[INDEX] = np.arange(first + 1, stop + 1)
    rows[TIMESTAMP] = np.arange(first, stop) * 10_000 + 5_000
    return rows


def assembler() -> RowAssembler:
    rows = RowAssembler("panda", (COUNTS,), INDEX, HZ)
    rows.expect_gate(0, 1000)
    return rows


def counts(blocks: list[Block]) -> list[int]:
    """The rows delivered, after checking that they bear their numbers."""
    numbers = [n for block in blocks for n in range(block.first, block.stop)]
    found = [int(n) for block in blocks for n in block.columns["n"]]
    assert found == numbers
    return found


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=8),
    st.lists(st.tuples(st.integers(0, 7), st.integers(0, 40)), max_size=3),
)
def test_replayed_rows_are_delivered_once(frames: list[int], losses: list[tuple[int, int]]):
    """Whenever the connection is lost, and however far back the box begins again."""
    rows = assembler()
    rows.start(header())
    ends = np.cumsum([0, *frames]).tolist()
    delivered: list[Block] = []
    for i, (first, stop) in enumerate(itertools.pairwise(ends)):
        delivered += rows.feed(words(first, stop))
        for _, back in (loss for loss in losses if loss[0] == i):
            again = max(0, stop - back)
            rows.start(header(missed=again))
            delivered += rows.feed(words(again, stop))
    assert counts(delivered) == list(range(ends[-1]))
    assert rows.end(ends[-1] - rows._missed) == ends[-1]


def test_rows_the_box_kept_no_more_are_named():
    rows = assembler()
    rows.start(header())
    rows.feed(words(0, 10))
    with pytest.raises(CaptureError, match=r"rows 10 to 24 are missing.*longer than the box keeps"):
        rows.start(header(missed=25))


def test_another_capture_after_a_reconnection_is_refused():
    rows = assembler()
    rows.start(header())
    rows.feed(words(0, 10))
    with pytest.raises(CaptureError, match=r"reports another capture.*rows from 10 on"):
        rows.start(header(start_time="2026-11-20T05:56:00.000000000Z"))


@given(
    st.sets(st.integers(0, 49)),
    st.sets(st.integers(0, 49)),
    st.lists(st.integers(1, 20), min_size=1, max_size=10),
    st.booleans(),
)
def test_rows_that_are_not_of_one_whole_gate_are_left_out(
    cut: set[int], lost: set[int], sizes: list[int], counter: bool
):
    """PCAP adds the gate of an edge that made no row to the next row."""
    cut = cut if counter else set()  # only a timed train is cut, and that takes a counter
    gates = np.where(np.isin(np.arange(50), list(cut)), 400, 1000)
    kept = [n for n in range(50) if n not in lost]
    rows = assembler() if counter else RowAssembler("panda", (COUNTS,), None, HZ)
    rows.expect_gate(0, 1000)
    rows.start(header())
    before = np.concatenate(([0], np.cumsum(gates)[kept]))
    captured = words(0, 50, gates)[kept]
    captured[GATE] = np.diff(before)
    delivered: list[Block] = []
    for begin, end in itertools.pairwise([0, *np.cumsum(sizes).tolist(), 50]):
        delivered += rows.feed(captured[begin : max(begin, end)])
    good = [n for n in kept if n not in cut and (n == 0 or n - 1 not in lost)]
    assert counts(delivered) == good
    assert (rows.seen, rows.accepted) == (len(kept), len(good))
    assert rows.edges == (kept[-1] + 1 if kept else 0)


def train(last: str) -> tuple[RowAssembler, np.ndarray]:
    """Rows of 20 edges of two trains; of the first one's last edge, the tenth, as said."""
    rows = assembler()
    rows.start(header())
    captured = words(0, 20)
    if last == "cut":
        captured[GATE][9] = 400
    elif last == "lost":
        captured = np.delete(captured, 9)
        captured[GATE][9] = 1400
    return rows, captured


@pytest.mark.parametrize(
    ("last", "triggers", "delivered"),
    [
        ("whole", 10, [*range(20)]),
        ("cut", 9, [*range(19)]),
        ("lost", 9, [*range(9), *range(10, 19)]),
    ],
)
def test_the_edge_that_was_cut_when_a_train_was_stopped_is_no_trigger(
    last: str, triggers: int, delivered: list[int]
):
    rows, captured = train(last)
    blocks = rows.feed(captured[captured[INDEX] <= 10])
    assert [rows.stopped(0, 10) for _ in range(2)] == [triggers, triggers]
    assert rows.stopped(10, 10) == 0
    blocks += rows.feed(captured[captured[INDEX] > 10])
    numbers = [n for block in blocks for n in range(block.first, block.stop)]
    assert numbers == delivered


def test_the_whole_gate_may_change_within_a_block():
    rows = assembler()
    rows.start(header())
    rows.expect_gate(10, 300)
    rows.expect_gate(20, 5000)
    gates = np.repeat([1000, 300, 5000], 10)
    gates[[3, 13, 23]] = [300, 100, 1000]
    gates[17] = 1000
    expected = [n for n in range(30) if n not in (3, 13, 17, 23)]
    assert counts(rows.feed(words(0, 30, gates))) == expected
    rows.expect_gate(40, 77)
    assert counts(rows.feed(words(30, 40, 5000))) == [*range(30, 40)]
    assert counts(rows.feed(words(40, 45, 77))) == [*range(40, 45)]


def test_a_later_word_on_the_same_edge_replaces_the_earlier():
    rows = assembler()
    rows.start(header())
    rows.expect_gate(0, 50)
    assert counts(rows.feed(words(0, 5, 50))) == [*range(5)]


@pytest.mark.parametrize("doubled", [0, 7, 9])
@pytest.mark.parametrize("lost", [None, 5])
def test_a_trigger_of_two_rows_is_refused(doubled: int, lost: int | None):
    rows = assembler()
    rows.start(header())
    captured = np.insert(words(0, 11), doubled + 1, words(doubled, doubled + 1, 0))
    if lost is not None:
        captured = np.delete(captured, lost + (lost > doubled))
    row = doubled + 1 - (lost is not None and doubled > lost)
    said = f"row {row} belongs to trigger {doubled + 1}, the row before it to trigger {doubled + 1}"
    with pytest.raises(CaptureError, match=said):
        [rows.feed(part) for part in (captured[:5], captured[5:])]


def test_rows_missing_at_the_end_are_noticed():
    rows = assembler()
    rows.start(header())
    rows.feed(words(0, 10))
    with pytest.raises(CaptureError, match="says it sent 11 rows, 10 came"):
        rows.end(11)


def test_other_captures_than_ours_are_refused():
    rows = assembler()
    with pytest.raises(CaptureError, match=r"does not capture COUNTER1\.OUT\.Diff.*another client"):
        rows.start(header(fields=header().fields[1:]))
    with pytest.raises(CaptureError, match="does not capture raw data"):
        rows.start(header(process="Scaled"))


# --- columns --------------------------------------------------------------------------------


def encoder_words() -> np.ndarray:
    names = [f"INENC1.VAL.{k}" for k in ("Min", "Max", "Diff")]
    dtype = np.dtype([*((n, "<i4") for n in names), ("INENC1.VAL.Mean", "<i8")])
    rows = np.zeros(2, dtype)
    rows["INENC1.VAL.Min"] = [10, 100]
    rows["INENC1.VAL.Max"] = [30, 300]
    rows["INENC1.VAL.Diff"] = [20, -200]
    rows["INENC1.VAL.Mean"] = [20 * 1000, 200 * 1000]
    return rows


def test_min_and_max_change_places_for_an_encoder_that_counts_down():
    axis_map = AxisMap("INENC1", 0.001, sign=-1, zero=5.0)
    gate = np.full(2, 1000.0)
    mean, low, high = (
        c.take(encoder_words(), gate) for c in encoder_columns("x", axis_map, "", HZ)
    )
    assert mean == pytest.approx([4.98, 4.8])
    assert low == pytest.approx([4.97, 4.7])
    assert high == pytest.approx([4.99, 4.9])


def test_positions_of_a_late_encoder_are_corrected_by_their_velocity():
    """20 counts in 1000 ticks, 40 ticks late: 0.8 counts further on."""
    axis_map = AxisMap("INENC1", 0.001, latency=40 / HZ)
    gate = np.full(2, 1000.0)
    columns = encoder_columns("x", axis_map, "", HZ)
    assert columns[0].take(encoder_words(), gate) == pytest.approx([0.0208, 0.192])
    assert columns[1].take(encoder_words(), gate) == pytest.approx([0.0108, 0.092])
    assert captures(columns, []) == {"INENC1.VAL.CAPTURE": "Diff Mean Min Max"}


@pytest.mark.parametrize(
    ("spec", "box", "dtype", "expected"),
    [
        (ChannelSpec("C.OUT"), ("", "1", "0"), "<i4", [20, -200]),
        (ChannelSpec("C.OUT"), ("mV", "0.5", "3"), "<f8", [10.0, -100.0]),
        (ChannelSpec("C.OUT", "Min", scale=2.0, offset=1.0), ("", "1", "0"), "<f8", [21.0, 201.0]),
        (ChannelSpec("C.OUT", "Min"), ("V", "0.1", "3"), "<f8", [4.0, 13.0]),
        (ChannelSpec("C.OUT", "Mean"), ("", "1", "0"), "<f8", [20.0, 200.0]),
    ],
)
def test_channels_are_scaled_as_the_box_says_or_as_configured(
    spec: ChannelSpec, box: tuple[str, str, str], dtype: str, expected: list[float]
):
    column = channel_column("n", spec, box, "panda://box")
    assert column.channel.dtype == dtype
    assert column.channel.unit == box[0]
    rows = encoder_words()
    assert rows.dtype.names is not None
    rows.dtype.names = tuple(n.replace("INENC1.VAL", "C.OUT") for n in rows.dtype.names)
    taken = column.take(rows, np.full(2, 1000.0))
    assert taken.dtype == np.dtype(dtype)
    assert taken.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("reason", list(EndReason))
def test_every_end_has_a_cause_and_a_remedy(reason: EndReason):
    error = end_error("panda", reason, 7)
    assert f"after 7 rows with {reason.value!r}: " in error.problem
    assert error.remedy
