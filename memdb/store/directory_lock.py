"""The lock of a data directory: one process has it open."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from memdb.errors import FailedPrecondition


def lock_directory(path: Path) -> int:
    """The descriptor of ``DIR/LOCK``, which holds the lock for as long as it is open.

    Raises `FailedPrecondition` (``DIRECTORY_LOCKED``) naming who has it, `OSError`.
    """
    fd = os.open(path / "LOCK", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(fd, 0)
        os.write(fd, f"{os.getpid()}\n".encode())
    except BlockingIOError as error:
        owner = _owner(fd)
        # In containers that share a disk the servers have the same number, 1.
        ours = owner == str(os.getpid()) and _is_open_elsewhere(fd)
        os.close(fd)
        raise FailedPrecondition(
            f"directory is open in this process already ({owner}): one database serves all of its threads"
            if ours
            else f"directory is open in process {owner or 'unknown'}",
            reason="DIRECTORY_LOCKED",
            field="path",
            value=str(path),
        ) from error
    except BaseException:
        os.close(fd)  # else the lock would be held against a later try
        raise
    return fd


def wait_unlocked(path: Path, waiting: Callable[[str], None]) -> None:
    """Return once no process has the directory open, at once where none has: who opens it then may still come second.

    waiting: called before the wait with the number of the process that has it.  Raises `OSError`.
    """
    try:
        fd = os.open(path / "LOCK", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return  # nobody ever had it, or whoever opens it says what is wrong
    try:
        try:
            # Shared: others that wait are let go at the same time.
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting(_owner(fd))
            fcntl.flock(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)


def _owner(fd: int) -> str:
    """The number of the process that has the lock, as text."""
    return os.pread(fd, 32, 0).decode("ascii", "replace").strip()


def _is_open_elsewhere(fd: int) -> bool:
    """Whether another descriptor of this process is of the same file."""
    file = os.fstat(fd)
    for entry in Path("/proc/self/fd").iterdir():
        other = int(entry.name)
        with suppress(OSError):  # closed since
            if other != fd and os.path.samestat(os.fstat(other), file):
                return True
    return False
