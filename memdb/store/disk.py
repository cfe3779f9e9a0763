"""Whether the disk has room for what is to be written, and for what must stay free."""

from __future__ import annotations

import os
from pathlib import Path

from memdb.config import EngineConfig
from memdb.errors import ResourceExhausted


def check_disk(folder: Path, config: EngineConfig, bytes_hint: int = 0) -> None:
    """Raise `ResourceExhausted` (``DISK_FULL``) where a write would eat into the reserve.

    Where the system does not say what is free, the write itself will find out whether there is room;
    and who asks what an error of a write meant must not hear of another one instead.
    """
    try:
        fs = os.statvfs(folder)
    except OSError:
        return
    free = fs.f_bavail * fs.f_frsize
    if free < config.disk_free_bytes_min + bytes_hint:
        raise ResourceExhausted(
            "the file system is full: less is free than engine.disk_free_bytes_min "
            f"({config.disk_free_bytes_min}) and what is to be written ({bytes_hint})",
            reason="DISK_FULL",
            field="free_bytes",
            value=free,
        )
