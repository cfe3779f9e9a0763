"""Where a scrub stands, without a name: between two of its steps the user may be erased, of whom nothing is to stay."""

from __future__ import annotations

import threading
from collections.abc import Sequence


class ScrubPlace:
    """For the one thread that scrubs, but for `forget`."""

    def __init__(self) -> None:
        self.table = 0
        """Of the user's tables."""
        self.after = b""
        """The last key of the table that was looked at."""
        self._number = 0
        self._hash: int | None = None
        """Of the user's name, as Python makes it anew in each process; None where nobody was begun."""
        self._lock = threading.Lock()
        self._is_moving = False
        self._gone: set[int] = set()
        """Hashes of users that were erased while it moves."""

    def find(self, users: Sequence[str]) -> tuple[int, bool]:
        """A step begins: the user's number among all that there are, ``len(users)`` behind the last; whether it goes
        on within the user.

        users: in an order that stays.  Where the user is gone, or those before it, the next may be passed over or
        looked at twice.
        """
        with self._lock:
            self._is_moving = True
            self._gone.clear()
            known, number = self._hash, self._number
        if known is not None:
            if number < len(users) and hash(users[number]) == known:
                return number, True
            for found, user in enumerate(users):
                if hash(user) == known:
                    return found, True
        self.begin()
        return min(number, len(users)), False

    def begin(self) -> None:
        """It comes to another user."""
        self.table, self.after = 0, b""

    def leave(self, number: int, user: str | None) -> None:
        """A step ends at a user, None behind the last."""
        with self._lock:
            self._is_moving = False
            self._number = number
            self._hash = None if user is None else hash(user)
            if user is not None and hash(user) in self._gone:
                self._forget()

    def forget(self, user: str) -> bool:
        """A user is erased; whether it stood there."""
        with self._lock:
            if self._is_moving:
                self._gone.add(hash(user))
            elif hash(user) == self._hash:
                self._forget()
                return True
        return False

    def _forget(self) -> None:
        self._hash = None
        self.begin()
