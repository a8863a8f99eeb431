"""A box that sends a block every 10 ms and times the answers: ``python -m benchmarks._prompter``.

Prints ``{"data": PORT, "commands": PORT}`` when ready. A client of the data port gets what a PandA
sends; every frame's departure is noted. Lines ``VEL VALUE ROW`` on the other port answer all frames
up to row `ROW`. When standard input ends it prints ``{"sent": ..., "latencies_ms": [...]}``.

An answer is there when it is on the wire, which the kernel notes. When this process then gets a
core to read it says nothing about who answered.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import sys
import threading
import time
from datetime import UTC, datetime

import numpy as np

from ._box import CLOCK_HZ, ROW_TICKS

BLOCK_PERIOD = 0.01
ROWS = 10
PERIOD_TICKS = round(BLOCK_PERIOD / ROWS * CLOCK_HZ)
LISTEN = ("127.0.0.1", 0)
COUNTS = 1000
ROW_LENGTH = 10
"""Encoder counts from row to row."""

SO_TIMESTAMPNS = 35
"""Linux' number of the option, and of the message with the time: Python has no name for it."""

FIELDS = (
    ("PCAP.GATE_DURATION", "Value", "int32"),
    *((f"INENC{n}.VAL", edge, "int32") for n in (1, 2) for edge in ("Min", "Max")),
    ("COUNTER1.OUT", "Diff", "int32"),
    ("COUNTER2.OUT", "Diff", "int32"),
    ("PCAP.TS_TRIG", "Value", "int64"),
    *((f"INENC{n}.VAL", "Mean", "int64") for n in (1, 2)),
)
ROW = np.dtype([(f"{name}.{capture}", kind) for name, capture, kind in FIELDS])


def header() -> bytes:
    """What a PandA says before the rows, which begin now."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
    fields = "".join(
        f'<field name="{name}" type="{kind}" capture="{capture}" scale="1" offset="0" units="" />\n'
        for name, capture, kind in FIELDS
    )
    return (
        f'<header>\n<data arm_time="{now}" start_time="{now}" '
        'missed="0" process="Raw" format="Framed" '
        f'sample_bytes="{ROW.itemsize}" />\n<fields>\n{fields}</fields>\n</header>\n\n'
    ).encode()


def frame(first: int) -> bytes:
    """Rows from number `first` on."""
    words = np.zeros(ROWS, ROW)
    words["PCAP.GATE_DURATION.Value"] = ROW_TICKS
    words["PCAP.TS_TRIG.Value"] = (first + 1 + np.arange(ROWS)) * PERIOD_TICKS
    words["COUNTER1.OUT.Diff"] = COUNTS
    begin = ROW_LENGTH * (first + np.arange(ROWS))
    words["INENC1.VAL.Min"], words["INENC1.VAL.Max"] = begin, begin + ROW_LENGTH
    words["INENC1.VAL.Mean"] = (2 * begin + ROW_LENGTH) * ROW_TICKS // 2  # their sum over a gate
    return b"BIN " + (8 + words.nbytes).to_bytes(4, "little") + words.tobytes()


_TIMESPEC = struct.Struct("@ll")


def _arrival(ancillary: list[tuple[int, int, bytes]]) -> float:
    """When the newest bytes came, by the system's clock in s; now, if the kernel is silent."""
    for level, kind, value in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
            seconds, nanoseconds = _TIMESPEC.unpack(value)
            return seconds + 1e-9 * nanoseconds
    return time.time()


class Prompter:
    """Sends frames and receives commands, each on a thread of its own."""

    def __init__(self) -> None:
        self._departures: dict[int, float] = {}
        self._answers: list[tuple[int, float]] = []

    def start(self) -> dict[str, int]:
        """Begin to serve; returns the ports."""
        ports: dict[str, int] = {}
        for name, work in (("data", self._send), ("commands", self._receive)):
            server = socket.create_server(LISTEN)
            ports[name] = server.getsockname()[1]
            threading.Thread(target=work, args=(server,), daemon=True).start()
        return ports

    def _send(self, server: socket.socket) -> None:
        connection, _ = server.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.recv(4096)
        connection.sendall(b"OK\n" + header())
        due, first = time.monotonic(), 0
        with contextlib.suppress(ConnectionError):  # the client has all it wanted
            while True:
                due += BLOCK_PERIOD
                block = frame(first)
                time.sleep(max(0.0, due - time.monotonic()))
                first += ROWS
                self._departures[first] = time.time()
                connection.sendall(block)

    def _receive(self, server: socket.socket) -> None:
        connection, _ = server.accept()
        if sys.platform == "linux":
            connection.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        text = b""
        while True:
            data, ancillary, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(_TIMESPEC.size))
            if not data:
                return
            *lines, text = (text + data).split(b"\n")
            arrived = _arrival(ancillary)
            self._answers.extend((int(line.split()[2]), arrived) for line in lines)

    def report(self, rows: int) -> dict[str, object]:
        """What became of the frames with the first `rows` rows."""
        waiting = [item for item in self._departures.items() if item[0] <= rows]
        sent, latencies = len(waiting), list[float]()
        for row, arrived in self._answers:
            while waiting and waiting[0][0] <= row:
                latencies.append(1e3 * (arrived - waiting.pop(0)[1]))
        return {"sent": sent, "latencies_ms": latencies}


def main(rows: int) -> None:
    prompter = Prompter()
    print(json.dumps(prompter.start()), flush=True)
    sys.stdin.read()
    print(json.dumps(prompter.report(rows)), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
