"""Putting back what a host that was killed had changed."""

from __future__ import annotations

from collections.abc import AsyncIterator

from ...errors import BusyError, ConfigurationError, FlyscanError
from .._contract import Capture, Motion, RestoreStep
from ._config import ControllerConfig, HostConfig
from ._state_folder import JournalEntry, StateFolder

__all__ = ["HostJournal", "restore_orphans"]


class HostJournal:
    """The restore journal of one host, in the user's state folder."""

    def __init__(self, folder: StateFolder, config: HostConfig) -> None:
        self._folder = folder
        self._config = config

    def note(self, controller: str, steps: tuple[RestoreStep, ...]) -> None:
        """Write down what to put back on a controller."""
        config = self._of(controller)
        pairs = [(step.key, step.value) for step in steps]
        self._folder.note(controller, config.cls, config.params, pairs)

    def clear(self, controller: str) -> None:
        """Everything is back on a controller."""
        self._folder.clear(controller)

    async def settle(self, controller: str, box: Motion | Capture) -> None:
        """Put back on a connected controller what a host that was killed has left changed."""
        config = self._of(controller)
        for entry in self._folder.journal():
            same = entry.cls == config.cls and dict(entry.params) == dict(config.params)
            if entry.orphaned and same and entry.controller == controller:
                with self._folder.claim(entry) as ours:
                    if ours:
                        await _put_back(entry, box)

    def _of(self, controller: str) -> ControllerConfig:
        return self._config.controllers[controller.partition(".")[0]]


async def restore_orphans(
    folder: StateFolder,
) -> AsyncIterator[tuple[JournalEntry, FlyscanError | None]]:
    """Put back everything that killed hosts have left; every entry is tried.

    Yields:
        Each entry, and why it could not be put back; it then stays in the journal.

    Raises:
        HostError: an entry cannot be read; all others have been tried by then.
    """
    for entry in folder.journal():
        if not entry.orphaned:
            continue
        try:
            _require_unused(folder, entry)
            with folder.claim(entry) as ours:
                if ours:
                    await _restore(entry)
        except FlyscanError as exc:
            yield entry, exc
        else:
            yield entry, None


def _require_unused(folder: StateFolder, entry: JournalEntry) -> None:
    """Putting settings back stops the controller: not under somebody's flight."""
    for other in folder.readable():
        if (other.controller, other.cls) == (entry.controller, entry.cls) and not other.orphaned:
            raise BusyError(
                f"process {other.pid} flies it at the moment",
                device=entry.controller,
                remedy="wait for the end of that flight, or `flyscan stop`, then restore",
            )


async def _restore(entry: JournalEntry) -> None:
    name, _, part = entry.controller.partition(".")
    whole = ControllerConfig(entry.cls, entry.params).build(name, {})
    try:
        box = getattr(whole, part) if part else whole
    except AttributeError as exc:
        raise ConfigurationError(
            f"{entry.cls} has no part {part!r}",
            device=entry.controller,
            remedy="restore with the version of flyscan that flew",
        ) from exc
    try:
        await box.connect()
        await _put_back(entry, box)
    finally:
        await box.close()


async def _put_back(entry: JournalEntry, box: Motion | Capture) -> None:
    """Stop what its host cannot stop any more, then write the settings back."""
    await box.stop()
    await box.restore(tuple(RestoreStep(key, value) for key, value in entry.steps))
    entry.file.unlink(missing_ok=True)
