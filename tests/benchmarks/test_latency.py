"""The benchmark of latency answers every block; no time is judged on a busy machine."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from benchmarks import latency
from benchmarks._prompter import _TIMESPEC, ROWS, SO_TIMESTAMPNS, Prompter, _arrival


def test_every_block_is_answered(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(latency.BLOCKED, "sleep", lambda: None)
    figures = latency.main(["--seconds", "0.2", "--subscribers", "sleep"])
    assert figures["blocks"] == 20
    assert 0 < figures["idle_p50_ms"] <= figures["idle_p99_ms"]
    assert figures["blocked_p99_ms"].keys() == {"sleep"}


def test_an_answer_counts_for_all_frames_up_to_its_row():
    prompter = Prompter()
    prompter._departures = {ROWS * i: float(i) for i in (1, 2, 3)}
    prompter._answers = [(ROWS, 1.5), (3 * ROWS, 4.0)]
    assert prompter.report(2 * ROWS) == {"sent": 2, "latencies_ms": [500.0, 2000.0]}


def test_the_kernels_time_goes_before_ours():
    stamped = [(socket.SOL_SOCKET, SO_TIMESTAMPNS, _TIMESPEC.pack(1234, 500_000_000))]
    assert _arrival(stamped) == 1234.5
    assert _arrival([]) == pytest.approx(time.time(), abs=60.0)


def test_a_flight_that_hangs_ends_the_benchmark(monkeypatch):
    monkeypatch.setattr(latency, "PATIENCE", 0.05)
    monkeypatch.setattr(latency, "_measured", lambda *_: threading.Event().wait())
    with pytest.raises(TimeoutError, match=r"subscriber 'idle' was not over after 0\.1 s"):
        latency.main(["--seconds", "0.05"])
