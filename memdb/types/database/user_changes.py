"""What a handle on a user tells of its commits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from memdb.types.change import Change


class UserChanges(Protocol):
    """What changed in a user."""

    def watch(self, *, from_revision: int = 0, follow: bool = True) -> Iterator[Change]:
        """Changes after ``from_revision``, oldest first; with ``follow`` waits for new ones, without it ends
        at the newest.

        What waits for new ones takes a thread.  From another it is ended by the ``close`` of its database, and raises
        `Unavailable` (``CLOSED``); of the asyncio client by cancelling the task.

        It is of one life of the user: where that is erased meanwhile, made anew or not, it ends with `NotFound`, since
        the numbers of commits begin again.  Of a revision that was kept from an earlier watch nobody can tell that: who
        keeps one drops it where the user was erased or restored.

        Raises `NotFound` (``USER_NOT_FOUND``; ``REVISION_NOT_FOUND`` of one that is ahead of the user).
        """
        ...
