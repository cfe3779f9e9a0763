"""The file that tells where a server listens, for who started it with port 0."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from memdb.config import ServerConfig
from memdb.errors import InvalidArgument


def check_port_file(config: ServerConfig) -> None:
    """Refuse, before anything is made, a file that could not be written now; raises `InvalidArgument`
    (``BAD_CONFIG``).

    One in the data directory may be told before there is one.
    """
    if not config.port_file:
        return
    try:
        found = _obstacle(Path(config.port_file), Path(config.data))
    except OSError as error:  # a name that is too long, a folder that cannot be looked into
        raise _refusal(config, error.errno or errno.EIO) from error
    if found is not None:
        raise _refusal(config, found)


def _obstacle(path: Path, data: Path) -> int | None:
    """What the system will say of the file; None where it can be written."""
    if "\0" in str(path):
        return errno.EINVAL
    if path.is_dir() or _temporary(path).is_dir():
        return errno.EISDIR
    if not path.parent.is_dir() and path.parent.absolute() != data.absolute():
        return errno.ENOENT
    if path.parent.is_dir() and not os.access(path.parent, os.W_OK | os.X_OK):
        return errno.EACCES
    return None


def write_port_file(config: ServerConfig, address: str) -> None:
    """Say the address; raises `InvalidArgument` (``BAD_CONFIG``)."""
    if not config.port_file:
        return
    path = Path(config.port_file)
    # Renamed into place: whoever waits for the file never reads half of it.
    temporary = _temporary(path)
    try:
        temporary.write_text(address + "\n", "utf-8")
        temporary.rename(path)
    except OSError as error:
        raise _refusal(config, error.errno or errno.EIO) from error


def _temporary(path: Path) -> Path:
    return path.with_name(path.name + ".new")


def _refusal(config: ServerConfig, number: int) -> InvalidArgument:
    return InvalidArgument(
        f"cannot be written: {os.strerror(number)}",
        reason="BAD_CONFIG",
        field="server.port_file",
        value=config.port_file,
    )
