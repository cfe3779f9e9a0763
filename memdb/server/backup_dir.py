"""The directory below which a server writes archives."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from memdb.config import ServerConfig
from memdb.errors import FailedPrecondition, InvalidArgument, PermissionDenied
from memdb.types.paths import check_made


def check_backup_dir(config: ServerConfig) -> None:
    """Refuse one that is none and cannot become one; raises `InvalidArgument` (``BAD_CONFIG``).

    One that is not there yet is made with the first backup.
    """
    if not config.backup_dir:
        return
    try:
        number = _obstacle(Path(config.backup_dir))
    except OSError as error:  # a name that is too long
        number = error.errno or errno.EIO
    if number is not None:
        raise InvalidArgument(
            f"cannot be made or used: {os.strerror(number)}",
            reason="BAD_CONFIG",
            field="server.backup_dir",
            value=config.backup_dir,
        )
    try:
        check_made(config.backup_dir, "server.backup_dir")
    except InvalidArgument as error:
        raise InvalidArgument(
            error.message, reason="BAD_CONFIG", field=error.field, value=config.backup_dir
        ) from error


def _obstacle(path: Path) -> int | None:
    """What the system will say of the directory; None where it is one, or nothing is in its way."""
    if "\0" in str(path):
        return errno.EINVAL
    for place in (path, *path.parents):
        try:
            place.lstat()  # of a link that leads nowhere nothing is made either
        except (FileNotFoundError, NotADirectoryError):
            continue
        return None if place.is_dir() else errno.ENOTDIR
    return None


def archive_path(backup_dir: str, text: str, field: str) -> Path:
    """Where a caller may write: below the backup directory, whatever links lead to.

    Raises `FailedPrecondition` (``BACKUP_DISABLED``) where there is none (empty), `InvalidArgument` (``BAD_PATH``),
    `PermissionDenied` (``PATH_OUTSIDE``).
    """
    if not backup_dir:
        raise FailedPrecondition(
            "the server has no server.backup_dir", reason="BACKUP_DISABLED", field=field
        )
    root = Path(backup_dir).resolve()
    if not text or "\0" in text:
        raise InvalidArgument(
            "expected the path of an archive", reason="BAD_PATH", field=field, value=text
        )
    # It would be a directory of that name below `root`.
    check_made(text, field, root)
    path = root / text
    # The last part is the archive's own name, which must not be a link.
    inside = path.parent.resolve().is_relative_to(root)
    if not inside or path.name in ("", ".", "..") or path.resolve() == root:
        raise PermissionDenied(
            "archives lie below the server's backup_dir",
            reason="PATH_OUTSIDE",
            field=field,
            value=text,
        )
    return path.parent.resolve() / path.name
