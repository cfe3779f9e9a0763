"""The file that tells where a server listens, for who started it with port 0."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Final

from memdb.config import ServerConfig
from memdb.server.written_file import check_writable, refusal

_FIELD: Final = "server.port_file"


def check_port_file(config: ServerConfig) -> None:
    """Refuse, before anything is made, a file that could not be written now; raises `InvalidArgument`
    (``BAD_CONFIG``).

    One in the data directory may be told before there is one.
    """
    if config.port_file:
        path = Path(config.port_file)
        check_writable(path, _temporary(path), Path(config.data), _FIELD)


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
        raise refusal(path, _FIELD, error.errno or errno.EIO) from error


def _temporary(path: Path) -> Path:
    return path.parent / f"{path.name}.new"
