"""Who may talk to a host, what it takes from them, and who can be reached over the network."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import zmq.asyncio

from flyscan.cli import main
from flyscan.errors import ConfigurationError, FlightAbortedError, HostError
from flyscan.flight.host import ProcessHost, StateFolder
from flyscan.flight.host._wire import MAX_MESSAGE, decode_request, encode_request
from flyscan.storage import check_file
from tests.processes.memory import CONFIG, Flight, answer_to, host, line, request, stranger

JUNK = {
    "nothing": ((b"",), "malformed request: JSONDecodeError"),
    "binary": ((b"\xff\x00\xfe" * 99,), "malformed request: UnicodeDecodeError"),
    "half of it": ((request("status", {})[:-9],), "malformed request: JSONDecodeError"),
    "a list": ((b"[]",), "malformed request: TypeError"),
    "a text": ((b'"status"',), "malformed request: TypeError"),
    "nested": ((b"[" * 100_000,), "malformed request: RecursionError"),
    "several frames": ((request("status", {}), b""), "malformed request: ValueError"),
    "no parameters": ((b'{"id": 1, "method": "status"}',), "malformed request: KeyError"),
    "number as method": ((request(7, {}),), "have the wrong type"),
    "list as parameters": ((request("status", []),), "have the wrong type"),
    "object as id": ((request("status", {}, {"a": 1}),), "have the wrong type"),
    "unknown method": ((request("close", {}),), "unknown request 'close'"),
    "private method": ((request("__init__", {}),), "unknown request '__init__'"),
    "missing parameter": ((request("kickoff", {}),), "missing a required argument: 'flyer'"),
    "foreign parameter": (
        (request("kickoff", {"flyer": "nano", "now": True}),),
        "unexpected keyword argument 'now'",
    ),
    "list as name": ((request("stop", {"flyer": ["nano"]}),), "flyer: Input should be a valid str"),
    "text as position": (
        (request("axis_move", {"owner": "nano", "axis": "x", "position": "1.5"}),),
        "position: Input should be a valid number",
    ),
    "number as path": ((request("prepare", {"flyer": "nano", "path": 3}),), "path: Input should"),
    "path without sense": (
        (request("validate", {"flyer": "nano", "path": {"spec": {"type": "os.system"}}}),),
        "",
    ),
}


async def test_junk_is_refused_without_harm_to_a_flight(tmp_path):
    async with host() as served, stranger() as line_in:
        flight = Flight(served, tmp_path)
        await flight.take_off(line(150))
        for name, (frames, text) in JUNK.items():
            answer = await answer_to(line_in, *frames)
            assert set(answer) == {"id", "error"}, name
            assert text in answer["error"]["problem"], name
        assert not flight.ended.done()
        await flight.lands(within=10)
    report = check_file(flight.file)
    assert (report.ok, report.frames) == (True, 150), report


async def test_an_oversized_message_ends_its_connection_only(tmp_path):
    async with host() as served, stranger() as line_in:
        flight = Flight(served, tmp_path)
        await flight.take_off(line(100))
        await line_in.send(b" " * (MAX_MESSAGE + 1))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(line_in.recv(), 0.5)
        await flight.lands(within=10)
    assert check_file(flight.file).ok


async def test_our_own_oversized_message_is_refused_before_it_is_sent():
    async with host() as served:
        with pytest.raises(HostError, match=r"'validate' is a message of \d+ bytes, allowed are"):
            await served.call("validate", flyer="nano", path={"junk": "x" * MAX_MESSAGE})
        assert await served.call("status") == {}


NO_CONTROLLERS = {
    "os:system": "no controller called 'os:system'",
    "flyscan.testing:MemoryBox": "no controller called 'flyscan'",
    "box": "is nothing that moves",
    "box.capture": "is nothing that moves",
    "box.__class__": "has no part called '__class__'",
    "box.nothing": "has no part called 'nothing'",
    "box.motion.name": "has no part called 'motion.name'",
}


async def test_a_request_cannot_name_a_class_or_reach_into_a_controller():
    async with host() as served:
        for owner, text in NO_CONTROLLERS.items():
            with pytest.raises(ConfigurationError, match=re.escape(text)):
                await served.call("axis_read", owner=owner, axis="x")
            with pytest.raises(ConfigurationError, match="no flyer called"):
                await served.call("describe", flyer=owner)
        assert await served.call("axis_read", owner="box.motion", axis="x") == 0.0


def test_requests_survive_the_wire():
    sent = encode_request(3, "hold", {"flyer": "nano", "reason": "µ"})
    assert decode_request([sent]) == {
        "id": 3,
        "method": "hold",
        "params": {"flyer": "nano", "reason": "µ"},
    }
    with pytest.raises(HostError, match="cannot be sent: Object of type set"):
        encode_request(3, "hold", {"flyer": {"nano"}})


# --- who may talk to it --------------------------------------------------------------------


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_socket_and_notes_are_private():
    async with host():
        (running,) = StateFolder().hosts()
        path = Path(running.socket.removeprefix("ipc://"))
        assert (mode(path), mode(path.parent)) == (0o600, 0o700)
        state = Path(os.environ["XDG_STATE_HOME"]) / "flyscan"
        assert mode(state) == 0o700
        assert {mode(folder) for folder in state.iterdir()} == {0o700}
    assert not path.parent.exists()


@pytest.mark.parametrize("allowed", [0o750, 0o705, 0o777])
def test_a_state_folder_that_others_may_open_is_refused(tmp_path, state_folder, allowed):
    folder = state_folder / "flyscan"
    folder.mkdir(parents=True)
    folder.chmod(allowed)
    complaint = f"{folder}: others may open it; .* Remedy: chmod 700 {folder}"
    with pytest.raises(HostError, match=complaint):
        StateFolder()


async def test_a_host_refuses_it_too(state_folder):
    (state_folder / "flyscan").mkdir(parents=True, mode=0o755)
    with pytest.raises(HostError, match="Remedy: chmod 700"):
        await ProcessHost(CONFIG).start()


def test_commands_refuse_it_too(state_folder, capsys):
    (state_folder / "flyscan").mkdir(parents=True, mode=0o755)
    assert (main(["stop"]), main(["restore"])) == (1, 1)
    assert capsys.readouterr().err.count("Remedy: chmod 700") == 2


def test_a_host_refuses_to_serve_in_a_folder_that_others_may_open(tmp_path):
    folder = tmp_path / "public"
    folder.mkdir(mode=0o755)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    done = subprocess.run(
        [sys.executable, "-m", "flyscan.flight.host", str(folder)], capture_output=True, timeout=30
    )
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["ready"]) == (1, False)
    assert answer["error"]["problem"].startswith("others may open it")
    assert not (folder / "host.sock").exists()


async def test_a_path_too_long_for_a_socket_is_named(tmp_path, monkeypatch):
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with pytest.raises(HostError, match=r"cannot make its socket .* set TMPDIR to a shorter one"):
        await ProcessHost(CONFIG).start()
    assert list(deep.iterdir()) == []


async def test_a_stranger_gets_no_events(tmp_path):
    async with host() as served, stranger() as line_in:
        flight = Flight(served, tmp_path)
        await flight.take_off(line(50))
        assert "nano" in (await answer_to(line_in, request("status", {})))["result"]
        await flight.lands(within=10)
        assert await line_in.poll(200) == 0


async def test_a_stranger_does_not_keep_the_lease_of_a_silent_client(tmp_path):
    async with host(lease=0.4) as served, stranger() as line_in:
        flight = Flight(served, tmp_path)
        await flight.take_off(line(1000))
        (renewing,) = (t for t in asyncio.all_tasks() if t.get_name() == "flyscan-host-lease")
        renewing.cancel()
        asking = asyncio.create_task(ask_for_ever(line_in))
        try:
            with pytest.raises(FlightAbortedError, match=r"silent for .* the lease is 0\.4 s"):
                await flight.lands(within=4)
        finally:
            asking.cancel()


async def ask_for_ever(line_in: zmq.asyncio.Socket) -> None:
    while True:
        await answer_to(line_in, request("status", {}))
        await asyncio.sleep(0.05)


# --- who can be reached over the network ---------------------------------------------------


def listening(pid: int) -> set[tuple[str, str]]:
    """Protocol and hexadecimal local address of every socket of a process that others can reach."""
    own = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # the one of the directory, if it is our own
            found = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(descriptor))
            if found:
                own.add(found[1])
    reachable: set[tuple[str, str]] = set()
    for protocol in ("tcp", "tcp6", "udp", "udp6"):
        for entry in Path(f"/proc/net/{protocol}").read_text().splitlines()[1:]:
            fields = entry.split()
            local, state, inode = fields[1], fields[3], fields[9]
            if inode in own and (state == "0A" or protocol.startswith("udp")):
                reachable.add((protocol, local.partition(":")[0]))
    return reachable


def test_simulators_listen_on_loopback_only(hardware):
    assert listening(hardware.process.pid) == {("tcp", "0100007F"), ("udp", "0100007F")}


async def test_a_host_listens_on_no_network_at_all():
    async with host() as served:
        assert served.pid is not None
        assert listening(served.pid) == set()


def test_what_listens_is_seen():
    """The checks above can fail."""
    with socket.create_server(("0.0.0.0", 0)):
        assert ("tcp", "00000000") in listening(os.getpid())
