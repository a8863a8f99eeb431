"""The benchmark of policies through the whole stack; no time is judged on a busy machine."""

from __future__ import annotations

import io
import json
import socket

import numpy as np
import pytest

from benchmarks._relay import Relay
from benchmarks._restless import CODES, Restless, rows_told
from benchmarks.adaptive import main
from benchmarks.adaptive._costs import POLICIES, policy_costs
from benchmarks.adaptive._full_stack import Judge, Sample
from benchmarks.adaptive._lines import context
from benchmarks.adaptive._loop import Answers
from tests.adaptive.lines import now, rows


def test_a_quick_run_gives_every_figure_as_json():
    figures = json.loads(json.dumps(main(["--quick", "--part", "full-stack"])))
    assert figures["decision_share"] > 0
    assert 0 < figures["decision_p50_ms"] <= figures["decision_p99_ms"]
    assert figures["decisions_per_s"] > 0
    assert figures["full_stack_uniform_ratio"] == pytest.approx(1.0, abs=0.1)
    assert figures["full_stack_error_ratio"] < 0.8
    assert figures["offline_error_ratio"] < 0.8
    assert figures["full_stack_chi2"] == pytest.approx(1.0, abs=0.1)
    assert figures["full_stack_time_ratio"] == pytest.approx(1.0, abs=0.01)
    assert figures["policy_ms"].keys() == POLICIES.keys()


def test_every_policy_has_a_price():
    for name, costs in policy_costs().items():
        assert {"begin", "tell", "ask", "end"} == costs.keys(), name
        assert all(ms >= 0 for ms in costs.values())


@pytest.mark.parametrize("told", [0, 1, 49, 9_999, 10_000, 123_456])
def test_a_speed_tells_which_block_it_answers(told):
    policy = Restless()
    policy.begin(context(1000, velocity=0.7))
    assert policy.ask(now()) is None
    if told:
        policy.tell(rows(1, first=told - 1))
        proposal = policy.ask(now())
        assert rows_told(float(f"{proposal.velocity:.10f}"), 0.7) == told % CODES
        assert policy.ask(now()) is None


def test_answers_belong_to_blocks_whatever_the_order():
    def speed(told: int) -> float:
        return 2.0 * (1 + 1e-6 * (told % CODES))

    noted = {
        "departures": [[50, 1.0], [101, 1.05], [150, 1.10], [10_050, 1.2], [10_100, 1.25]],
        "velocities": [[2.0, 0.5], [speed(50), 1.004], [speed(150), 1.103], [speed(10_050), 1.21]],
    }
    found = Answers.of(noted, 2.0)
    assert found.latencies == pytest.approx([0.004, 0.003, 0.01])
    assert (found.blocks, found.share) == (4, 0.75)
    assert found.rate == pytest.approx(3 / 0.21)
    with pytest.raises(RuntimeError, match="no block was answered"):
        Answers.of({"departures": [[50, 1.0]], "velocities": [[2.0, 1.1]]}, 2.0)


class Sink(socket.socket):
    """Keeps what is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []

    def sendall(self, data: bytes, flags: int = 0) -> None:
        self.pieces.append(data)


def test_a_relay_passes_everything_on_and_counts_rows():
    head = b'OK\n<header>\n<data sample_bytes="4" />\n</header>\n\n'
    frames = [b"BIN " + (8 + 4 * n).to_bytes(4, "little") + bytes(4 * n) for n in (3, 5)]
    stream = head + b"".join(frames) + b"END 8 Ok\n"
    relay = Relay(0, 0)
    with Sink() as sink:
        relay._frames(io.BytesIO(stream), sink)
        assert b"".join(sink.pieces) == stream
        assert all(frame in sink.pieces for frame in frames)
    assert [rows for rows, _ in relay.departures] == [3, 8]


def test_a_relay_notes_velocities():
    commands, relay = b"MOV 1 5\nVEL 1 0.50001\nERR?\nVEL? 1\n", Relay(0, 0)
    with Sink() as sink:
        relay._commands(io.BufferedReader(io.BytesIO(commands)), sink)
        assert b"".join(sink.pieces) == commands
    assert [velocity for velocity, _ in relay.velocities] == [0.50001]


def test_the_sample_is_the_signal_of_the_benchmark():
    sample = Sample("S1", 5)
    table = json.loads(sample.to_json())["Fe"]
    assert np.shape(table["values"]) == (5, len(table["x"]))
    for offset, line in zip(sample.offsets, table["values"], strict=True):
        at = 20.0 + 60.0 * offset
        assert table["x"][int(np.argmax(line))] == pytest.approx(at, abs=0.01)
    moves = np.abs(np.diff(sample.offsets))
    assert moves == pytest.approx(np.full(4, 0.3 * sample.cell.signal.width))


def test_uniform_lines_are_as_good_as_uniform_lines():
    judge = Judge(Sample("S1", 4))
    assert judge.gain(1.0) == pytest.approx(1.0)
    assert judge.gain(0.5) > 2
