"""The record of `tests.crash.block.fuse`, read."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

HEAD: Final = struct.Struct("<cQI")
"""Kind, offset, bytes that follow."""


@dataclass(frozen=True, slots=True)
class Event:
    """``W``: bytes were written at an offset.  ``S``: all before was flushed.  ``!``: a program's mark."""

    kind: str
    offset: int
    data: bytes = field(repr=False)


def read_log(path: Path) -> list[Event]:
    """All events in order."""
    content = path.read_bytes()
    events = []
    at = 0
    while at < len(content):
        kind, offset, size = HEAD.unpack_from(content, at)
        at += HEAD.size
        events.append(Event(kind.decode(), offset, content[at : at + size]))
        at += size
    return events
