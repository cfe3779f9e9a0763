"""Reading a file with a data key: that of an environment, or a copy of it beside archives."""

from __future__ import annotations

from pathlib import Path

from memdb.errors import DataLoss, Unavailable
from memdb.store.system import FORBIDDEN, LOST


def read_key_file(path: Path, what: str, field: str) -> bytes:
    """What is in it.

    what: it is, in errors.

    Raises `DataLoss` (``KEY_UNREADABLE``), `Unavailable` (``OPEN_FAILED``) where we may not read it: then nobody is
    lost, who may be under legal hold, and a rotation must not leave the key behind; and `OSError`, as where there is
    no such file.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        if error.errno in FORBIDDEN:
            raise Unavailable(
                f"{what} may not be read: {error.strerror}", reason="OPEN_FAILED", field=field
            ) from error
        if error.errno in LOST:
            raise DataLoss(
                f"{what} cannot be read: {error.strerror}", reason="KEY_UNREADABLE", field=field
            ) from error
        raise
