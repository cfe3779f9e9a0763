"""A handle that writes one epoch of a stream, pipelined."""

from __future__ import annotations

from typing import Protocol, Self

from memdb.types.clip import Ack, Clip


class IngestWriter(Protocol):
    """Pipelined writing of one epoch of a stream: `send` returns before the acknowledgement,
    `flush` after the last.

    A clip is durable and searchable once it is acknowledged.  An open clip goes at once; sealed
    ones may wait for others to share a commit with, at the longest until `flush` or `close`
    (embedded: until the user's writers together have sent 8, or for 50 ms).

    After a clip was refused every later call raises its error: open another writer, whose
    ``next_seq`` says where to go on.
    """

    @property
    def next_seq(self) -> int:
        """The number of the next clip that the ledger wants: where to (re)start."""
        ...

    @property
    def acks(self) -> int:
        """Clips acknowledged so far through this writer."""
        ...

    def send(self, clip: Clip) -> None:
        """Queue a clip; blocks while the window is full (embedded also while the user's writers together have 256
        clips or 32 MiB on their way, and this one has any of it).

        Raises the first error of an earlier clip, `InvalidArgument` for one that is wrong in itself
        (which leaves the writer as it was), `FailedPrecondition` (``CLOSED``) after `close`.
        """
        ...

    def flush(self) -> list[Ack]:
        """Commit what waits, and wait until every clip sent is acknowledged; the acknowledgements
        since the last flush, in order.
        """
        ...

    def close(self) -> None:
        """Flush and end.  Leaving the context by an exception ends without a flush: what is not
        acknowledged then may or may not be stored.
        """
        ...

    def __enter__(self) -> Self: ...
    def __exit__(self, *exc_info: object) -> None: ...
