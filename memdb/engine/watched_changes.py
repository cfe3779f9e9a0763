"""A change feed that is followed, page by page, within one life of its user."""

from __future__ import annotations

from typing import Final

from memdb.engine import watch
from memdb.engine.one_life import OneLife
from memdb.engine.one_user import OneUser
from memdb.engine.undone import check_commit
from memdb.engine.view import View
from memdb.store.environment import Environment
from memdb.types.arguments import REVISION_MAX, checked_revision_time
from memdb.types.change import Change
from memdb.types.checks import check_int

PAGE_CHANGES: Final = 256
"""Changes that are read at once."""


class WatchedChanges:
    """The changes of a user after a revision; used by one thread at a time."""

    def __init__(
        self,
        user: OneUser,
        user_id: str,
        from_revision: int,
        revision_time_ns: int | None = None,
    ) -> None:
        """revision_time_ns: when the commit of ``from_revision`` was made; None where nobody knows."""
        self._user = user
        self.revision = check_int(from_revision, "from_revision", 0, REVISION_MAX)
        """The commit up to which everything was told."""
        self._time_ns = checked_revision_time(revision_time_ns)
        """When that was made; None once it was looked at."""
        self._life = OneLife(user_id)

    def page(self, *, limit: int = PAGE_CHANGES, page_bytes: int | None = None) -> list[Change]:
        """Changes of the next whole commits: at least one commit, then until ``limit`` or ``page_bytes`` is
        reached; none where there is no newer commit.

        Raises `NotFound` (``USER_NOT_FOUND``, also of a user that was erased and made anew since the page before: its
        numbers begin again, and those that this feed has passed would never be told; ``REVISION_NOT_FOUND``, also of
        one that was made at another time), `DataLoss`.
        """
        with self._user.memory() as memory:
            self._life.check(memory.view.state.id_key)
            page = memory.read(lambda view: self._page(memory.environment, view, limit, page_bytes))
        if page:
            self.revision = page[-1].revision
        return page

    def _page(
        self, environment: Environment, view: View, limit: int, page_bytes: int | None
    ) -> list[Change]:
        # First whether it is ahead of the user: there is no commit to look at then.
        page = watch.changes(environment, view, self.revision, limit, page_bytes)
        if self._time_ns is not None and self.revision:
            check_commit(environment, self.revision, self._time_ns, "from_revision")
        self._time_ns = None
        return page
