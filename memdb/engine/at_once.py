"""Which questions are answered at once: from what is in memory, in a fraction of a millisecond.

Who has an event loop answers such questions on it: that is done before a thread could be woken for it,
and several threads that answer take the interpreter's lock from each other twenty times a question.

What may wait for a disk, for somebody's lock, or take long raises `WouldWait` before it does:
`memdb.engine.reading` where the store would be read, `Users.call_at_once` where the user is not open, and
here what is too much of anything.
"""

from __future__ import annotations

from typing import Final

from memdb.engine.question import Question
from memdb.engine.reading import WouldWait
from memdb.engine.view import View
from memdb.types.grounding import Grounding

STREAMS_MAX: Final = 64
STREAMS_COVERED_MAX: Final = 16
"""Of which it is told what was searched: 40 us each."""
GAPS_MAX: Final = 256
"""Times something was missing, now or at any revision."""
HITS_MAX: Final = 32
LISTED_ROWS_MAX: Final = 250_000
"""Of which lists tell a third of a millisecond's worth; filters by time and stream take as long."""
STREAMS_NAMED_MAX: Final = 4
"""By a question to such lists: to find the rows of more takes a millisecond or two."""
TOLD_MAX: Final = 512
"""Utterances, sounds, labels and pictures of all hits: each is a message of its own in the answer."""
PICTURE_BYTES_MAX: Final = 1 << 20
"""Of all hits."""
PAUSE_MAX: Final = 63
"""Questions of a user that are not tried after one that failed."""


def check_light(view: View, question: Question) -> None:
    """Raise `WouldWait` unless the question asks for little, of few rows or of what lists of them tell."""
    if (
        question.words is not None
        or question.tokens is not None
        or question.calendar is not None
        or question.explain
        or question.parts.short_memory
        or question.limit > HITS_MAX
        or len(view.state.streams) > STREAMS_MAX
        or not view.quarantine.is_empty
        or not view.coverage.is_small(STREAMS_MAX, GAPS_MAX)
    ):
        raise WouldWait
    if not all(partition.is_whole for partition in view.partitions.values()):
        _check_plain(view, question)


def _check_plain(view: View, question: Question) -> None:
    """Raise `WouldWait` where more than lists would be looked at: for a filter, or to say that there is nothing."""
    if (
        not question.may_be_approximate
        or question.labels
        or question.min_score is not None
        or question.fallback != "none"
        or question.with_coverage
        or len(question.streams or ()) > STREAMS_NAMED_MAX
    ):
        raise WouldWait
    for partition in view.partitions.values():
        listed = partition.rows <= LISTED_ROWS_MAX and partition.tiers.has_lists
        if not (partition.is_whole or listed):
            raise WouldWait


def check_brief(answer: Grounding) -> None:
    """Raise `WouldWait` where the hits hold so much that to write the answer down takes long."""
    told = picture_bytes = 0
    for hit in answer.hits:
        clip = hit.clip
        told += len(clip.transcript) + len(clip.events) + len(clip.labels) + len(clip.keyframes)
        picture_bytes += sum([len(frame.jpeg) for frame in clip.keyframes])
        if told > TOLD_MAX or picture_bytes > PICTURE_BYTES_MAX:
            raise WouldWait


class Tries:
    """Whether to try at once is worth it: of a user whose clips are seldom kept, most tries are left out.

    For any threads: one that is made or left out because two looked together does no harm.
    """

    __slots__ = ("_left", "_pause")

    def __init__(self) -> None:
        self._pause = 0
        self._left = 0

    def begin(self) -> bool:
        """Whether to try now."""
        if self._left > 0:
            self._left -= 1
            return False
        return True

    def succeeded(self) -> None:
        """The next one is tried as well."""
        self._pause = 0

    def failed(self) -> None:
        """Each time in a row twice as many are left out."""
        self._pause = min(2 * self._pause + 1, PAUSE_MAX)
        self._left = self._pause
