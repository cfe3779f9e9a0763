"""`memdb.types.database.user_changes.UserChanges` of an embedded user."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from memdb.engine.one_user import OneUser
from memdb.engine.watched_changes import PAGE_CHANGES, WatchedChanges
from memdb.types.change import Change
from memdb.types.checks import check_flag
from memdb.types.database.user_changes import UserChanges
from memdb.types.documented import documented_by

_WATCH_PAGE_BYTES: Final = 16 * 1024 * 1024
_WATCH_WAIT_S: Final = 0.5
"""For a commit, before a watch looks whether the database is still open."""


@documented_by(UserChanges)
class EmbeddedUserChanges(OneUser):
    """What changed, and waiting for what will."""

    def changes(self, from_revision: int = 0, *, limit: int = PAGE_CHANGES) -> list[Change]:
        """Changes of whole commits after ``from_revision``: at least one commit, then until there are ``limit``."""
        return self.watched_changes(from_revision).page(limit=limit)

    def watched_changes(
        self, from_revision: int = 0, revision_time_ns: int | None = None
    ) -> WatchedChanges:
        """A watch, page by page."""
        return WatchedChanges(self, self._id, from_revision, revision_time_ns)

    def wait_for_revision(self, revision: int, timeout_s: float) -> bool:
        """Wait until a commit after ``revision`` is published."""
        with self._users.use(self._id, lasting=True) as memory:
            return memory.wait_for_revision(revision, timeout_s)

    def subscribe(self, callback: Callable[[int], None]) -> Callable[[], None]:
        """Call ``callback(revision)`` from the committing thread after each commit; the returned
        function ends it.

        The user is kept open meanwhile.
        """
        use = self._users.use(self._id, lasting=True)
        memory = use.__enter__()
        unsubscribe = memory.subscribe(callback)

        def end() -> None:
            unsubscribe()
            use.__exit__(None, None, None)

        return end

    def watch(
        self,
        *,
        from_revision: int = 0,
        revision_time_ns: int | None = None,
        follow: bool = True,
    ) -> Iterator[Change]:
        watched = self.watched_changes(from_revision, revision_time_ns)
        check_flag(follow, "follow")
        while True:
            page = watched.page(page_bytes=_WATCH_PAGE_BYTES)
            yield from page
            if not page and not follow:
                return
            if not page:
                # In steps, so that a closed database ends the wait.
                self.wait_for_revision(watched.revision, _WATCH_WAIT_S)
