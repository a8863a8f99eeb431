"""The simulated nanoprobe seen on connections of our own, beside those of flyscan."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["View"]

TIMEOUT_S = 10.0
AXES = {"x": "1", "y": "2"}

FOUND = {"VEL 1": "123", "VEL 2": "45"}
"""Speeds somebody has left on the stage; nothing a flight would choose."""

FIELDS = {
    "PCOMP1.START": "777",
    "PCOMP1.PULSES": "3",
    "PULSE1.WIDTH": "0.25",
    "PCAP.TRIG": "TTLIN6.VAL",
    "COUNTER2.TRIG": "TTLIN5.VAL",
    "INENC3.VAL.CAPTURE": "Value",
}
"""Settings somebody has left on the PandA."""


class _Line:
    """A TCP connection of lines; one thread asks at a time."""

    def __init__(self, host: str, port: int) -> None:
        self._asking = threading.Lock()
        self._socket = socket.create_connection((host, port), timeout=TIMEOUT_S)
        self._lines = self._socket.makefile("rb")

    def tell(self, command: bytes) -> None:
        self._socket.sendall(command)

    def ask(self, command: bytes) -> str:
        with self._asking:
            self.tell(command)
            return self._lines.readline().decode().strip()

    def items(self, command: bytes) -> Iterator[str]:
        """Lines of a multi-line answer of a PandA."""
        answer = self.ask(command)
        while answer != ".":
            yield answer.removeprefix("!")
            answer = self._lines.readline().decode().strip()

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


class View:
    """What the boxes themselves say.

    Args:
        ready: the line ``flyscan-sim nanoprobe`` prints when it is ready.

    Attributes:
        found: settings somebody has left on the boxes.
    """

    def __init__(self, ready: Mapping[str, Any]) -> None:
        gcs, panda = ready["gcs"], ready["panda"]
        self._control = panda["host"], panda["control_port"]
        self._stage = _Line(gcs["host"], gcs["port"])
        self._panda = _Line(*self._control)
        for key, value in FOUND.items():
            self._stage.tell(f"{key} {value}\n".encode())
        for field, value in FIELDS.items():
            answer = self._panda.ask(f"{field}={value}\n".encode())
            if answer != "OK":
                raise RuntimeError(f"{field}={value}: {answer}")
        self.found = self.settings()

    def close(self) -> None:
        """Close the connections."""
        self._stage.close()
        self._panda.close()

    @property
    def moving(self) -> bool:
        """Whether any axis moves."""
        return int(self._stage.ask(b"\x05"), 16) != 0

    @property
    def capturing(self) -> bool:
        """Whether the capture is armed."""
        return not self._ask("*PCAP.STATUS").startswith("Idle")

    @property
    def captured(self) -> int:
        """Rows captured since it was last armed."""
        return int(self._ask("*PCAP.CAPTURED"))

    def _ask(self, name: str) -> str:
        return self._panda.ask(f"{name}?\n".encode()).partition("=")[2]

    def forget_captured(self) -> None:
        """Arm and disarm, so that rows of earlier runs are not taken for those of the next."""
        for command in (b"*PCAP.ARM=\n", b"*PCAP.DISARM=\n"):
            answer = self._panda.ask(command)
            if answer != "OK":
                raise RuntimeError(f"{command!r}: {answer}")
        if self.captured:
            raise RuntimeError("the box still counts rows of an earlier run")

    def settings(self) -> dict[str, str]:
        """Settings of the PandA, but the alignment of encoders, and the stage's speeds."""
        line = _Line(*self._control)  # a new connection is told all, as if all had changed
        items = (item.partition("=") for item in line.items(b"*CHANGES.CONFIG?\n"))
        found = {field: value for field, _, value in items if not field.startswith("INENC")}
        found["captured"] = " ".join(line.items(b"*CAPTURE?\n"))
        line.close()
        for axis in AXES.values():
            found[f"VEL {axis}"] = self._stage.ask(f"VEL? {axis}\n".encode())
        return found

    def changed(self) -> dict[str, tuple[str | None, str]]:
        """Settings that are not as found: found, now."""
        now = self.settings()
        return {k: (self.found.get(k), v) for k, v in now.items() if self.found.get(k) != v}

    def rests(self, within: float, *, disarmed: bool) -> float | None:
        """Wait until the stage rests, and the capture too if that is wanted.

        Returns:
            Seconds it took, or None if it took longer than `within`.
        """
        began = time.monotonic()
        while self.moving or (disarmed and self.capturing):
            if time.monotonic() - began > within:
                return None
            time.sleep(0.002)
        return time.monotonic() - began
