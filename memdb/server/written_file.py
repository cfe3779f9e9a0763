"""Files that a server writes into a directory that somebody else made: looked at before anything is made."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from memdb.errors import InvalidArgument


def check_writable(path: Path, temporary: Path, data: Path, field: str) -> None:
    """Refuse a file that could not be written now; raises `refusal`.

    temporary: what it is written as before it is renamed; data: the database's directory, which need not be there yet.
    """
    try:
        found = _obstacle(path, temporary, data)
    except OSError as error:  # a name that is too long, a folder that cannot be looked into
        raise refusal(path, field, error.errno or errno.EIO) from error
    if found is not None:
        raise refusal(path, field, found)


def _obstacle(path: Path, temporary: Path, data: Path) -> int | None:
    """What the system will say of the file; None where it can be written."""
    if "\0" in str(path):
        return errno.EINVAL
    if path.is_dir() or temporary.is_dir():
        return errno.EISDIR
    if not path.parent.is_dir() and path.parent.absolute() != data.absolute():
        return errno.ENOENT
    if path.parent.is_dir() and not os.access(path.parent, os.W_OK | os.X_OK):
        return errno.EACCES
    return None


def refusal(path: Path, field: str, number: int) -> InvalidArgument:
    """``BAD_CONFIG``, with what the system says: an errno."""
    return InvalidArgument(
        f"cannot be written: {os.strerror(number)}",
        reason="BAD_CONFIG",
        field=field,
        value=str(path),
    )
