"""Whether whoever asked still waits for the answer.

A thread that works for a call cannot be stopped from outside: what takes long looks here, step by step.
The server says for which caller a thread works; in one's own process there is none, and nobody leaves.
"""

from __future__ import annotations

import threading

from memdb.errors import DeadlineExceeded


class Caller:
    """Someone who waits for a call, and may leave."""

    __slots__ = ("has_left",)

    def __init__(self) -> None:
        self.has_left = False


class _Here(threading.local):
    caller: Caller | None = None


_here = _Here()


def work_for(caller: Caller | None) -> None:
    """From now on this thread works for ``caller``."""
    _here.caller = caller


def check_caller() -> None:
    """Raise `DeadlineExceeded` (``CALLER_LEFT``) when nobody waits any more for what this thread does."""
    caller = _here.caller
    if caller is not None and caller.has_left:
        raise DeadlineExceeded("whoever asked has left", reason="CALLER_LEFT")
