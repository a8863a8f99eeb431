"""What went wrong with a file, in words a user can act on."""

from __future__ import annotations

import errno
import os

from ..errors import StorageError

__all__ = ["storage_error"]

_REMEDIES = {
    errno.ENOSPC: "free space on the disk or choose another directory",
    errno.EDQUOT: "the disk quota is used up: free space or choose another directory",
    errno.EFBIG: "the file may not grow further (ulimit -f): raise the limit",
    errno.EROFS: "the file system is read-only: choose another directory",
    errno.EACCES: "give this user the right to write there or choose another directory",
    errno.EPERM: "give this user the right to write there or choose another directory",
    errno.ENOENT: "check the path; directories must exist and files in use stay where they are",
    errno.EEXIST: "choose another file name: data files are never overwritten",
    errno.ESTALE: "the network file system lost the file: check the mount",
    errno.EIO: "the disk or network file system fails: check it before going on",
}


def storage_error(path: str, problem: str, cause: BaseException) -> StorageError:
    """A StorageError naming the file, the system's reason and the remedy."""
    if isinstance(cause, StorageError):
        return cause
    number = cause.errno if isinstance(cause, OSError) else None
    # HDF5 wraps the system's reason in a paragraph about its own internals.
    reason = f"{os.strerror(number)} ({errno.errorcode[number]})" if number else str(cause)
    remedy = _REMEDIES.get(number or 0, "check the disk; what was flushed before is readable")
    return StorageError(f"{problem}: {reason}", device=path, remedy=remedy)
