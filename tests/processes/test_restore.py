"""The restore journal: what is put back, in which order, and what is left alone."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flyscan.cli import main
from flyscan.errors import BusyError, ControllerError, HostError
from flyscan.flight import RestoreStep
from flyscan.flight.host import HostConfig, StateFolder, restore_orphans
from flyscan.flight.host._restore import HostJournal

CLASS = f"{__name__}:Registers"


class Registers:
    """What restoring needs of a controller: it writes down what is done to it."""

    def __init__(self, name: str, diary: str, refuses: str = "") -> None:
        self.name = name
        self._diary = Path(diary)
        self._refuses = refuses

    async def connect(self) -> None:
        self._write("connect")

    async def close(self) -> None:
        self._write("close")

    async def stop(self) -> None:
        self._write("stop")

    async def restore(self, steps: tuple[RestoreStep, ...]) -> None:
        if self._refuses:
            raise ControllerError(self._refuses, device=self.name, remedy="do it by hand")
        self._write(*(f"{step.key}={step.value}" for step in steps))

    def _write(self, *words: str) -> None:
        with self._diary.open("a") as diary:
            diary.write("".join(f"{self.name} {word}\n" for word in words))


@pytest.fixture
def diary(tmp_path: Path) -> Path:
    file = tmp_path / "diary"
    file.touch()
    return file


Leave = Callable[..., StateFolder]


@pytest.fixture
def leave(diary: Path) -> Leave:
    """Leave an entry, as a host does that is killed afterwards, or that lives if announced."""

    def note(
        controller: str = "stage", *steps: tuple[str, str], alive: bool = False, **params: Any
    ) -> StateFolder:
        folder = StateFolder()
        if alive:
            folder.announce("ipc:///nowhere")
        folder.note(controller, CLASS, {"diary": str(diary), **params}, list(steps))
        return folder

    return note


def config(diary: Path, **params: Any) -> HostConfig:
    controllers = {"stage": {"class": CLASS, "params": {"diary": str(diary), **params}}}
    return HostConfig.from_dict({"controllers": controllers, "flyers": {}})


def entries() -> list[str]:
    return [entry.controller for entry in StateFolder().journal()]


def test_it_stops_and_writes_back_on_a_connection_of_its_own(leave, diary, capsys):
    leave("stage", ("VEL 1", "5"), ("VEL 2", "6"))
    assert main(["restore"]) == 0
    assert capsys.readouterr().out == "stage: 2 settings put back\n"
    words = ["connect", "stop", "VEL 1=5", "VEL 2=6", "close"]
    assert diary.read_text().splitlines() == [f"stage {word}" for word in words]
    assert entries() == []


def test_a_failure_keeps_its_entry_says_why_and_spares_the_others(leave, diary, capsys):
    leave("stage", ("VEL 1", "5"))
    leave("panda", ("PCAP.GATE", "ONE"), refuses="is busy")
    leave("motor", ("VELO", "1"))
    assert main(["restore"]) == 1
    said = capsys.readouterr().out.splitlines()
    assert sorted(said) == [
        "motor: 1 settings put back",
        "panda: panda: is busy. Remedy: do it by hand",
        "stage: 1 settings put back",
    ]
    assert entries() == ["panda"]
    assert "panda close" in diary.read_text()


def test_a_controller_that_does_not_answer_keeps_its_entry(capsys):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    params = {"host": "127.0.0.1", "port": port, "axes": {"x": {"id": "1"}}}
    StateFolder().note("stage", "flyscan.controllers.gcs:GcsMotion", params, [("VEL 1", "5")])
    assert main(["restore"]) == 1
    said = capsys.readouterr().out
    assert f"127.0.0.1:{port}" in said
    assert "Remedy: " in said
    assert entries() == ["stage"]


@pytest.mark.parametrize(
    ("cls", "text"),
    [
        ("no.such:Class", "cannot load 'no.such:Class'"),
        ("flyscan.testing:NoSuch", "cannot load 'flyscan.testing:NoSuch'"),
        (CLASS, "refuses its parameters"),
    ],
)
def test_a_class_that_is_gone_keeps_its_entry(cls, text, capsys):
    StateFolder().note("stage", cls, {"nothing": 1}, [])
    assert main(["restore"]) == 1
    assert text in capsys.readouterr().out
    assert entries() == ["stage"]


def test_what_a_living_host_will_put_back_is_left_alone(leave, diary, capsys):
    folder = leave("stage", ("VEL 1", "5"), alive=True)
    assert main(["restore"]) == 0
    assert capsys.readouterr().out == "nothing to restore\n"
    assert diary.read_text() == ""
    assert entries() == ["stage"]
    folder.withdraw()  # now it has ended without putting it back
    assert main(["restore"]) == 0
    assert entries() == []


async def test_a_controller_that_flies_again_is_not_stopped(leave, diary):
    leave("stage", ("VEL 1", "5"))
    folder = leave("stage", ("VEL 1", "6"), alive=True, refuses="no matter what else differs")
    ((_, error),) = [result async for result in restore_orphans(StateFolder())]
    assert isinstance(error, BusyError)
    assert f"process {os.getpid()} flies it at the moment" in str(error)
    assert diary.read_text() == ""
    assert entries() == ["stage", "stage"]
    folder.withdraw()


def test_what_the_first_of_several_hosts_found_wins(leave, diary):
    for found in (2, 1, 3):
        leave("stage", ("VEL 1", str(found)))
    for entry in StateFolder().journal():
        when = int(entry.steps[0][1])
        os.utime(entry.file, (when, when))
    assert main(["restore"]) == 0
    written = [line for line in diary.read_text().splitlines() if "=" in line]
    assert written == ["stage VEL 1=3", "stage VEL 1=2", "stage VEL 1=1"]


async def test_two_at_a_time_do_not_get_in_each_others_way(leave, diary):
    leave("stage", ("VEL 1", "5"))
    first = StateFolder()
    (entry,) = first.journal()
    with first.claim(entry) as ours:
        assert ours
        ((_, error),) = [result async for result in restore_orphans(StateFolder())]
        assert isinstance(error, HostError)
        assert "another process puts its settings back at the moment" in str(error)
        entry.file.unlink()
    with first.claim(entry) as ours:
        assert not ours
    assert diary.read_text() == ""


def test_a_damaged_entry_is_named_and_spares_the_others(leave, capsys):
    leave("stage", ("VEL 1", "5"))
    (entry,) = StateFolder().journal()
    damaged = entry.file.with_name("restore-1-00000000-panda.json")
    damaged.write_text('{"controller": "panda"')
    assert main(["restore"]) == 1
    output = capsys.readouterr()
    assert output.out == "stage: 1 settings put back\n"
    assert f"{damaged}: cannot be read: JSONDecodeError" in output.err
    assert "check the settings of the hardware by hand, then remove the file" in output.err


def test_entries_of_other_machines_are_left_to_them(leave, diary, capsys, state_folder):
    leave("stage", ("VEL 1", "5"))
    (entry,) = StateFolder().journal()
    other = entry.file.parent.with_name("beamline-2")
    entry.file.parent.rename(other)
    assert main(["restore"]) == 0
    assert capsys.readouterr().out == (
        "nothing to restore\n"
        "beamline-2: 1 more in the journal of that machine, restore them there\n"
    )
    assert diary.read_text() == ""


def test_a_process_id_given_to_somebody_else_is_not_taken_for_the_host(leave, capsys):
    """The note of a dead host, and its entry, with the id of a process that lives: ours."""
    leave("stage", ("VEL 1", "5"))
    (entry,) = StateFolder().journal()
    note = entry.file.with_name(f"host-{os.getpid()}-00000000.json")
    note.write_text(json.dumps({"socket": "ipc:///nowhere"}))
    assert entry.pid == os.getpid()
    assert entry.orphaned
    assert main(["stop"]) == 0
    assert capsys.readouterr().out == "no flight host is running\n"
    assert not note.exists()


# --- the next host -------------------------------------------------------------------------


async def test_the_next_host_settles_its_own_controllers_only(leave, diary):
    leave("stage", ("VEL 1", "5"))
    leave("stage", ("VEL 1", "7"), refuses="")  # the same class, other parameters
    leave("other", ("VEL 1", "6"))
    journal = HostJournal(StateFolder(), config(diary))
    await journal.settle("stage", Registers("stage", str(diary)))
    assert diary.read_text().splitlines() == ["stage stop", "stage VEL 1=5"]
    assert sorted(entries()) == ["other", "stage"]


async def test_a_host_that_cannot_settle_does_not_fly(leave, diary):
    leave("stage", ("VEL 1", "5"), refuses="is busy")
    journal = HostJournal(StateFolder(), config(diary, refuses="is busy"))
    with pytest.raises(ControllerError, match="is busy"):
        await journal.settle("stage", Registers("stage", str(diary), "is busy"))
    assert entries() == ["stage"]


def test_entries_of_controllers_with_similar_names_are_kept_apart():
    folder = StateFolder()
    for name in ("box.motion", "box_motion", "box/motion", "böx motion"):
        folder.note(name, CLASS, {}, [("name", name)])
    assert {e.controller: e.steps[0][1] for e in folder.journal()} == {
        name: name for name in ("box.motion", "box_motion", "box/motion", "böx motion")
    }
    folder.clear("box.motion")
    assert sorted(entries()) == ["box/motion", "box_motion", "böx motion"]
