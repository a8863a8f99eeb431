"""Who is writing a file: an advisory lock that ends with the process that holds it.

HDF5 gives up its own lock when SWMR writing starts, so it cannot tell a file that is being
written from one whose writer was killed. We hold a shared ``flock`` of our own meanwhile: it
lets readers in, keeps other writers out, and the kernel drops it even after ``kill -9``.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

__all__ = ["WriterLock", "lock_exclusively", "writer_of"]

_UNSUPPORTED = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
_WRITES = os.O_WRONLY | os.O_RDWR


class WriterLock:
    """Held by the process that writes `path`, until :meth:`release`.

    Raises:
        BlockingIOError: another process has it locked for itself.
    """

    def __init__(self, path: str) -> None:
        self._fd: int | None = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _flock(self._fd, fcntl.LOCK_SH)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Give the lock up. Idempotent."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def lock_exclusively(fd: int) -> None:
    """Keep everybody else out of the file behind `fd` until it is closed.

    Raises:
        BlockingIOError: somebody has it locked.
    """
    _flock(fd, fcntl.LOCK_EX)


def writer_of(path: str) -> int | None:
    """Process that has `path` open for writing, as far as ``/proc`` tells; None if nobody.

    Finds writers other than ours, which hold no lock. Processes of other users and other
    machines stay unseen.
    """
    real = os.path.realpath(path)
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(link) == real and _is_writing(link):
                return int(link.parts[2])
        except OSError:  # ended meanwhile, or not ours to look at
            continue
    return None


def _is_writing(link: Path) -> bool:
    info = (link.parent.parent / "fdinfo" / link.name).read_text()
    flags = next(line.split()[1] for line in info.splitlines() if line.startswith("flags:"))
    return bool(int(flags, 8) & _WRITES)


def _flock(fd: int, kind: int) -> None:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except OSError as exc:
        # Some network file systems have no locks: then `writer_of` is all there is.
        if exc.errno not in _UNSUPPORTED:
            raise
