"""What a handle on a user does to make an end of bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from memdb.types.change import CompactionReport, ErasureReport
from memdb.types.times import Time


class UserErasure(Protocol):
    """An end of a user, of some of its clips, and of what freed pages still hold."""

    def erase(self) -> ErasureReport:
        """Remove the user and every byte of its memory.

        Whoever goes on writing makes the user anew, with what comes from then on: stop its agents first.

        Raises `NotFound` (``USER_NOT_FOUND``), `FailedPrecondition` (``LEGAL_HOLD``), `ResourceExhausted`
        (``DISK_FULL``).
        """
        ...

    def compact(self) -> CompactionReport:
        """Make the user's data file anew of what is left, so that no freed page keeps what was forgotten, removed,
        given up or superseded; and free the room that those pages take.

        Calls on the user wait meanwhile.  Needs free room as large as the file.  Like an erasure it ends one that is
        pending, removes what damage left without an owner, and is finished at the next opening or sweep where a crash
        cuts it short.  Archives and exports made before keep what they have.

        Raises `NotFound` (``USER_NOT_FOUND``), `ResourceExhausted` (``DISK_FULL``).
        """
        ...

    def erase_clips(
        self,
        clip_ids: Sequence[str] | None = None,
        *,
        stream: str | None = None,
        start_ns: Time | None = None,
        end_ns: Time | None = None,
    ) -> ErasureReport:
        """Remove the named clips, or those that touch a time range, with all that tells of them.

        clip_ids: at most 1,000.  stream: only those of one stream.  start_ns, end_ns: only those that overlap
        ``[start_ns, end_ns)``; without a name or time nothing is erased.

        Raises `InvalidArgument` (``EMPTY`` when neither is given), `NotFound` (``CLIP_NOT_FOUND``,
        ``STREAM_NOT_FOUND``), `FailedPrecondition` (``LEGAL_HOLD``); nothing is removed then.
        """
        ...
