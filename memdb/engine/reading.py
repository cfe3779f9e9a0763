"""A read transaction that begins with the first thing that is read in it.

An answer whose clips are all kept in memory needs none.  So it does without the store, whose gate and
whose disk it might have to wait for: who must not wait is given an answer *at once*, or `WouldWait`.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from memdb.store.environment import Environment
from memdb.store.transaction import Transaction


class WouldWait(Exception):
    """What was to be done at once would wait for a disk, for somebody's lock, or take long.

    No error: the caller asks again where it may wait.
    """


class Reading:
    """A block that may read; what its transaction lends is valid inside the block only."""

    __slots__ = ("_environment", "_opened", "_txn")

    def __init__(self, environment: Environment | None) -> None:
        """environment: None where nothing may be read."""
        self._environment = environment
        self._opened: AbstractContextManager[Transaction] | None = None
        self._txn: Transaction | None = None

    @property
    def txn(self) -> Transaction:
        """The transaction; raises `WouldWait` where nothing may be read, and as `Environment.read`."""
        if self._txn is None:
            if self._environment is None:
                raise WouldWait
            self._opened = self._environment.read()
            self._txn = self._opened.__enter__()
        return self._txn

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._txn is not None and self._opened is not None:
            self._opened.__exit__(kind, error, trace)
