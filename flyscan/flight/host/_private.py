"""Folders that nobody but their user may open: the only lock on a host's socket and notes."""

from __future__ import annotations

import os
from pathlib import Path as FilePath

from ...errors import HostError

__all__ = ["make_private", "require_private"]


def make_private(folder: FilePath) -> None:
    """Make a folder, or accept one that is private already.

    Raises:
        HostError: it cannot be made, or others may open it.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as exc:
        raise HostError(
            f"cannot be made: {exc}",
            device=str(folder),
            remedy="point XDG_STATE_HOME at a folder of your own",
        ) from exc
    require_private(folder)


def require_private(folder: FilePath) -> None:
    """Refuse a folder that anybody else may open.

    Raises:
        HostError: it is not there, belongs to somebody else, or is open to group or others.
    """
    try:
        info = folder.stat()
    except OSError as exc:
        raise HostError(f"cannot be used: {exc}", device=str(folder)) from exc
    if info.st_uid != os.getuid() or info.st_mode & 0o077:
        raise HostError(
            "others may open it; it must be private to its user",
            device=str(folder),
            remedy=f"chmod 700 {folder}",
        )
