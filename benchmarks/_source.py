"""A PandA's data port that streams as fast as it is read: ``python -m benchmarks._source``.

Prints ``{"port": ...}`` when ready. Every connection that asks for framed raw data gets a header
and then rows for ever: two encoders with lowest, highest and mean position, two counters, time
stamp, gate and trigger count, 56 bytes each, in precomputed frames of which only time stamps and
trigger counts change. With ``--rate`` frames leave every 100 ms, as the box sends them.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import socket
import threading
import time

import numpy as np

CLOCK_HZ = 125_000_000
GATE_TICKS = 100
PERIOD_TICKS = 125
FAST_ROWS = 32768
BLOCK_PERIOD = 0.1
INDEX = "COUNTER8.OUT.Value"

FIELDS = (
    ("PCAP.GATE_DURATION", "Value", "int32"),
    ("INENC1.VAL", "Min", "int32"),
    ("INENC1.VAL", "Max", "int32"),
    ("INENC2.VAL", "Min", "int32"),
    ("INENC2.VAL", "Max", "int32"),
    ("COUNTER1.OUT", "Diff", "int32"),
    ("COUNTER2.OUT", "Diff", "int32"),
    ("COUNTER8.OUT", "Value", "int32"),
    ("PCAP.TS_TRIG", "Value", "int64"),
    ("INENC1.VAL", "Mean", "int64"),
    ("INENC2.VAL", "Mean", "int64"),
)
ROW = np.dtype([(f"{name}.{capture}", kind) for name, capture, kind in FIELDS])


def header() -> bytes:
    """What precedes the rows."""
    fields = "".join(
        f'<field name="{name}" type="{kind}" capture="{capture}" scale="1" offset="0" units="" />\n'
        for name, capture, kind in FIELDS
    )
    return (
        '<header>\n<data arm_time="2026-11-20T05:55:50.000000000Z" '
        'start_time="2026-11-20T05:55:50.000000000Z" missed="0" process="Raw" format="Framed" '
        f'sample_bytes="{ROW.itemsize}" />\n<fields>\n{fields}</fields>\n</header>\n\n'
    ).encode()


def frame(rows: int) -> tuple[bytearray, np.ndarray]:
    """A frame of `rows` rows, and its rows to be changed in place."""
    data = bytearray(8 + rows * ROW.itemsize)
    data[:8] = b"BIN " + len(data).to_bytes(4, "little")
    words = np.frombuffer(data, ROW, offset=8)
    number = np.arange(rows)
    words["PCAP.GATE_DURATION.Value"] = GATE_TICKS
    words["INENC1.VAL.Min"] = number % 5000
    words["INENC1.VAL.Max"] = number % 5000 + 2
    words["INENC1.VAL.Mean"] = (number % 5000 + 1) * GATE_TICKS
    words["INENC2.VAL.Min"] = 7
    words["INENC2.VAL.Max"] = 9
    words["INENC2.VAL.Mean"] = 8 * GATE_TICKS
    words["COUNTER1.OUT.Diff"] = 1000 + number % 17
    words["COUNTER2.OUT.Diff"] = number % 41
    words[INDEX] = number + 1
    words["PCAP.TS_TRIG.Value"] = (number + 1) * PERIOD_TICKS
    return data, words


def serve(connection: socket.socket, rate: float) -> None:
    """Answer one client until it goes away."""
    rows = round(rate * BLOCK_PERIOD) or FAST_ROWS
    data, words = frame(rows)
    with connection, contextlib.suppress(ConnectionError):  # the client has seen enough
        connection.recv(4096)
        connection.sendall(b"OK\n" + header())
        began = time.monotonic()
        for count in itertools.count(1):
            if rate:
                time.sleep(max(0.0, began + count * BLOCK_PERIOD - time.monotonic()))
            connection.sendall(data)
            words[INDEX] += rows
            words["PCAP.TS_TRIG.Value"] += rows * PERIOD_TICKS


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--rate", type=float, default=0.0, help="rows per second, 0 for no limit")
    arguments = parser.parse_args()
    with socket.create_server((arguments.host, arguments.port)) as listener:
        print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection, arguments.rate), daemon=True).start()


if __name__ == "__main__":
    main()
