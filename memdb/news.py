"""News that what a lock guards has changed, for who may be interrupted (Ctrl-C) wherever it is.

Python's condition takes its lock, and gives it back while it waits, in functions of Python.  Who is interrupted in one
of them has a lock that nobody gives back, or leaves a block without the lock that is given back at its end: somebody
else's, where the lock does not know whose it is.
"""

from __future__ import annotations

import threading
from operator import attrgetter


class News(threading.Condition):
    """Of a lock, which several may share; ``with news`` takes it, as does ``with lock``, in no function of Python's."""

    # `with` looks these up and calls what it finds: the lock's own.
    __enter__ = property(attrgetter("_of.__enter__"))
    __exit__ = property(attrgetter("_of.__exit__"))

    def __init__(self, lock: threading.RLock) -> None:
        """lock: one that knows whose it is."""
        super().__init__(lock)
        self._of = lock

    def wait(self, timeout: float | None = None) -> bool:
        """However it ends, who waited has the lock."""
        try:
            return super().wait(timeout)
        except BaseException:
            if not self._of._is_owned():  # type: ignore[attr-defined]  # as Python's own condition asks
                self._of.acquire()
            raise
