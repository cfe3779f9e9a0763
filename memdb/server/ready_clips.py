"""What one ingest stream has ready to be committed, and what becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from memdb.engine.passage import Passage
from memdb.engine.stream import EmbeddedStream
from memdb.errors import MemdbError
from memdb.server.edge import SendsAhead
from memdb.server.lot import Lot

Told = tuple[bytes, MemdbError | None]
"""The acknowledgements of the clips before the first refused one as a message, empty for none, and its error."""


class Fate:
    """What became of something that was ready, for what is behind it."""

    __slots__ = ("error", "passage")

    def __init__(self) -> None:
        self.passage = Passage()
        """In the user's queue."""
        self.error: Exception | None = None
        """Why not all of it was written, as far as a thread knows."""

    @property
    def was_refused(self) -> bool:
        """Whether it ever was: with another stream's, be it that it has been written since."""
        return self.error is not None or self.passage.error is not None


class Ready:
    """What one stream has ready; of each stream one at a time that no thread has."""

    __slots__ = (
        "behind",
        "fate",
        "is_over",
        "is_taken",
        "left",
        "lot",
        "outcome",
        "stream",
        "tell",
        "woken",
    )

    def __init__(
        self,
        stream: Callable[[], EmbeddedStream],
        lot: Lot,
        tell: SendsAhead | None,
        woken: Callable[[], None] | None = None,
        behind: Fate | None = None,
    ) -> None:
        """stream: called by the thread, which is told what is wrong with it; tell: sends the acknowledgements
        ahead; woken: called once the outcome is there, where nobody awaits it; behind: of what a
        thread has of the same stream already."""
        self.stream = stream
        self.lot = lot
        self.tell = tell
        self.woken = woken
        self.behind = behind
        self.fate = Fate()
        self.is_taken = False
        """Whether a thread has it, or will: then it does not grow any more."""
        self.is_over = False
        """Whether no thread has it any more, nor will."""
        self.left: Callable[[], None] | None = None
        """Called then, where its stream has left before."""
        self.outcome: asyncio.Future[Told] = asyncio.get_running_loop().create_future()
