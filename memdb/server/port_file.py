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
    path, data = Path(config.port_file), Path(config.data)
    if path.is_dir():
        raise _refusal(config, errno.EISDIR)
    if not path.parent.is_dir() and path.parent.absolute() != data.absolute():
        raise _refusal(config, errno.ENOENT)
    if path.parent.is_dir() and not os.access(path.parent, os.W_OK | os.X_OK):
        raise _refusal(config, errno.EACCES)


def write_port_file(config: ServerConfig, address: str) -> None:
    """Say the address; raises `InvalidArgument` (``BAD_CONFIG``)."""
    if not config.port_file:
        return
    path = Path(config.port_file)
    # Renamed into place: whoever waits for the file never reads half of it.
    temporary = path.with_name(path.name + ".new")
    try:
        temporary.write_text(address + "\n", "utf-8")
        temporary.rename(path)
    except OSError as error:
        raise _refusal(config, error.errno or errno.EIO) from error


def _refusal(config: ServerConfig, number: int) -> InvalidArgument:
    return InvalidArgument(
        f"cannot be written: {os.strerror(number)}",
        reason="BAD_CONFIG",
        field="server.port_file",
        value=config.port_file,
    )
