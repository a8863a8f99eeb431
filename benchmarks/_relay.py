"""Stands between the flight host and its boxes, and takes the time of what passes by.

``python -m benchmarks._relay PANDA_DATA GCS`` prints ``{"data": PORT, "gcs": PORT}`` when ready.
Frames of a PandA are passed on as a whole, and their departure is noted; commands to a GCS
controller as they come, and the arrival of every velocity is noted. When standard input ends it
prints ``{"departures": [[rows so far, s], ...], "velocities": [[velocity, s], ...]}``; seconds are
those of the machine's monotonic clock.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path as FilePath
from typing import Any, BinaryIO

__all__ = ["Relay", "relayed"]

HERE = FilePath(__file__).parent.parent
HOST = "127.0.0.1"
CHUNK = 1 << 16
PATIENCE = 10.0

Forward = Callable[[BinaryIO, socket.socket], None]


class Relay:
    """Serves one port for each box.

    Args:
        data: the PandA's data port.
        gcs: the GCS controller's port.
    """

    def __init__(self, data: int, gcs: int) -> None:
        self._targets = {"data": data, "gcs": gcs}
        self.departures: list[tuple[int, float]] = []
        self.velocities: list[tuple[float, float]] = []

    def start(self) -> dict[str, int]:
        """Begin to serve; returns the ports."""
        ways: dict[str, tuple[Forward, Forward]] = {
            "data": (_copy, self._frames),
            "gcs": (self._commands, _copy),
        }
        ports: dict[str, int] = {}
        for name, (there, back) in ways.items():
            server = socket.create_server((HOST, 0))
            ports[name] = server.getsockname()[1]
            arguments = (server, self._targets[name], there, back)
            threading.Thread(target=_serve, args=arguments, daemon=True).start()
        return ports

    def _frames(self, source: BinaryIO, sink: socket.socket) -> None:
        """Pass on what a PandA says; a frame leaves in one piece, and its time is taken."""
        head = b""
        while not head.endswith(b"</header>\n\n"):
            line = source.readline()
            if not line:
                return
            sink.sendall(line)
            head += line
        size = int(_found(rb'sample_bytes="(\d+)"', head))
        rows = 0
        while (mark := source.read(4)) == b"BIN ":
            length = source.read(4)
            words = source.read(int.from_bytes(length, "little") - 8)
            rows += len(words) // size
            self.departures.append((rows, time.monotonic()))
            sink.sendall(mark + length + words)
        sink.sendall(mark)
        _copy(source, sink)

    def _commands(self, source: BinaryIO, sink: socket.socket) -> None:
        """Pass on what is said to a GCS controller; the time of every velocity is taken."""
        while data := source.read1(CHUNK):
            arrived = time.monotonic()
            for value in re.findall(rb"VEL \S+ ([\d.]+)", data):
                self.velocities.append((float(value), arrived))
            sink.sendall(data)


def _found(pattern: bytes, text: bytes) -> bytes:
    match = re.search(pattern, text)
    if match is None:
        raise RuntimeError(f"no {pattern!r} in {text!r}")
    return match[1]


def _copy(source: BinaryIO, sink: socket.socket) -> None:
    while data := source.read1(CHUNK):
        sink.sendall(data)


def _serve(server: socket.socket, target: int, there: Forward, back: Forward) -> None:
    while True:
        client, _ = server.accept()
        box = socket.create_connection((HOST, target), PATIENCE)
        box.settimeout(None)
        for end in (client, box):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for way in ((client, box, there), (box, client, back)):
            threading.Thread(target=_pass_on, args=way, daemon=True).start()


def _pass_on(source: socket.socket, sink: socket.socket, forward: Forward) -> None:
    """One direction of a connection; its end is passed on, too."""
    with contextlib.suppress(OSError):  # the other direction has closed it
        with source.makefile("rb", CHUNK) as stream:
            forward(stream, sink)
        sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def relayed(data: int, gcs: int) -> Iterator[tuple[dict[str, int], Callable[[], dict[str, Any]]]]:
    """A relay in a process of its own: its ports, and what ends it and gives what it noted."""
    command = [sys.executable, "-m", "benchmarks._relay", str(data), str(gcs)]
    with subprocess.Popen(
        command, cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("a pipe is missing")
        source, sink = process.stdout, process.stdin

        def noted() -> dict[str, Any]:
            sink.close()
            return json.loads(source.readline())

        try:
            yield json.loads(source.readline()), noted
        finally:
            process.terminate()


def main(data: int, gcs: int) -> None:
    relay = Relay(data, gcs)
    print(json.dumps(relay.start()), flush=True)
    sys.stdin.read()
    noted = {"departures": relay.departures, "velocities": relay.velocities}
    print(json.dumps(noted), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
