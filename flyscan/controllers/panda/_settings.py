"""Settings of the box: saved before they are changed, written only when they differ, watched
for writes by others, put back."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping

from ...errors import CaptureError, ControllerError
from ...flight import RestoreStep
from ._control import ControlLink
from ._lines import LINE_BYTES
from ._text import Request, same_value

__all__ = ["Settings", "piece_request", "table_request"]

CAPTURE = "*CAPTURE"
TABLE = "<B"


def table_request(field: str, lines: Iterable[str]) -> Request:
    """The write of a whole table from base64 lines; without any it is emptied."""
    lines = tuple(line for line in lines if line)
    return (f"{field}{TABLE}", *lines, "") if lines else (f"{field}<", "")


def piece_request(field: str, lines: Iterable[str], *, last: bool) -> Request:
    """One more piece of a streamed table from base64 lines."""
    return (f"{field}<<{'|' if last else ''}B", *lines, "")


class Settings:
    """What flyscan set on one box, and what was there before."""

    def __init__(self, control: ControlLink) -> None:
        self._control = control
        self._saved: dict[str, str] = {}
        self._written: dict[str, str] = {}

    # --- saving and restoring --------------------------------------------------------------

    async def save(self, fields: Iterable[str], tables: Iterable[str]) -> None:
        """Read what is about to be changed, unless it is saved already.

        Tables are read in base64; a streaming table cannot be read back and counts as empty.
        """
        fields = [f for f in fields if f not in self._saved]
        tables = [t for t in tables if f"{t}{TABLE}" not in self._saved]
        found = await self._control.values(*fields)
        contents = await self._control.run(*(f"{table}.B?" for table in tables))
        if CAPTURE not in self._saved:
            captured = (await self._control.run(f"{CAPTURE}?"))[0].items
            self._saved[CAPTURE] = ""
            for line in captured:
                field, _, kinds = line.partition(" ")
                self._saved[f"{field}.CAPTURE"] = kinds
        self._saved.update(zip(fields, found, strict=True))
        for table, reply in zip(tables, contents, strict=True):
            self._saved[f"{table}{TABLE}"] = "\n".join(reply.items)

    def steps(self) -> tuple[RestoreStep, ...]:
        """What :meth:`restore` would write."""
        return tuple(RestoreStep(key, value) for key, value in self._saved.items())

    async def restore(self, steps: tuple[RestoreStep, ...]) -> None:
        """Write saved values back, all of them, whatever becomes of single ones.

        Raises:
            ControllerError: some were refused, or not confirmed, which then stay saved.
        """
        # A table that was streamed takes no other before it is emptied.
        tables = [s.key.removesuffix(TABLE) for s in steps if s.key.endswith(TABLE) and s.value]
        emptied = [table_request(table, ()) for table in tables]
        replies = await self._control.run(*emptied, *map(_restoring, steps), strict=False)
        refused: list[str] = []
        self._written.clear()
        for step, reply in zip(steps, replies[len(emptied) :], strict=True):
            if reply.error is not None:
                refused.append(f"{reply.sent} ({reply.error})")
            if not reply.garbled:
                self._saved.pop(step.key, None)
        if refused:
            raise ControllerError(
                f"could not put back {', '.join(refused)}",
                device=self._control.name,
                remedy="load a saved design on the box, or set these fields by hand",
            )

    # --- writing ---------------------------------------------------------------------------

    def pending(self, fields: Mapping[str, str]) -> list[Request]:
        """Requests for those fields that do not have the value yet."""
        return [f"{f}={v}" for f, v in fields.items() if self._written.get(f) != v]

    def note(self, fields: Mapping[str, str]) -> None:
        """Remember that fields have been written."""
        self._written.update(fields)

    def doubt(self, fields: Iterable[str]) -> None:
        """Forget fields about to be written, in case nobody learns whether they were."""
        for field in fields:
            self._written.pop(field, None)

    async def apply(self, fields: Mapping[str, str]) -> None:
        """Write fields that differ."""
        await self._control.run(*self.pending(fields))
        self.note(fields)

    def forget(self) -> None:
        """Write everything anew next time, since others may have written since."""
        self._written.clear()

    # --- watching --------------------------------------------------------------------------

    def check_changes(self, items: Iterable[str], others: str) -> None:
        """Look through the box's list of changes, our own among them.

        Args:
            items: lines of ``*CHANGES.CONFIG?``.
            others: addresses of the box's other clients, for the message.

        Raises:
            CaptureError: a field this flight relies on has another value than written.
        """
        for field, value in self.foreign(items):
            raise CaptureError(
                f"{field} was changed to {value!r} during the flight, flyscan had set "
                f"{self._written[field]!r}",
                device=self._control.name,
                remedy=f"keep other clients{others} from writing to the box, and fly again",
            )

    def written(self, field: str) -> str:
        """What was written to a field."""
        return self._written[field]

    def foreign(self, items: Iterable[str]) -> list[tuple[str, str]]:
        """Fields we rely on that changed to what we did not write."""
        changed = (line.partition("=")[::2] for line in items)
        return [
            (field, value)
            for field, value in changed
            if field in self._written and not same_value(self._written[field], value)
        ]


def _restoring(step: RestoreStep) -> Request:
    if step.key.endswith(TABLE):
        return table_request(step.key.removesuffix(TABLE), _whole_words(step.value.split("\n")))
    return f"{step.key}={step.value}"


def _whole_words(lines: Iterable[str]) -> list[str]:
    """Base64 lines broken anew: the box breaks them within words, but does not take such lines."""
    data = b"".join(map(base64.b64decode, lines))
    starts = range(0, len(data), LINE_BYTES)
    return [base64.b64encode(data[i : i + LINE_BYTES]).decode() for i in starts]
