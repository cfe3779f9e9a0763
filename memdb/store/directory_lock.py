"""The lock of a data directory: one process has it open."""

from __future__ import annotations

import fcntl
import os
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
        owner = os.read(fd, 32).decode("ascii", "replace").strip()
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


def _is_open_elsewhere(fd: int) -> bool:
    """Whether another descriptor of this process is of the same file."""
    file = os.fstat(fd)
    for entry in Path("/proc/self/fd").iterdir():
        other = int(entry.name)
        with suppress(OSError):  # closed since
            if other != fd and os.path.samestat(os.fstat(other), file):
                return True
    return False
