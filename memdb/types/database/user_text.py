"""What a handle on a user knows of the space of its texts."""

from __future__ import annotations

from typing import Protocol

from memdb.types.space import Space


class UserText(Protocol):
    """The user's text space."""

    def configure(self, *, text_space: str) -> None:
        """Name the space in which the user's facts, utterances and questions are embedded; creates the
        user.  The same space again is no error.

        Raises `NotFound` (``SPACE_NOT_FOUND``), `FailedPrecondition` (``TEXT_SPACE_SET``: it is another).
        """
        ...

    def text_space(self) -> Space | None:
        """The user's text space, None when not configured.  Raises `NotFound` (``USER_NOT_FOUND``)."""
        ...
