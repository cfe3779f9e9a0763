"""A handle on one stream."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from memdb.types.change import ErasureReport
from memdb.types.clip import Ack, Clip
from memdb.types.database.ingest_writer import IngestWriter
from memdb.types.grounding import AsOf
from memdb.types.retention import Retention
from memdb.types.stream import Gap, Ledger, StreamInfo
from memdb.types.times import Time


class Stream(Protocol):
    """A handle on one stream of a user."""

    @property
    def name(self) -> str:
        """Its name, unique among the user's streams."""
        ...

    def create(self, *, zone: str | None = None) -> StreamInfo:
        """Create the stream now (idempotent); writing creates it too.

        zone: IANA name of the time zone in which hours and weekdays of its clips are told, such as
        ``Europe/Berlin``; a stream keeps the one that it was created with, UTC where none was named.

        Raises `FailedPrecondition` (``SPACE_MISMATCH``, ``ZONE_MISMATCH``) when it exists in another
        space or zone, `InvalidArgument` (``SPACE_REQUIRED``) when it does not exist and the handle names
        no space, and for a zone that there is not (``BAD_ZONE``).
        """
        ...

    def write(self, clip: Clip) -> Ack:
        """Store one clip; returns when it is durable and searchable.  Creates user and stream where they
        are not there yet.

        Sent again with the same content it is a duplicate (`Ack.duplicate`), and nothing is written; an
        open clip (``sealed=False``) becomes what is sent under its number, but for what it has been before: that
        is taken for a late copy, a duplicate as well, and the clip stays as it is.  The number of a clip that was
        erased takes none any more: whatever comes under it is acknowledged as a duplicate, and nothing is stored.

        Raises `AlreadyExists` (``SEQ_REUSED``: the number was sealed with other content),
        `InvalidArgument` (``DIM_MISMATCH``, ``ZERO_VECTOR``), `NotFound` (``SPACE_NOT_FOUND``;
        ``STREAM_NOT_FOUND``, ``USER_NOT_FOUND`` for one that is not there yet by a handle without space),
        `FailedPrecondition` (``SPACE_MISMATCH``; ``NO_TEXT_SPACE`` with ``transcript_features``;
        ``TOO_FAR_AHEAD``, ``TOO_LATE`` for a number far from the epoch's newest), `ResourceExhausted`
        (``DISK_FULL``, ``QUOTA``, ``OVERLOADED``), `Unavailable` (``READ_ONLY``).
        """
        ...

    def write_many(self, clips: Iterable[Clip]) -> list[Ack]:
        """Store clips in as few commits as the limits allow; an acknowledgement for each, in order.

        Raises as `write` the error of the first clip that is refused.  Any of the others may be stored then,
        later ones too; sending them again is harmless.
        """
        ...

    def ingest(self, *, epoch: int = 0, window: int | None = None) -> IngestWriter:
        """A pipelined writer with at most ``window`` clips in flight (1 to 512); where nothing is said 128, over the
        wire 64 and of small ones as many as 26 MB hold, up to 512.

        epoch: the run of the agent that numbers the clips; those sent are of it (``EPOCH_MISMATCH``).
        """
        ...

    def set_retention(self, retention: Retention | None) -> None:
        """Say how long the stream keeps what it holds; None: for ever.  What is given up may stay in pages that the
        file freed until they are written over: `User.compact` makes an end of them.

        Raises `NotFound` (``STREAM_NOT_FOUND``).
        """
        ...

    def retention(self) -> Retention:
        """The stream's policy; raises `NotFound` (``STREAM_NOT_FOUND``)."""
        ...

    def erase(self, *, start_ns: Time | None = None, end_ns: Time | None = None) -> ErasureReport:
        """Remove every clip that touches the time range ``[start_ns, end_ns)``, or without one the whole
        stream, with all that tells of it; no byte stays in our files.  Calls on the user wait meanwhile.

        Raises `NotFound` (``STREAM_NOT_FOUND``), `FailedPrecondition` (``LEGAL_HOLD``).
        """
        ...

    def ledger(self, *, epoch: int = 0) -> Ledger:
        """What was received of ``epoch``; of a stream or user that does not exist yet, nothing
        (next_seq 0).  Raises `InvalidArgument` (``OUT_OF_RANGE``).
        """
        ...

    def gaps(
        self,
        *,
        start_ns: Time | None = None,
        end_ns: Time | None = None,
        as_of: AsOf | None = None,
        limit: int | None = None,
        after: Gap | None = None,
    ) -> list[Gap]:
        """The missing numbers of every epoch, within the time range ``[start_ns, end_ns)``, by epoch and number: all,
        or at most ``limit`` of those behind ``after``, the last of the page before.

        With ``as_of`` all pages are of one moment; without it a gap that was filled in part meanwhile may
        be told again, as what is left of it.  Raises of ``as_of`` as `User.ground`.
        """
        ...
