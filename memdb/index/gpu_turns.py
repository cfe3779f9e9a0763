"""FAISS's calls on a GPU, which come one at a time, and the questions that wait for theirs.

What is placed on a GPU shares what FAISS has of it (streams, memory for a while), which serves one thread at a time.
So questions wait for a turn, and whoever has it answers all that wait, of whatever users: by one call for each of
the indexes that they are about, one after the other.  One index for the rows of several users would save calls, and
there is none: a search would see another user's vectors, and who is erased would leave his there.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol

from memdb.types.arrays import Array


class Answering(Protocol):
    """What is asked on a GPU."""

    def answer(self, asked: list[Asked]) -> None:
        """Answer them in one call; raises nothing."""


@dataclass(eq=False)
class Asked:
    """One question of a call."""

    of: Answering
    query: Array
    """(width,) float32."""
    wanted: int
    """Candidates."""
    reach: int = 0
    """How much is looked at, where that is not all."""
    done: bool = False
    answer: tuple[Array, Array] | None = None
    """Numbers and scores; None where nothing is placed any more."""
    error: RuntimeError | None = None


class Turns:
    """Of one GPU: the making and the end of an index included, as far as they share what the others have.

    A turn is ``with turns.lock, turns``.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        """Taken and given back without a step of Python's between: where Ctrl-C came there, nobody would have a turn
        any more."""
        self._left: deque[Any] = deque()
        self._queue_lock = threading.Lock()
        self._queue: list[Asked] = []

    def __enter__(self) -> None:
        """By whoever has the lock."""

    def __exit__(self, *_: object) -> None:
        # What an interrupt leaves here goes with the next turn.
        self._left.clear()

    @property
    def waiting(self) -> int:
        """Questions that no call has taken yet."""
        return len(self._queue)

    def ask(self, asked: Asked) -> tuple[Array, Array] | None:
        """Candidates of one question, with those who ask meanwhile.  Raises `RuntimeError` where the GPU fails."""
        with self._queue_lock:
            self._queue.append(asked)
        with self.lock, self:
            if not asked.done:
                self._answer_all()
        if asked.error is not None:
            raise asked.error
        return asked.answer

    def leave(self, held: list[Any]) -> None:
        """Let an index go that nobody has but this list, which is emptied: now, or with the call under way.

        It may be the collector who comes by, in the middle of a call: nobody is waited for.
        """
        self._left.append(held.pop())
        if self.lock.acquire(blocking=False):
            try:
                self._left.clear()
            finally:
                self.lock.release()

    def _answer_all(self) -> None:
        with self._queue_lock:
            waiting, self._queue = self._queue, []
        calls: dict[int, list[Asked]] = {}
        for one in waiting:
            calls.setdefault(id(one.of), []).append(one)
        for asked in calls.values():
            asked[0].of.answer(asked)
