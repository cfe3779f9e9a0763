"""A change feed that is followed, page by page, within one life of its user."""

from __future__ import annotations

from typing import Final

from memdb.engine import watch
from memdb.engine.one_life import OneLife
from memdb.engine.one_user import OneUser
from memdb.types.arguments import REVISION_MAX
from memdb.types.change import Change
from memdb.types.checks import check_int

PAGE_CHANGES: Final = 256
"""Changes that are read at once."""


class WatchedChanges:
    """The changes of a user after a revision; used by one thread at a time."""

    def __init__(self, user: OneUser, user_id: str, from_revision: int) -> None:
        self._user = user
        self.revision = check_int(from_revision, "from_revision", 0, REVISION_MAX)
        """The commit up to which everything was told."""
        self._life = OneLife(user_id)

    def page(self, *, limit: int = PAGE_CHANGES, page_bytes: int | None = None) -> list[Change]:
        """Changes of the next whole commits: at least one commit, then until ``limit`` or ``page_bytes`` is
        reached; none where there is no newer commit.

        Raises `NotFound` (``USER_NOT_FOUND``, also of a user that was erased and made anew since the page before: its
        numbers begin again, and those that this feed has passed would never be told; ``REVISION_NOT_FOUND``),
        `DataLoss`.
        """
        with self._user.memory() as memory:
            self._life.check(memory.view.state.id_key)
            page = memory.read(
                lambda view: watch.changes(
                    memory.environment, view, self.revision, limit, page_bytes
                )
            )
        if page:
            self.revision = page[-1].revision
        return page
