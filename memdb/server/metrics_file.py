"""The file that a collector reads a server's metrics from."""

from __future__ import annotations

import os
from pathlib import Path

from memdb.config import ServerConfig
from memdb.server.written_file import check_writable


def check_metrics_file(config: ServerConfig) -> None:
    """Refuse, before anything is made, a file that could not be written now; raises `InvalidArgument`
    (``BAD_CONFIG``).

    One in the data directory may be told before there is one.
    """
    if config.metrics_file:
        path = Path(config.metrics_file)
        check_writable(path, _temporary(path), Path(config.data), "server.metrics_file")


def write_metrics(path: Path, text: str) -> None:
    """Replace the file, whole: who reads it meanwhile has the one before.  Raises `OSError`."""
    temporary = _temporary(path)
    temporary.unlink(missing_ok=True)
    # Never through a link that somebody left under the name.
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _temporary(path: Path) -> Path:
    # Of this process alone: another that was given the same file would write into what is half written.
    return path.parent / f"{path.name}.{os.getpid()}.new"
