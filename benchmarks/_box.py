"""Plain blocking access to the simulated PandA, for whatever is measured beside flyscan."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import BinaryIO
from xml.etree import ElementTree

import numpy as np

__all__ = ["CAPTURES", "CLOCK_HZ", "HERE", "ROW_TICKS", "Box", "Ports", "panda"]

HERE = FilePath(__file__).parent.parent
HOST = "127.0.0.1"
CLOCK_HZ = 125_000_000
ROW_TICKS = 125
"""Ticks from row to row, and of every gate: the time stamps are those of 1e6 rows/s."""

CAPTURES = (
    "PCAP.ENABLE=ONE",
    "PCAP.TS_TRIG.CAPTURE=Value",
    "PCAP.GATE_DURATION.CAPTURE=Value",
    "INENC1.VAL.CAPTURE=Min Max Mean",
    "INENC2.VAL.CAPTURE=Min Max Mean",
    "COUNTER1.OUT.CAPTURE=Diff",
    "COUNTER2.OUT.CAPTURE=Diff",
)
"""What makes rows of eight channels with time and exposure, 52 bytes each."""

RECEIVE = 1 << 21
PATIENCE = 10.0


@dataclass(frozen=True)
class Ports:
    """Where the box is.

    Args:
        control, data: TCP ports.
        host: address.
    """

    control: int
    data: int
    host: str = HOST


@contextlib.contextmanager
def panda(*options: str, host: str = HOST) -> Iterator[Ports]:
    """A process that simulates a PandA; gives its ports."""
    command = [sys.executable, "-m", "benchmarks._source", "--host", host, *options]
    with subprocess.Popen(command, cwd=HERE, stdout=subprocess.PIPE) as process:
        try:
            yield Ports(**json.loads(process.stdout.readline()), host=host)
        finally:
            process.terminate()


class Box:
    """A control connection.

    Args:
        ports: where the box is.
    """

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._socket = socket.create_connection((ports.host, ports.control), PATIENCE)
        self._lines = self._socket.makefile("r", encoding="ascii")

    def __enter__(self) -> Box:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._socket.close()

    def run(self, *lines: str) -> list[str]:
        """Send lines; the replies."""
        replies: list[str] = []
        for line in lines:
            self._socket.sendall(f"{line}\n".encode())
            replies.append(self._lines.readline().strip())
            if not replies[-1].startswith("OK"):
                raise RuntimeError(f"{line}: {replies[-1]}")
        return replies

    @contextlib.contextmanager
    def rows(self) -> Iterator[tuple[BinaryIO, np.dtype]]:
        """Capture: the stream of frames, header read, and the type of a row."""
        self.run(*CAPTURES)
        address = (self._ports.host, self._ports.data)
        with (
            socket.create_connection(address, PATIENCE) as data,
            data.makefile("rb", RECEIVE) as stream,
        ):
            data.sendall(b"XML FRAMED RAW\n")
            stream.readline()
            self.run("*PCAP.ARM=")
            yield stream, _header(stream)
        self.disarm()

    def disarm(self) -> None:
        """End the capture and wait until nobody takes part in it any more."""
        self.run("*PCAP.DISARM=")
        deadline = time.monotonic() + PATIENCE
        while not self.run("*PCAP.STATUS?")[0].startswith("OK =Idle"):
            if time.monotonic() > deadline:
                raise RuntimeError(f"the box is not idle {PATIENCE:g} s after it was disarmed")
            time.sleep(0.01)


def _header(stream: BinaryIO) -> np.dtype:
    """Read the header with the empty line behind it; the type of a row."""
    lines = [stream.readline()]
    while lines[-1] not in (b"</header>\n", b""):
        lines.append(stream.readline())
    stream.readline()
    fields = ElementTree.fromstring(b"".join(lines)).iter("field")
    return np.dtype([(f"{f.get('name')}.{f.get('capture')}", f.get("type")) for f in fields])
