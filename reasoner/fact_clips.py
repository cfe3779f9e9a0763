"""The clips of facts, looked up many in a call: so many of them, and for so long, and no more of one question.

A fact names up to 256 clips and a recall finds up to a thousand facts; who asks waits for seconds, not for a quarter of
a million clips.
"""

from __future__ import annotations

import math
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from memdb.errors import DataLoss, FailedPrecondition, NotFound

if TYPE_CHECKING:
    from memdb.types.clip import StoredClip
    from memdb.types.database import User
    from memdb.types.grounding import AsOf

LOOK_UPS_MAX: Final = 512
"""Clips that one question looks at."""
AT_ONCE: Final = 64
"""Clips of one call."""
SECONDS_MAX: Final = 5.0
"""How long it goes on; a call that has begun is ended."""
_PLACE: Final = re.compile(r"clip_ids\[([0-9]+)\]")


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
        self._asked: set[str] = set()
        self._expected: deque[str] = deque()
        self._until_s = math.inf

    def expect(self, clip_ids: Iterable[str]) -> None:
        """These will be asked for, more or less in their order: the first that is brings some of the others."""
        self._expected.extend(clip_ids)

    def find(self, clip_id: str) -> StoredClip | None:
        """The clip as it was, without its global memory and keyframes, None where it was erased or is damaged; raises
        `OutOfLookUps`.
        """
        if clip_id not in self._asked:
            if len(self._asked) >= LOOK_UPS_MAX:
                raise OutOfLookUps
            if clip_id not in self._found:
                now_s = self._clock_s()
                if self._until_s == math.inf:
                    self._until_s = now_s + SECONDS_MAX
                if now_s >= self._until_s:
                    raise OutOfLookUps
                self._look_up(self._with_expected(clip_id))
            self._asked.add(clip_id)
        return self._found[clip_id]

    def _with_expected(self, clip_id: str) -> list[str]:
        wanted = {clip_id: None}
        most = min(AT_ONCE, LOOK_UPS_MAX - len(self._asked))
        while self._expected and len(wanted) < most:
            expected = self._expected.popleft()
            if expected not in self._found:
                wanted[expected] = None
        return list(wanted)

    def _look_up(self, wanted: list[str]) -> None:
        """Look up the first, and others while nothing is wrong with them but that they are gone."""
        first = wanted[0]
        while first not in self._found:
            try:
                self._found.update(zip(wanted, self._get(wanted), strict=True))
            except NotFound as error:
                named = _PLACE.fullmatch(error.field or "")
                place = 0 if named is None else int(named[1])
                self._found[wanted.pop(place)] = None
                if place == 0:
                    self._expected.extendleft(reversed(wanted))
                if self._clock_s() >= self._until_s:
                    wanted = [first]
            except (DataLoss, FailedPrecondition) as error:
                if isinstance(error, FailedPrecondition) and error.reason != "UNIMPLEMENTED":
                    raise
                # Some clip is damaged, or the server of an earlier release: the others are asked for one by one.
                self._found[first] = self._one(first)

    def _one(self, clip_id: str) -> StoredClip | None:
        try:
            return self._user.clip(clip_id, as_of=self._as_of)
        except (NotFound, DataLoss):
            # Damage is told by the gaps of its stream: the fact is one all the same.
            return None

    def _get(self, wanted: Sequence[str]) -> list[StoredClip]:
        return self._user.get_clips(
            wanted, as_of=self._as_of, with_global_memory=False, with_keyframes=False
        )
