"""The clips of facts, looked up one call each: so many of them, and for so long, and no more of one question.

A fact names up to 256 clips and a recall finds up to a thousand facts; who asks waits for seconds, not for a quarter of
a million calls.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from memdb.errors import DataLoss, NotFound

if TYPE_CHECKING:
    from memdb.types.clip import StoredClip
    from memdb.types.database import User
    from memdb.types.grounding import AsOf

LOOK_UPS_MAX: Final = 512
"""Clips that one question looks up."""
SECONDS_MAX: Final = 5.0
"""How long it goes on; a call that has begun is ended."""


class OutOfLookUps(Exception):
    """One question looks up no more clips."""


class FactClips:
    """What one question has looked up."""

    def __init__(
        self, user: User, as_of: AsOf | None, *, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._user = user
        self._as_of = as_of
        self._clock_s = clock_s
        self._found: dict[str, StoredClip | None] = {}
        self._until_s: float | None = None

    def find(self, clip_id: str) -> StoredClip | None:
        """The clip as it was, None where it was erased or is damaged; raises `OutOfLookUps`."""
        if clip_id not in self._found:
            now_s = self._clock_s()
            if self._until_s is None:
                self._until_s = now_s + SECONDS_MAX
            if len(self._found) >= LOOK_UPS_MAX or now_s >= self._until_s:
                raise OutOfLookUps
            try:
                self._found[clip_id] = self._user.clip(clip_id, as_of=self._as_of)
            except (NotFound, DataLoss):
                # Damage is told by the gaps of its stream: the fact is one all the same.
                self._found[clip_id] = None
        return self._found[clip_id]
