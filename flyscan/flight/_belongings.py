"""What a flight has changed on its boxes: noted before, put back afterwards."""

from __future__ import annotations

from ..errors import FlyscanError
from ._contract import Capture, Motion
from ._journal import Journal
from ._path import Path

__all__ = ["Belongings"]


class Belongings:
    """Settings of the boxes of a flight.

    Args:
        boxes: whose settings.
        journal: where they are noted, if this process may be killed.
    """

    def __init__(self, boxes: tuple[Motion | Capture, ...], journal: Journal | None) -> None:
        self._boxes = boxes
        self._journal = journal
        self._left: list[str] = []

    async def settle(self) -> None:
        """Put back what an earlier flight could not, because a box was out of reach.

        Raises:
            FlyscanError: it still is.
        """
        for box in self._boxes:
            if box.restore_steps():
                await box.stop()
                await self.restore(box)

    async def save(self, path: Path) -> None:
        """Remember and note every setting that flying `path` changes."""
        for box in self._boxes:
            await box.save(path)
        if self._journal is not None:
            for box in self._boxes:
                self._journal.note(box.name, box.restore_steps())

    async def restore(self, box: Motion | Capture) -> None:
        """Put the settings of a box back; the journal keeps them if that fails."""
        self._left.append(box.name)
        await box.restore()
        if self._journal is not None:
            self._journal.clear(box.name)
        self._left.remove(box.name)

    def told(self, error: FlyscanError) -> FlyscanError:
        """`error`, with a word on the settings that are not back."""
        if not self._left:
            return error
        boxes = " and ".join(self._left)
        remark = (
            f"settings of {boxes} could not be put back: the next flight, or `flyscan restore` "
            "once this host has ended, will do it"
        )
        remedy = f"{error.remedy}; {remark}" if error.remedy else remark
        return type(error)(error.problem, device=error.device, remedy=remedy)
