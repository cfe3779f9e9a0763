"""Pipelined writing, embedded: while one group of clips is committed, the next is made ready.

`send` codes and hashes a clip in the caller's thread and queues it; two threads of the writer commit
the groups, in their order: one prepares its group while the other waits for the disk
(`memdb.engine.writer`).  A group goes when it has `GROUP_CLIPS` clips, and at once when a
clip is open, which must be seen soon; `flush` and `close` send what is left.  Until then sealed
clips are neither durable nor searchable, as over the wire before their acknowledgement.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, Self

from memdb.codecs.tensors import checked_clip
from memdb.errors import FailedPrecondition, InvalidArgument, MemdbError
from memdb.types.clip import Ack, Clip
from memdb.types.database import IngestWriter
from memdb.types.documented import documented_by
from memdb.types.operation import WriteClip

if TYPE_CHECKING:
    from memdb.engine.stream import EmbeddedStream

GROUP_CLIPS: Final = 8
COMMITTERS: Final = 2


@documented_by(IngestWriter)
class EmbeddedIngestWriter:
    """`memdb.types.database.IngestWriter`; for one thread.

    After a refused clip every further call raises that error; open another writer, whose
    ``next_seq`` says where to go on.
    """

    def __init__(self, stream: EmbeddedStream, epoch: int, window: int) -> None:
        self._stream = stream
        self._epoch = epoch
        self._group = min(window, GROUP_CLIPS)
        self._groups_max = max(1, window // self._group)
        self._waiting: list[WriteClip] = []
        self._committing: deque[Future[list[Ack | MemdbError]]] = deque()
        self._committers = ThreadPoolExecutor(
            COMMITTERS, thread_name_prefix=f"memdb-ingest-{stream.name}"
        )
        self._queued = threading.Event()
        """Set when the newest group is in the queue of commits."""
        self._queued.set()
        self._new_acks: list[Ack] = []
        self._acks = 0
        self._error: MemdbError | None = None
        self._refused = False
        """Set by a committer: what waits behind a refused clip is not written any more."""
        self._closed = False

    @property
    def next_seq(self) -> int:
        return self._stream.ledger(epoch=self._epoch).next_seq

    @property
    def acks(self) -> int:
        self._settle_done()
        return self._acks

    def send(self, clip: Clip) -> None:
        """Queue a clip; blocks while the window is full.

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
        self._settle_done()
        self._raise_error()
        operation = self._stream.prepare(clip)
        self._waiting.append(operation)
        if len(self._waiting) >= self._group or not clip.sealed:
            self._commit()

    def flush(self) -> list[Ack]:
        self._raise_error()
        if self._closed and (self._waiting or self._committing):
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
            self._closed = True
            self._committers.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if not any(exc_info):
            self.close()
        else:
            # What is queued may be committed; what the caller was not told it sends again anyway.
            self._closed = True
            self._committers.shutdown(cancel_futures=True)

    def _finish(self) -> None:
        """Commit what waits, and wait for it."""
        self._commit()
        while self._committing:
            self._settle()
        self._raise_error()

    def _commit(self) -> None:
        """Hand the waiting clips to the committer, once there is room."""
        while len(self._committing) >= self._groups_max:
            self._settle()
        self._raise_error()
        if self._waiting:
            before, self._queued = self._queued, threading.Event()
            self._committing.append(
                self._committers.submit(self._write, self._waiting, before, self._queued)
            )
            self._waiting = []

    def _write(
        self, group: list[WriteClip], before: threading.Event, queued: threading.Event
    ) -> list[Ack | MemdbError]:
        """In a committer's thread."""
        try:
            before.wait()
            if self._refused:
                return []
            outcomes = self._stream.write_prepared(group, queued.set)
        except BaseException:
            self._refused = True
            raise
        finally:
            queued.set()
        self._refused = any(isinstance(outcome, MemdbError) for outcome in outcomes)
        return outcomes

    def _settle_done(self) -> None:
        while self._committing and self._committing[0].done():
            self._settle()

    def _settle(self) -> None:
        """Wait for the oldest group; its acknowledgements count up to the first refused clip."""
        try:
            outcomes = self._committing.popleft().result()
        except MemdbError as error:
            outcomes = [error]
        for outcome in outcomes:
            if self._error is not None:
                return
            if isinstance(outcome, MemdbError):
                self._error = outcome
            else:
                self._acks += 1
                self._new_acks.append(outcome)

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error.again()


def _closed() -> FailedPrecondition:
    return FailedPrecondition("the writer is closed", reason="CLOSED")
