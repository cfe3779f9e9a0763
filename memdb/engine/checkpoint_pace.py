"""How often a checkpoint that was dropped is written again.

Each removal drops it (`memdb.engine.kept_index`), and a user whose retention takes a clip away every minute would have
all of it written every minute, for the two clips that came and went.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

SHARE: Final = 8
"""It is, once as much as one part in so many of its rows came."""
REST_S: Final = 600.0
"""Or after so long, for a user that hardly changes."""
BYTES_PER_S: Final = 256 << 10
"""And of a large one no more bytes than these in the long run."""


@dataclass(frozen=True, slots=True)
class Written:
    """A checkpoint as it was written; it may have been dropped since."""

    rows: int
    bytes: int
    next_clip_no: int
    """Of the user at that time."""
    time_s: float
    """By `time.monotonic`."""

    def lets_another(self, next_clip_no: int) -> bool:
        """Whether it may be written again now, for who has come so far."""
        if next_clip_no - self.next_clip_no >= self.rows // SHARE:
            return True
        return time.monotonic() >= self.time_s + max(REST_S, self.bytes / BYTES_PER_S)
