"""Where hosts leave word of themselves: the user's private state folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from ...errors import HostError

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
    """

    file: FilePath
    pid: int
    controller: str
    cls: str
    params: Mapping[str, Any]
    steps: tuple[tuple[str, str], ...]

    @property
    def orphaned(self) -> bool:
        """True when the host that would put it back is gone."""
        return not alive(self.pid)


class StateFolder:
    """``$XDG_STATE_HOME/flyscan``: running hosts, and the restore journal.

    An entry of the journal is on disk before the first setting changes and is removed when
    everything is back, so what is found there belongs to a host that was killed, or to one
    that flies right now.

    Args:
        folder: another place, for tests and for several users of one account.
    """

    def __init__(self, folder: FilePath | None = None) -> None:
        base = os.environ.get("XDG_STATE_HOME") or FilePath.home() / ".local" / "state"
        self._folder = FilePath(base) / "flyscan" if folder is None else folder
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            info = self._folder.stat()
        except OSError as exc:
            raise HostError(
                f"cannot be made: {exc}",
                device=str(self._folder),
                remedy="point XDG_STATE_HOME at a folder of your own",
            ) from exc
        if info.st_uid != os.getuid() or info.st_mode & 0o077:
            raise HostError(
                "others may open it; it must be private to its user",
                device=str(self._folder),
                remedy=f"chmod 700 {self._folder}",
            )

    # --- hosts -----------------------------------------------------------------------------

    def announce(self, socket: str) -> None:
        """Note that this process serves flights at `socket`."""
        self._write(self._folder / f"host-{os.getpid()}.json", {"socket": socket})

    def withdraw(self) -> None:
        """Take the note away."""
        (self._folder / f"host-{os.getpid()}.json").unlink(missing_ok=True)

    def hosts(self) -> Iterator[RunningHost]:
        """Every host that runs; notes of dead ones are cleared away."""
        for file in sorted(self._folder.glob("host-*.json")):
            pid = int(file.stem.removeprefix("host-"))
            if alive(pid):
                yield RunningHost(pid, str(json.loads(file.read_text())["socket"]))
            else:
                file.unlink(missing_ok=True)

    # --- journal ---------------------------------------------------------------------------

    def note(
        self, controller: str, cls: str, params: Mapping[str, Any], steps: list[tuple[str, str]]
    ) -> None:
        """Write down what to put back on a controller."""
        self._write(
            self._journal(controller),
            {"controller": controller, "class": cls, "params": dict(params), "steps": steps},
        )

    def clear(self, controller: str) -> None:
        """Everything is back on a controller."""
        self._journal(controller).unlink(missing_ok=True)

    def journal(self) -> Iterator[JournalEntry]:
        """Every entry, oldest first."""
        files = self._folder.glob("restore-*.json")
        for file in sorted(files, key=lambda f: f.stat().st_mtime_ns):
            data = json.loads(file.read_text())
            yield JournalEntry(
                file=file,
                pid=int(file.stem.split("-")[1]),
                controller=data["controller"],
                cls=data["class"],
                params=data["params"],
                steps=tuple((str(k), str(v)) for k, v in data["steps"]),
            )

    def _journal(self, controller: str) -> FilePath:
        safe = "".join(c if c.isalnum() else "_" for c in controller)
        return self._folder / f"restore-{os.getpid()}-{safe}.json"

    def _write(self, file: FilePath, data: Mapping[str, Any]) -> None:
        """Whole or not at all: a reader never sees half of it."""
        draft = file.with_suffix(".draft")
        with draft.open("w") as stream:
            json.dump(data, stream)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(file)


def alive(pid: int) -> bool:
    """Whether a process runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
