"""What the system, or LMDB, says when it refuses a file operation, in our words."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from memdb.errors import FailedPrecondition, ResourceExhausted, Unavailable

if TYPE_CHECKING:
    import lmdb

_BROKEN: Final = frozenset((errno.EIO, errno.ENOMEM, errno.EAGAIN))
"""The disk, or the system, which may have no memory or no thread (LMDB copies by one more)."""
FULL: Final = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
"""No room on the disk, in somebody's share of it, in one file (``ulimit -f``)."""
_FULL_WORDS: Final = tuple(map(os.strerror, sorted(FULL)))
LOST: Final = frozenset((errno.EIO, errno.EISDIR))
"""Of one file: what is in it cannot be had; whatever else the system says may pass."""
FORBIDDEN: Final = frozenset((errno.EACCES, errno.EPERM))
"""A matter of rights, and not of what is there: whoever sees to them has it back."""
UNREAD: Final = errno.EFAULT
"""Of a write from a map: a page of the map cannot be read, and nothing is wrong with where it was to be written."""
_TOO_MANY: Final = frozenset((errno.EMFILE, errno.ENFILE))


def refusal(
    error: OSError, field: str, value: str | None = None
) -> ResourceExhausted | Unavailable:
    """`ResourceExhausted` (``DISK_FULL``, ``FILES``), or `Unavailable` (``IO_FAILED``)."""
    what = error.strerror or "the system refused"
    if error.errno in FULL:
        return ResourceExhausted(what, reason="DISK_FULL", field=field, value=value)
    if error.errno in _TOO_MANY:
        return ResourceExhausted(what, reason="FILES", field=field, value=value)
    return Unavailable(what, reason="IO_FAILED", field=field, value=value)


def unusable(error: OSError, path: str) -> ResourceExhausted | FailedPrecondition | Unavailable:
    """What keeps a directory from being used: as `refusal` where a later try may go better, else
    `FailedPrecondition` (``NO_DIRECTORY``).
    """
    if error.errno in _BROKEN | FULL | _TOO_MANY:
        return refusal(error, "path", path)
    return FailedPrecondition(
        f"the directory cannot be used: {error.strerror}",
        reason="NO_DIRECTORY",
        field="path",
        value=path,
    )


def words_of(error: lmdb.Error, folder: Path) -> str:
    """What LMDB says of an environment, without where that lies: callers elsewhere are told it."""
    return str(error).replace(str(folder.parent) + os.sep, "")


def code_of(error: lmdb.Error) -> int:
    """What the system said (`errno`); negative where LMDB says it of itself, 0 where nobody does."""
    return int(getattr(error, "code", 0))


def told_full(error: lmdb.Error) -> bool:
    """Whether the system told LMDB that there is no room: it passes when there is, and nothing was written."""
    said = str(error)
    return any(words in said for words in _FULL_WORDS)


@contextmanager
def system_errors(field: str) -> Iterator[None]:
    """Tell whatever `OSError` leaves the block as one of ours; see `refusal`."""
    try:
        yield
    except OSError as error:
        raise refusal(error, field) from error
