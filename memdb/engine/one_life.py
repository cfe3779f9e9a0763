"""The life of a user that something which goes on for long is of."""

from __future__ import annotations

from memdb.errors import NotFound


class OneLife:
    """Known from when it is first seen; used by one thread at a time."""

    def __init__(self, user: str) -> None:
        self._user = user
        self._key: bytes | None = None
        """The user's key of ids: one that was erased and made anew has another."""

    def check(self, user_key: bytes) -> None:
        """Raises `NotFound` (``USER_NOT_FOUND``) where another of the name has come: its revisions begin again."""
        if self._key is None:
            self._key = user_key
        elif self._key != user_key:
            raise NotFound(
                "the user was erased, and made anew: begin anew",
                reason="USER_NOT_FOUND",
                field="user",
                value=self._user,
            )
