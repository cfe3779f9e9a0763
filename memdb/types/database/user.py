"""A handle on one user."""

from __future__ import annotations

from typing import Protocol

from memdb.types.database.standing import Standing
from memdb.types.database.stream import Stream
from memdb.types.database.user_changes import UserChanges
from memdb.types.database.user_clips import UserClips
from memdb.types.database.user_erasure import UserErasure
from memdb.types.database.user_facts import UserFacts
from memdb.types.database.user_grounding import UserGrounding
from memdb.types.database.user_snapshots import UserSnapshots
from memdb.types.database.user_text import UserText
from memdb.types.database.user_values import UserValues
from memdb.types.stream import StreamInfo


class User(
    UserText,
    UserClips,
    UserGrounding,
    UserFacts,
    UserValues,
    UserSnapshots,
    UserChanges,
    UserErasure,
    Protocol,
):
    """A handle on one user; created by its first write."""

    @property
    def id(self) -> str:
        """The user's id."""
        ...

    def revision(self) -> int:
        """The user's newest commit number, from 1.  Raises `NotFound` (``USER_NOT_FOUND``)."""
        ...

    def stream(self, name: str, *, space: str | None = None, codec: str | None = None) -> Stream:
        """A handle on a stream; ``space`` is needed when it does not exist yet.

        codec: how clips written through this handle have their short-term memory coded: ``plain``
        (None: float16 as it is), ``f16`` (without loss, packed), ``int8``, ``int4``, ``delta``
        or ``coarse``, see `memdb.codecs.tensors`.  Kept by the handle, recorded with each clip; a clip that was
        coded before is left as it is.  A clip that is sent again must be coded as it was.

        Raises `InvalidArgument` (``BAD_CODEC``).
        """
        ...

    @property
    def standing(self) -> Standing:
        """The user's standing questions."""
        ...

    def streams(self) -> list[StreamInfo]:
        """The user's streams, by name.  Raises `NotFound` (``USER_NOT_FOUND``)."""
        ...
