"""Where hosts leave word of themselves: the user's private state folder."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import secrets
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path as FilePath
from typing import Any
from urllib.parse import quote

from ...errors import HostError
from ._private import make_private

__all__ = ["JournalEntry", "RunningHost", "StateFolder"]


@dataclass(frozen=True, slots=True)
class RunningHost:
    """A host that serves at the moment.

    Args:
        pid: its process.
        socket: address of its socket.
    """

    pid: int
    socket: str


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """What has to be put back on one controller.

    Args:
        file: where it is written.
        pid: the host that changed it.
        controller: its name in the configuration.
        cls: its class path.
        params: its parameters.
        steps: key and value of every setting, as the controller's ``restore_steps`` gave them.
        orphaned: True when the host that would put it back is gone.
    """

    file: FilePath
    pid: int
    controller: str
    cls: str
    params: Mapping[str, Any]
    steps: tuple[tuple[str, str], ...]
    orphaned: bool


class StateFolder:
    """``$XDG_STATE_HOME/flyscan/MACHINE``: running hosts, and the restore journal.

    An entry of the journal is on disk before the first setting changes and is removed when
    everything is back, so what is found there belongs to a host that was killed, or to one
    that flies right now. Which of the two is told by the lock a host holds on its note for as
    long as it lives: unlike a process id, the kernel never gives it to somebody else. Each
    machine has a folder of its own, because home directories are shared and locks and
    processes are not.

    Args:
        folder: another place, for tests and for several users of one account.

    Raises:
        HostError: the folder cannot be made, or others may open it.
    """

    def __init__(self, folder: FilePath | None = None) -> None:
        if folder is None:
            base = os.environ.get("XDG_STATE_HOME") or FilePath.home() / ".local" / "state"
            make_private(FilePath(base) / "flyscan")
            folder = FilePath(base) / "flyscan" / quote(platform.node() or "localhost", safe="")
        make_private(folder)
        self._folder = folder
        self._host = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._note: TextIOWrapper | None = None

    # --- hosts -----------------------------------------------------------------------------

    def announce(self, socket: str) -> None:
        """Note that this process serves flights at `socket`, until it ends."""
        self._note = self._write(self._note_of(self._host), {"socket": socket}, lock=True)

    def withdraw(self) -> None:
        """Take the note away. Idempotent."""
        note, self._note = self._note, None
        if note is not None:
            self._note_of(self._host).unlink(missing_ok=True)
            note.close()

    def hosts(self) -> Iterator[RunningHost]:
        """Every host that runs; notes of dead ones are cleared away."""
        for file in sorted(self._folder.glob("host-*.json")):
            if not _locked(file):
                file.unlink(missing_ok=True)
            elif (data := _read(file)) is not None:
                yield RunningHost(int(file.stem.split("-")[1]), str(data["socket"]))

    def _note_of(self, host: str) -> FilePath:
        return self._folder / f"host-{host}.json"

    # --- journal ---------------------------------------------------------------------------

    def note(
        self, controller: str, cls: str, params: Mapping[str, Any], steps: list[tuple[str, str]]
    ) -> None:
        """Write down what to put back on a controller; on disk on return."""
        self._write(
            self._journal(controller),
            {"controller": controller, "class": cls, "params": dict(params), "steps": steps},
        ).close()

    def clear(self, controller: str) -> None:
        """Everything is back on a controller."""
        self._journal(controller).unlink(missing_ok=True)

    def journal(self) -> Iterator[JournalEntry]:
        """Every entry of this machine, newest first.

        Put back in this order, what the first of several hosts has found wins.

        Raises:
            HostError: an entry cannot be read; all others have been given by then.
        """
        damaged: list[HostError] = []
        yield from self.readable(damaged.append)
        if damaged:
            raise damaged[0]

    def readable(
        self, complain: Callable[[HostError], None] = lambda error: None
    ) -> Iterator[JournalEntry]:
        """Those entries of the journal that can be read; `complain` is told of the others."""
        for file in sorted(self._folder.glob("restore-*.json"), key=_written, reverse=True):
            try:
                entry = self._entry(file)
            except HostError as exc:
                complain(exc)
            else:
                if entry is not None:
                    yield entry

    def _entry(self, file: FilePath) -> JournalEntry | None:
        data = _read(file)
        if data is None:
            return None
        try:
            _, pid, token, _ = file.stem.split("-", 3)
            host = f"{pid}-{token}"
            return JournalEntry(
                file=file,
                pid=int(pid),
                controller=str(data["controller"]),
                cls=str(data["class"]),
                params=dict(data["params"]),
                steps=tuple((str(key), str(value)) for key, value in data["steps"]),
                orphaned=host != self._host and not _locked(self._note_of(host)),
            )
        except (KeyError, TypeError, ValueError) as exc:
            raise _unreadable(file, exc) from exc

    @contextmanager
    def claim(self, entry: JournalEntry) -> Generator[bool]:
        """Keep others from putting back the same meanwhile.

        Yields:
            False if one of them has done it already.

        Raises:
            HostError: one of them is at it.
        """
        try:
            stream = entry.file.open()
        except FileNotFoundError:
            yield False
            return
        with stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise HostError(
                    "another process puts its settings back at the moment",
                    device=entry.controller,
                    remedy="try again in a few seconds",
                ) from None
            yield entry.file.exists()

    def elsewhere(self) -> dict[str, int]:
        """Other machines to the number of entries they have in the journal."""
        counts = {
            folder.name: len(list(folder.glob("restore-*.json")))
            for folder in self._folder.parent.iterdir()
            if folder != self._folder and folder.is_dir()
        }
        return {machine: count for machine, count in sorted(counts.items()) if count}

    def _journal(self, controller: str) -> FilePath:
        return self._folder / f"restore-{self._host}-{quote(controller, safe='')}.json"

    def _write(
        self, file: FilePath, data: Mapping[str, Any], *, lock: bool = False
    ) -> TextIOWrapper:
        """Whole or not at all: a reader never sees half of it, or it without its lock."""
        draft = file.with_name(f"{file.name}.draft")
        stream = draft.open("w")
        if lock:
            fcntl.flock(stream, fcntl.LOCK_EX)
        json.dump(data, stream)
        stream.flush()
        os.fsync(stream.fileno())
        draft.replace(file)
        self._sync_folder()
        return stream

    def _sync_folder(self) -> None:
        """A file that has a new name keeps it when the power fails."""
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _locked(file: FilePath) -> bool:
    """Whether the host that wrote a note lives."""
    try:
        with file.open() as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def _written(file: FilePath) -> int:
    """When a file was written; 0 if it is gone meanwhile."""
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _read(file: FilePath) -> dict[str, Any] | None:
    """What a file holds; None if its host has taken it away meanwhile."""
    try:
        return dict(json.loads(file.read_text()))
    except FileNotFoundError:
        return None
    except (OSError, TypeError, ValueError) as exc:
        raise _unreadable(file, exc) from exc


def _unreadable(file: FilePath, exc: Exception) -> HostError:
    return HostError(
        f"cannot be read: {exc!r}",
        device=str(file),
        remedy="check the settings of the hardware by hand, then remove the file",
    )
