"""The master key of an encrypted directory, and the marker that says which one it is.

``DIR/ENCRYPTION``::

    offset  size  field
         0     4  magic    b"mdbe"
         4     1  version  1
         5     1  keys     1; 2 while the master key is being replaced: the old, the new
         6  16 n  checks   a check value of each: BLAKE2b(master key, "memdb master key check")

The marker is written before the directory's format, so a directory is encrypted as a whole or not
at all.  It tells a wrong key from damage before anything is read with it.
"""

from __future__ import annotations

import os
import stat
from hashlib import blake2b
from pathlib import Path
from typing import Final

from memdb.errors import DataLoss, FailedPrecondition, InvalidArgument, NotFound
from memdb.store.files import write_file
from memdb.store.schema import CATALOG
from memdb.store.shredding import KEY_FILE
from memdb.types.paths import checked_text

MARKER_FILE: Final = "ENCRYPTION"
KEY_BYTES: Final = 32
_FIELD: Final = "engine.master_key_file"
_HEAD: Final = b"mdbe\x01"
_CHECK_BYTES: Final = 16


def read_master_key(path: str | os.PathLike[str], field: str = _FIELD) -> bytes:
    """The 32 bytes in a file that holds them raw or as 64 hexadecimal digits.

    Raises `NotFound` (``FILE_NOT_FOUND``), `FailedPrecondition` (``MASTER_KEY_EXPOSED``) when others
    than its owner may use the file, `InvalidArgument` (``BAD_MASTER_KEY``).
    """
    file = Path(checked_text(path, field))
    try:
        mode = file.stat().st_mode
        content = file.read_bytes() if stat.S_ISREG(mode) else b""
    except FileNotFoundError as error:
        raise NotFound(
            "no such master key file", reason="FILE_NOT_FOUND", field=field, value=str(path)
        ) from error
    except OSError as error:
        raise InvalidArgument(
            f"the master key cannot be read: {error.strerror}",
            reason="BAD_MASTER_KEY",
            field=field,
            value=str(path),
        ) from error
    if mode & 0o077:
        raise FailedPrecondition(
            f"others may use the master key file (mode {stat.S_IMODE(mode):04o}, expected 0600)",
            reason="MASTER_KEY_EXPOSED",
            field=field,
            value=str(path),
        )
    if len(content) == KEY_BYTES:
        return content
    try:
        key = bytes.fromhex(content.decode("ascii").strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        # Its content is not quoted: it may be a key.
        raise InvalidArgument(
            "a master key is 32 bytes, or 64 hexadecimal digits",
            reason="BAD_MASTER_KEY",
            field=field,
            value=str(path),
        )
    return key


def check_value(master_key: bytes) -> bytes:
    """16 bytes that tell one master key from another and nothing about it."""
    return blake2b(b"memdb master key check", key=master_key, digest_size=_CHECK_BYTES).digest()


def write_marker(directory: Path, *master_keys: bytes) -> None:
    """Say which master key opens the directory, or which two while one replaces the other."""
    checks = b"".join(map(check_value, master_keys))
    write_file(directory / MARKER_FILE, _HEAD + bytes([len(master_keys)]) + checks)


def read_marker(directory: Path) -> list[bytes]:
    """The check values of the directory's master keys, none when it is plain; raises `DataLoss`
    (``BAD_ENCRYPTION``).
    """
    try:
        content = (directory / MARKER_FILE).read_bytes()
    except FileNotFoundError:
        return []
    head, checks = content[: len(_HEAD)], content[len(_HEAD) + 1 :]
    keys = content[len(_HEAD)] if len(content) > len(_HEAD) else 0
    if head != _HEAD or keys not in (1, 2) or len(checks) != keys * _CHECK_BYTES:
        raise DataLoss(
            "the marker of an encrypted directory is damaged",
            reason="BAD_ENCRYPTION",
            field=MARKER_FILE,
            value=len(content),
        )
    return [checks[at : at + _CHECK_BYTES] for at in range(0, len(checks), _CHECK_BYTES)]


def check_master_key(
    directory: Path, master_key: bytes | None, rotating_to: bytes | None = None
) -> None:
    """Whether the directory opens with this key, or with none; for a rotation, with either or both.

    Raises `FailedPrecondition`: ``MASTER_KEY_REQUIRED``, ``MASTER_KEY_MISMATCH``, ``NOT_ENCRYPTED``,
    ``ROTATION_UNFINISHED``; `DataLoss` (``BAD_ENCRYPTION``).
    """
    checks = read_marker(directory)
    reason = ""
    if not checks:
        if master_key is None:
            return  # a data key without a marker is told by who opens the environment
        if (directory / CATALOG / KEY_FILE).exists():
            raise DataLoss(
                "the marker of an encrypted directory is missing",
                reason="BAD_ENCRYPTION",
                field=MARKER_FILE,
            )
        reason, why = "NOT_ENCRYPTED", "the directory was made without a master key"
    elif master_key is None:
        reason, why = "MASTER_KEY_REQUIRED", "the directory is encrypted: name its master key file"
    elif rotating_to is not None:
        if set(checks) <= {check_value(master_key), check_value(rotating_to)}:
            return
        reason, why = "MASTER_KEY_MISMATCH", "the directory has another master key than these"
    elif check_value(master_key) not in checks:
        reason, why = "MASTER_KEY_MISMATCH", "the directory has another master key"
    elif len(checks) > 1:
        reason = "ROTATION_UNFINISHED"
        why = "its master key is being replaced: run `memdb rotate-master-key` again"
    if reason:
        raise FailedPrecondition(why, reason=reason, field=_FIELD)
