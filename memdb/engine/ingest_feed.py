"""What one ingest writer has sent, and the parts of it that commits have."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final

from memdb.engine.passage import Passage
from memdb.errors import MemdbError, Unavailable
from memdb.types.clip import Ack
from memdb.types.operation import WriteClip

if TYPE_CHECKING:
    from memdb.engine.stream import EmbeddedStream

BROKEN_OFF: Final = Unavailable(
    "a commit was broken off, and may have been made", reason="INDEX_BROKEN"
)
"""What a part is told of which nobody can say what became of it; there may be no memory to make it then."""


class Feed:
    """Of one writer.  But for `going` it is under the lock of its `SharedIngest`."""

    __slots__ = ("going", "is_refused", "on_their_way", "ready", "share", "stream", "woken")

    def __init__(self, stream: EmbeddedStream, share: int) -> None:
        self.stream = stream
        self.share = share
        """Clips that a commit takes of it at most."""
        self.ready: list[tuple[WriteClip, int]] = []
        """Sent and not taken by a commit, with their bytes."""
        self.going: deque[Part] = deque()
        """What commits took, in that order; the writer takes out what is written."""
        self.on_their_way = 0
        """Clips that are ready or going, and not done."""
        self.is_refused = False
        """Whether a clip was: what is behind it is not written."""
        self.woken: SimpleQueue[None] = SimpleQueue()
        """Has something when there may be what its writer waits for."""


class Part:
    """What one commit has of a feed."""

    __slots__ = ("_going", "clips", "error", "feed", "is_done", "operations", "outcomes", "passage")

    def __init__(self, feed: Feed, operations: Sequence[WriteClip]) -> None:
        self.feed = feed
        self.operations = operations
        """None once it is done: they hold the clips."""
        self.clips = len(operations)
        self.passage = Passage()
        """Of its newest attempt."""
        self.outcomes: Sequence[Ack | MemdbError] = ()
        """One for each, where no error befell all."""
        self.error: Exception | None = None
        self.is_done = False
        self._going = threading.Lock()
        """Held until then."""
        self._going.acquire()

    def refuse(self, error: Exception) -> None:
        """It befell all of it."""
        # Without its frames, which hold the clips; what is no refusal with them, which say where it was.
        self.error = error.again() if isinstance(error, MemdbError) else error

    def end(self) -> bool:
        """There is nothing to come; whether nothing of it was refused."""
        if self.error is None and len(self.outcomes) != self.clips:
            self.error = BROKEN_OFF
        is_written = self.is_written
        self.operations = ()
        if not self.is_done:
            self.is_done = True
            self._going.release()
        return is_written

    def break_off(self) -> None:
        """There is nothing to come, and nobody can say what became of it."""
        self.error = BROKEN_OFF
        self.end()

    @property
    def is_written(self) -> bool:
        """Whether nothing of it was refused, once it is done."""
        return self.error is None and not any(
            isinstance(outcome, MemdbError) for outcome in self.outcomes
        )

    def wait(self) -> bool:
        """Wait until it is done; whether nothing of it was refused."""
        with self._going:
            return self.is_written
