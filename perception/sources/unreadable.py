"""What may be behind a source that FFmpeg calls invalid: it says no more, and what to do differs.

An MP4 has its index (``moov``) last where nobody asked for another place, so that a recording which was cut off, or
still goes on, has none, and one that comes through a pipe has it too late.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from perception.sources.address import is_file, plays_once, resolved

_HEADER_BYTES: Final = 16
_BOXES_MAX: Final = 10_000
"""Of a fragmented recording there are two for each second or so, behind its index."""

EMPTY: Final = "; the file is empty"
NO_INDEX: Final = (
    "; this MP4 has no index (moov), which comes last: it was cut off, or is still being recorded "
    "(fragmented MP4, MKV and MPEG-TS can be read up to there)"
)
PIPED: Final = (
    "; an MP4 through a pipe needs its index (moov) first: made with `ffmpeg -movflags faststart`, "
    "or named as a file"
)


def likely(address: str) -> str:
    """What to tell beside FFmpeg's word, empty where nothing points to it.  Opens what is a file, and no pipe."""
    if plays_once(address):
        return PIPED
    if not is_file(address):
        return ""
    path = Path(resolved(address).removeprefix("file://"))
    try:
        if path.stat().st_size == 0:
            return EMPTY
        return NO_INDEX if _lacks_index(path) else ""
    except OSError:
        # It was there a moment ago; what FFmpeg said of it stands.
        return ""


def _lacks_index(path: Path) -> bool:
    """Whether it begins as an MP4, and none of its boxes is an index."""
    size = path.stat().st_size
    with path.open("rb") as file:
        at = 0
        for _ in range(_BOXES_MAX):
            file.seek(at)
            header = file.read(_HEADER_BYTES)
            kind = header[4:8]
            if at == 0 and kind != b"ftyp":
                return False
            if kind == b"moov":
                return False
            length = int.from_bytes(header[:4])
            if length == 1:
                length = int.from_bytes(header[8:])
            # 0: up to the end of the file.
            if length < len(kind) * 2 or at + length >= size:
                return True
            at += length
    return False
