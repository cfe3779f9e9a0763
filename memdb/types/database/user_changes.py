"""What a handle on a user tells of its commits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from memdb.types.change import Change


class UserChanges(Protocol):
    """What changed in a user."""

    def watch(
        self,
        *,
        from_revision: int = 0,
        revision_time_ns: int | None = None,
        follow: bool = True,
    ) -> Iterator[Change]:
        """Changes after ``from_revision``, oldest first; with ``follow`` waits for new ones, without it ends
        at the newest.

        What waits for new ones takes a thread.  From another it is ended by the ``close`` of its database, and raises
        `Unavailable` (``CLOSED``); of the asyncio client by cancelling the task.

        It is of one life of the user: where that is erased meanwhile, made anew or not, it ends with `NotFound`, since
        the numbers of commits begin again.

        Who goes on later keeps the ``revision`` and the ``time_ns`` of the last change, and gives back both: after a
        restore, or where the user was erased and made anew, another commit may have the number, and what came up to it
        would never be told.  A bare revision cannot tell that, and is refused only as long as it is ahead of the user.

        Raises `NotFound` (``USER_NOT_FOUND``; ``REVISION_NOT_FOUND`` of a revision that is ahead of the user, or that
        was not made at ``revision_time_ns``: begin without one).
        """
        ...
