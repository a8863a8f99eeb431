"""Answers word for word as a PandABlocks-server 4.1 gave them."""

from __future__ import annotations

import ast
import re
from collections import deque
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from flyscan_sim.panda._control import ControlSession
from flyscan_sim.panda._data import DataSession, format_header, format_samples, parse_options
from flyscan_sim.panda._device import Client, Device
from flyscan_sim.panda._layout import Layout, load_layout
from flyscan_sim.panda._text import CommandError
from tests.sim.panda_rig import FIXTURES, Rig


class Registers:
    """Simulated hardware as the real server has it in its test build: nothing ever moves."""

    def __init__(self, layout: Layout) -> None:
        self._defaults = {
            (instance, name): spec.default
            for block in layout.blocks.values()
            for instance in block.instances()
            for name, spec in block.fields.items()
        }

    def register(self, block: str, field: str) -> int:
        return self._defaults[block, field]

    def bit(self, index: int) -> bool:
        return False

    toggled = bit

    def position(self, index: int) -> int:
        return 0

    def queued_words(self, block: str) -> int:
        return 0

    def written(self, block: str, field: str) -> None: ...

    def reset_table(self, block: str) -> None: ...

    def load_table(self, block: str, words: np.ndarray, **modes: bool) -> None: ...


class NoCapture:
    def arm(self) -> None:
        raise CommandError("Nothing configured for capture")

    def disarm(self) -> None: ...

    def status(self) -> str:
        return "Idle 0 0"

    def captured(self) -> int:
        return 0

    def completion(self) -> str:
        return "Ok"


@pytest.fixture
def session() -> ControlSession:
    layout = load_layout()
    device = Device(layout, Registers(layout), NoCapture())
    device.clients.append(Client("2026-11-20T05:55:47.639Z", "config", "127.0.0.1:51004"))
    return ControlSession(device)


def exchanges(name: str) -> Iterator[tuple[str, list[str]]]:
    """Commands and the lines of their replies."""
    command, reply = "", list[str]()
    for line in (FIXTURES / name).read_text().splitlines():
        if line.startswith("< "):
            if command:
                yield command, reply
            command, reply = line[2:], []
        else:
            reply.append(re.sub("^ {3}(> )?", "", line))
    yield command, reply


def agrees(got: list[str], wanted: list[str]) -> bool:
    """Equal, or as far as a shortened recording ("... (27 lines)") goes."""
    shortened = re.fullmatch(r"\.\.\. \((\d+) lines\)", wanted[-1])
    if shortened is None:
        return got == wanted
    return len(got) == int(shortened[1]) and got[: len(wanted) - 1] == wanted[:-1]


@pytest.mark.parametrize("name", ["control.txt", "tables.txt"])
def test_every_recorded_answer(session: ControlSession, name: str) -> None:
    checked = 0
    for command, wanted in exchanges(name):
        replies = [session.handle(line) for line in command.replace("\\n", "\n").split("\n")]
        got = "".join(reply for reply in replies if reply).splitlines()
        assert agrees(got, wanted), command
        checked += 1
    assert checked > 60


def test_introspection_of_pandablocks(session: ControlSession) -> None:
    """Everything the pandablocks client asks when it connects, in its own order."""
    asked: deque[str] = deque()
    reply: list[str] = []
    checked = 0
    for line in (FIXTURES / "pandablocks_introspection.txt").read_text().splitlines():
        if line.startswith("< "):
            asked.append(line[2:])
            continue
        reply.append(line[2:])
        if not line.startswith("> !"):
            command = asked.popleft()
            answer = session.handle(command)
            assert answer is not None
            assert answer.splitlines() == reply, command
            reply = []
            checked += 1
    assert not asked
    assert checked == 585


# Data port


def recorded(section: str) -> bytes:
    """What the server sent on the data port in one section of the recording, END excluded."""
    text = (FIXTURES / "data_port.txt").read_text()
    body = text.split(f"== {section!r}\n", 1)[1].split("\n== ", 1)[0]
    parts = re.findall(r"after (?:arm|disarm): (b'.*')$", body, re.MULTILINE)
    return b"".join(ast.literal_eval(part) for part in parts)


@pytest.fixture
def captured() -> tuple[Rig, bytes]:
    """The capture list of the recording, and the samples its test hardware makes up."""
    rig = Rig()
    rig.put(
        "*CAPTURE=",
        "PCAP.TS_TRIG.CAPTURE=Value",
        "INENC1.VAL.CAPTURE=Min Max Mean",
        "PCAP.BITS0.CAPTURE=Value",
        "PCAP.GATE_DURATION.CAPTURE=Value",
        "INENC1.VAL.SCALE=0.001",
        "INENC1.VAL.OFFSET=1.5",
        "INENC1.VAL.UNITS=um",
        "*PCAP.ARM=",
    )
    words = np.arange(8)[None, :] + 256 * np.arange(8)[:, None]
    return rig, words.astype("<u4").tobytes()


@pytest.mark.parametrize(
    "options", ["XML FRAMED SCALED", "XML FRAMED RAW", "ASCII", "XML FRAMED SCALED ONE_SHOT", ""]
)
def test_samples_are_sent_byte_for_byte(captured: tuple[Rig, bytes], options: str) -> None:
    rig, data = captured
    plan, parsed = rig.experiment.plan, parse_options(options)
    assert plan is not None
    wanted = recorded(options).replace(b"<EOF>", b"")
    arm, start = (
        unix_ns(re.search(rb'%s(?:="|: )([^"\n]+)' % name, wanted)[1].decode())  # type: ignore[index]
        for name in (b"arm_time", b"start_time")
    )
    got = format_header(plan, parsed, arm, start, 0)
    rows = [data[i : i + 32] for i in range(0, len(data), 32)]
    got += b"".join(b"".join(format_samples(plan, parsed, row)) for row in rows)
    assert got + b"END 8 Ok\n" == wanted


def unix_ns(iso: str) -> int:
    seconds = np.datetime64(iso.removesuffix("Z"), "ns")
    return int(seconds.astype(np.int64))


@pytest.mark.parametrize("words", ["NOPE", "XML FRAMED UNSCALED"])
def test_unknown_options_are_refused(captured: tuple[Rig, bytes], words: str) -> None:
    rig, _ = captured
    session = DataSession(rig.buffer, rig.experiment)
    connect: Callable = pytest.fail
    assert session.request(words, connect) == b"ERR Invalid data capture option\n"
    assert session.closed


def test_base64_and_unframed_carry_the_same_bytes(captured: tuple[Rig, bytes]) -> None:
    import base64

    rig, data = captured
    plan = rig.experiment.plan
    assert plan is not None
    bare = b"".join(format_samples(plan, parse_options("BARE"), data))
    assert bare == data
    lines = b"".join(format_samples(plan, parse_options("BASE64 RAW"), data)).splitlines()
    assert all(line.startswith(b" ") and len(line) <= 77 for line in lines)
    assert b"".join(base64.b64decode(line) for line in lines) == data


def test_status_words_of_an_experiment(captured: tuple[Rig, bytes]) -> None:
    """The control port's side of the recording: Busy, refusals, and Idle again."""
    rig, _ = captured
    assert rig.get("*PCAP.STATUS") == "Busy 0 0"
    assert rig.get("*PCAP.COMPLETION") == "Busy"
    assert rig.session.handle("*PCAP.ARM=") == "ERR Data capture already in progress\n"
    rig.put("*PCAP.DISARM=")
    assert rig.session.handle("*PCAP.ARM=") == "ERR Data capture already in progress\n"
    rig.run(1e-3)
    assert rig.get("*PCAP.STATUS") == "Idle 0 0"
    assert rig.get("*PCAP.COMPLETION") == "Disarmed"
    rig.put("*PCAP.DISARM=", "*PCAP.ARM=")
