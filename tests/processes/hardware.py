"""The simulated nanoprobe as a process, and what its boxes say on connections of our own."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from flyscan.demo import host_config

FOUND = {"VEL 1": "123", "VEL 2": "45"}
"""Speeds somebody has left on the stage; nothing a flight would set."""

FIELDS = {
    "PCOMP1.START": "777",
    "PCOMP1.PULSES": "3",
    "PCOMP1.INP": "INENC3.VAL",
    "PULSE1.WIDTH": "0.25",
    "PCAP.TRIG": "TTLIN6.VAL",
    "COUNTER2.TRIG": "TTLIN5.VAL",
    "INENC3.VAL.CAPTURE": "Value",
}
"""Settings somebody has left on the PandA."""

TABLE = b"SEQ1.TABLE<\n" + b"".join(b"%d 2 3 4\n" % n for n in range(9)) + b"\n"
"""A table somebody has left: longer than one line of base64, which the box breaks within words."""


class Line:
    """A TCP connection of lines."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), timeout=10)
        self._lines = self._socket.makefile("rb")

    def ask(self, command: bytes) -> str:
        self._socket.sendall(command)
        return self._lines.readline().decode().strip()

    def items(self, command: bytes) -> Iterator[str]:
        """Lines of a multi-line answer of a PandA."""
        answer = self.ask(command)
        while answer != ".":
            yield answer.removeprefix("!")
            answer = self._lines.readline().decode().strip()

    def tell(self, command: bytes) -> None:
        self._socket.sendall(command)

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


class Hardware:
    """The simulator's process and a view of it that has nothing to do with flyscan's clients."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "flyscan_sim", "nanoprobe", "--exit-with-parent"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        self.ready: dict[str, Any] = json.loads(self.process.stdout.readline())
        gcs, panda = self.ready["gcs"], self.ready["panda"]
        self._stage = Line(gcs["host"], gcs["port"])
        self._panda = Line(panda["host"], panda["control_port"])
        for key, value in FOUND.items():
            self._stage.tell(f"{key} {value}\n".encode())
        for field, value in FIELDS.items():
            assert self._panda.ask(f"{field}={value}\n".encode()) == "OK"
        assert self._panda.ask(TABLE) == "OK"
        self.found = self.settings()

    def __enter__(self) -> Hardware:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stage.close()
        self._panda.close()
        self.process.terminate()
        self.process.communicate(timeout=10)

    @property
    def environment(self) -> dict[str, str]:
        """Channel Access settings of processes that use it."""
        ca = self.ready["ca"]
        return {
            "EPICS_CA_ADDR_LIST": f"{ca['host']}:{ca['port']}",
            "EPICS_CA_AUTO_ADDR_LIST": "NO",
        }

    def config(self, lease: float = 30.0) -> dict[str, Any]:
        """The flight host's configuration."""
        return {**host_config(self.ready), "lease": lease}

    # --- stage -----------------------------------------------------------------------------

    def position(self, axis: str) -> float:
        identifier = {"x": "1", "y": "2"}[axis]
        return float(self._stage.ask(f"POS? {identifier}\n".encode()).partition("=")[2])

    def target(self, axis: str) -> float:
        identifier = {"x": "1", "y": "2"}[axis]
        return float(self._stage.ask(f"MOV? {identifier}\n".encode()).partition("=")[2])

    @property
    def moving(self) -> bool:
        return int(self._stage.ask(b"\x05"), 16) != 0

    # --- PandA -----------------------------------------------------------------------------

    def field(self, name: str) -> str:
        return self._panda.ask(f"{name}?\n".encode()).partition("=")[2]

    @property
    def capturing(self) -> bool:
        return not self.field("*PCAP.STATUS").startswith("Idle")

    def settings(self) -> dict[str, str]:
        """Every setting of the PandA but the alignment of encoders, and the stage's speeds."""
        panda = self.ready["panda"]
        line = Line(panda["host"], panda["control_port"])  # a new one is told all, as of a change
        lines = (item.partition("=") for item in line.items(b"*CHANGES.CONFIG?\n"))
        found = {field: value for field, _, value in lines if not field.startswith("INENC")}
        found["captured"] = " ".join(line.items(b"*CAPTURE?\n"))
        found["table"] = " ".join(line.items(b"SEQ1.TABLE.B?\n"))
        line.close()
        for number in ("1", "2"):
            found[f"VEL {number}"] = self._stage.ask(f"VEL? {number}\n".encode())
        return found

    # --- expectations ----------------------------------------------------------------------

    def comes_to_rest(self, within: float) -> float:
        """Wait until stage and capture rest; returns how long that took."""
        return until(lambda: not self.moving and not self.capturing, within, "at rest")

    def comes_back(self, within: float) -> None:
        """Wait until every setting is as it was found."""
        until(lambda: self.settings() == self.found, within, "settings as found", self.changed)

    def changed(self) -> dict[str, tuple[str | None, str]]:
        """Settings that differ from what was found: found, now."""
        now = self.settings()
        return {k: (self.found.get(k), v) for k, v in now.items() if self.found.get(k) != v}


def until(
    condition: Callable[[], object],
    within: float,
    what: str,
    detail: Callable[[], object] = lambda: "",
) -> float:
    """Wait for something, at most `within` s; returns how long it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < within, f"not {what} after {within} s {detail()}"
        time.sleep(0.002)
    return time.monotonic() - began
