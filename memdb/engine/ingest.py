"""Pipelined writing, embedded: while clips are committed, the next are made ready.

`send` codes and hashes a clip in the caller's thread and queues it; threads that all writers of the user share commit
what they have (`memdb.engine.shared_ingest`).  An open clip goes at once, since it must be seen soon; sealed ones wait
for others, but not for long.  `flush` and `close` wait for nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from memdb.codecs.tensors import checked_clip
from memdb.engine.ingest_feed import Feed, Part
from memdb.errors import FailedPrecondition, InvalidArgument, MemdbError
from memdb.types.clip import Ack, Clip
from memdb.types.database import IngestWriter
from memdb.types.documented import documented_by
from memdb.types.handle import Handle

if TYPE_CHECKING:
    from memdb.engine.stream import EmbeddedStream


@documented_by(IngestWriter)
class EmbeddedIngestWriter(Handle):
    """`memdb.types.database.IngestWriter`; for one thread.

    After a refused clip every further call raises that error; open another writer, whose
    ``next_seq`` says where to go on.
    """

    def __init__(self, stream: EmbeddedStream, epoch: int, window: int) -> None:
        self._stream = stream
        self._epoch = epoch
        self._window = window
        # Half of what there may be: the other half is made ready meanwhile.
        self._feed = Feed(stream, share=(window + 1) // 2)
        self._ingests = stream.user.shared_ingests
        self._shared = self._ingests.enter(stream.user.id)
        self._new_acks: list[Ack] = []
        self._acks = 0
        self._error: Exception | None = None
        self._closed = False
        self._has_lost = False
        """Whether it ended before all that it took was written or refused."""

    def __repr__(self) -> str:
        stream = self._stream
        return f"<{type(self).__name__} {stream.name} of {stream.user.id}, epoch {self._epoch}>"

    @property
    def next_seq(self) -> int:
        return self._stream.ledger(epoch=self._epoch).next_seq

    @property
    def acks(self) -> int:
        self._look()
        return self._acks

    def send(self, clip: Clip) -> None:
        """Queue a clip; blocks while the window is full, or all writers of the user together have too much on its way.

        Raises `InvalidArgument` for a clip that is wrong in itself, which leaves the writer as it
        was, the first error of an earlier clip, and `FailedPrecondition` (``CLOSED``).
        """
        clip = checked_clip(clip)
        if clip.epoch != self._epoch:
            raise InvalidArgument(
                f"this writer writes epoch {self._epoch}",
                reason="EPOCH_MISMATCH",
                field="clip.epoch",
                value=clip.epoch,
            )
        if self._closed:
            raise _closed()
        self._look()
        self._raise_error()
        operation = self._stream.prepare(clip)
        feed, shared = self._feed, self._shared
        if feed.on_their_way >= self._window:
            # Woken once half of it is free, to send that many: a turn of two threads is longer than a clip takes.
            shared.wait(feed, self._window // 2)
            self._look()
            self._raise_error()
        shared.wait_for_room(feed)
        is_last = feed.on_their_way + 1 >= self._window
        shared.put(feed, operation, hurry=is_last or not clip.sealed)

    def flush(self) -> list[Ack]:
        self._raise_error()
        if self._has_lost:
            raise _closed()
        self._finish()
        acks, self._new_acks = self._new_acks, []
        return acks

    def close(self) -> None:
        if self._closed:
            return
        try:
            self._finish()
        finally:
            self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if not any(exc_info):
            self.close()
        elif not self._closed:
            # What was taken may be committed; what the caller was not told it sends again anyway.
            self._end()

    def _finish(self) -> None:
        """Have all that was sent written, and look at what became of it."""
        self._shared.wait(self._feed, 0)
        self._look()
        self._raise_error()

    def _end(self) -> None:
        """Write nothing more, and wait for what is being written."""
        self._closed = True
        try:
            self._has_lost = self._shared.drop(self._feed) > 0
            if not self._shared.is_forked:
                self._shared.wait(self._feed, 0)
        finally:
            self._ingests.leave(self._shared)

    def _look(self) -> None:
        """Take in what is done."""
        going = self._feed.going
        while self._error is None and going and going[0].is_done:
            self._take_in(going[0])
            if self._error is None:  # else it stays, for what commits have behind it
                going.popleft()

    def _take_in(self, part: Part) -> None:
        """Acknowledgements count up to the first refused clip."""
        for outcome in part.outcomes:
            if isinstance(outcome, MemdbError):
                self._error = outcome
                return
            self._acks += 1
            self._new_acks.append(outcome)
        self._error = part.error

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error.again() if isinstance(self._error, MemdbError) else self._error


def _closed() -> FailedPrecondition:
    return FailedPrecondition("the writer is closed", reason="CLOSED")
