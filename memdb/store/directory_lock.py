"""The lock of a data directory: one process has it open.

``DIR/LOCK`` names the process that has it, for people: who has it is what the system says (``flock``), which lets go
of it when the process ends, however it does.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from memdb.errors import FailedPrecondition

_NAME: Final = "LOCK"


class DirectoryLock:
    """A lock that is had until `close`."""

    def __init__(self, fd: int) -> None:
        """fd: of the file, locked; closed by `close`."""
        self._fd: int | None = fd

    @classmethod
    def take(cls, path: Path) -> Self:
        """That of a directory, made where there is none.

        Raises `FailedPrecondition` (``DIRECTORY_LOCKED``) naming who has it, `OSError`.
        """
        fd = os.open(path / _NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
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
        return cls(fd)

    @classmethod
    def wait(cls, path: Path, waiting: Callable[[str], None]) -> Self | None:
        """That of a directory as soon as no other process has it; None where there is none yet to wait for.

        waiting: called before a wait with the number of the process that has it, as its file has it.  Of
        several that wait one comes first, and the others wait on.  Raises `OSError`.
        """
        while True:
            try:
                fd = os.open(path / _NAME, os.O_RDWR | os.O_CLOEXEC)
            except (FileNotFoundError, NotADirectoryError):
                return None  # nobody ever had it, or whoever opens it says what is wrong
            try:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    waiting(_owner(fd))
                    fcntl.flock(fd, fcntl.LOCK_EX)
                if _is_that_of(path, fd):
                    return cls(fd)
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)  # another directory has been put there meanwhile

    def sign(self) -> None:
        """Say in the file who has it; raises `OSError`."""
        assert self._fd is not None
        line = f"{os.getpid()}\n".encode()
        # Longer than before first, and cut then: who reads it meanwhile finds a number.
        os.pwrite(self._fd, line, 0)
        os.ftruncate(self._fd, len(line))

    def close(self) -> None:
        """Give it back, once."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)


def _owner(fd: int) -> str:
    """The number of the process that has the lock, as text."""
    line, _, _ = os.pread(fd, 32, 0).decode("ascii", "replace").partition("\n")
    return line.strip()


def _is_that_of(path: Path, fd: int) -> bool:
    """Whether the file is the directory's, now."""
    try:
        return os.path.samestat(os.fstat(fd), (path / _NAME).stat())
    except (FileNotFoundError, NotADirectoryError):
        return False


def _is_open_elsewhere(fd: int) -> bool:
    """Whether another descriptor of this process is of the same file."""
    file = os.fstat(fd)
    for entry in Path("/proc/self/fd").iterdir():
        other = int(entry.name)
        with suppress(OSError):  # closed since
            if other != fd and os.path.samestat(os.fstat(other), file):
                return True
    return False
