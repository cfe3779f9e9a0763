"""Which questions are answered at once: from what is in memory, in a fraction of a millisecond.

Who has an event loop answers such questions on it: that is done before a thread could be woken for it,
and several threads that answer take the interpreter's lock from each other twenty times a question.

What may wait for a disk, for somebody's lock, or take long raises `WouldWait` before it does:
`memdb.engine.reading` where the store would be read, `Users.use_at_once` where the user is not open, and
here what is too much of anything.
"""

from __future__ import annotations

from typing import Final

from memdb.engine.question import Question
from memdb.engine.reading import WouldWait
from memdb.engine.view import View

STREAMS_MAX: Final = 64
GAPS_MAX: Final = 256
"""Times something was missing, now or at any revision."""
HITS_MAX: Final = 32
PAUSE_MAX: Final = 63
"""Questions of a user that are not tried after one that failed."""


def is_small(view: View) -> bool:
    """Whether whatever is worked out of the view's rows, streams and gaps takes no time worth a thought."""
    return (
        len(view.state.streams) <= STREAMS_MAX
        and view.quarantine.is_empty
        and all(
            partition.rows == 0 or partition.matrix.whole(partition.rows) is not None
            for partition in view.partitions.values()
        )
        and view.coverage.is_small(STREAMS_MAX, GAPS_MAX)
    )


def check_light(question: Question) -> None:
    """Raise `WouldWait` unless the question asks for little."""
    if (
        question.words is not None
        or question.tokens is not None
        or question.calendar is not None
        or question.explain
        or question.parts.short_memory
        or question.limit > HITS_MAX
    ):
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
