"""For how long a call goes on: asked between the pieces of work that takes long, so that a thread is not held for
somebody who has left.

The work itself knows nothing of who waits: it calls `check`, which costs next to nothing where there is no deadline,
as in an embedded database.  Writes never ask: a commit that has begun is ended.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from memdb.errors import DeadlineExceeded

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Deadline:
    """Of one call; any thread may say that its caller has left."""

    __slots__ = ("__weakref__", "_at_s", "_has_left")

    def __init__(self, seconds: float | None = None) -> None:
        """seconds: from now; None where only leaving ends the call."""
        self._at_s = float("inf") if seconds is None else time.monotonic() + seconds
        self._has_left = False

    def leave(self) -> None:
        """The caller waits no more."""
        self._has_left = True

    def check(self) -> None:
        """Raise `DeadlineExceeded` (``CALLER_LEFT``, ``DEADLINE_EXCEEDED``) when nobody waits any more."""
        if self._has_left:
            raise DeadlineExceeded("the caller has left", reason="CALLER_LEFT")
        if time.monotonic() > self._at_s:
            raise DeadlineExceeded("the deadline of the call has passed")

    def within(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """The result of work on this thread, whose `check` asks this deadline."""
        before = _of_thread.deadline
        _of_thread.deadline = self
        try:
            self.check()
            return work(*args, **kwargs)
        finally:
            _of_thread.deadline = before


class _OfThread(threading.local):
    deadline: Deadline | None = None
    """Of the class where a thread has none, so that to find that out raises nothing."""


_of_thread = _OfThread()


def check() -> None:
    """Raise `DeadlineExceeded` when nobody waits for what this thread does."""
    deadline = _of_thread.deadline
    if deadline is not None:
        deadline.check()
