"""What both ends of an ingest agree on."""

from __future__ import annotations

from typing import Final

INGEST_WINDOW: Final = 64
"""Clips of one ingest in flight: what a writer sends ahead where nobody says, and what the server takes in of a stream
before it reads on, however many bytes they are.  So it has the next ones while it commits; with half as many, clips of
200 kB took 4 to 8 % longer on two processors.
"""
INGEST_WINDOW_MAX: Final = 512
"""Of clips that are small: as many as `INGEST_WINDOW_BYTES` hold, up to this.  A commit of 64 clips of 49 kB is mostly
what a commit costs, and with 256 on their way who sends waits for it."""
EMBEDDED_INGEST_WINDOW: Final = 128
"""Of a writer of an embedded database, where nobody says: a commit takes half of it, and one of 32 clips of 49 kB is
mostly what a commit costs."""
INGEST_WINDOW_BYTES: Final = 26_000_000
"""What 512 clips of 49 kB are."""


def is_ingest_full(clips: int, size: int) -> bool:
    """Whether so many clips of an ingest, of ``size`` bytes together, are all that may be in flight."""
    return clips >= INGEST_WINDOW_MAX or (clips >= INGEST_WINDOW and size >= INGEST_WINDOW_BYTES)
